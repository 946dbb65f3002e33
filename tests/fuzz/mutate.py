"""What can happen to a file: deterministic damage of bytes, of numbers in headers and text, of parts and of members.

A case is a tree of files, {relative name: content}; of a single file the name is "". Damage that a checksum of the
container would hide is also done inside it, with the checksum made right again (ZIP members, PNG chunks).
"""

import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

Tree = dict[str, bytes]
NUMBERS = (0, 1, 2, 3, 7, 8, 127, 128, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**64 - 1)
TEXTS = ("0", "-1", "1", "3", "8", "1.4", "1e9", "999999999999", "1e308", "1e999", "nan", "-inf", "x", "", "null", "[]")
VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1,
    2,
    1e9,
    10**30,
    1.4,
    float("nan"),
    "",
    "x",
    [],
    [1],
    [[1]],
    {},
    {"a": 1},
)
_NUMBER = re.compile(rb"-?\d+(\.\d+)?([eE][+-]?\d+)?")


def mutated(tree: Tree, chance: np.random.Generator) -> tuple[Tree, str]:
    """A damaged copy, one or two kinds of damage, and what was done."""
    done = []
    for _ in range(1 + (chance.random() < 0.2)):
        kind = _pick(chance, _KINDS)
        tree, what = kind(dict(tree), chance)
        done.append(what)
    return tree, ", ".join(done)


def _pick(chance: np.random.Generator, options: Any) -> Any:
    return options[int(chance.integers(len(options)))]


def _at(chance: np.random.Generator, size: int) -> int:
    """A position in a file, half of the time in its header."""
    return int(chance.integers(min(size, 512) if chance.random() < 0.5 else size)) if size else 0


def _of_one(change: Callable[[bytes, np.random.Generator], bytes | None]) -> Callable:
    """Damage of the content of one file; of several, of any."""

    def kind(tree: Tree, chance: np.random.Generator) -> tuple[Tree, str]:
        name = _pick(chance, sorted(tree))
        found = change(tree[name], chance)
        if found is None:  # not of this kind of file
            return _bits(tree, chance)
        tree[name] = found
        return tree, f"{change.__name__.strip('_')} {name}".strip()

    return kind


