"""Statistics that are not constrained while volumes are sampled, compared with the scatter of the micrograph.

Volume fractions, two-point correlation, lineal path and interface area are constraints, and a volume of another
material can be made to satisfy them: agreement shows that the constraints work, not that the material is right.
Agreement in the independent statistics of this module is evidence, except in those that follow from constraints, which
are marked.

All are measured in disjoint square windows of one size, crops of the micrograph and of the planes of the volumes, so
that the estimator and its border effects, on clusters for instance, are the same for both. The tolerance of a
difference is a quantile of Student's t times its standard error sqrt(1/n + 1/m) s, with s the standard deviation
between crops, n crops of the micrograph and volumes worth m independent windows.

One file, because the tolerances of all statistics need the same crops, windows and quantiles.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer
from scipy import stats

from jaxmicro.descriptors import chord_length_distribution, cluster_sizes, euler_density, mean_chord_length
from jaxmicro.evaluate.metrics import error_rate
from jaxmicro.evaluate.rounding import by_axis, mean_and_spread, number, numbers
from jaxmicro.evaluate.scatter import fraction_covariance
from jaxmicro.evaluate.statistics import image_covariance
from jaxmicro.evaluate.windows import (
    Windows,
    chord_counts,
    chord_ends,
    cluster_counts,
    contacts,
    cross_correlation,
    euler_densities,
    evenly,
    speck_pixels,
    thinned,
    tiled,
    triple_points,
    windows_of,
)
from jaxmicro.types import Microstructure

CONSTRAINABLE = ("volume_fraction", "two_point", "lineal_path", "surface_area", "slice_steps")
LEVEL = 0.05  # probability that any independent statistic of a volume of the same material is marked as different
_MOST_CURVES = 64  # upper bound of the number of windows in a set whose curves are measured
_DRAWS = 400  # samples of the bootstrap of curves
_FREEDOM = 6  # fewest residual degrees of freedom for a regression of the statistics of crops on their fractions
_REACH = 48  # pixels: largest lag of the covariance from which independent windows are counted

Distance = Callable[[np.ndarray, np.ndarray], float]


def independent(
    volumes: Sequence[Microstructure], reference: Microstructure, *, r_max: int = 32, held: Sequence[str] | None = None
) -> dict:
    """Independent statistics of the planes of volumes and of the micrograph, with the differences expected by chance.

    Args:
        volumes: with the phases of the reference.
        reference: the micrograph, or a volume, of which planes are taken.
        r_max: largest distance of the cross-correlation in voxels.
        held: statistics that were constrained, names of CONSTRAINABLE; None: not known.
    Returns:
        {"window" (edge in pixels), "crops", "level", "phases": [per phase {"phase", "speck_pixels",
        "windows_per_volume", "euler_density", "clusters", "specks", "mean_chord_length",
        "chord_length_distribution"}], "triple_points", "cross_correlation", "contacts", "compared", "outside",
        "in_3d"}. "triple_points", "cross_correlation" and "contacts" need three phases and are empty for two. Each
        number is {"micrograph", "crops_std", "mean", "std", "volumes", "axes", "difference", "chance", "outside",
        "held"}. "chance" is the tolerance of the difference: with a probability of 1 - level, no independent statistic
        of a volume of the same material exceeds its own; None where the micrograph has fewer than two crops. "held"
        says whether the number follows from the constraints: "no", "implied" or "partly"; None where they are not
        known.
        Densities and contacts are per pixel, lengths in pixels; the difference of chord length distributions is in
        pixels, that of cross-correlations an error rate in percent.
    """
    edge, crops = windows_of(volumes, reference)
    phases = reference.phases
    worth = np.array([_worth(reference.labels, phases, edge, v.labels.shape) for v in volumes])  # v p
    names = ["euler_density", "clusters", "specks", "mean_chord_length", "chord_length_distribution"]
    status = {name: _status(name, held, phases) for name in (*names, "triple_points", "cross_correlation", "contacts")}
    pairs = list(itertools.combinations(range(phases), 2)) if phases > 2 else []
    tests = phases * sum(status[name] != "implied" for name in names) + bool(pairs)
    tests += len(pairs) * sum(status[name] != "implied" for name in ("cross_correlation", "contacts"))
    comparison = _Comparison(
        crops,
        [[tiled(thinned(np.moveaxis(v.labels, axis, 0), edge), edge) for axis in range(3)] for v in volumes],
        np.mean([v.volume_fractions for v in volumes], axis=0),
        worth.sum(axis=0),
        1 - LEVEL / tests,
    )
    phase_reports = []
    for p in range(phases):
        speck = speck_pixels(crops == p)
        statistics = comparison.clusters(p, speck) | comparison.chords(volumes, p)
        phase_reports.append(
            {"phase": p, "speck_pixels": speck, "windows_per_volume": number(worth[:, p].mean())}
            | {name: part | {"held": status[name]} for name, part in statistics.items()}
        )
    report = {
        "window": edge,
        "crops": len(crops),
        "level": LEVEL,
        "phases": phase_reports,
        "triple_points": comparison.density(triple_points) | {"held": status["triple_points"]} if pairs else None,
        "cross_correlation": [
            {"phases": list(pair), "held": status["cross_correlation"], **part}
            for pair, part in zip(pairs, comparison.cross_correlations(pairs, phases, r_max), strict=True)
        ],
        "contacts": [
            {"phases": [p, q], "held": status["contacts"]}
            | comparison.density(lambda stack, p=p, q=q: np.asarray(contacts(stack, phases=phases))[:, p, q])
            for p, q in pairs
        ],
        "in_3d": [of_volumes(volumes, p) for p in range(phases)],
    }
    free = free_numbers(report)
    return report | {"compared": len(free), "outside": [name for name, part in free.items() if part["outside"]]}


def free_numbers(report: dict) -> dict[str, dict]:
    """The numbers of `independent` that do not follow from constraints, by name and phase."""
    named = {
        f"{name}.{phase['phase']}": part
        for phase in report["phases"]
        for name, part in phase.items()
        if isinstance(part, dict)
    }
    if report["triple_points"]:
        named["triple_points"] = report["triple_points"]
    for name in ("cross_correlation", "contacts"):
        named |= {f"{name}.{part['phases'][0]}.{part['phases'][1]}": part for part in report[name]}
    return {name: part for name, part in named.items() if part["held"] != "implied"}


def of_volumes(volumes: Sequence[Microstructure], phase: int) -> dict:
    """Topology of a phase in 3D: Euler density and clusters (6-connected) per voxel, share of the largest cluster."""
    masks = [v.labels == phase for v in volumes]
    sizes = [cluster_sizes(mask) for mask in masks]
    euler = [float(euler_density(m, periodic=v.periodic)) for m, v in zip(masks, volumes, strict=True)]
    return {
        "phase": phase,
        "euler_density": mean_and_spread(euler),
        "clusters": mean_and_spread([len(each) / mask.size for each, mask in zip(sizes, masks, strict=True)]),
        "connected_fraction": mean_and_spread([each[0] / each.sum() if len(each) else 0.0 for each in sizes]),
    }


def chord_distance(one: Float[np.ndarray, " r"], other: Float[np.ndarray, " r"]) -> float:
    """Wasserstein distance of two chord length distributions, in voxels: mean difference of the lengths of chords that
    are paired in the order of their length.

    >>> chord_distance(np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0]))
    1.0
    """
    return float(np.sum(np.abs(np.cumsum(_normalised(one) - _normalised(other)))))


@dataclass(frozen=True)
class _Comparison:
    """Crops of the micrograph, windows of the planes of volumes, and the confidence of their comparison."""

    crops: Windows
    planes: list[list[Integer[np.ndarray, "planes tiles h w"]]]  # by volume and axis
    fractions: Float[np.ndarray, " p"]  # of the volumes
    worth: Float[np.ndarray, " p"]  # independent windows in all volumes together, estimated for volume fractions
    confidence: float  # of each number

    def density(
        self, measure: Callable[[Windows], np.ndarray], phase: int | None = None, *, signed: bool = False
    ) -> dict:
        """A density per pixel, from `measure`, its value in each of several windows; `signed`: it may be negative.

        The standard deviation between crops is at least that of a single object in all of them: a density that no crop
        shows need not be zero in the material.
        """
        crops = np.asarray(measure(self.crops), float)
        by_window = [
            [np.asarray(measure(w.reshape(-1, *w.shape[2:])), float).reshape(w.shape[:2]) for w in volume]
            for volume in self.planes
        ]
        along = np.array([[values.mean() for values in volume] for volume in by_window])  # v a
        expected, deviation, error, freedom = self._expected(crops)
        expected = expected if signed else max(expected, 0.0)  # the regression may extrapolate below zero
        once = 1 / (self.crops[0].size * np.sqrt(len(crops)))
        worth = max(self._worth(phase), _independent_windows(by_window))
        chance = self._quantile(freedom) * max(deviation, once) * np.sqrt(error**2 + 1 / worth) if freedom else None
        return _compared(crops, expected, along, chance)

    def clusters(self, phase: int, speck: int) -> dict[str, dict]:
        """Euler density, clusters and specks per pixel; `speck`: pixels from which on a cluster is no speck."""
        area = self.crops[0].size
        return {
            "euler_density": self.density(
                lambda stack: np.asarray(euler_densities(stack == phase)), phase, signed=True
            ),
            "clusters": self.density(lambda stack: cluster_counts(stack == phase)[0] / area, phase),
            "specks": self.density(lambda stack: cluster_counts(stack == phase, below=speck)[1] / area, phase),
        }

    def _expected(self, crops: Float[np.ndarray, " n"]) -> tuple[float, float, float, int]:
        """Expected value of a statistic in crops with the volume fractions of the volumes, by linear regression.

        With fewer than _FREEDOM residual degrees of freedom, the mean of the crops instead.

        Returns:
            expected value, standard deviation of single crops about the regression, standard error of the expected
            value as a multiple of that deviation, residual degrees of freedom.
        """
        n, phases = len(crops), len(self.fractions)
        freedom = n - phases  # n crops less an intercept and phases - 1 slopes
        if freedom < _FREEDOM:
            return float(crops.mean()), float(np.std(crops, ddof=1)) if n > 1 else 0.0, n**-0.5, n - 1
        shares = np.stack([(self.crops == p).mean(axis=(1, 2)) for p in range(phases - 1)], axis=1)
        regressors = np.concatenate([np.ones((n, 1)), shares - self.fractions[:-1]], axis=1)
        inverse = np.linalg.pinv(regressors, rcond=1e-6)
        residuals = crops - regressors @ (inverse @ crops)
        deviation = np.sqrt(np.sum(residuals**2) / freedom)
        return float(inverse[0] @ crops), float(deviation), float(np.linalg.norm(inverse[0])), freedom

    def _quantile(self, freedom: int) -> float:
        """Two-sided quantile of Student's t distribution at the confidence of the comparison."""
        return float(stats.t.ppf((1 + self.confidence) / 2, freedom))

    def _worth(self, phase: int | None) -> float:
        return float(self.worth.min() if phase is None else self.worth[phase])

    def chords(self, volumes: Sequence[Microstructure], phase: int) -> dict[str, dict]:
        """Mean and distribution of chord lengths: along both axes of the crops, along all three axes of the volumes."""
        crops, masks = self.crops == phase, [v.labels == phase for v in volumes]
        n = len(crops)
        planes = [
            [chord_ends(w.reshape(-1, *w.shape[2:]) == phase).reshape(w.shape[:2]) for w in volume]
            for volume in self.planes
        ]
        worth = max(self._worth(phase), _independent_windows(planes))
        along = np.array([[mean_chord_length(mask, axis=axis) for axis in range(3)] for mask in masks])
        fraction, ends = crops.mean(axis=(1, 2)), chord_ends(crops)
        mean = float(2 * fraction.mean() / ends.mean()) if ends.any() else np.inf
        of_crops = mean + (2 * fraction - mean * ends) / ends.mean() if ends.any() else np.full(n, np.inf)  # linearised
        mean_chance = None
        if n > 1 and ends.any():
            mean_chance = self._quantile(n - 1) * np.std(of_crops, ddof=1) * np.sqrt(1 / n + 1 / worth)
        r_max = crops.shape[1] - 2
        reference = _normalised(chord_counts(crops, r_max))
        curves = np.array(
            [[_normalised(chord_length_distribution(m, axis=axis, r_max=r_max)) for axis in range(3)] for m in masks]
        )  # v a r
        each = np.array([chord_counts(crop[None], r_max) for crop in evenly(crops, _MOST_CURVES)])
        return {
            "mean_chord_length": _compared(of_crops, mean, along, mean_chance),
            "chord_length_distribution": _compared_curves(
                reference, curves, chord_distance, self._drawn(each, chord_distance, worth)
            ),
        }

    def cross_correlations(self, pairs: Sequence[tuple[int, int]], phases: int, r_max: int) -> list[dict]:
        """Radial cross-correlation of each pair of phases."""
        if not pairs:
            return []
        r_max = min(r_max, self.crops.shape[1] - 1)

        def measure(windows: np.ndarray) -> np.ndarray:
            chosen = evenly(windows.reshape(-1, *windows.shape[-2:]), _MOST_CURVES)
            return np.asarray(cross_correlation(chosen, phases=phases, r_max=r_max), float)

        crops = measure(self.crops)  # n q r
        curves = np.array([[measure(windows).mean(axis=0) for windows in volume] for volume in self.planes])  # v a q r
        return [
            _compared_curves(
                crops[:, q].mean(axis=0), curves[:, :, q], _rate, self._drawn(crops[:, q], _rate, self._worth(None))
            )
            for q in range(len(pairs))
        ]

    def _drawn(self, each: Float[np.ndarray, "n r"], distance: Distance, worth: float) -> float | None:
        """Tolerance of the distance between two mean curves, from a bootstrap over the curves of the crops."""
        n = len(each)
        if n < 2:
            return None
        rng = np.random.default_rng(0)
        counts = max(1, round(worth)), len(self.crops)
        one, other = (rng.multinomial(k, np.full(n, 1 / n), _DRAWS) @ each / k for k in counts)
        drawn = [distance(a, b) for a, b in zip(one, other, strict=True)]
        # The draws fix the 95 % quantile; the ratio of Student's t to the normal quantile extends it to the confidence
        # of the comparison. A bootstrap of n crops has (n - 1) / n of the variance.
        factor = self._quantile(n - 1) / stats.norm.ppf(0.975) * np.sqrt(n / (n - 1))
        return float(np.quantile(drawn, 0.95) * factor)


