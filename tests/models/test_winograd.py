"""Winograd convolutions against sums in double precision, for all sizes of the kernel."""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmicro.models import winograd
from jaxmicro.models.layers import conv


def exact(x: np.ndarray, kernel: np.ndarray, padding) -> np.ndarray:
    """Sums of shifted products, in double precision."""
    x, kernel = np.asarray(x, float), np.asarray(kernel, float)
    edges, size = x.shape[1:-1], kernel.shape[:-2]
    x = np.pad(x, ((0, 0), *padding, (0, 0)))
    out = np.zeros(())
    for tap in itertools.product(*map(range, size)):
        window = tuple(slice(first, first + edge) for first, edge in zip(tap, edges, strict=True))
        out = out + x[(slice(None), *window)] @ kernel[tap]
    return out


@pytest.mark.parametrize("padding", [((1, 1),), ((1, 1), (1, 1)), ((1, 0), (0, 1)), ((1, 1), (1, 1), (0, 1))])
def test_the_result_is_a_convolution(padding: tuple[tuple[int, int], ...]):
    """Kernel of size 3 along axes padded on both sides, 2 along those padded on one; different edges."""
    edges, size = (8, 4, 12)[: len(padding)], [1 + sum(sides) for sides in padding]
    x = jax.random.normal(jax.random.key(0), (2, *edges, 5))
    kernel = jax.random.normal(jax.random.key(1), (*size, 5, 7))
    ours, expected = winograd.convolve(x, kernel, padding), exact(x, kernel, padding)
    np.testing.assert_allclose(ours, expected, atol=1e-5 * np.abs(expected).max())


def test_rounding_errors_are_close_to_those_of_direct_sums():
    x = jax.random.normal(jax.random.key(0), (2, 16, 16, 128))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 128, 128))
    expected = exact(x, kernel, ((1, 1), (1, 1)))
    plain = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    ours = winograd.convolve(x, kernel, ((1, 1), (1, 1)))
    assert np.std(ours - expected) < 4 * np.std(plain - expected)


@pytest.mark.parametrize(
    "edge, size, channels, used",
    [(8, 3, 128, True), (8, 2, 128, True), (6, 3, 128, False), (8, 1, 128, False), (8, 3, 64, False)],
)
def test_it_is_used_on_cpus_for_many_channels_and_full_tiles(edge: int, size: int, channels: int, used: bool):
    assert not winograd.suits(jnp.zeros((1, 8, 8, 128), jnp.bfloat16), jnp.zeros((3, 3, 128, 128), jnp.bfloat16))
    assert winograd.suits(jnp.zeros((1, edge, edge, 128)), jnp.zeros((size, size, 128, channels))) is (
        used and jax.default_backend() == "cpu"
    )


@pytest.mark.parametrize(
    "batch, edge, channels, used",
    [(1, 8, 64, True), (4, 4, 128, True), (1, 4, 128, False), (2, 8, 512, False), (4, 8, 512, True)],
)
def test_in_three_dimensions_there_are_enough_voxels_for_the_transform_of_the_kernel(
    batch: int, edge: int, channels: int, used: bool
):
    found = []
    shapes = ((batch, edge, edge, edge, channels), (3, 3, 3, channels, channels))
    arrays = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
    jax.eval_shape(lambda x, kernel: found.append(winograd.suits(x, kernel)), *arrays)
    assert found == [used and jax.default_backend() == "cpu"]


@pytest.mark.parametrize("upsampled", [False, True])
def test_wide_layers_have_the_values_and_gradients_of_flax(upsampled: bool, monkeypatch: pytest.MonkeyPatch):
    calls = []
    monkeypatch.setattr(winograd, "suits", lambda x, kernel: calls.append(kernel.shape) is None)
    x = jax.random.normal(jax.random.key(0), (1, 8, 4, 128))
    ours, theirs = conv(128, 2, upsampled=upsampled), nn.Conv(128, (3, 3))
    params = ours.init(jax.random.key(1), x)

    def wide(params, x):
        return theirs.apply(params, jnp.repeat(jnp.repeat(x, 2, 1), 2, 2) if upsampled else x)

    def both(apply):
        out, pull = jax.vjp(apply, params, x)
        return out, pull(jnp.cos(jnp.arange(out.size, dtype=out.dtype)).reshape(out.shape))

    for found, expected in zip(jax.tree.leaves(both(ours.apply)), jax.tree.leaves(both(wide)), strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-5 * float(jnp.abs(expected).max()))
    assert len(calls) >= (8 if upsampled else 2)  # forward, and for the gradient of the input
