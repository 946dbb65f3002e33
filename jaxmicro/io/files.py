"""Atomic writing of files, and checks of files that are read back; used by the whole package.

A file is written under a temporary name in the same folder, flushed to the disk, and renamed: if the process or the
computer stops, the old file or the new one is there, complete. Only regular files are replaced, and folders only if the
caller identifies them as written by this package.
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

SMALL = 2**26  # bytes of an array that the header of any file may declare
MAX_COMPRESSION = 2000  # bytes of an array for each byte of its file; deflate reaches 1032, segmented volumes about 100
_SEAL = "sha256"
_LEFTOVER = re.compile(r"\.(?P<stem>.+)\.(?P<process>\d+)\.(?P<kind>part|old)(?P<suffix>\.\w+)?")


@contextmanager
def whole(path: Path, *, ours: Callable[[Path], bool] | None = None) -> Iterator[Path]:
    """Context with a temporary path in the folder of `path`, renamed to `path` at the end and removed on an error.

    Args:
        ours: whether an existing folder `path` was written by this package and may be replaced.
    Raises:
        UserError: `path` exists and is neither a regular file nor a folder of ours; raised before anything is written.
        OSError: from the file system; `path` is then unchanged.
    """
    _check_replaceable(path, ours)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    remove(part)  # left by a killed process with the same number
    try:
        yield part
        _flush(part)
        _check_replaceable(path, ours)
        if path.is_dir():  # os.replace does not replace folders
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
    """Write a file atomically."""
    with whole(path) as part:
        part.write_bytes(content)


def remove(path: Path) -> None:
    """Remove a file or folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def set_aside(path: Path) -> Path:
    """Rename a damaged file or folder to NAME.damaged, with a number if that exists, and return the new path."""
    names = (path.with_name(f"{path.name}.damaged{number or ''}") for number in itertools.count())
    aside = next(name for name in names if not os.path.lexists(name))
    os.replace(path, aside)
    return aside


def clean(folder: Path) -> None:
    """Remove temporary files that killed processes left in a run folder, and restore files that they were replacing."""
    for path in sorted(folder.rglob(".*"), reverse=True):
        match = _LEFTOVER.fullmatch(path.name)
        if match is None or _is_running(int(match["process"])):
            continue
        target = path.with_name(match["stem"] + (match["suffix"] or ""))
        if match["kind"] == "old" and not target.exists():  # killed between the two renames of `whole`
            os.replace(path, target)
        else:
            remove(path)


def is_leftover(path: Path) -> bool:
    """Whether a file has a temporary name as `whole` gives it."""
    return _LEFTOVER.fullmatch(path.name) is not None


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        UserError: the file is missing, truncated or damaged.
    """
    try:
        record = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise UserError(f"{path} is cut off or damaged: it is no JSON") from None
    if not isinstance(record, dict):
        raise UserError(f"{path} is damaged: it holds no JSON object")
    return record


def read_lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The JSON objects of a file with one per line, and the number of damaged or incomplete lines."""
    lines = path.read_bytes().splitlines() if path.is_file() else []
    values = []
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            values.append(json.loads(line))
    objects = [record for record in values if isinstance(record, dict)]
    return objects, len(lines) - len(objects)


def append_line(path: Path, line: str) -> None:
    """Append a line to a file; an incomplete last line, left by a killed process, is ended first."""
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                line = "\n" + line
        file.write(line.encode() + b"\n")


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record of plain JSON values with their checksum, by which `unsealed` detects any change."""
    return {**record, _SEAL: _digest_of_json(record)}


def unsealed(path: Path) -> dict[str, Any]:
    """The record in a JSON file written from `sealed`, without its checksum.

    Raises:
        UserError: the file is missing or truncated, or its checksum does not match.
    """
    record = read_json(path)
    if record.pop(_SEAL, None) != _digest_of_json(record):
        raise UserError(f"{path} is damaged: it is not what was written")
    return record


def save_arrays(path: Path, identity: str, **arrays: ArrayLike | int) -> None:
    """Write arrays with a checksum and an identity: a text that describes the computation they belong to."""
    plain = {name: np.asarray(array) for name, array in arrays.items()}
    digest = digest_of_arrays(identity, plain)
    with whole(path) as part, part.open("wb") as file:
        np.savez(file, allow_pickle=False, identity=np.array(identity), digest=np.array(digest), **plain)


def load_arrays(path: Path | None, identity: str) -> dict[str, np.ndarray] | None:
    """Arrays that `save_arrays` wrote with the same identity; None if there is no such file or it is damaged."""
    if path is None or not path.is_file():
        return None
    try:
        belongs_to, arrays = _verified_arrays(path)
    except UserError:
        return None
    return arrays if belongs_to == identity else None


def is_damaged(path: Path) -> bool:
    """Whether the file exists and is not intact, as `save_arrays` wrote it."""
    if not path.is_file():
        return False
    try:
        _verified_arrays(path)
    except UserError:
        return True
    return False


def _verified_arrays(path: Path) -> tuple[str, dict[str, np.ndarray]]:
    try:
        with path.open("rb") as file:
            check_npz(path, file)
            with np.load(file, allow_pickle=False) as data:
                arrays = dict(data)
        identity, digest = str(arrays.pop("identity")), str(arrays.pop("digest"))
        intact = digest == digest_of_arrays(identity, arrays)
    except Exception as error:  # decoders raise exceptions of any type
        raise UserError(f"{path} is cut off or damaged ({error})") from None
    if not intact:
        raise UserError(f"{path} is damaged: it is not what was written")
    return identity, arrays


def digest_of_arrays(identity: str, arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of a text and of named arrays with their types and shapes."""
    digest = hashlib.sha256(identity.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def check_npz(path: Path, file: BinaryIO) -> None:
    """Check the array sizes that an NPZ declares against the bytes in the file, before memory is allocated.

    Raises:
        UserError: an array is larger than its compressed bytes can hold.
    """
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            with archive.open(info) as member:
                shape, _, kind = read_array_header(member)
                check_promise(path, [*shape, kind.itemsize], info.compress_size)
    file.seek(0)


def read_array_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, Fortran order and data type from the header of an open NPY file."""
    one = np.lib.format.read_magic(file) == (1, 0)
    return (np.lib.format.read_array_header_1_0 if one else np.lib.format.read_array_header_2_0)(file)


def check_promise(path: Path, factors: list[int] | tuple[int, ...], there: int) -> None:
    """Check the array size that a file declares against the bytes that store it.

    Args:
        factors: edges of the array, and bytes per number; their product is the declared size.
        there: bytes in the file that store the array, compressed or not.
    Raises:
        UserError: the declared size exceeds SMALL plus MAX_COMPRESSION times the stored one: the header is damaged.
    """
    declared = 1
    for factor in factors:
        if int(factor) < 0:
            raise UserError(f"{path} is damaged: it says that its array has a negative edge")
        declared *= int(factor)
    if declared > SMALL + MAX_COMPRESSION * there:
        raise UserError(
            f"{path} is damaged or empty: it says that it holds {declared:.3g} bytes, and has {there}; copy or export "
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
    """Flush to the disk before the rename, so that a power failure cannot leave an empty file under the new name."""
    for each in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if each.is_dir():
            _flush_folder(each)
        else:
            with each.open("rb+") as file:
                os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not all file systems support it
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it exists, and belongs to another user
        return True
    return process != os.getpid()  # this process writes nothing while it opens a folder
