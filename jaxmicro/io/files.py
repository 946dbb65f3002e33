"""Files that are whole or absent, and what is read back of them checked: all of the package writes and checks so.

A file is written under another name beside its own, flushed to the disk, and renamed: whatever stops the process or the
computer leaves the old file or the new one. Nothing but a regular file is replaced, unless the caller knows it as ours.
"""

import contextlib
import hashlib
import itertools
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from jaxmicro.errors import UserError
from jaxmicro.types import ArrayLike

SMALL = 2**26  # bytes that any file may promise
MAX_COMPRESSION = 2000  # bytes of an array for each byte of its file; deflate reaches 1032, segmented volumes about 100
_SEAL = "sha256"
_LEFTOVER = re.compile(r"\.(?P<stem>.+)\.(?P<process>\d+)\.(?P<kind>part|old)(?P<suffix>\.\w+)?")


@contextmanager
def whole(path: Path, *, ours: Callable[[Path], bool] | None = None) -> Iterator[Path]:
    """Gives a temporary name beside `path`; what is written there becomes `path` at the end, or vanishes on an error.

    Args:
        ours: whether a folder in the place of `path` is one that this package wrote, and may be replaced as a whole.
    Raises:
        UserError: `path` exists and is neither a regular file nor ours; before anything is written.
        OSError: as the file system says; `path` is then what it was before.
    """
    _check_replaceable(path, ours)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    remove(part)  # of a killed process that had our number
    try:
        yield part
        _flush(part)
        _check_replaceable(path, ours)
        if path.is_dir():  # rename replaces files only
            old = path.with_name(f".{path.stem}.{os.getpid()}.old{path.suffix}")
            os.replace(path, old)
            os.replace(part, path)
            remove(old)
        else:
            os.replace(part, path)
        _flush_folder(path.parent)
    finally:
        remove(part)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a whole file."""
    with whole(path) as part:
        part.write_bytes(content)


def remove(path: Path) -> None:
    """Removes a file or a folder of ours, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def set_aside(path: Path) -> Path:
    """Renames a damaged file or folder to NAME.damaged, so that it can be made again; returns that name, with a number
    if it is taken."""
    names = (path.with_name(f"{path.name}.damaged{number or ''}") for number in itertools.count())
    aside = next(name for name in names if not os.path.lexists(name))
    os.replace(path, aside)
    return aside


def clean(folder: Path) -> None:
    """Removes what killed processes left under temporary names anywhere in a folder of ours."""
    for path in sorted(folder.rglob(".*"), reverse=True):
        found = _LEFTOVER.fullmatch(path.name)
        if found is None or _is_running(int(found["process"])):
            continue
        of = path.with_name(found["stem"] + (found["suffix"] or ""))
        if found["kind"] == "old" and not of.exists():  # killed between the two renames
            os.replace(path, of)
        else:
            remove(path)


def is_leftover(path: Path) -> bool:
    """Whether a file has a temporary name of ours."""
    return _LEFTOVER.fullmatch(path.name) is not None


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        UserError: there is none: the file is missing, cut off or damaged.
    """
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise UserError(f"{path} is cut off or damaged: it is no JSON") from None
    if not isinstance(found, dict):
        raise UserError(f"{path} is damaged: it holds no JSON object")
    return found


def read_lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The JSON objects of a file with one in each line, and the number of lines that are none (damaged, incomplete)."""
    lines = path.read_bytes().splitlines() if path.is_file() else []
    found = []
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            found.append(json.loads(line))
    objects = [record for record in found if isinstance(record, dict)]
    return objects, len(lines) - len(objects)


