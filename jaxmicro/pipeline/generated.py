"""Generated samples: measured as collections are, with the process that would make them."""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from jaxmicro.collection import Collection
from jaxmicro.errors import UserError
from jaxmicro.pipeline.conditions import Condition
from jaxmicro.pipeline.exact_features import can_be_met, deviations
from jaxmicro.pipeline.generation import in_memory, measured_names
from jaxmicro.pipeline.measure_collection import measured_table
from jaxmicro.pipeline.prior import Prior
from jaxmicro.pipeline.process_distribution import process_of
from jaxmicro.pipeline.progress import Progress
from jaxmicro.pipeline.sample_properties import Film, graspi_names
from jaxmicro.types import AXES, Microstructure

_DIGITS = 3  # of example targets
_MISSED = 0.1  # relative deviation from which on a target is said to be missed (`deviations`)
_BEYOND = 0.05  # of the range of a feature in training: samples this far beyond are said to be outside
_TOLD = 0.2  # R^2 below which a process parameter is not predicted


@dataclass(frozen=True)
class Generated:
    """Samples generated to targets.

    Attributes:
        volumes: the samples.
        targets: what was asked, with the volume fraction that follows from others.
        measured: of each sample, the features of the model that can be measured (in the unit of the model), by name.
        process: draws "n s" of each process parameter, by name, from the distribution of those that would make each
            sample; empty if the model knows none.
        exact: what was changed to meet targets exactly; None if nothing was asked to be.
    """

    volumes: list[Microstructure]
    targets: dict[str, float]
    measured: list[dict[str, float]]
    process: dict[str, np.ndarray]
    exact: "Exact | None" = None


@dataclass(frozen=True)
class Exact:
    """What was changed in generated samples to meet their targets exactly.

    Attributes:
        names: targets that were met in this way, or missed.
        left: targets that were left as sampled.
        sampled: labels "n *grid" before.
        before: of each sample, the values of these targets before, by name.
        met: by name of the target, for each sample.
    """

    names: tuple[str, ...]
    left: tuple[str, ...]
    sampled: np.ndarray
    before: list[dict[str, float]]
    met: dict[str, list[bool]]


def measured(
    prior: Prior,
    labels: np.ndarray,
    targets: dict[str, float],
    *,
    seed: int = 0,
    film: Film | None = None,
    progress: Progress | None = None,
) -> Generated:
    """Labels as `Generated`: measured by the code that measures collections, with the process that would make them."""
    assert prior.conditions is not None and prior.material is not None
    samples = in_memory(prior, labels)
    names = measured_names(prior, samples, film)
    if film is not None:
        names += [name for name in graspi_names(film) if name not in prior.conditions.names]
    table = measured_features(samples, names, progress, film=film)
    process = {}
    if prior.predictor is not None:
        draws = process_of(prior, labels, seed=seed)
        process = {name: draws[..., number] for number, name in enumerate(prior.conditions.process)}
    return Generated([samples.microstructure(i) for i in range(len(labels))], targets, table, process)


def measured_features(
    samples: Collection, names: Sequence[str], progress: Progress | None = None, *, film: Film | None = None
) -> list[dict[str, float]]:
    """The named properties of each sample; GraSPI's with `film` only."""
    return [dict(zip(names, row, strict=True)) for row in measured_table(samples, names, progress, film=film).tolist()]


def exact_targets(prior: Prior, targets: Mapping[str, float]) -> tuple[str, ...]:
    """The targets that samples can be changed to meet exactly."""
    samples = in_memory(prior, np.zeros((1, *prior.config.sample_shape), np.uint8))
    names = measured_names(prior, samples)
    return tuple(name for name in targets if name in names and can_be_met(name, targets[name], samples))


