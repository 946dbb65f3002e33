"""From a prior and targets to volumes that meet them."""

import dataclasses
import functools
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmicro import models
from jaxmicro.descriptors import lineal_path
from jaxmicro.errors import UserError
from jaxmicro.evaluate import error_rate
from jaxmicro.guidance import (
    CURVES,
    QUANTITIES,
    DistillationConfig,
    Target,
    Wish,
    distill,
    exact,
    exact_of_planes,
    measured,
    misfit,
    parse_target,
    steer,
)
from jaxmicro.models import PriorConfig
from jaxmicro.phases import one_hot
from jaxmicro.pipeline.prior import Prior, Progress, fingerprint, untuned
from jaxmicro.pipeline.volumes import (
    Unfinished,
    as_microstructure,
    default_sampling,
    held_fractions,
    load_unfinished,
    reconstruct,
    sampling_config,
    save_unfinished,
    statistics_to_hold,
    volume_keys,
)
from jaxmicro.reconstruct import (
    Held,
    SamplingConfig,
    SamplingState,
    Weights,
    advance,
    init_state,
    labels_of,
    plane_covariance,
    polish,
    sampling_times,
    segment_lags,
    segments_inside,
    statistics_misfit,
)
from jaxmicro.types import Microstructure

GUIDED = (-4.0, 0.7)  # log SNRs between which predictions are steered: before nothing is known, after all is decided
CROP = 64  # edge of the crops of a micrograph whose largest and smallest numbers are known as max and min
POLISHED, UNPOLISHED = 0.003, 0.01  # error rate of S2 that counts as met, by how the volume is finished
TRANSPORT = ("diffusivity", "tortuosity", "slice_diffusivity")  # what moving interfaces can change
MOVING = 16.0  # weight of the misfit of transport, among those of the statistics, where interfaces are moved
CURVED = 32.0  # weight of S2 among the misfits of a distillation
PASSES, PUSH = 6, 1.05  # times that interfaces are moved and measured, at most; correction of an aim after each
FARTHEST = 4.0  # factor between what is aimed at and what is wanted


class Design(NamedTuple):
    """A designed volume.

    Attributes:
        volume: what was made.
        reconstruction: the volume of the same random numbers without targets.
        targets: as numbers.
        before, achieved: numbers of the reconstruction and of the design, measured exactly, one for each target; for
            a curve its error rate in percent.
        rounds: volumes that were made and measured. For correlations alone the reconstruction is the first.
    """

    volume: Microstructure
    reconstruction: Microstructure
    targets: tuple[Target, ...]
    before: tuple[float, ...]
    achieved: tuple[float, ...]
    rounds: int

    @property
    def met(self) -> bool:
        """Whether all targets are met within their tolerance."""
        return all(_miss(t, v) <= 1 for t, v in zip(self.targets, self.achieved, strict=True))


