"""From a prior and targets to volumes that meet them."""

import dataclasses
import functools
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmicro import models
from jaxmicro.descriptors import lineal_path
from jaxmicro.devices import jit_network
from jaxmicro.errors import UserError
from jaxmicro.evaluate import error_rate
from jaxmicro.guidance import CURVES, QUANTITIES, DistillationConfig, Target, Wish, distill, exact, steer
from jaxmicro.io.files import load_arrays, save_arrays
from jaxmicro.models import PriorConfig
from jaxmicro.phases import one_hot
from jaxmicro.pipeline.feasibility import Method, check_feasible, wanted_fractions
from jaxmicro.pipeline.interfaces import FARTHEST, move_interfaces, sides, some_of, valueless
from jaxmicro.pipeline.prior import Prior, Progress, fingerprint, untuned
from jaxmicro.pipeline.targets import MOVABLE, finishable, goals, miss, read_targets, scale_of, worst
from jaxmicro.pipeline.volumes import (
    as_microstructure,
    default_sampling,
    held_fractions,
    held_statistics,
    reconstruct,
    sampling_config,
    stage_report,
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
    sampling_times,
    statistics_misfit,
)
from jaxmicro.types import Microstructure

GUIDED = (-4.0, 0.7)  # log SNRs between which predictions are steered: before nothing is known, after all is decided
CURVED = 32.0  # weight of S2 among the misfits of a distillation
NEARER = 0.9  # of the smallest miss before: a round that comes below it was worth making


class Effect(NamedTuple):
    """A number that a target is about, of any phase along any axis: in the reconstruction and in the design."""

    quantity: str
    phase: int
    axis: int | None
    before: float
    after: float


