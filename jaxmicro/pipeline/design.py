"""Design: from a prior and targets to volumes that meet them.

One file, because the rounds of a design, their setpoints and the result are parts of one loop; its steps are in
`design_constraints`, `guided_sampling`, `distillation`, `interfaces` and `setpoints`.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmicro.errors import UserError
from jaxmicro.guidance import QUANTITIES, DistillationConfig, Target, TargetSpec, exact_value
from jaxmicro.pipeline.design_constraints import Plan, constraints_of_one, plan_design
from jaxmicro.pipeline.distillation import distil_volume
from jaxmicro.pipeline.exact_values import exact_target_values, excess_covariance, is_of_medium
from jaxmicro.pipeline.feasibility import Method, check_feasible
from jaxmicro.pipeline.guided_sampling import sample_guided, sample_unguided
from jaxmicro.pipeline.interfaces import move_interfaces
from jaxmicro.pipeline.prior import Prior
from jaxmicro.pipeline.progress import Progress, stage_progress
from jaxmicro.pipeline.sampling import (
    as_microstructure,
    default_sampling,
    sample_volumes,
    sampling_config,
    volume_keys,
)
from jaxmicro.pipeline.setpoints import next_setpoints, nominal_setpoints, values_of
from jaxmicro.pipeline.state import Resumable, identity_of
from jaxmicro.pipeline.target_statistics import target_fractions
from jaxmicro.pipeline.targets import largest_residual, length_unit_of, read_targets, residual
from jaxmicro.reconstruct import SamplingConfig, SamplingState
from jaxmicro.types import Microstructure

Stages = Callable[[str], Callable[[int, int], None]]  # title of a stage -> a function of (done, total)
IMPROVEMENT = 0.9  # of the smallest residual so far: a round below it shows that another may help


class Effect(NamedTuple):
    """A quantity that some target is about, of any phase along any axis: in the reconstruction and in the design."""

    quantity: str
    phase: int
    axis: int | None
    before: float
    after: float


class Design(NamedTuple):
    """A designed volume.

    Attributes:
        volume: the design.
        reconstruction: the volume of the same random numbers without targets.
        targets: with their values.
        before, achieved: values of the reconstruction and of the design, measured exactly, one for each target; of a
            curve its error rate in percent. Diffusivities and tortuosity factors of periodic volumes are those of the
            medium, wherever it is cut (`Target.periodic`).
        rounds: volumes that were sampled and measured; where only interfaces change, the reconstruction is the first.
        effects: the quantities of all targets, of all phases along all axes.
        more_may_help: whether the last round allowed had a smaller residual than those before, so that another might.
    """

    volume: Microstructure
    reconstruction: Microstructure
    targets: tuple[Target, ...]
    before: tuple[float, ...]
    achieved: tuple[float, ...]
    rounds: int
    effects: tuple[Effect, ...] = ()
    more_may_help: bool = False

    @property
    def met(self) -> bool:
        """Whether all targets are met within their tolerance."""
        return all(residual(t, v) <= 1 for t, v in zip(self.targets, self.achieved, strict=True))

    def face_to_face(self, target: Target) -> tuple[float, float] | None:
        """Values of the reconstruction and of the design between two opposite faces, where the target is about those
        of the medium; else None."""
        if not target.periodic:
            return None
        both = [
            exact_value(target.quantity, each.labels, each.phases, target.phase, target.axis)
            for each in (self.reconstruction, self.volume)
        ]
        return both[0], both[1]


def design(
    prior: Prior,
    targets: Sequence[str | Target | TargetSpec],
    *,
    micrograph: Microstructure | None = None,
    names: Sequence[str] = (),
    each_slice: bool = False,
    shape: Sequence[int] = (64, 64, 64),
    volumes: int = 1,
    seed: int = 0,
    method: Method = "guided",
    release: Sequence[str] = (),
    tolerance: float = 0.02,
    rounds: int = 4,
    sampling: SamplingConfig | None = None,
    distillation: DistillationConfig | None = None,
    skip: Sequence[int] = (),
    on_design: Callable[[int, Design], None] | None = None,
    on_impossible: Callable[[int, UserError], None] | None = None,
    keep: Path | None = None,
    progress: Progress | None = None,
) -> list[Design]:
    """Volumes of a material whose descriptors and properties meet targets.

    "guided" changes as little as the targets need. Where the volume fractions stay, the volume is periodic and the
    prior knows the curves of its micrograph, the interfaces of the reconstruction are optimised
    (`reconstruct.optimise_interfaces`) for diffusivities and surface areas, S2 and lineal path together. Other
    quantities, and what that does not reach, guide the multi-plane sampling: Polyak steps move the predicted clean
    volume down the gradient of the misfits, while S2 and volume fractions are constraints. The lineal path is a
    constraint there only if it is a target, because what conducts better or has more interface has another one.
    Interfaces of what was sampled are optimised, too, if no target is about shares of the interface or fractions of
    single sections.

    "sds" distils a reconstructed volume (P-MicroLad section 3.4).

    Each round is measured exactly, and the setpoints of the next are corrected by what it missed, until all targets are
    met or the rounds are over; the round with the smallest residual is returned. Volume i depends on (seed, i) only.

    Args:
        targets: as `guidance.parse_target` reads them: "diffusivity.0.z=+20%", "volume_fraction.pore>=0.3".
        micrograph: what max, min and micrograph refer to; needed for these only.
        names: of the phases, by label.
        each_slice: the target is one of each section, not only of their mean. The narrower their distribution, the less
            the volume is one of the material.
        method: "guided", or "sds" (score distillation).
        release: constraints to release although no target replaces them: "two_point", and with it the interface
            area, which the slope of S2 at 0 fixes.
        tolerance: relative deviation at which a target is met.
        rounds: volumes that are sampled and measured at most for each design; the first may be the reconstruction.
        sampling, distillation: all other settings of the two methods.
        skip: numbers of volumes that exist already.
        on_design: called with the number and the design as soon as each is ready.
        on_impossible: called with the number of a volume, and the reason, when a change of its reconstruction turns out
            to be a target that no medium has; the others are designed. None: the reason is raised.
        keep: folder for the reconstructions, which take half of the time: they are read again for other targets of the
            same prior, seed and sampling, and after an interruption.
    Raises:
        UserError: when a target cannot be read, cannot be met by any medium, or contradicts another target or a
            constraint.
    """
    if rounds < 1 or volumes < 1:
        raise UserError(f"rounds is {rounds} and volumes {volumes}; both must be at least 1")
    config = sampling_config(prior, shape=shape, sampling=sampling or default_sampling(prior.config))
    specs = read_targets(
        targets, prior, micrograph=micrograph, names=names, each_slice=each_slice, shape=shape, method=method,
        periodic=config.periodic, tolerance=tolerance, release=release,
    )  # fmt: skip
    settings = _Settings(
        prior, config, tuple(shape), seed, method, tuple(release), tolerance, rounds,
        distillation or DistillationConfig(), keep,
    )  # fmt: skip
    designs = []
    for number in [n for n in range(volumes) if n not in set(skip)]:

        def stages(stage: str, number: int = number) -> Callable[[int, int], None]:
            return stage_progress(progress, f"{stage}, volume {number + 1} of {volumes}")

        try:
            designed = _design_volume(settings, number, specs, stages, progress)
        except UserError as reason:
            if on_impossible is None:
                raise
            on_impossible(number, reason)
            continue
        designs.append(designed)
        if on_design is not None:
            on_design(number, designed)
    return designs


class _Settings(NamedTuple):
    """What all volumes of a design have in common: arguments of `design`."""

    prior: Prior
    config: SamplingConfig
    shape: tuple[int, ...]
    seed: int
    method: Method
    release: tuple[str, ...]
    tolerance: float
    rounds: int
    distillation: DistillationConfig
    keep: Path | None


class _Setpoints(NamedTuple):
    """Setpoints of a round: the numbers and the curve that the sampling is given in place of the targets."""

    values: np.ndarray  # of the guided targets
    covariance: np.ndarray | None  # "p r", constraint of the sampling


class _Round(NamedTuple):
    """Result of a round."""

    residual: float  # the largest of all targets; 1 is its tolerance
    labels: np.ndarray
    values: list[float]  # of all targets


def _design_volume(
    settings: _Settings,
    number: int,
    specs: Sequence[Target | TargetSpec],
    stages: Stages,
    progress: Progress | None,
) -> Design:
    """Reconstruct; then in rounds sample, optimise interfaces, measure exactly, and correct the setpoints.

    One function, because each round uses and updates the best volume, the setpoints and their history.
    """
    prior, config, rounds = settings.prior, settings.config, settings.rounds
    fractions = target_fractions(prior, "micrograph")
    start, reconstruction = _reconstruction(settings, number, fractions, stages, progress)
    targets = [_resolve_change(settings, spec, reconstruction) for spec in specs]
    imposed = fractions if settings.method == "guided" else None
    check_feasible(targets, imposed, phases=prior.config.phases, unit=length_unit_of(prior))
    plan = plan_design(prior, config, targets, method=settings.method, release=settings.release)

    def measure(labels: np.ndarray, targets: Sequence[Target] = tuple(targets)) -> list[float]:
        return exact_target_values(targets, labels, prior, periodic=config.periodic)

    before = measure(reconstruction)
    covariance = plan.sampling_constraints.covariance
    setpoints = _Setpoints(
        nominal_setpoints(plan.guided), None if covariance is None else np.asarray(covariance, float)
    )
    best: _Round | None = None
    history: list[tuple[np.ndarray, np.ndarray]] = []  # log of setpoints and values of each sampled round
    residuals: list[float] = []  # of the sampled rounds
    round_number, more_may_help = 0, False
    for round_number in range(1, rounds + 1):
        reused = round_number == 1 and plan.reconstruction_first
        labels, values = reconstruction, before
        if not reused:
            title = f"round {round_number} of at most {rounds}"
            labels = _sample_round(settings, number, start, reconstruction, plan, setpoints, title, stages)
            values = measure(labels)
            # finite logarithms also where nothing conducts
            reached = np.clip(values_of(plan.guided, targets, values), 1e-6, 1e6)
            history.append((np.log(setpoints.values), np.log(reached)))
        sampled = labels
        if plan.interface_constraints is not None and (
            plan.curves or not reused or largest_residual(targets, values) > 1
        ):
            labels, values = move_interfaces(
                labels, values, targets, plan.interface_constraints, measure=measure, report=stages("moving interfaces")
            )
        this_round = _Round(largest_residual(targets, values), labels, values)
        if best is None or this_round.residual < best.residual:
            best = this_round
        improved = reused or not residuals or this_round.residual < IMPROVEMENT * min(residuals)
        residuals += [] if reused else [this_round.residual]
        if this_round.residual <= 1:  # every target is met within its tolerance
            break
        covariance = _corrected_covariance(setpoints.covariance, targets, sampled, prior)
        if not plan.guided and covariance is setpoints.covariance:  # another round would be the same
            break
        if round_number == rounds:
            more_may_help = improved
            break
        setpoints = _Setpoints(next_setpoints(plan.guided, history) if history else setpoints.values, covariance)
    assert best is not None
    return Design(
        as_microstructure(best.labels, prior, periodic=config.periodic),
        as_microstructure(reconstruction, prior, periodic=config.periodic),
        tuple(targets),
        tuple(before),
        tuple(best.values),
        round_number,
        _effects(settings, targets, (reconstruction, best.labels), (before, best.values), measure),
        more_may_help,
    )


def _reconstruction(
    settings: _Settings,
    number: int,
    fractions: tuple[float, ...] | None,
    stages: Stages,
    progress: Progress | None,
) -> tuple[SamplingState | None, np.ndarray]:
    """The state at which guidance begins (of a distillation None), and the volume without targets; kept on disk."""
    prior, config, seed = settings.prior, settings.config, settings.seed
    constraints = constraints_of_one(prior, config, fractions)
    path = None if settings.keep is None else settings.keep / f"untargeted_{settings.method}_{number:03d}.npz"
    work = dataclasses.asdict(config), settings.shape, seed, number, prior.config.to_dict()
    state = Resumable(path, "" if path is None else identity_of(*work, arrays=[prior.params, constraints]))
    known = state.load()
    if known is not None:
        labels = known.pop("labels")
        return SamplingState(**jax.tree.map(jnp.asarray, known)) if known else None, labels
    if settings.method == "sds":
        (volume,) = sample_volumes(
            prior, config, shape=settings.shape, fractions=[fractions] * (number + 1), seed=seed, numbers=[number],
            progress=progress,
        )  # fmt: skip
        start, labels = None, volume.labels
    else:
        key = volume_keys(seed, [number])[0]
        start, labels = sample_unguided(prior, config, key, constraints, report=stages("reconstructing"))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    state.save(labels=labels, **({} if start is None else start._asdict()))
    return start, labels


def _resolve_change(settings: _Settings, spec: Target | TargetSpec, reconstruction: np.ndarray) -> Target:
    """A target with its value; a change in percent refers to the value of the reconstruction. In periodic volumes,
    diffusivities and tortuosity factors are those of the medium."""
    periodic = is_of_medium(spec.quantity, periodic=settings.config.periodic)
    if isinstance(spec, Target):
        return dataclasses.replace(spec, periodic=periodic)
    phases = settings.prior.config.phases
    own = exact_value(spec.quantity, reconstruction, phases, spec.phase, spec.axis, periodic=periodic)
    if not 0 < own < math.inf:
        raise UserError(
            f"{spec.quantity}.{spec.phase} of the reconstruction is {own:g}: a change of it in percent leads "
            "nowhere; give a number"
        )
    value = spec.value * own
    return Target(spec.quantity, spec.phase, value, spec.axis, spec.relation, settings.tolerance, periodic=periodic)


def _sample_round(
    settings: _Settings,
    number: int,
    start: SamplingState | None,
    reconstruction: np.ndarray,
    plan: Plan,
    setpoints: _Setpoints,
    title: str,
    stages: Stages,
) -> np.ndarray:
    """Labels of a volume sampled, or distilled, with the present setpoints."""
    prior, constraints = settings.prior, plan.sampling_constraints
    if setpoints.covariance is not None and constraints.covariance is not None:
        constraints = constraints._replace(covariance=jnp.asarray(setpoints.covariance, jnp.float32))
    key = volume_keys(settings.seed, [number])[0]
    if settings.method == "guided":
        assert start is not None
        return sample_guided(
            prior, settings.config, key, start, constraints, plan.guided, setpoints.values, report=stages(title)
        )
    stages(f"{title}, distilling")(0, 1)
    return distil_volume(
        prior, reconstruction, jax.random.fold_in(key, settings.config.evaluations + 1), constraints, plan.guided,
        setpoints.values, plan.curves, config=settings.distillation,
    )  # fmt: skip


def _corrected_covariance(
    setpoint: np.ndarray | None, targets: Sequence[Target], labels: np.ndarray, prior: Prior
) -> np.ndarray | None:
    """The covariance constraint less what a volume has in excess, for phases whose S2 is a target."""
    phases = [t.phase for t in targets if t.quantity == "two_point"]
    if setpoint is None or not phases:
        return setpoint
    excess, corrected = excess_covariance(labels, prior), setpoint.copy()
    for phase in phases:
        corrected[phase, : excess.shape[1]] -= excess[phase]
    return corrected


def _effects(
    settings: _Settings,
    targets: Sequence[Target],
    volumes: Sequence[np.ndarray],
    values: Sequence[Sequence[float]],
    measure: Callable[[np.ndarray, Sequence[Target]], list[float]],
) -> tuple[Effect, ...]:
    """The quantities of the targets of all phases along all axes, of two volumes whose values of the targets are
    known."""
    known = {(t.quantity, t.phase, t.axis): numbers for t, *numbers in zip(targets, *values, strict=True)}
    effects = []
    for quantity in dict.fromkeys(t.quantity for t in targets):
        directional = quantity in QUANTITIES and QUANTITIES[quantity].directional
        periodic = is_of_medium(quantity, periodic=settings.config.periodic)
        for phase in range(settings.prior.config.phases):
            for axis in range(3) if directional else (None,):
                target = Target(quantity, phase, math.nan, axis, periodic=periodic)
                numbers = known.get((quantity, phase, axis)) or [measure(v, [target])[0] for v in volumes]
                effects.append(Effect(quantity, phase, axis, *numbers))
    return tuple(effects)