def design(
    prior: Prior,
    targets: Sequence[str | Target | Wish],
    *,
    micrograph: Microstructure | None = None,
    names: Sequence[str] = (),
    each_slice: bool = False,
    shape: Sequence[int] = (64, 64, 64),
    volumes: int = 1,
    seed: int = 0,
    method: Literal["guided", "sds"] = "guided",
    tolerance: float = 0.02,
    rounds: int = 4,
    sampling: SamplingConfig | None = None,
    distillation: DistillationConfig | None = None,
    skip: Sequence[int] = (),
    on_design: Callable[[int, Design], None] | None = None,
    keep: Path | None = None,
    progress: Progress | None = None,
) -> list[Design]:
    """Volumes of a material whose numbers are those asked for.

    "guided" does what is needed and no more. Where the volume fractions stay, the interfaces of the reconstruction are
    moved (`reconstruct.polish`) along the gradient of the misfits of diffusivities, S2 and lineal path. What that does
    not reach, and other quantities, steer the multi-plane sampling: the predicted clean volume is moved along the
    gradient of the misfits, while two-point correlation and volume fractions are held, unless they are themselves
    targets; the lineal path is given up there, for what conducts better or has more interface has another one.
    Interfaces of what was sampled are moved, too, if no target is about how much of them there is.
    "sds" distils a reconstructed volume (P-MicroLad section 3.4). What comes out is measured exactly, and what was
    missed is added to what is aimed at in the next round, until all targets are met or the rounds are over; the best
    round is returned. Volume i depends on (seed, i) only.

    Args:
        targets: as `guidance.parse_target` reads them: "diffusivity.0.z=+20%", "volume_fraction.pore>=0.3".
        micrograph: what max, min and micrograph refer to; needed for these only.
        names: of the phases, by label.
        each_slice: each section should have the numbers that sections have, not only the mean over them; of the
            distribution the narrower, the stranger.
        method: "guided", or "sds" (score distillation).
        tolerance: relative deviation that counts as met.
        rounds: volumes sampled at most for each design.
        sampling, distillation: everything else about the two methods.
        skip: numbers of volumes not to make, because they exist already.
        on_design: called with the number and the design as soon as each is ready.
        keep: folder for volumes without targets, which take half of the time: they are there for other targets of the
            same prior, seed and sampling, and after an interruption.
    Raises:
        UserError: a target that cannot be read, or cannot be met by any medium, or contradicts another.
    """
    if rounds < 1 or volumes < 1:
        raise UserError(f"rounds is {rounds} and volumes {volumes}; both must be at least 1")
    config = sampling_config(prior, shape=shape, sampling=sampling or default_sampling(prior.config))
    known = read_targets(
        targets, prior, micrograph=micrograph, names=names, each_slice=each_slice, shape=shape, method=method,
        periodic=config.periodic, tolerance=tolerance,
    )  # fmt: skip
    made = []
    for number in [n for n in range(volumes) if n not in set(skip)]:
        work = _Work(
            prior,
            config,
            tuple(shape),
            seed,
            number,
            volumes,
            method,
            tolerance,
            distillation or DistillationConfig(),
            keep,
            progress,
        )
        found = work.run(known, rounds)
        made.append(found)
        if on_design is not None:
            on_design(number, found)
    return made


def read_targets(
    targets: Sequence[str | Target | Wish],
    prior: Prior,
    *,
    micrograph: Microstructure | None = None,
    names: Sequence[str] = (),
    each_slice: bool = False,
    shape: Sequence[int] = (64, 64, 64),
    method: Literal["guided", "sds"] = "guided",
    periodic: bool = True,
    tolerance: float = 0.02,
) -> list[Target | Wish]:
    """Targets as numbers; a change of what exists in 3D only stays a wish until the reconstruction is there.

    Arguments as `design`.

    Raises:
        UserError: a target cannot be read, or met by any medium, or contradicts another; the micrograph is needed and
            not given; the method cannot do it.
    """
    if prior.config.space != "pixel" and method == "guided":
        raise UserError("a latent prior can be designed by score distillation only: --method sds")
    if not targets:
        raise UserError("no target given; say for example diffusivity.0.z=+20%")
    if not 0 < tolerance < 1:
        raise UserError(f"the tolerance is {100 * tolerance:g} %; expected more than 0 and less than 100")
    found = [
        _resolved(
            parse_target(wish, phases=prior.config.phases, names=names) if isinstance(wish, str) else wish,
            prior,
            micrograph,
            shape,
            tolerance,
        )
        for wish in targets
    ]
    if each_slice:
        found = [_of_each(wish) for wish in found]
        if not any(isinstance(wish, Target) and wish.each for wish in found):
            sections = ", ".join(name for name, quantity in QUANTITIES.items() if quantity.of_plane is not None)
            raise UserError(f"each slice can only have what slices have: {sections}; no target is about these")
    fractions = held_fractions(prior, "micrograph")
    numbers = [wish for wish in found if isinstance(wish, Target)]
    wanted = wanted_fractions(numbers, fractions)  # refuses what does not go together
    curves = [wish for wish in found if wish.quantity in CURVES]
    if fractions is not None and wanted is not None:
        for curve in curves:
            if abs(wanted[curve.phase] - fractions[curve.phase]) > 1e-6:
                asked = " and ".join(_text(wish) for wish in numbers if wish.quantity == "volume_fraction")
                raise UserError(
                    f"{curve.quantity}.{curve.phase}=micrograph and {asked} exclude each other: with it phase "
                    f"{curve.phase} fills {wanted[curve.phase]:.4g} of the volume, in the micrograph "
                    f"{fractions[curve.phase]:.4g}; leave one out"
                )
    if not periodic and curves:
        raise UserError(f"{curves[0].quantity} can be a target of periodic volumes only; leave out --no-periodic")
    if curves:
        alone = method == "guided" and all(wish.quantity in (*CURVES, "volume_fraction") for wish in found)
        polished = alone and _finishable(found, prior, periodic=periodic)
        allowed = {"two_point": POLISHED if polished else UNPOLISHED, "lineal_path": UNPOLISHED}
        found = [dataclasses.replace(w, tolerance=allowed[w.quantity]) if w in curves else w for w in found]
    if method == "sds":
        if any(edge % prior.config.factor for edge in shape):
            raise UserError(f"--method sds needs edges that are multiples of {prior.config.factor}")
        fractions = None  # not held
    check_feasible(found, fractions)
    return found


