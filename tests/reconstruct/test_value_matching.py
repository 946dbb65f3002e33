"""Interfaces move until numbers have the asked values, with few voxels changed, also between faces and for images."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmicro.phases import one_hot
from jaxmicro.reconstruct import match_values, steer_prediction
from jaxmicro.reconstruct.value_matching import _gaussian
from tests.media import level_cut

SHAPE = (24, 24)
LABELS = level_cut(SHAPE, fraction=0.5, sigma=2.0, seed=0).astype(np.uint8)
THREE = np.where(level_cut(SHAPE, fraction=0.25, sigma=2.0, seed=5), 2, LABELS).astype(np.uint8)


def shares(fractions: jax.Array, asked: jax.Array) -> jax.Array:
    """Shares of the first phase in the lower half and in the whole: two numbers that share their voxels."""
    first = fractions[..., 0]
    return jnp.stack([first[: SHAPE[0] // 2].mean(), first.mean()]) / asked - 1


@functools.partial(jax.jit, static_argnames=("phases", "periodic"))
def matched(labels, asked, key, *, phases: int, periodic: tuple[bool, bool]):
    return match_values(labels, lambda f: shares(f, asked), phases=phases, periodic=periodic, key=key)


@pytest.mark.parametrize(("labels", "phases"), [(LABELS, 2), (THREE, 3)], ids=["two phases", "three phases"])
def test_two_numbers_are_met_to_a_voxel_and_no_more_is_changed_than_needed(labels: np.ndarray, phases: int):
    before = np.asarray(shares(one_hot(labels, phases), jnp.ones(2))) + 1
    asked = before + np.array([0.03, -0.02])
    found = np.asarray(matched(labels, asked, jax.random.key(0), phases=phases, periodic=(False, True)))
    now = np.asarray(shares(one_hot(found, phases), jnp.ones(2))) + 1
    voxel = np.array([2.0, 1.0]) / labels.size
    assert np.all(np.abs(now - asked) <= 1.5 * voxel)
    # the lower half gains 0.015 of all voxels, the other loses 0.035: no fewer can be changed
    assert 0.05 - 2 / labels.size <= np.mean(found != labels) <= 0.055


def test_what_is_met_or_not_asked_changes_nothing():
    before = shares(one_hot(LABELS, 2), jnp.ones(2)) + 1
    found = matched(LABELS, before, jax.random.key(0), phases=2, periodic=(False, True))
    np.testing.assert_array_equal(found, LABELS)


def test_changed_voxels_lie_on_interfaces():
    before = np.asarray(shares(one_hot(LABELS, 2), jnp.ones(2))) + 1
    found = np.asarray(matched(LABELS, before * 1.04, jax.random.key(1), phases=2, periodic=(True, True)))
    beside = np.zeros(SHAPE, bool)
    for axis in (0, 1):
        for step in (1, -1):
            beside |= np.roll(LABELS, step, axis) != LABELS
    assert (found != LABELS).any() and not (found != LABELS)[~beside].any()


@functools.partial(jax.jit, static_argnames="sure")
def steered(asked, steps, *, sure: float):
    """A prediction of LABELS with a probability `sure` away from interfaces."""
    around = jnp.asarray(_gaussian(SHAPE[0], 1.5, True), jnp.float32)
    share = jnp.clip(2 * (around @ (LABELS == 0) @ around) - 0.5, 1 - sure, sure)
    x0_hat = 2 * jnp.stack([share, 1 - share], axis=-1) - 1
    return x0_hat, steer_prediction(x0_hat, lambda f: shares(f, asked), periodic=(True, True), steps=steps)


@pytest.mark.parametrize("sure", [0.9, 1.0])
def test_predictions_are_steered_to_numbers_also_when_nearly_all_is_decided(sure: float):
    x0_hat, _ = steered(jnp.full(2, jnp.inf), 1, sure=sure)
    before = np.asarray(shares(one_hot(jnp.argmax(x0_hat, -1), 2), jnp.ones(2))) + 1
    asked = jnp.asarray(before + np.array([0.06, -0.04]))
    _, found = steered(asked, 12, sure=sure)
    np.testing.assert_allclose(shares(one_hot(jnp.argmax(found, -1), 2), asked), 0, atol=0.01)
    assert np.abs(found).max() <= 1
    np.testing.assert_allclose(found.sum(axis=-1), 0, atol=1e-6)


@pytest.mark.parametrize("asked", [np.inf, np.nan])
def test_predictions_without_a_better_one_stay_as_they_are(asked: float):
    x0_hat, found = steered(jnp.full(2, asked), 3, sure=0.9)
    np.testing.assert_array_equal(found, x0_hat)


@pytest.mark.parametrize("periodic", [True, False])
def test_the_filter_of_the_gradient_is_symmetric_and_positive_and_keeps_sums(periodic: bool):
    for edge in (2, 5, 16):
        matrix = _gaussian(edge, 1.5, periodic)
        np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
        np.testing.assert_allclose(matrix.sum(axis=0), 1, atol=1e-12)
        assert np.linalg.eigvalsh(matrix).min() > -1e-3  # zero but for the truncation