def _flipped(content: bytes, chance: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for _ in range(int(chance.integers(1, 9))):
        if changed:
            changed[_at(chance, len(changed))] ^= 1 << int(chance.integers(8))
    return bytes(changed)


_bits = _of_one(_flipped)


def _truncated(content: bytes, chance: np.random.Generator) -> bytes:
    return content[: _at(chance, len(content))]


def _zeroed(content: bytes, chance: np.random.Generator) -> bytes:
    start, length = _at(chance, len(content)), int(chance.integers(1, 257))
    return content[:start] + bytes(len(content[start : start + length])) + content[start + length :]


def _swapped_fields(content: bytes, chance: np.random.Generator) -> bytes:
    width = int(_pick(chance, (1, 2, 4, 8, 12)))
    head, rest = content[:512], content[512:]
    fields = [head[i : i + width] for i in range(0, len(head), width)]
    a, b = (int(chance.integers(max(len(fields) - 1, 1))) for _ in range(2))
    if fields:
        fields[a], fields[b] = fields[b], fields[a]
    return b"".join(fields) + rest


def _other_field(content: bytes, chance: np.random.Generator) -> bytes:
    width = int(_pick(chance, (1, 2, 4, 8)))
    start = _at(chance, len(content)) // width * width
    number = int(_pick(chance, NUMBERS)) % 2 ** (8 * width)
    field = number.to_bytes(width, str(_pick(chance, ("little", "big"))))  # type: ignore[arg-type]
    return content[:start] + field[: len(content) - start] + content[start + width :]


def _other_number(content: bytes, chance: np.random.Generator) -> bytes | None:
    """One number that is written as text."""
    found = list(_NUMBER.finditer(content[:4096]))
    if len(found) < 3:
        return None
    one = _pick(chance, found)
    return content[: one.start()] + str(_pick(chance, TEXTS)).encode() + content[one.end() :]


def _duplicated(content: bytes, chance: np.random.Generator) -> bytes:
    start, length = _at(chance, len(content)), int(chance.integers(1, 513))
    return content[:start] + content[start : start + length] * 2 + content[start + length :]


def _removed(content: bytes, chance: np.random.Generator) -> bytes:
    start, length = _at(chance, len(content)), int(chance.integers(1, 513))
    return content[:start] + content[start + length :]


def _appended(content: bytes, chance: np.random.Generator) -> bytes:
    return content + chance.bytes(int(chance.integers(1, 4096)))


def _other_json(content: bytes, chance: np.random.Generator) -> bytes | None:
    """One value of a JSON document, or of the JSON header of safetensors, replaced, removed or repeated."""
    if content[8:9] == b"{" and len(content) > 16:
        length = struct.unpack("<Q", content[:8])[0]
        head = _json_changed(content[8 : 8 + length], chance)
        return None if head is None else struct.pack("<Q", len(head)) + head + content[8 + length :]
    return _json_changed(content, chance)


def _json_changed(text: bytes, chance: np.random.Generator) -> bytes | None:
    try:
        document = json.loads(text)
    except ValueError:
        return None
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    if not isinstance(document, dict | list) or not document:
        return None
    walk(document)
    node, key = _pick(chance, places)
    nested = node[key]
    if isinstance(nested, str) and nested.startswith("{") and chance.random() < 0.9:  # a document in a document
        inner = _json_changed(nested.encode(), chance)
        if inner is not None:
            node[key] = inner.decode()
            return json.dumps(document).encode()
    what = chance.random()
    if what < 0.25:
        del node[key]
    elif what < 0.35 and isinstance(node, list):
        node.append(nested)
    elif what < 0.6 and isinstance(nested, int | float) and not isinstance(nested, bool):
        node[key] = _pick(chance, (-nested, nested + 1, nested * 1000, nested / 2, 10**9))
    else:
        node[key] = _pick(chance, VALUES)
    return json.dumps(document).encode()


def _other_xml(content: bytes, chance: np.random.Generator) -> bytes | None:
    """One element or attribute of an XML header repeated or removed."""
    found = list(re.finditer(rb"<[^>]{2,400}>|\w+=\"[^\"]*\"", content[:8192]))
    if b"<?xml" not in content[:512] or not found:
        return None
    one = _pick(chance, found)
    return content[: one.start()] + one.group() * int(_pick(chance, (0, 2))) + content[one.end() :]


def _inside_zip(content: bytes, chance: np.random.Generator) -> bytes | None:
    """Damage within a member of a ZIP file (NPZ), whose checksum then is right; or a member removed or renamed."""
    if not content.startswith(b"PK"):
        return None
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist()}
    except Exception:  # damaged before
        return None
    if not members:
        return None
    name = _pick(chance, sorted(members))
    what = chance.random()
    if what < 0.1:
        del members[name]
    elif what < 0.2:
        members[_pick(chance, ("values.npy", "labels.npy", "x.npy", "../x.npy", name + "y"))] = members.pop(name)
    else:
        change = _pick(chance, (_flipped, _truncated, _zeroed, _other_number, _other_field, _removed, _duplicated))
        members[name] = change(members[name], chance) or b""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", int(_pick(chance, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))) as archive:
        for member, data in members.items():
            archive.writestr(zipfile.ZipInfo(member), data)
    return file.getvalue()


def _inside_png(content: bytes, chance: np.random.Generator) -> bytes | None:
    """Damage within a chunk of a PNG file, whose checksum then is right; or a chunk removed or repeated."""
    if not content.startswith(b"\x89PNG"):
        return None
    chunks, position = [], 8
    while position + 12 <= len(content):
        length = struct.unpack(">I", content[position : position + 4])[0]
        chunks.append((content[position + 4 : position + 8], content[position + 8 : position + 8 + length]))
        position += 12 + length
    if not chunks:
        return None
    number = int(chance.integers(len(chunks)))
    kind, data = chunks[number]
    what = chance.random()
    if what < 0.8:
        change = _pick(chance, (_flipped, _other_field, _truncated, _zeroed, _removed, _swapped_fields))
        chunks[number] = (kind, change(data, chance))
    else:
        chunks[number : number + 1] = [(kind, data)] * int(_pick(chance, (0, 2)))
    parts = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    return content[:8] + b"".join(parts)


def _parts(tree: Tree, chance: np.random.Generator) -> tuple[Tree, str]:
    """A file of a folder is missing, empty, in the place of another, or there twice."""
    if len(tree) == 1:
        return _bits(tree, chance)
    name, other = (_pick(chance, sorted(tree)) for _ in range(2))
    what = _pick(chance, ("missing", "empty", "exchanged", "twice"))
    if what == "missing":
        del tree[name]
    elif what == "empty":
        tree[name] = b""
    elif what == "exchanged":
        tree[name], tree[other] = tree[other], tree[name]
    else:
        tree[other] = tree[name]
    return tree, f"{what} {name}"


_KINDS = [
    *map(_of_one, (_flipped, _truncated, _zeroed, _swapped_fields, _other_field, _other_number, _duplicated)),
    *map(_of_one, (_removed, _appended, _other_json, _other_xml, _inside_zip, _inside_png, _other_json, _other_number)),
    _parts,
]