def _finishable(targets: Sequence[Target | Wish], prior: Prior, *, periodic: bool) -> bool:
    """Whether the interfaces of a volume can be moved to what is wanted: no target is about how many of them it has."""
    known = prior.material is not None and prior.material.wanted_segments is not None
    quantities = {target.quantity for target in targets} - {"volume_fraction"}
    return known and periodic and bool(quantities) and quantities <= {*CURVES, *TRANSPORT}


def _of_each(wish: Target | Wish) -> Target | Wish:
    """The target for each section, if sections have such a number."""
    sections = wish.quantity in QUANTITIES and QUANTITIES[wish.quantity].of_plane is not None
    return dataclasses.replace(wish, each=True) if sections and isinstance(wish, Target) else wish


def _resolved(wish, prior: Prior, micrograph: Microstructure | None, shape, tolerance: float) -> Target | Wish:
    if isinstance(wish, Target):
        return wish
    target = functools.partial(
        Target, wish.quantity, wish.phase, axis=wish.axis, relation=wish.relation, tolerance=tolerance
    )
    if wish.quantity in CURVES:
        material = prior.material
        if (
            material is None
            or material.wanted_covariance is None
            or not (material.lineal_path or wish.quantity == "two_point")
        ):
            raise UserError(f"{wish.quantity} needs a prior that knows its micrograph; train it on one")
        return target(math.nan)
    if wish.quantity == "relative_surface_area" and prior.config.phases == 2:
        raise UserError("of two phases each has half of the interface: relative_surface_area cannot be a target")
    if wish.kind == "number":
        return target(wish.value)
    if wish.kind == "change" and QUANTITIES[wish.quantity].of_plane is None:
        return wish
    if wish.quantity == "volume_fraction" and wish.kind in ("change", "micrograph") and prior.material is not None:
        return target(wish.value * prior.material.volume_fractions[wish.phase])
    if micrograph is None:
        raise UserError(f"{wish.quantity}.{wish.phase}={wish.kind} needs the micrograph; name it with --reference")
    if micrograph.phases != prior.config.phases:
        raise UserError(
            f"the micrograph has {micrograph.phases} phases, the prior {prior.config.phases}; give the one it knows"
        )
    numbers = crop_numbers(micrograph, wish.quantity, wish.phase, edge=min(CROP, *shape, *micrograph.shape))
    value = {"max": np.max, "min": np.min, "micrograph": np.mean, "change": np.mean}[wish.kind](numbers)
    if not value > 0:
        raise UserError(f"{wish.quantity}.{wish.phase}={wish.kind} is 0 in crops of the micrograph: give a number")
    return target(float(wish.value * value))


