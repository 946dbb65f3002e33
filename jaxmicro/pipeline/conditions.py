"""Conditions: features of a collection as a network takes them, and what may be asked of it.

One file, because what may be asked is judged by the scales and samples that the network was trained with.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxmicro.collection import ROLES, Collection, Feature
from jaxmicro.errors import UserError, perhaps_meant
from jaxmicro.pipeline.feature_bounds import check_possible
from jaxmicro.types import check_fields

MOST_SAMPLES = 2000  # of the collection that a model keeps, to judge combinations of features
LOG_RATIO = 20.0  # positive process parameters over a wider range than this enter as their logarithm
FARTHEST = 2.0  # an asked combination may be this many times as far from the samples as these are from each other
_SUM_TOLERANCE = 1e-3
_EXAMPLES = 50  # training samples by which a table is judged
ROUNDING = 1e-6  # of standardised features in single precision


@dataclass(frozen=True)
class Condition:
    """A feature of a collection, and how it is standardised.

    Attributes:
        name, role, unit: as `Feature`.
        scale: of the number that is standardised: "identity", "log", or "reciprocal", by which an infinite tortuosity
            factor is 0.
        mean, std: of that number over the training samples.
        least, most: of the feature itself over the training samples.
    """

    name: str
    role: str
    unit: str
    scale: str
    mean: float
    std: float
    least: float
    most: float

    def standardised(self, values: Float[np.ndarray, "*n"] | float) -> np.ndarray:
        """Values as the network takes them; NaN stays NaN: not given."""
        scaled = np.asarray(values, float)
        if self.scale == "log":
            scaled = np.log(np.maximum(scaled, 1e-300))
        elif self.scale == "reciprocal":
            with np.errstate(divide="ignore"):
                scaled = 1 / scaled
        return (scaled - self.mean) / self.std

    def natural(self, standardised: Float[np.ndarray, "*n"] | float) -> np.ndarray:
        """Inverse of `standardised`."""
        scaled = self.mean + self.std * np.asarray(standardised, float)
        if self.scale == "log":
            return np.exp(scaled)
        if self.scale == "reciprocal":
            with np.errstate(divide="ignore"):
                return 1 / np.maximum(scaled, 0.0)
        return scaled


@dataclass(frozen=True)
class Conditions:
    """The conditions of a model, in the order in which its network takes them.

    Attributes:
        samples: standardised features "m f" of samples that it was trained on, at most `MOST_SAMPLES`.
        origin: the origin of each of these samples.
        phases: number of phases of the samples.
    """

    entries: tuple[Condition, ...]
    samples: np.ndarray
    origin: np.ndarray
    phases: int

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features."""
        return tuple(entry.name for entry in self.entries)

    @property
    def units(self) -> dict[str, str]:
        """Unit of each feature by its name."""
        return {entry.name: entry.unit for entry in self.entries}

    @property
    def process(self) -> tuple[str, ...]:
        """Names of the process parameters."""
        return tuple(entry.name for entry in self.entries if entry.role == "process")

    def standardised(self, table: Float[np.ndarray, "n f"]) -> Float[np.ndarray, "n f"]:
        """Features as the network takes them."""
        columns = [entry.standardised(table[:, number]) for number, entry in enumerate(self.entries)]
        return np.stack(columns, axis=1).astype(np.float32)

    def natural(self, standardised: Float[np.ndarray, "n f"]) -> Float[np.ndarray, "n f"]:
        """Inverse of `standardised`."""
        return np.stack([entry.natural(standardised[:, i]) for i, entry in enumerate(self.entries)], axis=1)

    def row(self, targets: Mapping[str, float]) -> Float[np.ndarray, " f"]:
        """Targets by name as one row of features, NaN where none is given."""
        return np.array([targets.get(name, np.nan) for name in self.names], float)

    def checked(self, targets: Mapping[str, float], *, extrapolate: bool = False) -> dict[str, float]:
        """Targets completed by the volume fraction that follows from all others, if the model can meet them.

        Args:
            extrapolate: accept values and combinations that the model was not trained on.
        Raises:
            UserError: a name is unknown, no sample can have the values together (`check_possible`), a value is outside
                of what was trained on, or no training sample is near the combination.
        """
        for name in targets:
            if name not in self.names:
                near = perhaps_meant(name, self.names)
                raise UserError(f"the model has no condition {name!r:.80}{near}; it has {', '.join(self.names)}")
        for name, value in targets.items():
            if math.isnan(value) or (math.isinf(value) and name.split(".")[0] != "tortuosity"):
                raise UserError(f"{name}={value:g} is no value; give a finite number")
        given, targets = targets, _completed(dict(targets), self.names, self.phases)
        standardised = self.standardised(self.row(targets)[None])[0]
        for entry, number in zip(self.entries, standardised, strict=True):
            if entry.name in targets and not np.isfinite(number):
                raise UserError(f"{entry.name}={targets[entry.name]:g} is no value of this feature; give another")
        if self._is_physical():
            check_possible(targets, self.phases)
        if extrapolate:
            return targets
        for entry in sorted(self.entries, key=lambda entry: entry.name not in given):  # what was given first
            value, slack = targets.get(entry.name), 1e-6 * max(abs(entry.least), 1e-9)
            if value is not None and not entry.least - slack <= value <= entry.most * (1 + 1e-6) + slack:
                raise UserError(
                    f"{_in_words(entry.name, value, given)} is outside of what the model was trained on, "
                    f"{entry.least:.4g} to {entry.most:.4g}; ask for a value within, or force it with --extrapolate"
                )
        self._check_combination(targets)
        return targets

    def _is_physical(self) -> bool:
        """Whether the features of training samples keep to the bounds of ours; those of a table from elsewhere may have
        the names and other definitions."""
        every = self.natural(self.samples[:_EXAMPLES])
        for column, entry in zip(every.T, self.entries, strict=True):  # what single precision made of 0, 1 and infinity
            for end in (entry.least, entry.most, 0.0, 1.0):
                column[np.isclose(column, end, rtol=0, atol=ROUNDING)] = end
            column[column > 1 / ROUNDING] = np.inf
        try:
            for row in every:
                check_possible(dict(zip(self.names, row.tolist(), strict=True)), self.phases)
        except UserError:
            return False
        return True

    def _check_combination(self, targets: Mapping[str, float]) -> None:
        """Refuses a combination of values that is far from all training samples, each value being within its range.

        Far is more than `FARTHEST` times the distance at which 99 of 100 samples have a neighbour of another origin, in
        the standardised features that are given.
        """
        given = [number for number, name in enumerate(self.names) if name in targets]
        if len(given) < 2 or len(np.unique(self.origin)) < 2:
            return
        known = self.samples[:, given]
        asked = self.standardised(self.row(targets)[None])[0, given]
        distance = np.sqrt(np.sum((known - asked) ** 2, axis=1))
        between = np.sqrt(np.sum((known[:, None] - known) ** 2, axis=-1))
        between[self.origin[:, None] == self.origin] = np.inf
        limit = FARTHEST * np.quantile(between.min(axis=1), 0.99)
        if distance.min() > limit:
            nearest = self.natural(self.samples[np.argmin(distance)][None])[0]
            has = ", ".join(f"{self.names[number]}={nearest[number]:.4g}" for number in given)
            raise UserError(
                f"no sample that the model was trained on is like this combination; the nearest has {has} (distance "
                f"{distance.min():.2g} standard deviations, at most {limit:.2g} between samples): change a value, "
                "leave one out, or force it with --extrapolate"
            )