def append_line(path: Path, line: str) -> None:
    """Adds a line to a file; what a killed process left of a line before it stays a line of its own."""
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                line = "\n" + line
        file.write(line.encode() + b"\n")


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record of plain JSON values with a checksum of them, so that `unsealed` notices any change."""
    return {**record, _SEAL: _digest_of_json(record)}


def unsealed(path: Path) -> dict[str, Any]:
    """The record in a JSON file that was written as `sealed`.

    Raises:
        UserError: it is missing, cut off, or not what was written.
    """
    record = read_json(path)
    if record.pop(_SEAL, None) != _digest_of_json(record):
        raise UserError(f"{path} is damaged: it is not what was written")
    return record


def save_arrays(path: Path, identity: str, **arrays: ArrayLike | int) -> None:
    """Write arrays for `load_arrays`, with the identity of the work that they belong to."""
    plain = {name: np.asarray(array) for name, array in arrays.items()}
    digest = digest_of_arrays(identity, plain)
    with whole(path) as part, part.open("wb") as file:
        np.savez(file, allow_pickle=False, identity=np.array(identity), digest=np.array(digest), **plain)


def load_arrays(path: Path | None, identity: str) -> dict[str, np.ndarray] | None:
    """The arrays that `save_arrays` wrote with the same identity; None if there are none, or they are damaged."""
    if path is None or not path.is_file():
        return None
    try:
        belongs_to, arrays = _kept_arrays(path)
    except UserError:
        return None
    return arrays if belongs_to == identity else None


def is_damaged(path: Path) -> bool:
    """Whether a file is there that `save_arrays` did not write as it is."""
    if not path.is_file():
        return False
    try:
        _kept_arrays(path)
    except UserError:
        return True
    return False


def _kept_arrays(path: Path) -> tuple[str, dict[str, np.ndarray]]:
    try:
        with path.open("rb") as file:
            check_npz(path, file)
            with np.load(file, allow_pickle=False) as data:
                arrays = dict(data)
        identity, digest = str(arrays.pop("identity")), str(arrays.pop("digest"))
        intact = digest == digest_of_arrays(identity, arrays)
    except Exception as error:  # decoders raise anything
        raise UserError(f"{path} is cut off or damaged ({error})") from None
    if not intact:
        raise UserError(f"{path} is damaged: it is not what was written")
    return identity, arrays


def digest_of_arrays(identity: str, arrays: Mapping[str, np.ndarray]) -> str:
    """A checksum of a text and of named arrays, of their types and shapes, too."""
    digest = hashlib.sha256(identity.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def check_npz(path: Path, file: BinaryIO) -> None:
    """Holds what the arrays of an NPZ promise against what the file has, before memory is taken for them.

    Raises:
        UserError: it promises more than it can hold.
    """
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            with archive.open(info) as member:
                shape, _, kind = read_array_header(member)
                check_promise(path, [*shape, kind.itemsize], info.compress_size)
    file.seek(0)


def read_array_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, Fortran order and type of the numbers that follow in an NPY file, open for bytes."""
    one = np.lib.format.read_magic(file) == (1, 0)
    return (np.lib.format.read_array_header_1_0 if one else np.lib.format.read_array_header_2_0)(file)


def check_promise(path: Path, factors: list[int] | tuple[int, ...], there: int) -> None:
    """Holds the size that a file says its array has against the bytes that are there to fill it.

    Args:
        factors: edges of the array, and bytes of each of its numbers.
        there: bytes that hold the array, compressed or not.
    Raises:
        UserError: no compression of a microstructure comes near it: the header is damaged.
    """
    promised = 1
    for factor in factors:
        if int(factor) < 0:
            raise UserError(f"{path} is damaged: it says that its array has a negative edge")
        promised *= int(factor)
    if promised > SMALL + MAX_COMPRESSION * there:
        raise UserError(
            f"{path} is damaged or empty: it says that it holds {promised:.3g} bytes, and has {there}; copy or export "
            "it again"
        )


def _digest_of_json(record: Mapping[str, Any]) -> str:
    text = json.dumps({key: value for key, value in record.items() if key != _SEAL}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _check_replaceable(path: Path, ours: Callable[[Path], bool] | None) -> None:
    if not path.exists() or path.is_file():
        return
    if not path.is_dir():
        raise UserError(f"cannot write {path}: it exists and is no regular file; choose another name")
    if ours is None or not ours(path):
        raise UserError(
            f"cannot write {path}: it is a folder and not a Zarr array of jaxmicro alone, so it is never replaced; "
            "remove it yourself, or choose another name"
        )


def _flush(path: Path) -> None:
    """To the disk, so that after a power failure the name does not stand for an empty file."""
    for each in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if each.is_dir():
            _flush_folder(each)
        else:
            with each.open("rb+") as file:
                os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not all file systems know it
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is there, and another user's
        return True
    return process != os.getpid()  # no write of ours is under way when a folder is opened
