"""Multi-plane denoising: a 2D denoiser on the planes of a volume along its three axes (P-Micro3Diff, P-MicroLad).

The whole reverse process is one compiled loop over *evaluations*. Evaluation i denoises the planes normal to axis
i mod 3 ("alternate") or to all three ("average") from log SNR t to s. The evidence of the planes normal to the other
two axes, kept from the two evaluations before, is added with weight `couple`: every voxel is denoised from its three
planes, while each evaluation runs the network on those of one axis. If the roughness of the micrograph's planes is
known, it controls this weight (roughness.py); if the two-point correlation is known, it is a constraint on x_t
(correlation.py), and if the lineal path is known, it is one on the predictions (statistics_misfit.py).
The harmonising evaluations of a time step (P-Micro3Diff Fig. 16) renoise from s back to t (eq. 21) and denoise again.
`advance` runs any range of evaluations with the same program, so that long work can report progress, and be stopped and
resumed with the same result: the noise of evaluation i depends on (key, i) only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt8

from jaxmicro.diffusion import (
    PlaneModel,
    StepInput,
    alpha,
    ddim_step,
    ddpm_times,
    dpm_solver_step,
    log_snr_times,
    put_planes,
    renoise,
    take_planes,
)
from jaxmicro.phases import to_labels
from jaxmicro.reconstruct.calibrate import calibrate_fractions
from jaxmicro.reconstruct.correlation import match_covariance
from jaxmicro.reconstruct.roughness import boundary_density
from jaxmicro.reconstruct.statistics_misfit import match_lineal_path
from jaxmicro.reconstruct.tiles import evidence_tiled

Guide = Callable[[Float[Array, "z y x c"], Float[Array, ""]], Float[Array, "z y x c"]]
"""(x0_hat, log SNR) -> the prediction after a step towards targets."""

MAX_EVALUATIONS = 10**6  # of the network, for one volume; the paper uses 1000


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """Settings of the sampling of a volume. experiments/sampling compares them."""

    shape: tuple[int, int, int] = (64, 64, 64)  # voxels along z, y, x
    steps: int = 40  # time steps
    harmonise: int = 1  # n_h, extra renoise-denoise cycles at each time step
    mode: str = "alternate"  # planes normal to one axis in each evaluation, or "average": to all three
    couple: float = 0.12  # weight, 0 to 1, of the planes normal to the other two axes
    steer_from: float = -2.0  # log SNR from which on interfaces form and the weight is controlled
    steer_gain: float = 4.0  # gain: added weight per relative excess of roughness; 0: no control
    steer_max: float = 0.8  # upper bound of the controlled weight
    sampler: str = "ddim"  # or "dpm" (second order)
    eta: float = 1.0  # 1: stochastic (ancestral), 0: deterministic
    times: str = "log_snr"  # spacing of the time steps: even in log SNR, or "ddpm": even in the time of linear beta
    log_snr_range: tuple[float, float] = (-5.5, 2.5)  # first and last noise level of times="log_snr"
    # interval of the process, 0 to 1, in which volume fractions are imposed
    calibrate_range: tuple[float, float] = (0.0, 1.0)
    # log SNRs between which lineal path and S2 of predictions are constrained
    path_range: tuple[float, float] = (-3.0, 2.0)
    interface_from: float = 0.0  # log SNR from which on their interface area is constrained, too
    match_until: float = -1.0  # log SNR up to which S2 of x_t is constrained; structures are decided by then
    periodic: bool = True  # periodic volume; in others, structures are less faithful near the faces
    kept: tuple[int, int, int] | None = None  # edges of the middle to keep, where fractions are imposed; None: all
    tile: int = 128  # largest edge of an input of the network, pixels; larger planes are cut into blended tiles
    overlap: int = 32  # smallest overlap of neighbouring tiles, pixels
    batch: int = 32  # planes (or tiles) in the network at once; bounds the memory
    refine: int = 5  # rounds K of refinement after decoding (refine.py); of latent volumes only

    def __post_init__(self):
        if self.mode not in ("alternate", "average"):
            raise ValueError(f"mode is {self.mode!r}, expected 'alternate' or 'average'")
        if self.sampler not in ("ddim", "dpm"):
            raise ValueError(f"sampler is {self.sampler!r}, expected 'ddim' or 'dpm'")
        if self.times not in ("log_snr", "ddpm"):
            raise ValueError(f"times is {self.times!r}, expected 'log_snr' or 'ddpm'")
        if self.steps < 1 or self.harmonise < 0 or self.refine < 0:
            raise ValueError(
                f"steps is {self.steps} (at least 1), harmonise {self.harmonise} and refine {self.refine} (at least 0)"
            )
        if self.steps * (self.harmonise + 1) > MAX_EVALUATIONS or self.refine > MAX_EVALUATIONS:
            raise ValueError(
                f"steps {self.steps}, harmonise {self.harmonise} and refine {self.refine} make more than "
                f"{MAX_EVALUATIONS} evaluations; ask for fewer"
            )
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"shape is {self.shape}, expected three positive edges z y x")
        if self.kept and any(kept < 1 or kept > edge for kept, edge in zip(self.kept, self.shape, strict=True)):
            raise ValueError(f"kept is {self.kept}, expected at least 1 and no more than the shape {self.shape}")
        if not 0 <= self.couple <= 1:
            raise ValueError(f"couple is {self.couple}, expected 0 (each plane by itself) to 1")
        if not 0 <= self.overlap < self.tile or self.batch < 1:
            raise ValueError(
                f"overlap is {self.overlap} and batch {self.batch}; expected less than tile and at least 1"
            )
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta is {self.eta}, expected 0 (deterministic) to 1 (ancestral)")

    @property
    def middle(self) -> tuple[slice, ...]:
        """Slices of the part of the box to keep."""
        starts = [(edge - kept) // 2 for edge, kept in zip(self.shape, self.kept or self.shape, strict=True)]
        return tuple(slice(start, start + kept) for start, kept in zip(starts, self.kept or self.shape, strict=True))

    @property
    def evaluations(self) -> int:
        """Number of evaluations in the whole process."""
        return self.steps * (self.harmonise + 1)


class SamplingState(NamedTuple):
    """State of the reverse process between evaluations."""

    x_t: Float[Array, "z y x c"]
    x0_hat: Float[Array, "z y x c"]  # last prediction of the clean volume
    evidence: Float[Array, "3 z y x c"]  # last evidence of the planes normal to each axis


class TargetStatistics(NamedTuple):
    """Statistics to which a volume is constrained; None: no constraint."""

    fractions: Float[Array, " c"] | None = None  # of each phase
    roughness: Float[Array, " t"] | None = None  # boundary density of single planes at each of `sampling_times`
    covariance: Float[Array, "c r"] | None = None  # S2 - phi^2 of each phase at r = 0, 1, ... voxels
    lineal_path: Float[Array, "c k"] | None = None  # of each phase at `dyadic_lags`; NaN: no constraint


def init_state(config: SamplingConfig, channels: int, *, key: jax.Array) -> SamplingState:
    """The state before the first evaluation: pure noise."""
    noise = jax.random.normal(jax.random.fold_in(key, 0), (*config.shape, channels))
    return SamplingState(noise, jnp.zeros_like(noise), jnp.zeros((3, *noise.shape)))


def advance(
    model: PlaneModel,
    state: SamplingState,
    start: int | Int[Array, ""],
    stop: int | Int[Array, ""],
    *,
    config: SamplingConfig,
    key: jax.Array,
    constraints: TargetStatistics = TargetStatistics(),  # noqa: B008  (immutable)
    guide: Guide | None = None,
) -> SamplingState:
    """Evaluations start..stop-1 of the reverse process (0..config.evaluations-1 in all), as one loop.

    One function, because the loop body and its steps are closures over the same settings.

    Args:
        model: the 2D prior.
        key: key of the volume; the result does not depend on how the evaluations are divided into calls.
        constraints: statistics to which the volume is constrained.
        guide: applied to each prediction of the clean volume, for example a step towards a target property.
    """
    times = sampling_times(config)
    repeats = config.harmonise + 1
    reverse_step = ddim_step if config.sampler == "ddim" else dpm_solver_step
    low, high = (edge * config.evaluations for edge in config.calibrate_range)

    def observe(evidence, x_t, log_snr, axis: int):
        planes = take_planes(x_t, axis)
        new = evidence_tiled(
            model.evidence, planes, log_snr, tile=config.tile, overlap=config.overlap, batch=config.batch
        )
        return evidence.at[axis].set(put_planes(new, axis))

    def coupling(evidence, x_t, log_snr, axis, expected):
        """Weight of the other planes: larger if the planes normal to `axis`, denoised alone, are too rough."""
        density = boundary_density(model.combine(evidence[None], jnp.ones(1), x_t, log_snr))
        in_plane = (density.sum() - density[axis]) / 2
        error = jnp.log((in_plane + 1e-4) / (expected + 1e-4))
        weight = jnp.clip(config.couple + config.steer_gain * error, 0.0, config.steer_max)
        return jnp.where(log_snr > config.steer_from, weight, config.couple)

    def constrain_lineal_path(x0_hat, path, log_snr):
        matched = match_lineal_path(
            x0_hat[config.middle], path, covariance=constraints.covariance, interface=log_snr > config.interface_from,
            periodic=config.periodic,
        )  # fmt: skip
        return x0_hat.at[config.middle].set(matched)

    def evaluation(i, state: SamplingState) -> SamplingState:
        level, repeat = i // repeats, i % repeats
        t, s = times[level], times[level + 1]
        # repeats of a level, and the first level, have no earlier prediction at a noisier time
        before = jnp.where((repeat == 0) & (level > 0), times[jnp.maximum(level - 1, 0)], t)
        shift_key, step_key, renoise_key = jax.random.split(jax.random.fold_in(key, i + 1), 3)
        x_t, x0_before, evidence = state
        if config.periodic:  # a random shift, so that no voxel stays at the seam
            shift = jax.random.randint(shift_key, (3,), 0, jnp.asarray(config.shape))
            x_t, x0_before, evidence = (jnp.roll(v, shift, axis=(-4, -3, -2)) for v in state)
        if constraints.covariance is not None:
            x_t = jax.lax.cond(
                t < config.match_until,
                lambda x, target=constraints.covariance: match_covariance(x, target, t, periodic=config.periodic),
                lambda x: x,
                x_t,
            )
        if config.mode == "average":
            for axis in range(3):
                evidence = observe(evidence, x_t, t, axis)
            weights = jnp.full(3, (1 + 2 * config.couple) / 3)
        else:
            observed = [lambda e, x, a=axis: observe(e, x, t, a) for axis in range(3)]
            evidence = jax.lax.switch(i % 3, observed, evidence, x_t)
            couple = jnp.array(config.couple)
            if constraints.roughness is not None:
                couple = coupling(evidence[i % 3], x_t, t, i % 3, constraints.roughness[level])
            others = jnp.where(i < 3, 0.0, couple)  # the first three evaluations lack evidence of some axes
            weights = jnp.where(jnp.arange(3) == i % 3, 1.0, others)
        x0_hat = model.combine(evidence, weights, x_t, t)
        predicted = x0_hat
        if constraints.lineal_path is not None:
            x0_hat = jax.lax.cond(
                (t > config.path_range[0]) & (t < config.path_range[1]),
                lambda x, target=constraints.lineal_path: constrain_lineal_path(x, target, t),
                lambda x: x,
                x0_hat,
            )
        if guide is not None:
            x0_hat = guide(x0_hat, t)
        x_t = x_t + alpha(t) * (x0_hat - predicted)  # the signal changes at once, its noise does not
        if constraints.fractions is not None:
            x0_hat = jax.lax.cond(
                (i >= low) & (i < high),
                lambda x, target=constraints.fractions: calibrate_fractions(x, target, within=config.middle),
                lambda x: x,
                x0_hat,
            )
        noise = jax.random.normal(step_key, x0_hat.shape)
        x_s = reverse_step(StepInput(x_t, x0_hat, x0_before, noise, before, t, s), eta=config.eta)
        if repeats > 1:

            def noisy_again(x):
                return renoise(x, s, t, jax.random.normal(renoise_key, x.shape))

            x_s = jax.lax.cond(repeat < repeats - 1, noisy_again, lambda x: x, x_s)
        return SamplingState(x_s, x0_hat, evidence)

    return jax.lax.fori_loop(start, stop, evaluation, state)


def labels_of(state: SamplingState) -> UInt8[Array, "z y x"]:
    """The most probable phase of each voxel of the box."""
    return to_labels(state.x0_hat)


def sampling_times(config: SamplingConfig) -> Float[Array, " t"]:
    """The steps + 1 log SNRs of the reverse process, noisiest first."""
    if config.times == "ddpm":
        return ddpm_times(config.steps)
    low, high = config.log_snr_range
    return log_snr_times(config.steps, log_snr_min=low, log_snr_max=high)