def notes(prior: Prior, found: Generated) -> list[str]:
    """What a user should know of generated samples, one line each: targets that were missed, features outside of what
    the model was trained on, and process parameters that it cannot tell."""
    assert prior.conditions is not None
    lines: list[str] = []
    exact = () if found.exact is None else found.exact.names
    can_be_exact = exact_targets(prior, found.targets)
    for entry in prior.conditions.entries:
        if entry.name in found.measured[0]:
            values = np.array([sample[entry.name] for sample in found.measured])
            if entry.name in found.targets and entry.name not in exact:
                exact_helps = found.exact is None and entry.name in can_be_exact
                lines += _missed(entry.name, found.targets[entry.name], values, exact_helps)
            lines += _outside(entry, values)
    if unmeasured := [name for name in found.targets if name in graspi_names() and name not in found.measured[0]]:
        lines.append(
            f"{', '.join(unmeasured)} cannot be measured without the labels of the phases: --donor and --acceptor, and "
            "--mixed if there is a mixed phase"
        )
    lines += _sides(prior, found.measured[0])
    for name, draws in found.process.items():
        lines += _of_process(name, found.targets.get(name), draws)
    for name, r2 in prior.record.get("process_r2", {}).items():
        if name in found.process and r2 is not None and r2 < _TOLD:
            lines.append(f"the model cannot tell {name} from a structure (R^2 {r2:.2f} for held-out runs)")
    return lines


def _of_process(name: str, asked: float | None, draws: Float[np.ndarray, "n s"]) -> list[str]:
    """A line if a process parameter that was asked is not among those that would make the samples."""
    if asked is None:
        return []
    low, high = np.quantile(draws, (0.05, 0.95))
    if low <= asked <= high:
        return []
    return [
        f"asked {name}={asked:.4g}, but the samples look as if made with {low:.4g} to {high:.4g} (90 % of the draws)"
    ]


def _sides(prior: Prior, names: Iterable[str]) -> list[str]:
    """A line where diffusion took periodic sides that a file of the sample does not tell."""
    periodic = tuple(prior.config.unet.periodic)
    solved = any(name.startswith(("tortuosity", "diffusivity")) for name in names)
    if not solved or not any(periodic) or all(periodic):
        return []
    along = ", ".join(letter for letter, yes in zip(AXES[-len(periodic) :], periodic, strict=True) if yes)
    return [f"diffusion took the sides as periodic along {along}, which files do not tell; 'measure' of a file differs"]


def _missed(name: str, asked: float, values: np.ndarray, exact_helps: bool) -> list[str]:
    """A line if values are off by more than `_MISSED`."""
    off = np.abs(deviations([name], values[:, None], np.full((len(values), 1), asked))[:, 0]) > _MISSED
    if not off.any():
        return []
    exact = ", --exact changes voxels" if exact_helps else ""
    return [
        f"asked {name}={asked:.4g}, measured {_span(values[off])}: {off.sum()} of {len(values)} samples are off by "
        f"more than {_MISSED:.0%}; --candidates N takes the nearest of N draws{exact}"
    ]


def _outside(entry: Condition, values: np.ndarray) -> list[str]:
    """A line if values are beyond those of the training samples."""
    low, high = np.sort(entry.standardised(np.array([entry.least, entry.most])))
    beyond, scaled = _BEYOND * (high - low), entry.standardised(values)
    outside = (scaled < low - beyond) | (scaled > high + beyond)
    if not outside.any():
        return []
    return [
        f"{entry.name} of {outside.sum()} of {len(values)} samples, {_span(values[outside])}, is outside of what the "
        f"model was trained on, {entry.least:.4g} to {entry.most:.4g}"
    ]


def _span(values: np.ndarray) -> str:
    low, high = f"{values.min():.4g}", f"{values.max():.4g}"
    return low if low == high else f"{low} to {high}"


def example_targets(prior: Prior) -> str:
    """Two features of a typical training sample, as targets in the notation of the command line: with three digits, or
    as many as it takes to remain within what the model was trained on."""
    assert prior.conditions is not None
    conditions = prior.conditions
    typical = conditions.samples[np.argmin(np.sum(conditions.samples**2, axis=1))]
    values = dict(zip(conditions.names, conditions.natural(typical[None])[0].tolist(), strict=True))
    properties = [name for name in values if name not in conditions.process and np.isfinite(values[name])]
    kinds = {name.split(".")[0]: name for name in reversed(properties)}
    preferred = [kinds[kind] for kind in ("volume_fraction", "tortuosity") if kind in kinds]
    names = preferred or list(kinds.values())[:2] or conditions.names[:1]
    for digits in range(_DIGITS, 17):
        targets = {name: float(f"{values[name]:.{digits}g}") for name in names}
        with contextlib.suppress(UserError):
            conditions.checked(targets)
            break
    return " ".join(f"{name}={value:.{digits}g}" for name, value in targets.items())
