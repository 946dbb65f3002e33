"""Interface optimisation brings a finished volume to target statistics and changes voxels near interfaces only."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from media import level_cut
from scipy import ndimage

from jaxmicro.descriptors import crofton_surface_area, isotropic_slice_steps, label_clusters, slice_steps
from jaxmicro.phases import one_hot
from jaxmicro.reconstruct import dyadic_lags, dyadic_lineal_path, optimise_interfaces, plane_covariance
from jaxmicro.reconstruct.interface_optimisation import WEIGHTS

SHAPE = (32, 32, 32)
LAGS = len(dyadic_lags(16))
optimised = jax.jit(optimise_interfaces)
# the steps of a single volume from slice to slice scatter about their expectation
PLANES = WEIGHTS._replace(slices=None)


def medium(*, sigma: float, seed: int, fraction: float = 0.4) -> np.ndarray:
    return level_cut(SHAPE, fraction=fraction, sigma=sigma, seed=seed).astype(np.uint8)


def statistics(labels) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Volume fractions, lineal path, covariance."""
    fractions = one_hot(jnp.asarray(labels), 2)
    return fractions.mean((0, 1, 2)), dyadic_lineal_path(fractions, lags=LAGS), plane_covariance(fractions, r_max=16)


def deviations(labels, target) -> np.ndarray:
    """Mean deviations of fractions, lineal path and covariance."""
    return np.array([float(jnp.abs(a - b).mean()) for a, b in zip(statistics(labels), target, strict=True)])


@pytest.fixture(scope="module")
def target():
    """Mean statistics of several other media of the same kind."""
    each = [statistics(medium(sigma=1.6, seed=seed)) for seed in range(10, 16)]
    return tuple(jnp.mean(jnp.stack(part), axis=0) for part in zip(*each, strict=True))


def test_the_misfits_of_lineal_path_and_correlation_fall_and_fractions_stay(target):
    labels = medium(sigma=1.6, seed=1)
    before, after = deviations(labels, target), deviations(optimised(jnp.asarray(labels), *target), target)
    assert after[0] < 1e-3
    assert after[1] < before[1] / 2 and after[2] < before[2] / 4, (before, after)


def test_slices_differ_from_their_neighbours_as_in_an_isotropic_medium(target):
    """Planes of two media in turn: the statistics of each plane are unchanged, but neighbours are independent."""
    one, other = (medium(sigma=1.6, seed=seed) for seed in (1, 2))
    labels = np.where(np.arange(32)[:, None, None] % 4 < 2, one, other).astype(np.uint8)
    expected = isotropic_slice_steps(target[2], SHAPE)

    def ratios(labels) -> np.ndarray:
        return np.asarray(slice_steps(one_hot(jnp.asarray(labels), 2), periodic=True) / expected).mean(axis=(1, 2))

    assert ratios(labels)[0] > 3 and ratios(labels).mean() > 1.5
    moved = optimised(jnp.asarray(labels), *target)
    assert ratios(moved)[0] < 1.5 and ratios(moved).mean() == pytest.approx(1, abs=0.1)
    assert deviations(moved, target)[2] < deviations(labels, target)[2] / 4


def test_slice_steps_that_s2_does_not_determine_are_no_part_of_the_misfit():
    """Layers four voxels thick: where their covariance is negative, the squares of the steps would be, too."""
    layers = (np.arange(32) // 4 % 2)[:, None, None] + np.zeros((1, 32, 32), int)
    own = statistics(layers.astype(np.uint8))
    stripes = own[2].at[:, 1:].set(-own[2][:, :1])  # an extreme case of it
    assert np.isnan(isotropic_slice_steps(stripes, SHAPE, lags=(1, 2, 4))).all()
    with_slices, without = (
        optimise_interfaces(jnp.asarray(layers.astype(np.uint8)), own[0], own[1], stripes, weights=weights, steps=5)
        for weights in (WEIGHTS, PLANES)
    )
    np.testing.assert_array_equal(with_slices, without)


def test_only_voxels_near_an_interface_change(target):
    labels = medium(sigma=1.6, seed=1)
    changed = np.asarray(optimised(jnp.asarray(labels), *target)) != labels
    three = np.tile(labels, (3, 3, 3))  # periodic
    inside = ndimage.distance_transform_edt(three == 1) + ndimage.distance_transform_edt(three == 0)
    assert 0 < changed.mean() < 0.2
    assert inside[32:64, 32:64, 32:64][changed].max() < 4


def test_a_volume_with_the_target_statistics_stays_as_it_is():
    labels = medium(sigma=2.0, seed=3)
    again = np.asarray(jax.jit(partial(optimise_interfaces, weights=PLANES))(jnp.asarray(labels), *statistics(labels)))
    assert np.mean(again != labels) < 1e-3


def test_phases_of_unknown_statistics_and_volumes_without_segments_do_not_change(target):
    labels = medium(sigma=1.6, seed=1)
    _, path, covariance = target
    own = statistics(labels)[0]
    free = optimised(jnp.asarray(labels), own, jnp.full_like(path, jnp.nan), covariance)
    assert np.mean(np.asarray(free) != labels) < 1e-3
    boxed = jnp.asarray(labels[:16, :24])  # no cube
    three = boxed.at[..., :16].multiply(2)  # phase 2 on one side
    one = one_hot(three, 3)
    paths = dyadic_lineal_path(one, lags=3).at[0].set(jnp.nan)
    moved = optimise_interfaces(three, one.mean((0, 1, 2)), paths, plane_covariance(one, r_max=8), weights=PLANES)
    assert moved.shape == three.shape and np.mean(np.asarray(moved) != three) < 1e-3
    thin = jnp.asarray(labels[:1])
    np.testing.assert_array_equal(optimise_interfaces(thin, *target), thin)


def test_filtered_gradients_increase_the_interface_area_without_specks():
    """Without a filter, isolated voxels are the smallest change that adds interface; filtered gradients add none."""
    labels = medium(sigma=1.6, seed=1)
    own = statistics(labels)

    def area(fractions) -> jax.Array:
        return crofton_surface_area(fractions[..., 1])

    def clusters(labels) -> int:
        return sum(int(label_clusters(np.asarray(labels) == phase, periodic=True).max()) for phase in range(2))

    target_area = 1.2 * float(area(one_hot(jnp.asarray(labels), 2)))
    found = {
        width: jax.jit(
            partial(
                optimise_interfaces,
                weights=PLANES._replace(interface=None),
                steps=40,
                filter_width=width,
                extra_misfit=lambda fractions: 16 * (area(fractions) / target_area - 1) ** 2,
            )
        )(jnp.asarray(labels), *own)
        for width in (0.0, 1.0)
    }
    specks = {width: clusters(moved) - clusters(labels) for width, moved in found.items()}
    assert specks[0.0] > 10 * max(specks[1.0], 1), specks
    areas = {width: float(area(one_hot(moved, 2))) for width, moved in found.items()}
    assert target_area > areas[1.0] > areas[0.0] > target_area / 1.2, areas
