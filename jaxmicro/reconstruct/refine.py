"""From a latent volume to voxels: decode along three axes, average, and refine (P-MicroLad eqs. 28 to 36).

A cell of the latent volume is `codec.factor` voxels wide along each axis, also across the planes: the code of a layer
of voxels is the linear interpolation between the two latent planes around it, at the centres of voxels and cells (the
paper does not say how its 16 planes become 64).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from jaxmicro.diffusion import Codec, put_planes, take_planes
from jaxmicro.phases import to_labels
from jaxmicro.reconstruct.calibrate import calibrate_fractions
from jaxmicro.reconstruct.tiles import in_batches

# Exponents of the fractions, applied in turn: the mean of the last power is nearly the share of the labels. With larger
# ratios between them, and many undecided voxels, the shift is too far from the next solution for Newton's method.
SHARPEN = (1.0, 4.0, 16.0, 64.0, 256.0, 1024.0)


def decode_volume(
    codec: Codec,
    latent: Float[Array, "i j k c"],
    *,
    rounds: int = 0,
    periodic: bool = False,
    batch: int = 32,
    key: jax.Array | None = None,
    hold: Callable[[Float[Array, "z y x p"]], Float[Array, "z y x p"]] | None = None,
) -> Float[Array, "z y x p"]:
    """Phase fractions of a latent volume, differentiable.

    Args:
        rounds: number of refinements, K.
        periodic: whether the volume is periodic.
        batch: planes in the networks at once; bounds the memory.
        key: of the random shift of a periodic volume in each round; None: no shifts.
        hold: applied to the volume before each round, for example to impose its volume fractions.
    """
    decoded = [
        in_batches(codec.decode, take_planes(interpolate(latent, codec.factor, axis, periodic=periodic), axis), batch)
        for axis in range(3)
    ]
    volume = _mean(decoded)  # eqs. 29, 31, 33 and 35
    return refine(codec, volume, rounds, batch=batch, key=key if periodic else None, hold=hold)


def refine(
    codec: Codec,
    volume: Float[Array, "z y x p"],
    rounds: int,
    *,
    batch: int = 32,
    key: jax.Array | None = None,
    hold: Callable[[Float[Array, "z y x p"]], Float[Array, "z y x p"]] | None = None,
) -> Float[Array, "z y x p"]:
    """X <- mean over the three axes of D(E(planes of X)), `rounds` times (P-MicroLad eqs. 29 to 35).

    A volume whose planes the codec reproduces along all axes is a fixed point. With a key, for periodic volumes, the
    volume is shifted at random in each round, so that no voxel stays at the seam or at one place of a cell.
    """

    def one_round(k, volume):
        shift = jnp.zeros(3, int)
        if key is not None:
            shift = jax.random.randint(jax.random.fold_in(key, k), (3,), 0, jnp.asarray(volume.shape[:3]))
        volume = jnp.roll(hold(volume) if hold else volume, shift, axis=(0, 1, 2))
        decoded = [in_batches(lambda x: codec.decode(codec.encode(x)), take_planes(volume, axis), batch)
                for axis in range(3)]  # fmt: skip
        return jnp.roll(_mean(decoded), -shift, axis=(0, 1, 2))

    return jax.lax.fori_loop(0, rounds, one_round, volume)


def interpolate(
    latent: Float[Array, "i j k c"], factor: int, axis: int, *, periodic: bool = False
) -> Float[Array, "i2 j2 k2 c"]:
    """The latent volume with `factor` times as many planes normal to `axis`, by linear interpolation; beyond the faces
    the last plane is repeated, or in periodic volumes that at the opposite face is used.

    >>> interpolate(jnp.array([0.0, 4.0]).reshape(2, 1, 1, 1), 2, 0).ravel().tolist()
    [0.0, 1.0, 3.0, 4.0]
    """
    n = latent.shape[axis]
    position = (jnp.arange(n * factor) + 0.5) / factor - 0.5
    below = jnp.floor(position).astype(int)
    share = jnp.expand_dims(position - below, [a for a in range(4) if a != axis])

    def plane(index):
        index = index % n if periodic else jnp.clip(index, 0, n - 1)
        return jnp.take(latent, index, axis=axis)

    return (1 - share) * plane(below) + share * plane(below + 1)


def labels_of_fractions(
    fractions: Float[Array, "z y x p"], held: Float[Array, " p"] | None, within: tuple[slice, ...] = ()
) -> UInt8[Array, "z y x"]:
    """The most probable phase of each voxel; with `held`, after the uniform shift of the logits at which the shares of
    the phases among the voxels `within` are `held` (`calibrate_fractions`)."""
    if held is None:
        return to_labels(fractions)
    log_p = jnp.log(jnp.clip(fractions, 1e-6, 1.0))
    for power in SHARPEN:
        sharp = jax.nn.softmax(power * log_p, axis=-1)
        shifted = calibrate_fractions(2 * sharp - 1, held, iterations=20, within=within)
        log_p = jnp.log(jnp.clip((shifted + 1) / 2, 1e-12, 1.0)) / power
    return to_labels(log_p)


def _mean(planes: list[Float[Array, "n h w p"]]) -> Float[Array, "z y x p"]:
    volumes = [put_planes(stack, axis) for axis, stack in enumerate(planes)]
    return sum(volumes[1:], volumes[0]) / 3