def conditions_of(
    collection: Collection, *, exchanged: Sequence[str] = (), like: Conditions | None = None, seed: int = 0
) -> Conditions:
    """The conditions of a model that is trained on a collection: all of its features.

    Args:
        exchanged: axes that are exchanged in training: features that differ in these only have joint statistics.
        like: conditions with these features whose scales are used; None: those of the collection.
        seed: of the choice of the samples that are kept.
    Raises:
        UserError: there are no features, or some have the same value in all samples and their scales are not given.
    """
    where = collection.source or "the collection"
    if not collection.features:
        raise UserError(f"{where} has no features to condition on; measure it first: jaxmicro measure")
    if like is None and (constant := constant_features(collection)):
        raise UserError(
            f"{where}: {', '.join(constant)} do not vary between the samples to train on, and cannot be conditions; "
            "leave them out"
        )
    entries = tuple(_condition(f, _pooled(collection, f, exchanged)) for f in collection.features)
    if like is not None:
        scales = [(entry.scale, entry.mean, entry.std) for entry in like.entries]
        entries = tuple(
            dataclasses.replace(entry, scale=scale, mean=mean, std=std)
            for entry, (scale, mean, std) in zip(entries, scales, strict=True)
        )
    chosen = np.random.default_rng(seed).permutation(len(collection))[:MOST_SAMPLES]
    conditions = Conditions(entries, np.zeros((0, len(entries))), np.zeros(0, int), collection.phases)
    samples = conditions.standardised(collection.table[chosen])
    return Conditions(entries, samples, collection.origin[chosen], collection.phases)