def _compared(
    crops: Float[np.ndarray, " n"], expected: float, along: Float[np.ndarray, "v a"], chance: float | None
) -> dict:
    mean = float(along.mean())
    difference = 0.0 if mean == expected else abs(mean - expected)  # equal when both are infinite
    return {
        "micrograph": number(crops.mean()),
        "crops_std": number(np.std(crops, ddof=1)) if len(crops) > 1 and np.isfinite(crops).all() else None,
        "expected": number(expected),
        **mean_and_spread(along.mean(axis=1)),
        "axes": by_axis(along.mean(axis=0)),
        **_judged(difference, chance),
    }


def _compared_curves(
    reference: Float[np.ndarray, " r"], curves: Float[np.ndarray, "v a r"], distance: Distance, chance: float | None
) -> dict:
    mean, axes = curves.mean(axis=(0, 1)), curves.mean(axis=0)
    return {
        "micrograph": numbers(reference),
        "mean": numbers(mean),
        "volumes": [numbers(curve) for curve in curves.mean(axis=1)],
        "axes": by_axis(axes),
        "difference_axes": by_axis([distance(curve, reference) for curve in axes]),
        **_judged(distance(mean, reference), chance),
    }


def _judged(difference: float, chance: float | None) -> dict:
    return {
        "difference": number(difference),
        "chance": None if chance is None else number(chance),
        "outside": chance is not None and bool(difference > chance),
    }


