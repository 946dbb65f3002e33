"""Hold the lineal path and S2 of a volume being sampled, and with them how much interface each phase has.

The two-point correlation says nothing of how far a phase goes on: particles that touch or not can have the same. So the
prediction of the clean volume is moved along the gradient of the misfit of its lineal path, while structures are being
decided. Segments of 2^k voxels are two of half the length end to end, so that all lengths up to 32 cost five products
along each axis. The share of segments of two voxels is what a phase fills less half of its interface.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxmicro.polyak import moved_to_lower
from jaxmicro.reconstruct.correlation import plane_covariance

# Weight of the squared relative deviation of the share of voxels that the next one does not continue (at held
# fractions: of the interface), against that of the area under the lineal path.
INTERFACE = 0.03


def segment_lags(r_max: int) -> np.ndarray:
    """The distances 0, 1, 3, 7, ... <= r_max between the ends of segments of 1, 2, 4, 8, ... voxels.

    >>> segment_lags(10).tolist()
    [0, 1, 3, 7]
    """
    return 2 ** np.arange((r_max + 1).bit_length()) - 1


def segments_inside(fractions: Float[Array, "z y x p"], *, lags: int, periodic: bool = True) -> Float[Array, "p k"]:
    """Lineal path at the first `lags` of `segment_lags`: share of segments of 2^k voxels inside each phase, mean over
    the axes. Differentiable; a segment of soft phases counts with the product of its voxels.

    Args:
        periodic: whether segments wrap around; if not, those that fit the grid count.
    """

    def along(axis: int) -> Float[Array, "p k"]:
        inside, shares = fractions, [jnp.mean(fractions, axis=(0, 1, 2))]
        for k in range(lags - 1):
            if periodic:
                inside = inside * jnp.roll(inside, -(2**k), axis=axis)
            else:
                first, last = 2**k, inside.shape[axis]
                inside = jax.lax.slice_in_dim(inside, 0, last - first, axis=axis) * jax.lax.slice_in_dim(
                    inside, first, last, axis=axis
                )
            shares.append(jnp.mean(inside, axis=(0, 1, 2)))
        return jnp.stack(shares, axis=-1)

    return (along(0) + along(1) + along(2)) / 3


def match_lineal_path(
    x0_hat: Float[Array, "z y x p"],
    path: Float[Array, "p k"],
    *,
    covariance: Float[Array, "p r"] | None = None,
    interface: bool | Array = True,
    steps: int = 1,
    periodic: bool = True,
) -> Float[Array, "z y x p"]:
    """A predicted clean volume moved towards a lineal path, and towards a two-point correlation.

    Args:
        x0_hat: 2 p - 1, with p the posterior of each phase.
        path: wanted L of each phase at `segment_lags`; from k = 0, the volume fraction. Phases whose row is NaN are
            left alone altogether, and so are segments of more than half the shortest edge.
        covariance: wanted S2(r) - phi^2 of each phase in planes, r = 0, 1, ... voxels; of periodic volumes only.
        interface: whether the interface counts, too; while predictions are blurred they have too little of it.
        steps: gradients taken.
        periodic: whether segments wrap around.
    """
    lags = min(path.shape[-1], (min(x0_hat.shape[:3]) // 2).bit_length())
    if lags < 2:
        return x0_hat
    r = segment_lags(2 ** (lags - 1))[:lags].astype(float)
    width = np.gradient(r)[None]  # what each of these distances stands for
    known = jnp.isfinite(path[:, :lags])
    wanted = jnp.where(known, path[:, :lags], 1.0)
    area = jnp.sum(width * wanted, axis=-1, keepdims=True)
    boundary = jnp.maximum(wanted[:, 0] - wanted[:, 1], 1e-4)

    def loss(fractions: Float[Array, "z y x p"]) -> Float[Array, ""]:
        off = jnp.where(known, segments_inside(fractions, lags=lags, periodic=periodic) - wanted, 0.0)[:, 1:]
        excess = jnp.sum((off[:, 0] / boundary) ** 2)
        value = jnp.sum(width[:, 1:] * (off / area) ** 2) + jnp.where(interface, INTERFACE, 0.0) * excess
        if covariance is None or not periodic:
            return value
        reach = min(covariance.shape[1] - 1, min(x0_hat.shape[:3]) // 2)
        off = plane_covariance(fractions, r_max=reach) - covariance[:, : reach + 1]
        two_point = jnp.sum(covariance[:, : reach + 1] + wanted[:, :1] ** 2, axis=-1, keepdims=True)
        return value + jnp.sum(jnp.where(known[:, :1], off / two_point, 0.0)[:, 1:] ** 2)

    return moved_to_lower(loss, x0_hat, steps=steps)