class Design(NamedTuple):
    """A designed volume.

    Attributes:
        volume: what was made.
        reconstruction: the volume of the same random numbers without targets.
        targets: as numbers.
        before, achieved: numbers of the reconstruction and of the design, measured exactly, one for each target; for
            a curve its error rate in percent. Diffusivities and tortuosity factors of periodic volumes are those of the
            medium, wherever it is cut (`Target.periodic`).
        rounds: volumes that were made and measured; where its interfaces are moved, the reconstruction is the first.
        effects: the quantities of all targets, of all phases along all axes.
        more_may_help: whether the last round allowed came nearer than those before, so that another might.
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
        return all(miss(t, v) <= 1 for t, v in zip(self.targets, self.achieved, strict=True))

    def face_to_face(self, target: Target) -> tuple[float, float] | None:
        """Numbers of the reconstruction and of the design between two opposite faces, where the target is about those
        of the medium; else None."""
        if not target.periodic:
            return None
        both = [
            exact(target.quantity, each.labels, each.phases, target.phase, target.axis)
            for each in (self.reconstruction, self.volume)
        ]
        return both[0], both[1]


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
    """Volumes of a material whose numbers are those asked for.

    "guided" does what is needed and no more. Where the volume fractions stay, the volume is periodic and the prior
    knows the curves of its micrograph, the interfaces of the reconstruction are moved (`reconstruct.polish`) along the
    gradient of the misfits of diffusivity or surface area, S2 and lineal path. What that does not reach, and other
    quantities, steer the multi-plane sampling: the predicted clean volume is moved along the gradient of the misfits,
    while two-point correlation and volume fractions are held, unless they are themselves targets; the lineal path is
    given up there, unless it is one, for what conducts better or has more interface has another one. Interfaces of what
    was sampled are moved, too, if no target is about shares of the interface or fractions of sections.

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
        release: what is not held although no target is about it: "two_point", and with it the interface that its slope
            fixes.
        tolerance: relative deviation that counts as met.
        rounds: volumes made and measured at most for each design; the first may be the reconstruction itself.
        sampling, distillation: everything else about the two methods.
        skip: numbers of volumes not to make, because they exist already.
        on_design: called with the number and the design as soon as each is ready.
        on_impossible: called with the number of a volume for which a change turned out to be a target that no medium
            has, and the reason; the others are made. None: the reason is raised.
        keep: folder for volumes without targets, which take half of the time: they are there for other targets of the
            same prior, seed and sampling, and after an interruption.
    Raises:
        UserError: a target that cannot be read, or cannot be met by any medium, or contradicts another or what is held.
    """
    if rounds < 1 or volumes < 1:
        raise UserError(f"rounds is {rounds} and volumes {volumes}; both must be at least 1")
    config = sampling_config(prior, shape=shape, sampling=sampling or default_sampling(prior.config))
    known = read_targets(
        targets, prior, micrograph=micrograph, names=names, each_slice=each_slice, shape=shape, method=method,
        periodic=config.periodic, tolerance=tolerance, release=release,
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
            tuple(release),
            tolerance,
            distillation or DistillationConfig(),
            keep,
            progress,
        )
        try:
            found = work.run(known, rounds)
        except UserError as reason:
            if on_impossible is None:
                raise
            on_impossible(number, reason)
            continue
        made.append(found)
        if on_design is not None:
            on_design(number, found)
    return made


def held_in_design(
    prior: Prior,
    sampling: SamplingConfig,
    targets: Sequence[Target | Wish],
    *,
    method: str = "guided",
    release: Sequence[str] = (),
) -> tuple[str, ...]:
    """What designed volumes are held to (names of `evaluate.HOLDABLE`) and aimed at ("diffusivity.0.z").

    Args:
        sampling: as `sampling_config` resolves it.
        targets: as `read_targets` gives them.
        release: as in `design`; with S2 the lineal path and the interface are released.
    """
    aims = tuple(target.name for target in targets)
    quantities = {t.quantity for t in targets}
    wanted = tuple(name for name in ("volume_fraction", *CURVES) if name in quantities)
    if method == "sds":
        return (*wanted, *aims)
    held = held_statistics(prior, sampling)
    finished = finishable(targets, prior, periodic=sampling.periodic)
    if finished:  # as `interfaces` weighs them
        free = {"surface_area"} & quantities | ({"slice_steps"} if quantities & set(MOVABLE) else set())
        every = (*held, "two_point", "lineal_path", "surface_area", "slice_steps")
        held = tuple(name for name in every if name not in free)
    if "two_point" in release:
        held = tuple(name for name in held if name == "volume_fraction")
    elif not finished and quantities - {*CURVES, "volume_fraction"}:  # then the lineal path is given up
        held = tuple(name for name in held if name not in ("lineal_path", "surface_area"))
    return (*dict.fromkeys([*held, *wanted]), *aims)


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
    release: tuple[str, ...]
    tolerance: float
    distillation: DistillationConfig
    keep: Path | None
    progress: Progress | None

    def run(self, wishes: Sequence[Target | Wish], rounds: int) -> Design:
        """Reconstruct, aim, measure, aim better; the best round."""
        fractions, guided = held_fractions(self.prior, "micrograph"), self.method == "guided"
        start, reconstruction = self._reconstruction(fractions)
        targets = [self._after(wish, reconstruction) for wish in wishes]
        scale, phases = scale_of(self.prior), self.prior.config.phases
        check_feasible(targets, fractions if guided else None, phases=phases, scale=scale)
        before = self._measured(targets, reconstruction)
        wanted = wanted_fractions(targets, fractions)
        unchanged = _same(wanted, fractions)
        curves = tuple(t for t in targets if t.quantity in CURVES)
        # curves and fractions are held by the sampling, not steered; distillation has the gradient only
        steered = tuple(
            t for t in targets if t not in curves and not (guided and t.quantity == "volume_fraction" and not t.each)
        )
        held = self._held_while_made(wanted, curves, given_up=bool(steered))
        finish = None
        if guided and finishable(targets, self.prior, periodic=self.config.periodic):
            finish = self._held_at_the_end(wanted, known=bool(curves) or (unchanged and not self.release))
        # at the same fractions the reconstruction is the first round, if moving its interfaces or nothing at all is
        # left to do; what does not cross sections needs new ones
        as_it_is = guided and unchanged and all(t.quantity != "slice_diffusivity" for t in targets)
        as_it_is = as_it_is and (finish is not None or all(t.quantity == "two_point" for t in targets))
        covariance = None if held.covariance is None else np.asarray(held.covariance, float)
        aims = _Aims(goals(steered), covariance)
        best: tuple[float, np.ndarray, list[float]] | None = None
        history: list[tuple[np.ndarray, np.ndarray]] = []
        misses: list[float] = []  # of the rounds that were sampled
        done, more = 0, False
        for done in range(1, rounds + 1):
            as_it_was = done == 1 and as_it_is
            if as_it_was:
                sampled, achieved = reconstruction, before
            else:
                sampled = self._made(start, reconstruction, held, steered, curves, aims, done, rounds)
                achieved = self._measured(targets, sampled)
                reached = np.log(np.clip(some_of(steered, targets, achieved), 1e-6, 1e6))  # nothing conducted, too
                history.append((np.log(aims.values), reached))
            labels = sampled
            if finish is not None and (curves or sampled is not reconstruction or worst(targets, achieved) > 1):
                labels, achieved = move_interfaces(
                    sampled, achieved, targets, finish, report=self._report("moving interfaces"),
                    measure=functools.partial(self._measured, targets),
                )  # fmt: skip
            off = worst(targets, achieved)
            if best is None or off < best[0]:
                best = (off, labels, achieved)
            nearing = as_it_was or not misses or off < NEARER * min(misses)
            misses += [] if as_it_was else [off]
            if off <= 1:
                break
            covariance = self._covariance(aims.covariance, targets, sampled)
            if not steered and covariance is aims.covariance:
                break  # held exactly: another round would be the same
            if done == rounds:
                more = nearing
                break
            aims = _Aims(_next(steered, history) if history else aims.values, covariance)
        assert best is not None
        _, labels, achieved = best
        return Design(
            as_microstructure(labels, self.prior, periodic=self.config.periodic),
            as_microstructure(reconstruction, self.prior, periodic=self.config.periodic),
            tuple(targets),
            tuple(before),
            tuple(achieved),
            done,
            self._effects(targets, (reconstruction, labels), (before, achieved)),
            more,
        )

    def _effects(
        self, targets: Sequence[Target], volumes: Sequence[np.ndarray], known: Sequence[Sequence[float]]
    ) -> tuple[Effect, ...]:
        """The quantities of the targets of all phases along all axes, of two volumes whose numbers of the targets are
        known."""
        asked = {(t.quantity, t.phase, t.axis): numbers for t, *numbers in zip(targets, *known, strict=True)}
        found = []
        for quantity in dict.fromkeys(t.quantity for t in targets):
            directional = quantity in QUANTITIES and QUANTITIES[quantity].directional
            for phase in range(self.prior.config.phases):
                for axis in range(3) if directional else (None,):
                    target = Target(quantity, phase, math.nan, axis, periodic=self._of_medium(quantity))
                    numbers = asked.get((quantity, phase, axis)) or [self._measured([target], v)[0] for v in volumes]
                    found.append(Effect(quantity, phase, axis, *numbers))
        return tuple(found)

    def _held(self, prior: Prior, fractions: tuple[float, ...] | None) -> Held:
        return jax.tree.map(lambda leaf: leaf[0], statistics_to_hold(prior, self.config, [fractions]))

    def _held_while_made(self, wanted, curves: Sequence[Target], *, given_up: bool) -> Held:
        """What the sampling is held to, or the distillation drawn to.

        Args:
            given_up: whether lineal paths that nobody asked for are: what conducts better, or has more interface, has
                another one.
        """
        guided = self.method == "guided"
        # what the prior is tuned to is what leads there by sampling
        held = self._held(self.prior if guided else untuned(self.prior), wanted)
        if held.covariance is None and curves:
            assert self.prior.material is not None  # `read_targets` has seen to it
            held = held._replace(covariance=jnp.asarray(self.prior.material.wanted_covariance, jnp.float32))
        if guided and "two_point" in self.release:
            # the interface that the slope of S2 at 0 fixes is held by the roughness of planes, too
            given_up, held = True, held._replace(covariance=None, roughness=None)
        if not given_up or not guided or held.lineal_path is None:
            return held
        asked = [t.phase for t in curves if t.quantity == "lineal_path"]
        of_these = np.isin(np.arange(len(held.lineal_path)), asked)[:, None]
        return held._replace(lineal_path=jnp.where(of_these, held.lineal_path, jnp.nan) if asked else None)

    def _held_at_the_end(self, wanted, *, known: bool) -> Held | None:
        """What volumes are held to while their interfaces are moved: fractions, S2 and lineal path of the micrograph,
        not what leads there while sampling; where these are not known, at other fractions, None.
        """
        if wanted is None:
            return None
        own = self._held(untuned(self.prior), wanted)
        return own if known else own._replace(lineal_path=None, covariance=None)

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
            else exact(t.quantity, labels, phases, t.phase, t.axis, periodic=t.periodic)
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

    def _of_medium(self, quantity: str) -> bool:
        """Whether a quantity is that of the medium wherever it is cut, and not that between two faces of a volume."""
        found = QUANTITIES.get(quantity)
        return self.config.periodic and found is not None and found.measure_periodic is not None

    def _after(self, wish: Target | Wish, labels: np.ndarray) -> Target:
        """A change of what the reconstruction has, as a number; of a periodic volume it is about the medium."""
        periodic = self._of_medium(wish.quantity)
        if isinstance(wish, Target):
            return dataclasses.replace(wish, periodic=periodic)
        own = exact(wish.quantity, labels, self.prior.config.phases, wish.phase, wish.axis, periodic=periodic)
        if not 0 < own < math.inf:
            raise UserError(
                f"{wish.quantity}.{wish.phase} of the reconstruction is {own:g}: a change of it in percent leads "
                "nowhere; give a number"
            )
        value = wish.value * own
        return Target(wish.quantity, wish.phase, value, wish.axis, wish.relation, self.tolerance, periodic=periodic)

    def _stretch(self, *arguments: Any, title: str, held: Held, **options: Any) -> SamplingState:
        state, start, stop, aims = arguments
        key = volume_keys(self.seed, [self.number])[0]
        at_once = (self.config.harmonise + 1) * 4  # progress is shown in between
        report = self._report(title)
        while start < stop:
            report(start, self.config.evaluations)
            end = min(start + at_once, stop)
            state = jax.block_until_ready(
                _sampled(
                    self.prior.params, state, key, held, aims, start, end,
                    prior=self.prior.config, sampling=self.config, **options,
                )
            )  # fmt: skip
            start = end
        report(stop, self.config.evaluations)
        return state

    def _reconstruction(self, fractions) -> tuple[SamplingState | None, np.ndarray]:
        """The state at which guidance begins (of a distillation None), and the volume without targets."""
        held = self._held(self.prior, fractions)
        path, identity = None, ""
        if self.keep is not None:
            path = self.keep / f"untargeted_{self.method}_{self.number:03d}.npz"
            work = [dataclasses.asdict(self.config), self.shape, self.seed, self.number, self.prior.config.to_dict()]
            identity = json.dumps([*work, fingerprint([self.prior.params, held])])
            known = load_arrays(path, identity)
            if known is not None:
                labels = known.pop("labels")
                return SamplingState(**jax.tree.map(jnp.asarray, known)) if known else None, labels
        start = None
        if self.method == "sds":
            made = reconstruct(
                self.prior, shape=self.shape, seed=self.seed, volumes=self.number + 1, skip=range(self.number),
                sampling=self.config, progress=self.progress,
            )  # fmt: skip
            labels = made[0].labels
        else:
            noise = _noise(
                volume_keys(self.seed, [self.number])[0], sampling=self.config, channels=self.prior.config.channels
            )
            run = functools.partial(self._stretch, title="reconstructing", held=held, targets=())
            start = run(noise, 0, self._first, jnp.zeros(0))
            end = run(start, self._first, self.config.evaluations, jnp.zeros(0))
            labels = np.asarray(labels_of(end))[self.config.middle]
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_arrays(path, identity, labels=labels, **({} if start is None else start._asdict()))
        return start, labels

    def _report(self, stage: str) -> Callable[[int, int], None]:
        return stage_report(self.progress, f"{stage}, volume {self.number + 1} of {self.volumes}")

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
        steered = valueless(steered)
        if self.method == "guided":
            end = self._stretch(
                start, self._first, self.config.evaluations, values, title=title, held=held, targets=steered
            )
            return np.asarray(labels_of(end))[self.config.middle]
        self._report(f"{title}, distilling")(0, 1)
        key = jax.random.fold_in(volume_keys(self.seed, [self.number])[0], self.config.evaluations + 1)
        found = _distilled(
            self.prior.params, jnp.asarray(reconstruction), values, key, held,
            prior=self.prior.config, targets=steered, curves=valueless(curves), config=self.distillation,
        )  # fmt: skip
        return np.asarray(found)


def _next(targets: Sequence[Target], history: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """What to aim at next: moved by what was missed, over the slope that the last two rounds show; in logarithms. What
    is aimed at for a bound stays on its side."""
    aimed, found = history[-1]
    wanted = goals(targets)
    slope = np.ones_like(aimed)
    if len(history) > 1:
        moved = aimed - history[-2][0]
        far = np.abs(moved) > 1e-3
        slope[far] = np.clip((found - history[-2][1])[far] / moved[far], 0.3, 1.5)
    return wanted * np.clip(np.exp(aimed + (np.log(wanted) - found) / slope) / wanted, *sides(targets, FARTHEST))


@functools.partial(jit_network, static_argnames=("prior", "sampling", "targets"))
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


@functools.partial(jax.jit, static_argnames=("sampling", "channels"))
def _noise(key, *, sampling: SamplingConfig, channels: int) -> SamplingState:
    return init_state(sampling, channels, key=key)


@functools.partial(jit_network, static_argnames=("prior", "targets", "curves", "config"))
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

    def asked(name: str) -> jax.Array:
        phases = sorted({target.phase for target in curves if name in ("", target.quantity)})
        return jnp.isin(jnp.arange(len(path)), jnp.asarray(phases, int))

    weights = {
        "two_point": Weights(path=None, interface=None, two_point=CURVED),
        "lineal_path": Weights(interface=None),
    }
    parts = [
        statistics_misfit(
            jnp.where(asked(name)[:, None], path, jnp.nan), held.covariance if name == "two_point" else None,
            shape=shape, weights=weights[name],
        )
        for name in CURVES
    ]  # fmt: skip

    def off(fractions):
        of_fractions = jnp.where(asked(""), jnp.mean(fractions, axis=(0, 1, 2)) / wanted - 1, 0.0)
        return jnp.sum(of_fractions**2) + sum(part(fractions) for part in parts if part is not None)

    return off


def _same(fractions: Sequence[float] | None, others: Sequence[float] | None) -> bool:
    return fractions is not None and others is not None and bool(np.allclose(fractions, others, atol=1e-6))
