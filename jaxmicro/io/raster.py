"""What every file format needs: an array with its calibration, errors of one line, files that are whole or absent."""

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

_MOST_BYTES = 2**30  # of an image as it is decoded; its phases and their counts take as much again
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class FileLayout:
    """What a file does not say by itself.

    Attributes:
        dataset: name of the array to read in a file that holds several.
        shape: edges z y x (or y x) of numbers without a header; empty when unknown.
        dtype: NumPy's name of their type, with ">" before it if they are big-endian.
    """

    dataset: str | None = None
    shape: tuple[int, ...] = ()
    dtype: str | None = None


@dataclass(frozen=True)
class Raster:
    """Numbers on a grid as a file holds them, before they are phases.

    Attributes:
        array: "h w" or "z y x", any real type.
        spacing: edges of a voxel in array order, NaN where the file does not say; None when it has no calibration.
        unit: unit of the spacing, ASCII; None when unknown.
        values: values that the labels 0..P-1 stand for, if the array is labels written by this package.
        source: name of the file.
        periodic: the file says that its opposite faces continue each other.
        remarks: what the user should know of how the file was read, a line each.
        size_remarks: the same of its voxel size; void where another one is given.
        colours: the numbers are colours 0xRRGGBB, not grey levels.
        indexed: the numbers are indices into a palette of colours.
        indices: the same of an image that shows greys only, although its palette has colours, too: what they are beside
            an image that shows these.
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
    """Refuses, before any memory is taken, a file that says it holds more than we read.

    Raises:
        UserError: it is larger than 1 GiB when decoded.
    """
    need = math.prod(shape) * bytes_per_pixel
    if need > _MOST_BYTES:
        raise UserError(
            f"{path} holds {' x '.join(map(str, shape))} pixels, {need / 2**30:.1f} GiB when decoded, and at most "
            f"{_MOST_BYTES // 2**30} GiB is read; cut or scale it down first"
        )


def drop_unit_axes(array: np.ndarray, axes: int = 2) -> np.ndarray:
    """The array without leading axes of length 1, of which at least the last `axes` stay."""
    while array.ndim > axes and array.shape[0] == 1:
        array = array[0]
    return array


def needs(module: str, what: str) -> Any:
    """A package that a format needs and that an installation may lack.

    Raises:
        UserError: it is not installed; names the command that installs it.
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
    """Turns whatever a decoder raises on a damaged file into one line. Catches all: decoders raise anything.

    Raises:
        UserError: names the file, its kind and the reason.
    """
    try:
        yield
    except UserError as error:
        if str(path) in str(error):
            raise
        raise UserError(f"{path}: {error}") from error
    except Exception as error:
        raise UserError(
            f"{path} is not a readable {kind} ({_first_line(error)}); "
            "it may be truncated or damaged: copy or export it again"
        ) from error


@contextmanager
def replacing(path: Path, *, ours: Callable[[Path], bool] | None = None) -> Iterator[Path]:
    """As `files.whole`, with what goes wrong in one line.

    Raises:
        UserError: the disk is full, or the place cannot be written to; what `path` held before is still there.
    """
    try:
        if not path.parent.is_dir():
            raise UserError(f"cannot write {path}: there is no folder {path.parent}; create it first")
        with whole(path, ours=ours) as part:
            yield part
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
    """What a library said, without the context in brackets that TensorStore adds."""
    return (str(error).splitlines() or [type(error).__name__])[0].split(" [")[0][:200]
