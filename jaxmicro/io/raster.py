"""Shared by all file formats: an array with its calibration, errors of one line, atomic writing."""

import errno
import importlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxmicro.errors import UserError
from jaxmicro.io.files import whole
from jaxmicro.units import cubic

_MOST_BYTES = 2**30  # of a decoded image; its phases and their counts take as much again
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class FileLayout:
    """Properties of a file that it does not state itself.

    Attributes:
        dataset: name of the array to read in a file that holds several.
        shape: edges z y x (or y x) of raw numbers without a header; empty when unknown.
        dtype: NumPy's name of their data type, with ">" before it if they are big-endian.
    """

    dataset: str | None = None
    shape: tuple[int, ...] = ()
    dtype: str | None = None


@dataclass(frozen=True)
class Raster:
    """Numbers on a grid as stored in a file, before they become phases.

    Attributes:
        array: "h w" or "z y x", any real type.
        spacing: edges of a voxel in array order, NaN where unknown; None when the file has no calibration.
        unit: unit of the spacing, ASCII; None when unknown.
        values: of the labels 0..P-1, if the array is labels written by this package.
        source: name of the file.
        periodic: the file states that its opposite faces continue each other.
        remarks: on how the file was read, one line each.
        size_remarks: on its voxel size; dropped if the user gives another one.
        colours: the numbers are colours 0xRRGGBB, not grey levels.
        indexed: the numbers are indices into a palette of colours.
        indices: palette indices of an image that uses only greys of a palette with colours; they replace the greys if
            other slices use the colours.
    """

    array: np.ndarray
    spacing: tuple[float, ...] | None = None
    unit: str | None = None
    values: tuple[float, ...] | None = None
    source: str = ""
    periodic: bool = False
    remarks: tuple[str, ...] = ()
    size_remarks: tuple[str, ...] = ()
    colours: bool = False
    indexed: bool = False
    indices: np.ndarray | None = None

    @property
    def voxel_size(self) -> float | None:
        """Edge of a square pixel or cubic voxel in `unit`; None when it is unknown along any axis.

        Raises:
            UserError: the voxels are not cubic.
        """
        if self.spacing is None:
            return None
        known = [edge for edge in self.spacing if not math.isnan(edge)]
        if known and min(known) > 0 and not cubic(known):
            edges = " x ".join("?" if math.isnan(edge) else f"{edge:.6g}" for edge in self.spacing)
            what, shape = ("pixels", "square") if len(self.spacing) == 2 else ("voxels", "cubic")
            order = " ".join("zyx"[-len(self.spacing) :])
            raise UserError(
                f"{what} are {edges}{f' {self.unit}' if self.unit else ''} (in the order {order}), not {shape}; make "
                f"them so with jaxmicro export --resample {min(known):.6g} (the new edge), or give --voxel-size if "
                "the file is wrong"
            )
        return None if len(known) < len(self.spacing) else self.spacing[0]


def check_size(path: Path, shape: Sequence[int], bytes_per_pixel: int) -> None:
    """Check the declared size of an array, before memory is allocated.

    Raises:
        UserError: the array is larger than 1 GiB when decoded.
    """
    need = math.prod(shape) * bytes_per_pixel
    if need > _MOST_BYTES:
        raise UserError(
            f"{path} holds {' x '.join(map(str, shape))} pixels, {need / 2**30:.1f} GiB when decoded, and at most "
            f"{_MOST_BYTES // 2**30} GiB is read; cut or scale it down first"
        )


def drop_unit_axes(array: np.ndarray, axes: int = 2) -> np.ndarray:
    """The array without leading axes of length 1; at least `axes` axes are kept."""
    while array.ndim > axes and array.shape[0] == 1:
        array = array[0]
    return array


def needs(module: str, what: str) -> Any:
    """Import an optional package that a format needs.

    Raises:
        UserError: it is not installed; the message names the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"{what} needs the package {module}, which is not installed; install it with: "
            "pip install 'jaxmicro[formats]'"
        ) from error


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Context that converts any exception of a decoder, which may have any type, to a UserError of one line.

    Raises:
        UserError: decoding failed; the message names the file, its kind and the reason.
    """
    try:
        yield
    except UserError as error:
        if str(path) in str(error):
            raise
        raise UserError(f"{path}: {error}") from error
    except Exception as error:
        reason = _first_line(error).replace(str(path), path.name)  # a decoder may name the file again
        raise UserError(
            f"{path} is not a readable {kind} ({reason}); it may be truncated or damaged: copy or export it again"
        ) from error


@contextmanager
def replacing(path: Path, *, ours: Callable[[Path], bool] | None = None) -> Iterator[Path]:
    """Atomic writing as `files.whole`, with errors of one line.

    Raises:
        UserError: the disk is full, or `path` cannot be written; its old content is unchanged.
    """
    with writing(path):
        if not path.parent.is_dir():
            raise UserError(f"cannot write {path}: there is no folder {path.parent}; create it first")
        with whole(path, ours=ours) as part:
            yield part


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Context that converts any failure to write to a UserError of one line.

    Raises:
        UserError: the disk is full, or `path` cannot be written.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"cannot write {path}: {_write_failure(error)}") from error


def _write_failure(error: Exception) -> str:
    # ndarray.tofile reports a full disk as "N requested and M written", TensorStore by the text of its status
    text = str(error)
    full = any(mark in text for mark in ("requested and", "No space left", "RESOURCE_EXHAUSTED"))
    if full or getattr(error, "errno", None) in _DISK_FULL:
        return "no space left on the disk; free some space or choose another folder"
    if isinstance(error, PermissionError) or "Permission denied" in text or "PERMISSION_DENIED" in text:
        return "permission denied; choose a folder you may write to"
    return getattr(error, "strerror", None) or _first_line(error)


def _first_line(error: Exception) -> str:
    """First line of the message of a library, without the context in brackets that TensorStore appends."""
    return (str(error).splitlines() or [type(error).__name__])[0].split(" [")[0][:200]
