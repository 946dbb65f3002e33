"""Layers of the networks, each for 2 or 3 spatial dimensions."""

import functools
import itertools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxmicro.models import winograd

FEW_VOXELS = 512  # of a batch of volumes, up to which a convolution is one product of matrices on a CPU


def space_to_depth(x: Float[Array, "n *spatial c"], factor: int) -> Float[Array, "n *coarse d"]:
    """Rearrange each block of factor^d pixels into channels; invertible.

    >>> space_to_depth(jnp.zeros((1, 8, 8, 3)), 4).shape
    (1, 2, 2, 48)
    """
    n, *spatial, c = x.shape
    dims = len(spatial)
    x = x.reshape(n, *(size for edge in spatial for size in (edge // factor, factor)), c)
    x = x.transpose(0, *range(1, 2 * dims, 2), *range(2, 2 * dims + 1, 2), 2 * dims + 1)
    return x.reshape(n, *(edge // factor for edge in spatial), factor**dims * c)


def depth_to_space(x: Float[Array, "n *coarse d"], factor: int) -> Float[Array, "n *spatial c"]:
    """Inverse of `space_to_depth`."""
    n, *coarse, d = x.shape
    dims = len(coarse)
    x = x.reshape(n, *coarse, *(factor,) * dims, d // factor**dims)
    x = x.transpose(0, *(axis for i in range(dims) for axis in (1 + i, 1 + dims + i)), 2 * dims + 1)
    return x.reshape(n, *(edge * factor for edge in coarse), d // factor**dims)


def fourier_features(t: Float[Array, " n"], features: int, *, period: float = 40.0) -> Float[Array, "n f"]:
    """Sine and cosine features of a scalar, with 1 to 32 waves per `period` (Vaswani et al. 2017)."""
    frequency = 2 * math.pi / period * 2.0 ** jnp.linspace(0.0, 5.0, features // 2)
    angle = t[:, None] * frequency[None, :]
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


def conv(
    features: int, dims: int, *, size: int = 3, stride: int = 1, upsampled: bool = False, zero: bool = False,
    periodic: tuple[bool, ...] = (), name: str | None = None,
):  # fmt: skip
    """A convolution over `dims` spatial dimensions.

    Args:
        upsampled: convolve `upsample(x)`, with size 3 and stride 1.
        periodic: for each axis, whether the input continues at its opposite face; beyond other faces it is zero. ():
            along no axis.
        zero: initialise the kernel to zero, so that a residual branch starts as zero.
    Raises:
        ValueError: an upsampled convolution of another size or stride.
    """
    if upsampled and (size, stride) != (3, 1):
        raise ValueError(f"size is {size} and stride {stride}, expected 3 and 1 for an upsampled convolution")
    init = nn.initializers.zeros_init() if zero else nn.initializers.lecun_normal()
    wraps = periodic or (False,) * dims
    kinds = {1: functools.partial(_same, wraps=wraps), 2: functools.partial(_halving, wraps=wraps)}
    convolution = kinds[stride] if stride == 1 or any(wraps) else None
    return nn.Conv(
        features, (size,) * dims, strides=stride, kernel_init=init, name=name,
        conv_general_dilated=functools.partial(_of_upsampled, wraps=wraps) if upsampled else convolution,
    )  # fmt: skip


def _same(
    x: Float[Array, "n *spatial c"], kernel: Float[Array, "*size c d"], *_, wraps: tuple[bool, ...], **__
) -> Float[Array, "n *spatial d"]:
    """Convolution of stride 1 and odd size with padding "SAME"; further arguments of Flax are ignored."""
    return _convolved(
        x, kernel, tuple((r // 2, r // 2, wrap) for r, wrap in zip(kernel.shape[:-2], wraps, strict=True))
    )


def _halving(
    x: Float[Array, "n *spatial c"], kernel: Float[Array, "*size c d"], *_, wraps: tuple[bool, ...], **__
) -> Float[Array, "n *coarse d"]:
    """Convolution of stride 2 and odd size with padding "SAME" of an input with even edges."""
    # of an even edge, "SAME" with stride 2 pads by size - 2 in all, the larger half behind
    padding = tuple(((r - 2) // 2, r // 2, wrap) for r, wrap in zip(kernel.shape[:-2], wraps, strict=True))
    x, remaining = _wrapped(x, padding)
    numbers = _channels_last(x.ndim)
    return jax.lax.conv_general_dilated(x, kernel, (2,) * (x.ndim - 2), remaining, dimension_numbers=numbers)


def _of_upsampled(
    x: Float[Array, "n *spatial c"], kernel: Float[Array, "*size c d"], *_, wraps: tuple[bool, ...], **__
) -> Float[Array, "n *fine d"]:
    """Convolution of size 3 of `upsample(x)`, computed from x. A fine pixel depends on two coarse ones along each axis,
    so that fine pixels of one parity are a convolution of size 2 of x: in 2D 4/9 of the operations."""
    parities = []
    for parity in itertools.product((0, 1), repeat=x.ndim - 2):
        taps = kernel
        for axis, odd in enumerate(parity):
            before, at, after = jnp.split(taps, 3, axis)
            taps = jnp.concatenate([before + at, after] if odd else [before, at + after], axis)
        padding = tuple((1 - odd, odd, wrap) for odd, wrap in zip(parity, wraps, strict=True))
        parities.append(_convolved(x, taps, padding))
    fine = jnp.stack(parities, axis=-2)
    return depth_to_space(fine.reshape(*fine.shape[:-2], -1), 2)


def _plain(x, kernel, padding):
    if winograd.suits(x, kernel):
        return _by_winograd(x, kernel, padding)
    if _few_voxels(x, kernel):
        return _by_product(x, kernel, padding)
    return _direct(x, kernel, padding)


def _few_voxels(x, kernel) -> bool:
    """Whether `_by_product` is faster than XLA's convolution: in 3D on CPUs, with many channels and up to 512 voxels
    over the batch. On two cores direct convolutions take 1.5 times as long with 128 channels at 4^3, and 1.3 times with
    1024 channels at 4 x 4 x 2."""
    wide = kernel.ndim == 5 and min(kernel.shape[-2:]) >= winograd.LEAST_CHANNELS[3]
    return wide and math.prod(x.shape[:-1]) <= FEW_VOXELS and jax.default_backend() == "cpu"


def _by_product(x, kernel, padding):
    """Convolution as one product of matrices: the voxels under the kernel at each place, times the kernel."""
    x, remaining = _wrapped(x, padding)
    x = jnp.pad(x, ((0, 0), *remaining, (0, 0)))
    *size, c, d = kernel.shape
    n, *edges, _ = x.shape
    out = [edge - r + 1 for edge, r in zip(edges, size, strict=True)]
    windows = [
        x[(slice(None), *(slice(first, first + edge) for first, edge in zip(tap, out, strict=True)))]
        for tap in itertools.product(*map(range, size))
    ]
    columns = jnp.concatenate(windows, axis=-1).reshape(-1, math.prod(size) * c)
    return (columns @ kernel.reshape(-1, d)).reshape(n, *out, d)


def _by_winograd(x, kernel, padding):
    x, remaining = _wrapped(x, padding)
    return winograd.convolve(x, kernel, remaining)


def _direct(x, kernel, padding):
    x, remaining = _wrapped(x, padding)
    return jax.lax.conv_general_dilated(
        x, kernel, (1,) * (x.ndim - 2), remaining, dimension_numbers=_channels_last(x.ndim)
    )


def _channels_last(ndim: int):
    last = ndim - 1
    image, weights = (0, last, *range(1, last)), (last, last - 1, *range(last - 1))
    return jax.lax.ConvDimensionNumbers(image, weights, image)


def _wrapped(x, padding):
    """The input continued along its periodic axes, and the padding with zeros that remains along the others."""
    wrapping = [(low, high) if wrap else (0, 0) for low, high, wrap in padding]
    remaining = tuple((0, 0) if wrap else (low, high) for low, high, wrap in padding)
    return (jnp.pad(x, ((0, 0), *wrapping, (0, 0)), mode="wrap") if any(map(any, wrapping)) else x), remaining


def _forward(x, kernel, padding):
    return _plain(x, kernel, padding), (x, kernel)


def _backward(padding, known, cotangent):
    """Gradients, that of the input as a convolution with channels last: inside a loop XLA does not rewrite a transposed
    convolution, which takes three times as long on a CPU (github.com/jax-ml/jax/issues/12868)."""
    x, kernel = known
    turned = jnp.flip(kernel, range(kernel.ndim - 2)).swapaxes(-1, -2)
    edges = kernel.shape[:-2]
    mirrored = tuple((r - 1 - low, r - 1 - high, wrap) for r, (low, high, wrap) in zip(edges, padding, strict=True))
    # in 3D the gradient of the kernel is six times as fast by Winograd's algorithm, 96 channels at 8^3
    convolution = _by_winograd if kernel.ndim == 5 and winograd.suits(x, kernel) else _direct
    of_kernel = jax.linear_transpose(lambda weights: convolution(x, weights, padding), kernel)
    return _plain(cotangent, turned, mirrored), of_kernel(cotangent)[0]


_convolved = jax.custom_vjp(_plain, nondiff_argnums=(2,))
_convolved.defvjp(_forward, _backward)


class ResidualBlock(nn.Module):
    """Two convolutions, between them scale and shift from an embedding if given (Dhariwal & Nichol 2021).

    Normalisation is over the channels of each pixel, so that the block is local: the output at a pixel far from the
    edge of a tile does not depend on the size of the tile.
    """

    features: int
    dims: int = 2
    periodic: tuple[bool, ...] = ()  # as in `conv`

    @nn.compact
    def __call__(
        self, x: Float[Array, "n *spatial c"], emb: Float[Array, "n e"] | None = None
    ) -> Float[Array, "n *spatial d"]:
        h = conv(self.features, self.dims, periodic=self.periodic)(nn.swish(nn.RMSNorm()(x)))
        h = nn.RMSNorm()(h)
        if emb is not None:
            modulation = nn.Dense(2 * self.features, kernel_init=nn.initializers.zeros_init())(emb)
            scale, shift = jnp.split(jnp.expand_dims(modulation, tuple(range(1, 1 + self.dims))), 2, axis=-1)
            h = h * (1 + scale) + shift
        h = conv(self.features, self.dims, zero=True, periodic=self.periodic)(nn.swish(h))
        if x.shape[-1] != self.features:
            x = conv(self.features, self.dims, size=1)(x)
        return x + h


class SelfAttention(nn.Module):
    """Attention among all pixels of a sample, with a skip connection.

    The softmax is normalised after the second product, where there are the fewest numbers to divide: in Flax's
    attention XLA fuses the division into the product, which then takes ten times as long on a CPU.
    """

    heads: int = 4

    @nn.compact
    def __call__(self, x: Float[Array, "n *spatial c"]) -> Float[Array, "n *spatial c"]:
        n, *spatial, c = x.shape
        if c % self.heads:
            raise ValueError(f"{c} channels cannot be shared by {self.heads} heads: give a width that is a multiple")
        tokens = nn.RMSNorm()(x).reshape(n, math.prod(spatial), c)
        joint = nn.Dense(3 * c)(tokens).reshape(*tokens.shape[:2], 3, self.heads, c // self.heads)
        query, key, value = joint.transpose(2, 0, 3, 1, 4)  # n heads t d
        scores = jnp.einsum("nhtd,nhsd->nhts", query / math.sqrt(query.shape[-1]), key)
        weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True)))
        mean = jnp.einsum("nhts,nhsd->nhtd", weights, value) / weights.sum(axis=-1, keepdims=True)
        out = nn.Dense(c, kernel_init=nn.initializers.zeros_init())(mean.swapaxes(1, 2).reshape(tokens.shape))
        return x + out.reshape(x.shape)


def upsample(x: Float[Array, "n *spatial c"]) -> Float[Array, "n *fine c"]:
    """Nearest-neighbour interpolation by a factor of two."""
    for axis in range(1, x.ndim - 1):
        x = jnp.repeat(x, 2, axis=axis)
    return x


def parameter_count(params) -> int:
    """Number of scalars in a parameter tree."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
