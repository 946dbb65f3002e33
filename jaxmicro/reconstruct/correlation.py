"""Constraint on the two-point correlation of a volume while it is sampled.

The covariance of a noised volume x_t = alpha x_0 + sigma eps follows from that of x_0: for each phase it is alpha^2
times the latter, plus sigma^2 at distance zero. No prediction of x_0 is needed, and the noise averages out over the
voxels. A linear isotropic filter gives x_t this covariance: the amplitude of each wave is multiplied by the square root
of the ratio of target and actual spectrum. The denoiser then sees planes with the statistics of its training. Early in
the process this determines how coarse the volume is; once the structures are decided it would only colour the noise.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxmicro.diffusion import alpha, sigma

MAX_GAIN = 1.25  # upper bound of the factor on an amplitude in one call; its inverse is the lower bound
SPECTRUM_FLOOR = 0.3  # share of the mean spectrum below which a spectrum is noise of the estimate


def match_covariance(
    x_t: Float[Array, "z y x p"], covariance: Float[Array, "p r"], log_snr: Float[Array, ""], *, periodic: bool = True
) -> Float[Array, "z y x p"]:
    """x_t filtered so that its covariance becomes that of a medium with the given one, noised to a log SNR.

    Args:
        x_t: noised phases in {-1, 1}^p.
        covariance: <(I(x) - phi)(I(x + r) - phi)> of each phase's indicator at r = 0, 1, ... voxels. Distances beyond
            the last, or beyond half the shortest edge, are not constrained.
        log_snr: noise level of x_t.
        periodic: whether the volume continues at its opposite face; if not, pairs across it count as independent.
    """
    shape = x_t.shape[:3]
    reach = min(covariance.shape[-1] - 1, min(shape) // 2)
    r = np.arange(reach + 1)
    waves = jnp.fft.rfftn(x_t, axes=(0, 1, 2))
    power = (waves.real**2 + waves.imag**2) / math.prod(shape)
    share = np.ones(reach + 1) if periodic else _inside(shape, reach)
    target = 4 * alpha(log_snr) ** 2 * covariance[:, : reach + 1] * jnp.asarray(share, x_t.dtype)[None]
    target = target.at[:, 0].add(sigma(log_snr) ** 2)
    measured = _covariance(power, shape, reach)
    shells = np.linspace(0, np.pi * math.sqrt(3), 4 * reach)  # wave numbers, radians per voxel
    fade = 0.5 + 0.5 * np.cos(np.pi * np.clip(2 * r / reach - 1, 0, 1))  # no discontinuity at the last distance
    # number of voxels from r - 1/2 to r + 1/2
    voxels_at = np.where(r == 0, 1, 4 * np.pi * r.astype(float) ** 2 + np.pi / 3)
    to_spectrum = jnp.asarray(voxels_at * fade * np.sinc(np.outer(shells, r) / np.pi), x_t.dtype)
    spectrum, change = measured @ to_spectrum.T, (target - measured) @ to_spectrum.T
    ratio = 1 + change / jnp.maximum(spectrum, SPECTRUM_FLOOR * jnp.mean(spectrum, axis=-1, keepdims=True))
    gain = jnp.clip(jnp.sqrt(jnp.maximum(ratio, 0.0)), 1 / MAX_GAIN, MAX_GAIN)
    position = np.clip(_wave_numbers(shape) / shells[1], 0, len(shells) - 1.001)
    shell, weight = position.astype(int), jnp.asarray(position % 1, x_t.dtype)[..., None]
    at_waves = (1 - weight) * gain.T[shell] + weight * gain.T[shell + 1]
    at_waves = at_waves.at[0, 0, 0].set(1.0)  # volume fractions are constrained separately (calibrate.py)
    return jnp.fft.irfftn(waves * at_waves, shape, axes=(0, 1, 2))


def plane_covariance(field: Float[Array, "z y x p"], *, r_max: int) -> Float[Array, "p r"]:
    """Radial covariance <(f(x) - <f>)(f(x + r) - <f>)> at r = 0..r_max voxels of each channel of a periodic volume,
    over the lags in planes normal to its axes, which sections show.

    >>> layers = jnp.eye(2)[jnp.zeros((4, 4, 4), int).at[:2].set(1)]
    >>> plane_covariance(layers, r_max=0).round(3).tolist()  # phi (1 - phi) at r = 0
    [[0.25], [0.25]]
    """
    waves = jnp.fft.rfftn(field, axes=(0, 1, 2))
    shape = field.shape[:3]
    return _covariance((waves.real**2 + waves.imag**2) / math.prod(shape), shape, r_max)


def _wave_numbers(shape: tuple[int, ...]) -> np.ndarray:
    """|k| of each wave of `rfftn`, radians per voxel."""
    axes = [2 * np.pi * np.fft.fftfreq(n) for n in shape[:-1]] + [2 * np.pi * np.fft.rfftfreq(shape[-1])]
    return np.sqrt(sum(k**2 for k in np.meshgrid(*axes, indexing="ij", sparse=True)))


def _covariance(power: Float[Array, "z y half p"], shape: tuple[int, ...], reach: int) -> Float[Array, "p r"]:
    """Covariance over in-plane lags from the spectrum: for planes normal to an axis, of the power summed along it."""
    power = power.at[0, 0, 0].set(0.0)  # about the mean
    half = shape[2] // 2 + 1
    twice = np.full(half, 2.0)  # rfftn omits the complex conjugates of all waves but these
    twice[[0, half - 1] if shape[2] % 2 == 0 else [0]] = 1.0
    total = 0.0
    for axis, plane in enumerate(_PLANES):
        if axis == 2:
            lags = jnp.fft.ifftn(jnp.einsum("zyxp,x->zyp", power, jnp.asarray(twice, power.dtype)), axes=(0, 1)).real
        else:
            lags = jnp.fft.irfftn(jnp.sum(power, axis=axis), [shape[a] for a in plane], axes=(0, 1))
        ring = _ring(shape, plane, reach).ravel()
        total += jax.ops.segment_sum(lags.reshape(-1, lags.shape[-1]), ring, num_segments=reach + 2) / shape[axis]
    pairs = sum(np.bincount(_ring(shape, plane, reach).ravel(), minlength=reach + 2) for plane in _PLANES)
    return (total / jnp.asarray(pairs, power.dtype)[:, None])[: reach + 1].T


_PLANES = ((1, 2), (0, 2), (0, 1))


def _lags(shape: tuple[int, ...], plane: tuple[int, int]) -> tuple[np.ndarray, ...]:
    return tuple(np.meshgrid(*[np.fft.fftfreq(shape[a]) * shape[a] for a in plane], indexing="ij"))


def _ring(shape: tuple[int, ...], plane: tuple[int, int], reach: int) -> np.ndarray:
    """Distance of each lag rounded to voxels; reach + 1 for all larger ones."""
    return np.minimum(np.floor(np.hypot(*_lags(shape, plane)) + 0.5).astype(int), reach + 1)


def _inside(shape: tuple[int, ...], reach: int) -> np.ndarray:
    """Share of the pairs at each distance that do not cross a face of the volume."""
    inside, pairs = np.zeros(reach + 2), np.zeros(reach + 2)
    for plane in _PLANES:
        ring, (first, second) = _ring(shape, plane, reach).ravel(), _lags(shape, plane)
        share = (1 - np.abs(first) / shape[plane[0]]) * (1 - np.abs(second) / shape[plane[1]])
        inside += np.bincount(ring, weights=share.ravel(), minlength=reach + 2)
        pairs += np.bincount(ring, minlength=reach + 2)
    return (inside / pairs)[: reach + 1]
