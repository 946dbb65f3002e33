"""Decoding and refinement, with codecs whose results are known."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmicro import descriptors, models
from jaxmicro.diffusion import Codec, pixel_codec, put_planes, take_planes
from jaxmicro.physics import effective_diffusivity
from jaxmicro.reconstruct import decode_volume, interpolate, labels_of_fractions, refine
from tests.models.test_prior import random_params
from tests.models.test_vae import LATENT

EDGE = 8


def block_codec(factor: int = 2, phases: int = 2) -> Codec:
    """Means over blocks of pixels: reproduces images that are constant in each block."""

    def encode(x):
        n, h, w, p = x.shape
        return x.reshape(n, h // factor, factor, w // factor, factor, p).mean(axis=(2, 4))

    return Codec(encode, lambda z: z.repeat(factor, axis=1).repeat(factor, axis=2), factor, phases)


def fractions(key: int, shape: tuple[int, ...] = (EDGE, EDGE, EDGE, 3)) -> jax.Array:
    return jax.nn.softmax(2 * jax.random.normal(jax.random.key(key), shape), axis=-1)


def test_the_exact_codec_reproduces_the_volume():
    """Pixel space is the case of cells of one voxel in which refinement does nothing."""
    codec, volume = pixel_codec(3), fractions(0)
    for rounds in (0, 3):
        decoded = decode_volume(codec, 2 * volume - 1, rounds=rounds, periodic=True, key=jax.random.key(1))
        np.testing.assert_allclose(decoded, volume, atol=1e-6)


def test_a_volume_that_the_codec_reproduces_along_all_axes_is_a_fixed_point():
    coarse = fractions(0, (4, 4, 4, 2))
    volume = coarse.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_allclose(refine(block_codec(), volume, 4), volume, atol=1e-6)
    rough = fractions(1, (EDGE, EDGE, EDGE, 2))
    assert jnp.abs(refine(block_codec(), rough, 1) - rough).max() > 0.05


def test_rounds_of_refinement_add_up_and_keep_fractions():
    volume = fractions(0)
    codec = block_codec(phases=3)
    np.testing.assert_allclose(refine(codec, refine(codec, volume, 1), 2), refine(codec, volume, 3), atol=1e-6)
    np.testing.assert_allclose(refine(codec, volume, 3).sum(axis=-1), 1, rtol=1e-5)
    assert refine(codec, volume, 0) is not None
    np.testing.assert_array_equal(refine(codec, volume, 0), volume)


def test_hold_is_applied_before_each_round():
    volume, codec = fractions(0), pixel_codec(3)
    turned = decode_volume(codec, 2 * volume - 1, rounds=2, hold=lambda x: jnp.roll(x, 1, axis=-1))
    np.testing.assert_allclose(turned, jnp.roll(volume, 2, axis=-1), atol=1e-6)


def test_a_round_is_the_mean_of_encoding_and_decoding_along_each_axis():
    """eqs. 29 to 35 by a loop over slices, one at a time."""
    codec, volume = block_codec(phases=3), fractions(0)
    expected = 0
    for axis in range(3):
        slices = [codec.decode(codec.encode(plane[None]))[0] for plane in take_planes(volume, axis)]
        expected = expected + put_planes(jnp.stack(slices), axis) / 3
    np.testing.assert_allclose(refine(codec, volume, 1, batch=3), expected, atol=1e-6)


def test_turning_the_latent_volume_turns_the_decoded_one():
    codec, latent = block_codec(phases=3), fractions(0, (4, 4, 4, 3))
    turned = decode_volume(codec, jnp.swapaxes(latent, 0, 2), rounds=2)
    # a plane normal to x becomes one normal to z, transposed for none of the axes: the codec treats rows as columns
    np.testing.assert_allclose(jnp.swapaxes(turned, 0, 2), decode_volume(codec, latent, rounds=2), atol=1e-6)


@pytest.mark.parametrize("axis", range(3))
def test_interpolation_is_exact_for_linear_fields_inside_and_keeps_the_mean(axis: int):
    ramp = jnp.broadcast_to(jnp.arange(4.0).reshape([-1 if a == axis else 1 for a in range(3)] + [1]), (4, 4, 4, 1))
    fine = jnp.moveaxis(interpolate(ramp, 4, axis), axis, 0)[:, 0, 0, 0]
    np.testing.assert_allclose(fine[2:-2], (np.arange(16)[2:-2] + 0.5) / 4 - 0.5, atol=1e-6)
    np.testing.assert_allclose(fine[:2], 0)
    for periodic in (False, True):
        latent = jax.random.normal(jax.random.key(0), (4, 4, 4, 2))
        means = interpolate(latent, 4, axis, periodic=periodic).mean(), latent.mean()
        if periodic:
            assert float(means[0]) == pytest.approx(float(means[1]), abs=1e-6)
    np.testing.assert_array_equal(interpolate(latent, 1, axis), latent)


def test_decoding_a_periodic_volume_commutes_with_shifts():
    codec, latent = block_codec(phases=3), fractions(0, (4, 4, 4, 3))
    shifted = decode_volume(codec, jnp.roll(latent, (1, 2, 3), (0, 1, 2)), periodic=True)
    expected = jnp.roll(decode_volume(codec, latent, periodic=True), (2, 4, 6), (0, 1, 2))
    np.testing.assert_allclose(shifted, expected, atol=1e-6)


def test_labels_have_the_target_fractions():
    """The labels themselves, not the mean of the phase fractions: also where voxels are undecided."""
    target = jnp.array([0.5, 0.2, 0.3])
    labels = labels_of_fractions(fractions(2, (24, 24, 24, 3)), target)
    np.testing.assert_allclose(np.bincount(labels.ravel()) / labels.size, target, atol=1e-3)
    undecided = 1 / 3 + 0.02 * (fractions(3, (24, 24, 24, 3)) - 1 / 3)
    labels = labels_of_fractions(undecided, target)
    np.testing.assert_allclose(np.bincount(labels.ravel()) / labels.size, target, atol=1e-3)
    free = fractions(2)
    np.testing.assert_array_equal(labels_of_fractions(free, None), free.argmax(axis=-1))


DESCRIPTORS = {
    "volume fraction": descriptors.volume_fraction,
    "two-point correlation": partial(descriptors.radial_two_point, r_max=4),
    "lineal path": partial(descriptors.lineal_path, axis=1, r_max=4),
    "surface area": descriptors.smoothed_surface_area,
    "diffusivity": lambda phase: effective_diffusivity(1e-2 + phase, axis=0, percolates=True),
}


@pytest.fixture(scope="module")
def decoding():
    """A small latent volume, a direction, and its decoding with refinement; compiled once, in double precision."""
    with jax.enable_x64(True):
        params = jax.tree.map(lambda p: p.astype(jnp.float64), random_params(LATENT))
        codec = models.codec(LATENT, params)
        latent, along = jax.random.normal(jax.random.key(5), (2, 2, 2, 2, 2), jnp.float64)
    return latent, along, jax.jit(lambda z: decode_volume(codec, z, rounds=2)[..., 0])


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_gradients_flow_from_a_descriptor_to_the_latent_volume(name: str, decoding):
    """Against central differences along a random direction, through decoding and refinement."""
    latent, along, decode = decoding
    with jax.enable_x64(True):

        @jax.jit
        def number(phase):
            values = jnp.ravel(DESCRIPTORS[name](phase))
            return jnp.sum(values * jnp.cos(jnp.arange(values.size)))  # one number from a curve

        def measure(latent):
            return number(decode(latent))

        gradient = jax.grad(measure)(latent)
        assert jnp.isfinite(gradient).all()
        h = 1e-5
        difference = (measure(latent + h * along) - measure(latent - h * along)) / (2 * h)
        assert float(jnp.vdot(gradient, along)) == pytest.approx(float(difference), rel=1e-5, abs=1e-9)
