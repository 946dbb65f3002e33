"""Did the model copy the micrograph? Nearest training crop of generated planes, against that of the micrograph itself.

A copied plane is closer to the micrograph than any two separate places of the micrograph are to each other.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer
from scipy.fft import next_fast_len

_COPY = 0.5  # a plane below this share of the smallest distance inside the micrograph counts as a copy
_BLANK = 0.25  # a patch with less than this share of the content of the image tells nothing
_NOWHERE = -(1 << 20)  # corner of a patch that does not come from the image
_GOLDEN = np.array([0.6180339887, 0.7548776662, 0.5698402910])  # additive recurrences: an even spread


def memorisation(
    volumes: list[Integer[np.ndarray, "z y x"]],
    image: Integer[np.ndarray, "h w"],
    phases: int,
    *,
    patch: int = 64,
    patches: int = 24,
    seed: int = 0,
) -> dict:
    """Distance of generated patches to their nearest crop of the micrograph, over all shifts, turns and reflections.

    The distance of a patch to a crop is the share of pixels that differ, over the share that differ from a blank crop
    of the patch's most abundant phase: 0 is a copy, 1 no closer than nothing at all. Nearly blank patches, which
    resemble anything blank, count as 1. The yardstick is the same search for patches of the micrograph, each against
    all crops that do not overlap it. A generated patch closer than half the smallest such distance counts as copied.

    Args:
        volumes: generated labels; the patches are taken from planes normal to all three axes.
        image: labels of the micrograph.
        phases: number of phases.
        patch: edge of the patches in pixels; lowered to half the shortest edge of the image and to the edges of the
            volumes.
        patches: number of generated patches searched for, and of patches of the micrograph.
        seed: another number takes patches from other places.
    Returns:
        {"patch", "generated": [distance], "micrograph": [distance], "nearest", "yardstick" (both smallest),
        "copied" (number of patches), "flagged"}; distances dimensionless.
    """
    edge = min(patch, min(image.shape) // 2, *(min(v.shape) for v in volumes))
    which = range(seed * patches, (seed + 1) * patches)
    made = np.stack([_generated_patch(volumes, k, edge) for k in which])
    corners = np.stack([_corner(image.shape, k, edge) for k in which])
    own = np.stack([image[r : r + edge, c : c + edge] for r, c in corners])
    content = _content(image[None], phases)[0]
    generated = _relative(_nearest(made, np.full_like(corners, _NOWHERE), image, phases=phases), made, content, phases)
    micrograph = _relative(_nearest(own, corners, image, phases=phases), own, content, phases)
    copied = int(np.sum(generated < _COPY * micrograph.min()))
    return {
        "patch": int(edge),
        "generated": [round(float(d), 4) for d in generated],
        "micrograph": [round(float(d), 4) for d in micrograph],
        "nearest": round(float(generated.min()), 4),
        "yardstick": round(float(micrograph.min()), 4),
        "copied": copied,
        "flagged": copied > 0,
    }


def _content(patches: Integer[np.ndarray, "k h w"], phases: int) -> Float[np.ndarray, " k"]:
    """Share of each patch that is not of its most abundant phase: 0 for a blank patch."""
    return 1 - np.max([np.mean(patches == p, axis=(1, 2)) for p in range(phases)], axis=0)


def _relative(
    differing: Float[np.ndarray, " k"], patches: Integer[np.ndarray, "k e e"], of_image: float, phases: int
) -> Float[np.ndarray, " k"]:
    """Distances relative to that of a blank crop; 1 for patches with far less content than the image."""
    content = _content(patches, phases)
    return np.where(content < _BLANK * of_image, 1.0, differing / np.maximum(content, 1e-6))


def _generated_patch(volumes: list[np.ndarray], k: int, edge: int) -> np.ndarray:
    volume = volumes[k % len(volumes)]
    plane = np.moveaxis(volume, k % 3, 0)
    plane = plane[int((k + 1) * _GOLDEN[0] % 1 * plane.shape[0])]
    r, c = _corner(plane.shape, k, edge)
    return plane[r : r + edge, c : c + edge]


def _corner(shape: tuple[int, ...], k: int, edge: int) -> np.ndarray:
    """Corner of the k-th patch: an even spread over an image (additive recurrence in two dimensions)."""
    return ((k + 1) * _GOLDEN[1:] % 1 * (np.array(shape) - edge + 1)).astype(int)


def _nearest(patches: np.ndarray, own: np.ndarray, image: np.ndarray, *, phases: int) -> np.ndarray:
    """Smallest share of differing pixels between each patch, in its 8 orientations, and the crops apart from its
    own."""
    turned = np.stack([np.rot90(p, k, axes=(1, 2)) for p in (patches, patches[:, :, ::-1]) for k in range(4)], axis=1)
    return np.asarray(_search(jnp.asarray(turned), jnp.asarray(own), jnp.asarray(image), phases=phases))


@partial(jax.jit, static_argnames="phases")
def _search(
    patches: Integer[Array, "k s e e"], own: Integer[Array, "k 2"], image: Integer[Array, "h w"], *, phases: int
) -> Float[Array, " k"]:
    edge = patches.shape[-1]
    size = [int(next_fast_len(n, real=True) or n) for n in image.shape]
    code = jnp.asarray(_simplex(phases), jnp.float32)
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


def _simplex(phases: int) -> Float[np.ndarray, "p q"]:
    """Codes of the phases in q = p - 1 dimensions with <code_i, code_j> = delta_ij - 1/p.

    One correlation fewer than phases then counts the equal pixels of two patches: sum <code, code> + pixels / p.
    """
    centred = np.eye(phases) - 1 / phases
    values, vectors = np.linalg.eigh(centred)
    return vectors[:, values > 0.5]  # the projector has eigenvalue 1, p - 1 times, and 0 once