def constant_features(collection: Collection) -> list[str]:
    """Names of features that have the same value in all samples, within the rounding of single precision."""
    names = []
    for number, feature in enumerate(collection.features):
        scaled = _scaled(feature, collection.table[:, number])[0]
        if not np.ptp(scaled) > 1e-5 * np.abs(scaled).max():
            names.append(feature.name)
    return names


def _pooled(collection: Collection, feature: Feature, exchanged: Sequence[str]) -> Float[np.ndarray, " m"]:
    """The values that a feature has in training: also those of its partners along exchanged axes."""
    if feature.axis not in exchanged:
        return collection.column(feature.name)
    names = {f.name for f in collection.features}
    partners = [feature.name[:-1] + axis for axis in exchanged]
    return np.concatenate([collection.column(name) for name in partners if name in names])


def _scaled(feature: Feature, column: Float[np.ndarray, " n"]) -> tuple[np.ndarray, str]:
    """Values on the scale on which they are standardised, and its name."""
    scale = "identity"
    if feature.name.split(".")[0] == "tortuosity":
        scale = "reciprocal"
    elif feature.role == "process" and column.min() > 0 and column.max() / column.min() > LOG_RATIO:
        scale = "log"
    return Condition(feature.name, feature.role, feature.unit, scale, 0.0, 1.0, 0.0, 0.0).standardised(column), scale


def _condition(feature: Feature, column: Float[np.ndarray, " n"]) -> Condition:
    scaled, scale = _scaled(feature, column)
    least, most = float(column.min()), float(column.max())
    return Condition(
        feature.name, feature.role, feature.unit, scale, float(scaled.mean()), float(scaled.std()), least, most
    )


def _in_words(name: str, value: float, given: Mapping[str, float]) -> str:
    """A target as the beginning of a message; of a volume fraction that was not given, from which ones it follows."""
    fractions = " ".join(
        f"{each}={number:.4g}" for each, number in given.items() if each.startswith("volume_fraction.")
    )
    return f"{name}={value:.4g}" if name in given else f"{fractions} leaves {name}={value:.4g}, which"


def _completed(targets: dict[str, float], names: Sequence[str], phases: int) -> dict[str, float]:
    """Targets with the volume fraction that follows from those of all other phases.

    Raises:
        UserError: fractions are outside 0..1, or exclude each other.
    """
    fractions = [f"volume_fraction.{phase}" for phase in range(phases)]
    given = {name: targets[name] for name in fractions if name in targets}
    if not given:
        return targets
    listed, total = " ".join(f"{name}={value:g}" for name, value in given.items()), math.fsum(given.values())
    if min(given.values()) < 0 or total > 1 + _SUM_TOLERANCE:
        raise UserError(f"{listed}: volume fractions are at least 0 and sum to 1; these sum to {total:g}")
    missing = [name for name in fractions if name not in given]
    if not missing and abs(total - 1) > _SUM_TOLERANCE:
        raise UserError(f"{listed}: volume fractions sum to 1, these to {total:g}; leave one out")
    if len(missing) == 1 and missing[0] in names:
        targets[missing[0]] = max(1 - total, 0.0)
    return targets


def conditions_to_dict(conditions: Conditions) -> list[dict[str, Any]]:
    """The entries as plain data; an infinite bound as None, because JSON has no infinity."""
    plain = [dict(vars(entry)) for entry in conditions.entries]
    return [{k: None if v == math.inf else v for k, v in entry.items()} for entry in plain]


def conditions_from_dict(
    entries: Sequence[Mapping[str, Any]], samples: np.ndarray, origin: np.ndarray, phases: int
) -> Conditions:
    """Inverse of `conditions_to_dict`.

    Raises:
        TypeError: a field is unknown or missing.
        ValueError: a field is not valid, or the samples do not fit.
    """
    fields: list[dict[str, Any]] = [{k: math.inf if v is None else v for k, v in entry.items()} for entry in entries]
    made = tuple(Condition(**each) for each in fields)
    for entry in made:
        check_fields(entry)
        if entry.scale not in ("identity", "log", "reciprocal") or entry.role not in ROLES:
            raise ValueError(f"condition {entry.name!r:.80} is damaged")
        if not (math.isfinite(entry.mean) and 0 < entry.std < math.inf and entry.least <= entry.most):
            raise ValueError(f"condition {entry.name!r:.80} has no valid mean, deviation or range")
    samples, origin = np.asarray(samples, np.float32), np.asarray(origin, np.int64)
    if samples.shape != (len(origin), len(made)) or origin.ndim != 1 or not 1 <= len(origin) <= MOST_SAMPLES:
        raise ValueError(f"it keeps samples of shape {samples.shape} for {len(made)} conditions")
    return Conditions(made, samples, origin, phases)
