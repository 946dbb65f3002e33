"""A collection: many microstructures of one shape, and a table of numbers about them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float64, Int64

from jaxmicro.errors import UserError, perhaps_meant
from jaxmicro.types import AXES, Microstructure

ROLES = ("property", "process")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")
_NAMED = 20  # features listed in an error message


@dataclass(frozen=True)
class Feature:
    """A number that each sample of a collection has.

    Attributes:
        name: QUANTITY.PHASE or QUANTITY.PHASE.AXIS (volume_fraction.0, tortuosity.1.z), or any other name of letters,
            digits and `_ . -` that begins with a letter (phi, chi, time, CT_f_D_tort1); at most 100 characters.
        role: "property", measured from the labels, or "process", how the sample was made.
        unit: of the numbers; empty for dimensionless ones.
    Raises:
        UserError: the name has other characters or is too long, or there is no such role.

    >>> Feature("tortuosity.1.z").axis, Feature("phi", "process").axis
    ('z', None)
    """

    name: str
    role: str = "property"
    unit: str = ""

    def __post_init__(self):
        if _NAME.fullmatch(self.name) is None or self.name.endswith(".json"):
            raise UserError(
                f"{self.name!r:.120} cannot name a feature; expected at most 100 letters, digits, '_', '.' or '-', of "
                "which the first is a letter"
            )
        if self.role not in ROLES:
            raise UserError(f"feature {self.name} has the role {self.role!r}; expected property or process")

    def begins_with(self, prefix: str) -> bool:
        """Whether the name is this, or continues it after a `.` or `_`: "tortuosity", "tortuosity.1"."""
        return self.name == prefix or self.name.startswith((f"{prefix}.", f"{prefix}_"))

    @property
    def axis(self) -> str | None:
        """The axis that the name ends in, as `diffusivity.0.z`; None for process parameters and all other names."""
        parts = self.name.split(".")
        named = self.role == "property" and len(parts) == 3 and parts[1].isdigit() and parts[2] in AXES
        return parts[2] if named else None


@runtime_checkable
class LabelSource(Protocol):
    """Labels "n *grid" of all samples, read when they are asked for: they may be larger than memory.

    Indexing with an integer reads one sample, uint8 "*grid"; with an array of m integers m of them, uint8 "m *grid".
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, index: Any, /) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class Collection:
    """Microstructures of one shape with a table of features.

    Attributes:
        labels: phases of the voxels of all samples, "n *grid", `LabelSource` (a uint8 array is one); 0..P-1, which is
            checked of each sample as it is read.
        features: of the columns of the table.
        table: the numbers, float64 "n f"; +inf only in columns `tortuosity...`: not connected.
        origin: int64 "n", number of the run or region that each sample comes from; samples of one origin resemble each
            other.
        values: value that each label has in files (grey level), in label order, increasing.
        voxel_size: edge of a square pixel or cubic voxel in `unit`; None when unknown.
        unit: "nm", "um", "mm" and so on; None when unknown.
        periodic: for each axis, whether opposite faces continue each other.
        source: name of the file or folder that it was read from.
    Raises:
        UserError: shapes do not agree, there is no sample, a number is NaN or infinite, or a name occurs twice.

    >>> labels, phi = np.zeros((3, 4, 4), np.uint8), np.array([[0.5], [0.5], [0.6]])
    >>> of = Collection(labels, (Feature("phi", "process"),), phi, origin=np.array([0, 0, 1]), values=(0.0, 1.0))
    >>> len(of), of.grid, of.column("phi").tolist(), [len(side) for side in of.split(0.6)]
    (3, (4, 4), [0.5, 0.5, 0.6], [1, 2])
    """

    labels: LabelSource
    features: tuple[Feature, ...]
    table: np.ndarray
    origin: np.ndarray
    values: tuple[float, ...]
    voxel_size: float | None = None
    unit: str | None = None
    periodic: tuple[bool, ...] = ()
    source: str = ""

    def __post_init__(self):
        shape = tuple(self.labels.shape)
        where = self.source or "the collection"
        if len(shape) not in (3, 4) or min(shape) < 1:
            raise UserError(f"{where}: labels have the shape {shape}; expected samples, and edges h w or z y x")
        if not self.periodic:
            object.__setattr__(self, "periodic", (False,) * (len(shape) - 1))
        if len(self.periodic) != len(shape) - 1:
            raise UserError(f"{where}: periodic has {len(self.periodic)} entries for {len(shape) - 1} axes")
        if not 1 <= len(self.values) <= 256:
            raise UserError(f"{where} has {len(self.values)} phases; expected 1 to 256")
        if self.table.shape != (shape[0], len(self.features)) or self.origin.shape != shape[:1]:
            raise UserError(
                f"{where} has {shape[0]} samples and {len(self.features)} features, a table of {self.table.shape} and "
                f"origins of {self.origin.shape}; the table needs a row, and the origins a number, for each sample"
            )
        names = [feature.name for feature in self.features]
        for number, name in enumerate(names):
            if name in names[:number]:
                raise UserError(f"{where} has two features {name}; rename or leave out one")
            check_column(name, self.table[:, number], where)

    def __len__(self) -> int:
        return self.labels.shape[0]

    @property
    def grid(self) -> tuple[int, ...]:
        """Voxels along each axis of a sample, (h, w) or (z, y, x)."""
        return tuple(self.labels.shape[1:])

    @property
    def axes(self) -> str:
        """Letters of the axes of a sample in the order of its array: "yx" or "zyx"."""
        return "".join(AXES[-len(self.grid) :])

    @property
    def phases(self) -> int:
        """Number of phases P."""
        return len(self.values)

    def column(self, name: str) -> Float64[np.ndarray, " n"]:
        """The numbers of one feature.

        Raises:
            UserError: the collection has no such feature; names those that it has.
        """
        return self.table[:, self._places([name])[0]]

    def select(self, names: Sequence[str]) -> "Collection":
        """The collection with these features only, in this order.

        Raises:
            UserError: the collection has no such feature; names those that it has.
        """
        places = self._places(names)
        return replace(self, features=tuple(self.features[i] for i in places), table=self.table[:, places])

    def _places(self, names: Sequence[str]) -> list[int]:
        known = [feature.name for feature in self.features]
        for name in names:
            if name not in known:
                near = perhaps_meant(name, known)
                there = ", ".join(known[:_NAMED] + ["..."] * (len(known) > _NAMED)) or "none"
                raise UserError(f"{self.source or 'the collection'} has no feature {name!r:.120}{near}; it has {there}")
        return [known.index(name) for name in names]

    def sample(self, i: int | np.integer) -> np.ndarray:
        """Labels of one sample, uint8 "*grid".

        Raises:
            UserError: a label is not below P, or there is no such sample.
        """
        if not -len(self) <= i < len(self):
            raise UserError(f"{self.source or 'the collection'} has no sample {i}; it has {len(self)}, from 0 on")
        return self._checked(self.labels[int(i) % len(self)][None], [int(i)])[0]

    def samples(self, indices: Iterable[int] | np.ndarray) -> np.ndarray:
        """Labels of several samples, uint8 "m *grid"; only these are read.

        Raises:
            UserError: a label is not below P.
        """
        chosen = np.asarray(indices if isinstance(indices, np.ndarray) else list(indices), np.int64)
        return self._checked(self.labels[chosen], chosen)

    def _checked(self, labels: np.ndarray, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        where = self.source or "the collection"
        if labels.dtype != np.uint8 or labels.shape[1:] != self.grid:
            raise UserError(f"{where}: sample {indices[0]} is {labels.dtype} {labels.shape[1:]}, not uint8 {self.grid}")
        if self.phases < 256:
            for label, i in zip(labels.reshape(len(labels), -1).max(axis=1), indices, strict=True):
                if label >= self.phases:
                    raise UserError(
                        f"{where}: sample {i} has the label {label}, and there are {self.phases} phases; labels run "
                        "from 0 to P - 1"
                    )
        return labels

    def microstructure(self, i: int | np.integer) -> Microstructure:
        """Sample i with its calibration; periodic if it is along all axes.

        Raises:
            UserError: as `sample`.
        """
        source = f"{self.source or 'sample'}[{i}]"
        return Microstructure(
            self.sample(i), self.values, self.voxel_size, self.unit, source, periodic=all(self.periodic)
        )

    def subset(self, indices: Sequence[int] | np.ndarray) -> "Collection":
        """The samples of these numbers, in this order; their labels are still read when asked for.

        Raises:
            UserError: there is no such sample, or none is chosen.
        """
        chosen = np.asarray(indices, np.int64)
        if chosen.size == 0 or chosen.min() < 0 or chosen.max() >= len(self):
            raise UserError(
                f"{self.source or 'the collection'} has the samples 0 to {len(self) - 1}; choose among them"
            )
        labels = _Chosen(self.labels, chosen)
        return replace(self, labels=labels, table=self.table[chosen], origin=self.origin[chosen])

    def split(self, validation: float = 0.2, seed: int = 0) -> "tuple[Collection, Collection]":
        """A training and a held-out part that have no origin in common, each with at least one.

        Args:
            validation: share of the samples to hold out, 0 < validation < 1; kept as closely as whole origins
                in a random order allow.
            seed: of the choice of origins, >= 0.
        Raises:
            UserError: all samples are of one origin, or the share is out of range.
        """
        if not 0 < validation < 1:
            raise UserError(f"the share to validate on is {validation}; it must lie between 0 and 1")
        origins, counts = np.unique(self.origin, return_counts=True)
        if len(origins) < 2:
            raise UserError(
                f"all samples of {self.source or 'the collection'} are of one origin ({origins[0]}), and samples of "
                "one run or region resemble each other, so that none can be held out; add samples of another run, or "
                "give origins that are independent"
            )
        order = np.random.default_rng(seed).permutation(len(origins))
        missed = np.abs(np.cumsum(counts[order]) - validation * len(self))
        held_out = np.isin(self.origin, origins[order[: int(np.argmin(missed[:-1])) + 1]])
        return self.subset(np.flatnonzero(~held_out)), self.subset(np.flatnonzero(held_out))


@dataclass(frozen=True, eq=False)
class _Chosen:
    """Some samples of a source of labels, read when they are asked for."""

    labels: LabelSource
    chosen: Int64[np.ndarray, " m"]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.chosen), *self.labels.shape[1:])

    def __getitem__(self, index: Any, /) -> np.ndarray:
        chosen = self.chosen[index]
        return self.labels[int(chosen) if np.ndim(chosen) == 0 else chosen]


def allowed_numbers(name: str, column: Float64[np.ndarray, "*n"]) -> Bool[np.ndarray, "*n"]:
    """Which numbers a feature may have: finite ones, and of a tortuosity factor also inf: not connected."""
    return np.isfinite(column) | (np.isposinf(column) & (name.split(".")[0] == "tortuosity"))


def check_column(name: str, column: Float64[np.ndarray, " n"], where: str) -> None:
    """Check that the numbers of a feature are finite; a tortuosity factor may be infinite: not connected.

    Raises:
        UserError: names the feature and the first sample that has no such number.
    """
    allowed = allowed_numbers(name, column)
    if not allowed.all():
        sample = int(np.argmin(allowed))
        raise UserError(
            f"{where}: feature {name} of sample {sample} is {column[sample]}; every sample needs a finite number (only "
            "a tortuosity may be inf: not connected): correct it, or leave out the sample or the feature"
        )