def _status(name: str, held: Sequence[str] | None, phases: int) -> str | None:
    """Whether a statistic follows from the constraints: "no", "implied" or "partly"; None where they are not known.

    The mean chord length follows from volume fraction and interface area, since each chord ends at two interfaces. For
    three phases the S2 and interface areas of single phases determine those of pairs: C_12 = (C_33 - C_11 - C_22) / 2.
    The distribution of chord lengths is the second difference of the lineal path, which is constrained at some
    distances only.
    """
    if held is None:
        return None
    needs = {"mean_chord_length": {"volume_fraction", "surface_area"}, "chord_length_distribution": {"lineal_path"}}
    if phases == 3:
        needs |= {"cross_correlation": {"two_point"}, "contacts": {"surface_area"}}
    if name not in needs or not needs[name] <= set(held):
        return "no"
    return "partly" if name == "chord_length_distribution" else "implied"


def _worth(labels: np.ndarray, phases: int, edge: int, shape: Sequence[int]) -> list[float]:
    """Number of independent windows in the planes of a volume, for each phase: the variance of the volume fraction of a
    window over that of the volume, both from the covariance of the micrograph. All statistics of this module depend on
    shorter distances than the fraction and vary less from volume to volume, so this errs on the safe side."""
    plane = labels if labels.ndim == 2 else labels[len(labels) // 2]
    reach = min(_REACH, min(plane.shape) - 1)
    counts = []
    for covariance in np.asarray(image_covariance(plane, phases=phases, r_max=reach), float):
        covariance = covariance * (np.cumsum(covariance <= 0) == 0)  # beyond its first zero the estimate is noise
        windows, volume = (fraction_covariance(covariance[None, None], s)[0, 0] for s in ((edge, edge), shape))
        counts.append(windows / volume if volume > 0 else 1.0)
    return counts


def _independent_windows(by_window: list[list[Float[np.ndarray, "planes tiles"]]]) -> float:
    """Number of independent windows in the planes of volumes for any statistic, from its autocorrelation from plane to
    plane.

    Planes are independent at a distance of tau, the sum of the autocorrelation up to its first zero. About the mean of
    the same planes it is too small by tau / planes at each distance, which is corrected. The windows of the three
    orientations show the same voxels: their numbers are averaged, not added.
    """
    reach = min(len(values) for volume in by_window for values in volume) // 2 + 1
    lines = [values.mean(axis=1) - values.mean() for volume in by_window for values in volume]
    covariance = np.mean([_autocovariance(line)[:reach] for line in lines], axis=0)
    if covariance[0] <= 0:
        return 0.0
    positive = covariance[: np.argmax(covariance <= 0)] if (covariance <= 0).any() else covariance
    lags = 2 * len(positive) - 1
    tau = (2 * positive.sum() - covariance[0]) / covariance[0]
    total = 0.0
    for volume in by_window:
        each = [values.size / max(tau / max(1 - lags / len(values), 0.1), 1.0) for values in volume]
        total += float(np.mean(each))
    return total


def _autocovariance(line: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    n = len(line)
    return np.correlate(line, line, "full")[n - 1 :] / (n - np.arange(n))


def _normalised(weights: np.ndarray) -> np.ndarray:
    total = weights.sum()
    return weights / total if total > 0 else weights


def _rate(one: np.ndarray, other: np.ndarray) -> float:
    return error_rate(one, other) if np.sum(other) > 0 else 0.0
