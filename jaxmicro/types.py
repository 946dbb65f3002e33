"""Array types with their axis letters, and `Microstructure`, which all stages exchange.

Axis letters, the same everywhere: `n` batch, `h w` image, `z y x` volume, `c` channel, `p` phase; `*grid` is `h w` or
`z y x`.
"""

import math
from dataclasses import dataclass, replace
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
from jax import Array
from jaxtyping import Float, Integer

from jaxmicro.errors import UserError

ArrayLike = Array | np.ndarray
Labels = Integer[ArrayLike, "*grid"]  # phase of each voxel, 0..P-1
Fractions = Float[ArrayLike, "*grid p"]  # share of each phase in each voxel; sums to 1 over p
Scalar = Float[ArrayLike, ""]
AXES = ("z", "y", "x")  # names of the axes of a volume, in the order of its array


@dataclass(frozen=True, eq=False)
class Microstructure:
    """A segmented image "h w" or volume "z y x" with its physical size.

    Two microstructures are equal if their labels, values, voxel size, unit and periodicity are; source, thresholds and
    remarks do not count.

    Attributes:
        labels: phase of each voxel, uint8, 0..P-1.
        values: value that each label had in the file it was read from (grey level), in label order, increasing.
        voxel_size: edge of a square pixel or cubic voxel in `unit`; None when unknown.
        unit: "nm", "um", "mm" and so on; None when unknown.
        source: name of the file that it was read from; empty for a generated one.
        thresholds: P - 1 grey levels that separated the phases, if a grey image was segmented; else empty.
        periodic: whether opposite faces continue each other, as in generated volumes; in measured ones they do not.
        remarks: on how the file was read, one line each.
    Raises:
        UserError: labels are not a non-empty 2D or 3D uint8 array below P, or the voxel size is not positive.
    """

    labels: np.ndarray
    values: tuple[float, ...]
    voxel_size: float | None = None
    unit: str | None = None
    source: str = ""
    thresholds: tuple[float, ...] = ()
    periodic: bool = False
    remarks: tuple[str, ...] = ()

    def __post_init__(self):
        if self.labels.dtype != np.uint8 or self.labels.ndim not in (2, 3) or self.labels.size == 0:
            raise UserError(
                f"labels are {self.labels.dtype} of shape {self.labels.shape}; "
                "expected a non-empty uint8 array h w or z y x"
            )
        if self.labels.max() >= self.phases:
            raise UserError(f"label {self.labels.max()} found with {self.phases} phases; labels run from 0 to P - 1")
        if self.voxel_size is not None and not (math.isfinite(self.voxel_size) and self.voxel_size > 0):
            raise UserError(f"voxel size {self.voxel_size} is not a positive length; give the edge of a voxel")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Microstructure):
            return NotImplemented
        return (
            np.array_equal(self.labels, other.labels)
            and (self.values, self.voxel_size, self.unit, self.periodic)
            == (other.values, other.voxel_size, other.unit, other.periodic)
        )  # fmt: skip

    __hash__ = None  # type: ignore[assignment]  # holds an array

    @property
    def phases(self) -> int:
        """Number of phases P."""
        return len(self.values)

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along each axis, (h, w) or (z, y, x)."""
        return self.labels.shape

    @property
    def volume_fractions(self) -> tuple[float, ...]:
        """Share of the voxels of each phase, in label order; sums to 1."""
        # not bincount, which copies all labels to 64-bit integers
        return tuple(float(np.mean(self.labels == label)) for label in range(self.phases))


def in_phases_of(reference: Microstructure, other: Microstructure) -> Microstructure:
    """`other` with its phases numbered as in `reference`.

    If both have as many phases, phases correspond in the order of their values; otherwise those of equal value do.

    Raises:
        UserError: the numbers of phases differ, and not all values of `other` are values of the reference.
    """
    if other.phases == reference.phases:
        return other
    if not set(other.values) <= set(reference.values):
        values, expected = (", ".join(f"{value:g}" for value in m.values) for m in (other, reference))
        raise UserError(
            f"{other.source or 'a volume'} has {other.phases} phases (values {values}), "
            f"{reference.source or 'the reference'} has {reference.phases} phases ({expected}); "
            "compare with the micrograph of the same material, or give the phases its values"
        )
    table = np.array([reference.values.index(value) for value in other.values], np.uint8)
    return replace(other, labels=table[other.labels], values=reference.values)


def check_fields(config: Any) -> None:
    """Check that the fields of a dataclass that was read from a file have their declared types: 2.0 is no int.

    Raises:
        ValueError: names the first field that has another type.
    """
    for name, hint in get_type_hints(type(config)).items():
        value = getattr(config, name)
        if not _has_type(value, hint):
            raise ValueError(f"{name} is {str(value)[:40]!r}, expected {getattr(hint, '__name__', hint)}")


def _has_type(value: Any, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return any(_has_type(value, each) for each in arguments)
    if origin is tuple:
        each = [arguments[0]] * len(value) if arguments[-1] is Ellipsis and isinstance(value, tuple) else arguments
        return (
            isinstance(value, tuple)
            and len(value) == len(each)
            and all(_has_type(item, kind) for item, kind in zip(value, each, strict=True))
        )
    if hint in (int, float):
        return isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
    return isinstance(value, hint)


def check_all_phases(micrograph: Microstructure) -> None:
    """Check that every phase has a voxel: a prior cannot learn an absent phase, and no statistics compare with it.

    Raises:
        UserError: a phase has no voxel.
    """
    for label, share in enumerate(micrograph.volume_fractions):
        if share == 0:
            raise UserError(
                f"{micrograph.source or 'the image'} has no voxel of phase {label} "
                f"(value {micrograph.values[label]:g}); use one that shows all of its {micrograph.phases} phases"
            )


def check_patch(micrograph: Microstructure, patch: int) -> None:
    """Check that an image is at least as large as a training patch of `patch` pixels a side.

    Raises:
        UserError: the image (any slice, for a volume) is smaller than the patch.
    """
    if min(micrograph.shape) < patch:
        size = " x ".join(str(edge) for edge in micrograph.shape)
        raise UserError(
            f"{micrograph.source or 'the image'} is {size} pixels, smaller than the training patch of {patch}; "
            f"use a larger image, or train with --from-scratch --patch {max(min(micrograph.shape) // 8 * 8, 8)}"
        )