def crop_numbers(micrograph: Microstructure, quantity: str, phase: int, *, edge: int) -> np.ndarray:
    """A quantity of square crops of a micrograph (or of the planes of a volume), half an edge apart."""
    planes = micrograph.labels[None] if micrograph.labels.ndim == 2 else micrograph.labels
    height, width = planes.shape[1:]
    steps = [range(0, n - edge + 1, max(edge // 2, 1)) for n in (height, width)]
    crops = [plane[y : y + edge, x : x + edge] for plane in planes for y in steps[0] for x in steps[1]]
    return exact_of_planes(quantity, np.stack(crops), micrograph.phases, phase)


def check_feasible(targets: Sequence[Target | Wish], fractions: Sequence[float] | None) -> None:
    """Refuses targets that no medium has.

    Args:
        fractions: volume fractions that are held where no target says otherwise; None: free.
    Raises:
        UserError: with the bound that is violated.
    """
    numbers = [t for t in targets if isinstance(t, Target)]
    asked = None if fractions is None else wanted_fractions(numbers, fractions)
    comparable = [t if asked is None else _as_diffusivity(t, asked[t.phase]) for t in numbers]
    for i, (a, x) in enumerate(zip(numbers, comparable, strict=True)):
        for b, y in zip(numbers[i + 1 :], comparable[i + 1 :], strict=True):
            if (x.quantity, x.phase, x.axis) == (y.quantity, y.phase, y.axis) and _contradict(x, y):
                raise UserError(f"targets {_text(a)} and {_text(b)} contradict each other; leave one out")
    for target in numbers:
        phi = None if asked is None else asked[target.phase]
        if target.quantity == "tortuosity" and target.relation != ">=":
            # as below: layers along one direction, the isotropic optimum for the mean of all
            lowest, name = 1.0, "Wiener"
            if target.axis is None and phi is not None:
                lowest, name = (3 - phi) / 2, "Hashin-Shtrikman"
            if target.value < lowest:
                raise UserError(
                    f"target {_text(target)} is below the {name} bound {lowest:.4g} of tortuosity factors; ask for more"
                )
        if target.relation == "<=" or math.isnan(target.value):
            continue
        if target.quantity == "relative_surface_area" and target.value > 0.5:
            raise UserError(f"target {_text(target)}: the share of one phase in the interface is at most 0.5")
        if "diffusivity" in target.quantity and phi is not None:
            # one direction: layers along it, and slices may differ in their fraction; the mean over the directions of a
            # volume: no medium is above the isotropic optimum
            mean = target.axis is None and target.quantity == "diffusivity"
            bound, name = (2 * phi / (3 - phi), "Hashin-Shtrikman") if mean else (phi, "Wiener")
            if target.value > bound:
                raise UserError(
                    f"target {_text(target)} is above the {name} bound {bound:.4g} of a phase that fills {phi:.4g} of "
                    f"the volume; ask for less, or for more of the phase: volume_fraction.{target.phase}=..."
                )


def _as_diffusivity(target: Target, phi: float) -> Target:
    """A tortuosity factor as the diffusivity that it is at a volume fraction phi; other targets as they are."""
    if target.quantity != "tortuosity":
        return target
    relation = {"=": "=", ">=": "<=", "<=": ">="}[target.relation]
    return dataclasses.replace(target, quantity="diffusivity", value=phi / target.value, relation=relation)


def wanted_fractions(targets: Sequence[Target], fractions: Sequence[float] | None) -> tuple[float, ...] | None:
    """The volume fractions to hold: within what targets ask for, else in proportion to what they were.

    Raises:
        UserError: no fractions that sum to 1 do it, or there are none to begin with.
    """
    asked = [target for target in targets if target.quantity == "volume_fraction"]
    if fractions is None:
        if asked:
            raise UserError("a general prior holds no volume fractions; train it on a micrograph to ask for others")
        return None
    low, high = np.zeros(len(fractions)), np.ones(len(fractions))
    for target in asked:
        if target.relation in ("=", ">="):
            low[target.phase] = max(low[target.phase], target.value)
        if target.relation in ("=", "<="):
            high[target.phase] = min(high[target.phase], target.value)
    if low.sum() > 1 + 1e-6 or high.sum() < 1 - 1e-6 or np.any(low >= 1) or np.any(low > high):
        given = ", ".join(_text(target) for target in asked)
        raise UserError(f"no volume fractions of {len(fractions)} phases that sum to 1 meet {given}")
    base, scales = np.asarray(fractions), np.array([0.0, 1 / min(fractions)])
    for _ in range(60):  # the common factor at which the fractions, cut at their bounds, sum to 1
        scale = scales.mean()
        scales[int(np.clip(scale * base, low, high).sum() > 1)] = scale
    return tuple(np.clip(scales.mean() * base, low, high).tolist())


class _Aims(NamedTuple):
    """What is aimed at in order to arrive at the targets."""

    values: np.ndarray  # of the numbers that are steered
    covariance: np.ndarray | None  # "p r" that is held


@dataclasses.dataclass(frozen=True)
class _Work:
    """One volume of a design."""

    prior: Prior
    config: SamplingConfig
    shape: tuple[int, ...]
    seed: int
    number: int
    volumes: int
    method: str
    tolerance: float
    distillation: DistillationConfig
    keep: Path | None
    progress: Progress | None

    def run(self, wishes: Sequence[Target | Wish], rounds: int) -> Design:
        """Reconstruct, aim, measure, aim better; the best round."""
        fractions = held_fractions(self.prior, "micrograph")
        start, reconstruction = self._reconstruction(fractions)
        targets = [self._after(wish, reconstruction) for wish in wishes]
        check_feasible(targets, fractions if self.method == "guided" else None)
        before = self._measured(targets, reconstruction)
        wanted = wanted_fractions(targets, fractions)
        prior = self.prior if self.method == "guided" else untuned(self.prior)  # tuned is what leads there by sampling
        held = statistics_to_hold(prior, self.config, [wanted])
        held = jax.tree.map(lambda leaf: leaf[0], held)
        curves = tuple(t for t in targets if t.quantity in CURVES)
        if held.covariance is None and curves:
            assert self.prior.material is not None  # `_resolved` has seen to it
            held = held._replace(covariance=jnp.asarray(self.prior.material.wanted_covariance, jnp.float32))
        # curves and fractions are held by the sampling, not steered; distillation has the gradient only
        alone = "volume_fraction" if self.method == "guided" else ""
        steered = tuple(t for t in targets if t not in curves and (t.quantity != alone or t.each))
        if steered and self.method == "guided":  # what conducts better, or has more interface, has another lineal path
            held = held._replace(lineal_path=None)
        finish = None
        if self.method == "guided" and _finishable(targets, self.prior, periodic=self.config.periodic):
            finish = self._statistics(targets, wanted, fractions)
        # at the same fractions the reconstruction itself is tried first; what does not cross sections needs new ones
        tried = finish is not None and _same(wanted, fractions)
        tried = tried and all(t.quantity != "slice_diffusivity" for t in targets)
        covariance = None if held.covariance is None else np.asarray(held.covariance, float)
        aims = _Aims(np.array([t.value for t in steered]), covariance)
        best: tuple[float, np.ndarray, list[float]] | None = None
        history: list[tuple[np.ndarray, np.ndarray]] = []
        done = 0
        for done in range(1, rounds + 1):
            again = not tried or done > 1
            sampled = reconstruction
            if again:
                sampled = self._made(start, reconstruction, held, steered, curves, aims, done, rounds)
            labels, achieved = sampled, self._measured(targets, sampled)
            found = _of(steered, targets, achieved)
            if finish is not None:
                labels, achieved = self._finished(sampled, achieved, targets, finish)
            miss = _worst(targets, achieved)
            if best is None or miss < best[0]:
                best = (miss, labels, achieved)
            if miss <= 1 or done == rounds:
                break
            covariance = self._covariance(aims.covariance, targets, sampled)
            if not steered and covariance is aims.covariance:
                break  # held exactly: another round would be the same
            values = aims.values
            if again:
                history.append((np.log(values), np.log(np.clip(found, 1e-6, 1e6))))  # what conducts nothing counts, too
                values = _next(steered, history)
            aims = _Aims(values, covariance)
        assert best is not None
        _, labels, achieved = best
        return Design(
            as_microstructure(labels, self.prior, periodic=self.config.periodic),
            as_microstructure(reconstruction, self.prior, periodic=self.config.periodic),
            tuple(targets),
            tuple(before),
            tuple(achieved),
            done,
        )

    def _statistics(self, targets: Sequence[Target], wanted, fractions) -> Held | None:
        """What volumes are held to while their interfaces are moved: fractions, S2 and lineal path of the micrograph,
        not what leads there while sampling; at other fractions, where nobody knows these, None, unless asked for.
        """
        if wanted is None:
            return None
        own = jax.tree.map(lambda leaf: leaf[0], statistics_to_hold(untuned(self.prior), self.config, [wanted]))
        if _same(wanted, fractions) or any(t.quantity in CURVES for t in targets):
            return own
        return own._replace(lineal_path=None, covariance=None)

    def _finished(
        self, labels: np.ndarray, achieved: list[float], targets: Sequence[Target], held: Held
    ) -> tuple[np.ndarray, list[float]]:
        """A volume with its interfaces moved until it has what is wanted, and its numbers."""
        if held.lineal_path is None:  # it keeps its own
            own = one_hot(jnp.asarray(labels), self.prior.config.phases)
            reach = min(self.shape) // 2
            path = segments_inside(own, lags=len(segment_lags(reach)))
            held = held._replace(lineal_path=path, covariance=plane_covariance(own, r_max=reach))
        moved = tuple(t for t in targets if t.quantity in TRANSPORT)
        wanted = np.array([t.value for t in moved])
        best = _worst(targets, achieved), labels, achieved
        push = np.ones(len(moved))
        for number in range(PASSES):
            if self.progress is not None:
                title = f"moving interfaces, volume {self.number + 1} of {self.volumes}"
                self.progress(title, number, PASSES, "")
            # gradients are of conductors that leak, and elements: aimed at is what they make of the wanted number
            own = np.asarray(_measured(jnp.asarray(labels), targets=_valueless(moved), phases=self.prior.config.phases))
            found = np.maximum(_of(moved, targets, achieved), 1e-12)
            aims = wanted * np.clip(own / found, 1 / FARTHEST, FARTHEST) * push
            labels = np.asarray(
                _polish(jnp.asarray(labels), held, jnp.asarray(aims, jnp.float32), targets=_valueless(moved))
            )
            achieved = self._measured(targets, labels)
            miss = _worst(targets, achieved)
            if miss < max(best[0], 1):  # of volumes that meet their targets the one with the better statistics
                best = miss, labels, achieved
            if not moved or miss < 0.5:
                break
            push = push * np.clip(np.sqrt(wanted / np.maximum(_of(moved, targets, achieved), 1e-12)), 1 / PUSH, PUSH)
            push = np.clip(push, *_sides(moved, 2.0))
        return best[1:]

    def _covariance(self, aim: np.ndarray | None, targets: Sequence[Target], labels: np.ndarray) -> np.ndarray | None:
        """What is held, less what a volume has too much of it, for phases whose correlation is a target."""
        phases = [t.phase for t in targets if t.quantity == "two_point"]
        if aim is None or not phases:
            return aim
        excess, aim = self._excess(labels), aim.copy()
        for phase in phases:
            aim[phase, : excess.shape[1]] -= excess[phase]
        return aim

    def _excess(self, labels: np.ndarray) -> np.ndarray:
        """Covariance of the volume less that of the micrograph."""
        assert self.prior.material is not None
        wanted = np.asarray(self.prior.material.wanted_covariance)
        reach = min(wanted.shape[-1] - 1, min(self.shape) // 2)
        found = plane_covariance(one_hot(jnp.asarray(labels), self.prior.config.phases), r_max=reach)
        return np.asarray(found) - wanted[:, : reach + 1]

    def _measured(self, targets: Sequence[Target], labels: np.ndarray) -> list[float]:
        phases, curves = self.prior.config.phases, {"two_point": self._two_point, "lineal_path": self._lineal_path}
        return [
            error_rate(*curves[t.quantity](labels, t.phase))
            if t.quantity in curves
            else exact(t.quantity, labels, phases, t.phase, t.axis)
            for t in targets
        ]

    def _two_point(self, labels: np.ndarray, phase: int) -> tuple[np.ndarray, np.ndarray]:
        """S2 in planes of the volume and of the micrograph."""
        assert self.prior.material is not None
        wanted = np.asarray(self.prior.material.wanted_covariance)[phase]
        phi = self.prior.material.volume_fractions[phase]
        excess = self._excess(labels)[phase]
        own = wanted[: len(excess)] + excess + float(np.mean(labels == phase)) ** 2
        return own, wanted[: len(excess)] + phi**2

    def _lineal_path(self, labels: np.ndarray, phase: int) -> tuple[np.ndarray, np.ndarray]:
        """The same of L, the mean over the axes."""
        assert self.prior.material is not None
        wanted = np.asarray(self.prior.material.lineal_path[phase])[: min(self.shape) // 2 + 1]
        inside, r_max = jnp.asarray(labels == phase), len(wanted) - 1
        each = [lineal_path(inside, axis=axis, r_max=r_max, periodic=self.config.periodic) for axis in range(3)]
        return np.mean(each, axis=0), wanted

    def _after(self, wish: Target | Wish, labels: np.ndarray) -> Target:
        """A change of what the reconstruction has, as a number."""
        if isinstance(wish, Target):
            return wish
        own = exact(wish.quantity, labels, self.prior.config.phases, wish.phase, wish.axis)
        if not 0 < own < math.inf:
            raise UserError(
                f"{wish.quantity}.{wish.phase} of the reconstruction is {own:g}: a change of it in percent leads "
                "nowhere; give a number"
            )
        return Target(wish.quantity, wish.phase, wish.value * own, wish.axis, wish.relation, self.tolerance)

    def _stretch(self, *arguments: Any, title: str, held: Held, **options: Any) -> SamplingState:
        state, start, stop, aims = arguments
        key = volume_keys(self.seed, [self.number])[0]
        at_once = (self.config.harmonise + 1) * 4  # progress is shown in between
        while start < stop:
            if self.progress is not None:
                total = self.config.evaluations
                self.progress(f"{title}, volume {self.number + 1} of {self.volumes}", start, total, "")
            end = min(start + at_once, stop)
            state = jax.block_until_ready(
                _sampled(
                    self.prior.params, state, key, held, aims, start, end,
                    prior=self.prior.config, sampling=self.config, **options,
                )
            )  # fmt: skip
            start = end
        return state

    def _reconstruction(self, fractions) -> tuple[SamplingState | None, np.ndarray]:
        """The state at which guidance begins, and the volume without targets."""
        if self.method == "sds":
            made = reconstruct(
                self.prior, shape=self.shape, seed=self.seed, volumes=self.number + 1, skip=range(self.number),
                sampling=self.config, progress=self.progress,
            )  # fmt: skip
            return None, made[0].labels
        held = jax.tree.map(lambda leaf: leaf[0], statistics_to_hold(self.prior, self.config, [fractions]))
        start = self._kept(self._first, held)
        end = self._kept(self.config.evaluations, held, start)
        return start, np.asarray(labels_of(end))[self.config.middle]

    def _kept(self, stop: int, held: Held, start: SamplingState | None = None) -> SamplingState:
        """The sampling without targets after `stop` evaluations: as it is kept, or from `start`, or from noise."""
        path = None if self.keep is None else self.keep / f"untargeted_{self.number:03d}_{stop}.npz"
        work = [dataclasses.asdict(self.config), self.seed, self.number, self.prior.config.to_dict()]
        identity = json.dumps([*work, fingerprint([self.prior.params, held])])
        found = load_unfinished(path, identity)
        if found is not None:
            return found.states
        key = volume_keys(self.seed, [self.number])[0]
        done, state = (self._first, start) if start is not None else (0, None)
        if state is None:
            state = _noise(key, sampling=self.config, channels=self.prior.config.channels)
        state = self._stretch(state, done, stop, jnp.zeros(0), title="reconstructing", held=held, targets=())
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_unfinished(path, identity, Unfinished(stop, state))
        return state

    @property
    def _first(self) -> int:
        """The first evaluation that is guided."""
        times = np.asarray(sampling_times(self.config))
        return min(int(np.searchsorted(times, GUIDED[0])), self.config.steps - 1) * (self.config.harmonise + 1)

    def _made(self, start, reconstruction, held: Held, steered, curves, aims: _Aims, done: int, rounds: int):
        values = jnp.asarray(aims.values, jnp.float32)
        if aims.covariance is not None and held.covariance is not None:
            held = held._replace(covariance=jnp.asarray(aims.covariance, jnp.float32))
        title = f"round {done} of at most {rounds}"
        steered = _valueless(steered)
        if self.method == "guided":
            end = self._stretch(
                start, self._first, self.config.evaluations, values, title=title, held=held, targets=steered
            )
            return np.asarray(labels_of(end))[self.config.middle]
        if self.progress is not None:
            self.progress(f"{title}, volume {self.number + 1} of {self.volumes}", 0, 1, "distilling")
        key = jax.random.fold_in(volume_keys(self.seed, [self.number])[0], self.config.evaluations + 1)
        found = _distilled(
            self.prior.params, jnp.asarray(reconstruction), values, key, held,
            prior=self.prior.config, targets=steered, curves=curves, config=self.distillation,
        )  # fmt: skip
        return np.asarray(found)


def _next(targets: Sequence[Target], history: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """What to aim at next: moved by what was missed, over the slope that the last two rounds show; in logarithms. What
    is aimed at for a bound stays on its side."""
    aimed, found = history[-1]
    goals = np.array([target.value for target in targets])
    slope = np.ones_like(aimed)
    if len(history) > 1:
        moved = aimed - history[-2][0]
        far = np.abs(moved) > 1e-3
        slope[far] = np.clip((found - history[-2][1])[far] / moved[far], 0.3, 1.5)
    return goals * np.clip(np.exp(aimed + (np.log(goals) - found) / slope) / goals, *_sides(targets, FARTHEST))


def _sides(targets: Sequence[Target], farthest: float) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest factor of what is aimed at on what is wanted; of a bound it stays on its side."""
    low = np.array([1.0 if target.relation == ">=" else 1 / farthest for target in targets])
    return low, np.array([1.0 if target.relation == "<=" else farthest for target in targets])


def _valueless(targets: Sequence[Target]) -> tuple[Target, ...]:
    """Targets whose values are aims that are given apart: one program for all values."""
    return tuple(dataclasses.replace(target, value=1.0) for target in targets)


def _of(some: Sequence[Target], targets: Sequence[Target], numbers: Sequence[float]) -> np.ndarray:
    """The numbers that belong to some of the targets."""
    return np.array([number for target, number in zip(targets, numbers, strict=True) if target in some])


@functools.partial(jax.jit, static_argnames=("prior", "sampling", "targets"))
def _sampled(
    params, state, key, held: Held, aims, start, stop, *, prior: PriorConfig, sampling: SamplingConfig, targets
):
    """A stretch of the sampling of one volume, steered towards the aims: network, descriptors and solver in one."""

    def steered(x0_hat):
        return x0_hat.at[sampling.middle].set(steer(x0_hat[sampling.middle], targets, aims))

    def guide(x0_hat, log_snr):
        within = (log_snr > GUIDED[0]) & (log_snr < GUIDED[1])
        return jax.lax.cond(within, steered, lambda x: x, x0_hat)

    model = models.plane_model(prior, params)
    return advance(model, state, start, stop, config=sampling, key=key, held=held, guide=guide if targets else None)


@functools.partial(jax.jit, static_argnames="targets")
def _polish(labels, held: Held, aims, *, targets):
    """Interfaces moved towards S2 and lineal path, and to the aims if there are any."""
    assert held.fractions is not None and held.lineal_path is not None and held.covariance is not None
    also = (lambda fractions: MOVING * misfit(fractions, targets, aims)) if targets else None
    return polish(labels, held.fractions, held.lineal_path, held.covariance, also=also)


@functools.partial(jax.jit, static_argnames=("targets", "phases"))
def _measured(labels, *, targets, phases: int):
    return measured(one_hot(labels, phases), targets) if targets else jnp.zeros(0)


@functools.partial(jax.jit, static_argnames=("sampling", "channels"))
def _noise(key, *, sampling: SamplingConfig, channels: int) -> SamplingState:
    return init_state(sampling, channels, key=key)


@functools.partial(jax.jit, static_argnames=("prior", "targets", "curves", "config"))
def _distilled(
    params, labels, aims, key, held: Held, *, prior: PriorConfig, targets, curves, config: DistillationConfig
):
    model, codec = models.plane_model(prior, params), models.codec(prior, params)
    fractions = one_hot(labels, prior.phases)
    also = _towards_curves(held, curves, labels.shape) if curves else None
    found = distill(model, codec, fractions, targets, aims, config=config, key=key, also=also)
    return jnp.argmax(found, axis=-1).astype(jnp.uint8)


def _towards_curves(held: Held, curves: Sequence[Target], shape: tuple[int, ...]):
    """Misfit of phase fractions from the curves of the micrograph, and from the volume fractions these belong to."""
    wanted = held.fractions
    assert wanted is not None and held.covariance is not None
    path = wanted[:, None] * jnp.ones(2) if held.lineal_path is None else held.lineal_path
    phases = sorted({target.phase for target in curves})
    asked = jnp.isin(jnp.arange(len(path)), jnp.asarray(phases))
    two_point, lineal = (any(t.quantity == name for t in curves) for name in CURVES)
    weights = Weights(path=1.0 if lineal else None, interface=None, two_point=CURVED)
    curve = statistics_misfit(
        jnp.where(asked[:, None], path, jnp.nan), held.covariance if two_point else None, shape=shape, weights=weights
    )

    def misfit(fractions):
        off = jnp.mean(fractions, axis=(0, 1, 2)) / wanted - 1
        return jnp.sum(jnp.where(asked, off, 0.0) ** 2) + (0.0 if curve is None else curve(fractions))

    return misfit


def _miss(target: Target, achieved: float) -> float:
    """Deviation over tolerance; of a curve its error rate, in percent, over it."""
    if target.quantity in CURVES:
        return achieved / (100 * target.tolerance)
    return abs(target.deviation(achieved)) / target.tolerance


def _same(fractions: Sequence[float] | None, others: Sequence[float] | None) -> bool:
    return fractions is not None and others is not None and bool(np.allclose(fractions, others, atol=1e-6))


def _worst(targets: Sequence[Target], achieved: Sequence[float]) -> float:
    return max(_miss(t, v) for t, v in zip(targets, achieved, strict=True))


def _contradict(a: Target, b: Target) -> bool:
    low = max((t.value for t in (a, b) if t.relation in ("=", ">=")), default=-math.inf)
    high = min((t.value for t in (a, b) if t.relation in ("=", "<=")), default=math.inf)
    return low > high


def _text(target: Target) -> str:
    return f"{target.name}{target.relation}{target.value:.4g}"
