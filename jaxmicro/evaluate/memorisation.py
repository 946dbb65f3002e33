"""Test for copies of the micrograph: distances of generated patches to their nearest crop of the micrograph.

A copied plane is closer to the micrograph than separate parts of the micrograph are to each other.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer
from scipy.fft import next_fast_len

FALSE_ALARMS = 0.01  # probability that a volume, or a set of samples, without copies is flagged
_MAX_RATIO = 0.5  # of the limit to the smallest distance inside the micrograph
_SCATTER_MARGIN = 0.1  # relative increase of the estimated standard deviation of the log distances
_OWN = 24  # patches of the micrograph from whose distances the limit is estimated
_BLANK = 0.5  # patches with less than this share of the content of the image are too blank to compare
_NOWHERE = -(1 << 20)  # corner of a patch that is not part of the image
_GOLDEN = np.array([0.6180339887, 0.7548776662, 0.5698402910])  # increments of additive recurrences (even sampling)


def memorisation(
    volumes: list[Integer[np.ndarray, "z y x"]],
    image: Integer[np.ndarray, "h w"],
    phases: int,
    *,
    patch: int = 64,
    patches: int = 48,
    seed: int = 0,
) -> dict:
    """Distance of generated patches to their nearest crop of the micrograph, over all shifts, rotations by 90 degrees
    and reflections.

    The distance of a patch to a crop is the share of pixels that differ, divided by the share that differ from a blank
    crop of the patch's most abundant phase: 0 is a copy, 1 no closer than a blank crop. Nearly blank patches, which are
    similar to any blank crop, have the distance 1. The reference is the same search for patches of the micrograph, each
    against all crops that do not overlap it. A Weibull distribution with the mean and standard deviation of the
    logarithms of these distances gives the limit below which the nearest generated patch is in one of 100 volumes
    without copies; patches below it are counted as copied.

    Each patch is from another plane. Its edge is at most half of that of the plane: a plane may be a crop that was
    shifted periodically, and then one patch in four has no seam.

    Args:
        volumes: generated labels; the patches are taken from planes normal to all three axes of all volumes.
        image: labels of the micrograph.
        phases: number of phases.
        patch: edge of the patches in pixels, lowered to a third of the shortest edge of the image and half of that of
            the volumes.
        patches: number of generated patches. A share q of copied planes normal to one of the axes is missed with a
            probability of about (1 - q)^(patches / 3), or (1 - q / 4)^(patches / 3) if they are shifted periodically.
        seed: of the positions of the patches.
    Returns:
        {"patch" (edge), "generated": [distance], "micrograph": [distance], "nearest" (smallest generated), "yardstick"
        (smallest of the micrograph), "limit" (of copies), "copied" (number of patches), "flagged"}; distances
        dimensionless.
    """
    edge = max(min(patch, min(image.shape) // 3, *(min(v.shape) // 2 for v in volumes)), 2)
    generated_patches = np.stack(
        [_generated_patch(volumes, k, edge) for k in range(seed * patches, (seed + 1) * patches)]
    )
    corners = np.stack([_corner(np.subtract(image.shape, edge - 1), k) for k in range(seed * _OWN, (seed + 1) * _OWN)])
    own = np.stack([image[r : r + edge, c : c + edge] for r, c in corners])
    content = _content(image[None], phases)[0]
    nowhere = np.full((patches, 2), _NOWHERE)
    generated = _relative(
        _nearest(generated_patches, nowhere, image, phases=phases), generated_patches, content, phases
    )
    micrograph = _relative(_nearest(own, corners, image, phases=phases), own, content, phases)
    limit = copy_limit(micrograph, patches)
    copied = int(np.sum(generated < limit))
    return {
        "patch": int(edge),
        "generated": [round(float(d), 4) for d in generated],
        "micrograph": [round(float(d), 4) for d in micrograph],
        "nearest": round(float(generated.min()), 4),
        "yardstick": round(float(micrograph.min()), 4),
        "limit": round(limit, 4),
        "copied": copied,
        "flagged": copied > 0,
    }


def copy_limit(own: Float[np.ndarray, " n"], patches: int) -> float:
    """Distance that the smallest of so many patches without copies falls below in one volume of 100.

    Nearest distances are minima over many crops and have a Weibull distribution; with shape k and scale s their
    logarithm has the mean log(s) - 0.577 / k and the standard deviation 1.283 / k.
    """
    if own.min() <= 0:
        return 0.0  # the micrograph repeats itself: copies cannot be recognised
    # 24 distances determine the standard deviation within 15 %
    inverse_shape = (1 + _SCATTER_MARGIN) * np.std(np.log(own), ddof=1) / (np.pi / np.sqrt(6))
    scale = np.mean(np.log(own)) + np.euler_gamma * inverse_shape
    return float(min(np.exp(scale + inverse_shape * np.log(FALSE_ALARMS / patches)), _MAX_RATIO * own.min()))


def _content(patches: Integer[np.ndarray, "k h w"], phases: int) -> Float[np.ndarray, " k"]:
    """Share of the pixels of each patch that are not of its most abundant phase: 0 for a blank patch."""
    return 1 - np.max([np.mean(patches == p, axis=(1, 2)) for p in range(phases)], axis=0)


def _relative(
    differing: Float[np.ndarray, " k"], patches: Integer[np.ndarray, "k e e"], of_image: float, phases: int
) -> Float[np.ndarray, " k"]:
    """Distances relative to that of a blank crop; 1 for patches with less than _BLANK of the content of the image."""
    content = _content(patches, phases)
    return np.where(content < _BLANK * of_image, 1.0, differing / np.maximum(content, 1e-6))


def _generated_patch(volumes: list[np.ndarray], k: int, edge: int) -> np.ndarray:
    """The k-th patch: axes and volumes in turn, planes and positions evenly spread."""
    turn, axis = divmod(k, 3)
    planes = np.moveaxis(volumes[turn % len(volumes)], axis, 0)
    plane = planes[int((turn + 1) * _GOLDEN[0] % 1 * planes.shape[0])]
    r, c = _corner(np.subtract(plane.shape, edge - 1), k)
    return plane[r : r + edge, c : c + edge]


def _corner(positions: tuple[int, ...] | np.ndarray, k: int) -> np.ndarray:
    """The k-th of evenly spread positions (additive recurrence in two dimensions)."""
    return ((k + 1) * _GOLDEN[1:] % 1 * np.asarray(positions)).astype(int)


def _nearest(patches: np.ndarray, own: np.ndarray, image: np.ndarray, *, phases: int) -> np.ndarray:
    """Smallest share of differing pixels between each patch, in its 8 orientations, and the crops that do not overlap
    its own position."""
    turned = np.stack([np.rot90(p, k, axes=(1, 2)) for p in (patches, patches[:, :, ::-1]) for k in range(4)], axis=1)
    return np.asarray(_search(jnp.asarray(turned), jnp.asarray(own), jnp.asarray(image), phases=phases))


@partial(jax.jit, static_argnames="phases")
def _search(
    patches: Integer[Array, "k s e e"], own: Integer[Array, "k 2"], image: Integer[Array, "h w"], *, phases: int
) -> Float[Array, " k"]:
    edge = patches.shape[-1]
    size = [int(next_fast_len(n, real=True) or n) for n in image.shape]
    code = jnp.asarray(simplex(phases), jnp.float32)
    spectrum = jnp.fft.rfft2(jnp.moveaxis(code[image], -1, 0), size)
    rows, columns = (jnp.arange(n - edge + 1) for n in image.shape)

    def best(patch: Array, corner: Array) -> Array:
        pattern = jnp.fft.rfft2(jnp.moveaxis(code[patch], -1, 0), size)
        product = jnp.fft.irfft2(jnp.sum(spectrum * jnp.conj(pattern), axis=0), size)
        equal = product[: rows.size, : columns.size] + edge**2 / phases
        overlaps = (jnp.abs(rows - corner[0]) < edge)[:, None] & (jnp.abs(columns - corner[1]) < edge)[None, :]
        return jnp.max(jnp.where(overlaps, 0.0, equal))

    def of_patch(task: tuple[Array, Array]) -> Array:
        orientations, corner = task
        equal = jax.lax.map(lambda patch: best(patch, corner), orientations)
        return 1 - jnp.round(jnp.max(equal)) / edge**2

    return jax.lax.map(of_patch, (patches, own))


def simplex(phases: int) -> Float[np.ndarray, "p q"]:
    """Codes of the phases in q = p - 1 dimensions with <code_i, code_j> = delta_ij - 1/p.

    The number of equal pixels of two patches is then sum <code, code> + pixels / p, with p - 1 correlations instead of
    p.
    """
    centred = np.eye(phases) - 1 / phases
    values, vectors = np.linalg.eigh(centred)
    return vectors[:, values > 0.5]  # the projector has eigenvalue 1, p - 1 times, and 0 once
