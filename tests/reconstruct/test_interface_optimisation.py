"""A finished volume gets the statistics that are wanted by moving its interfaces, and little else changes."""

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
polished = jax.jit(optimise_interfaces)
PLANES = WEIGHTS._replace(slices=None)  # what a single volume has from slice to slice scatters about what is expected


def medium(*, sigma: float, seed: int, fraction: float = 0.4) -> np.ndarray:
    return level_cut(SHAPE, fraction=fraction, sigma=sigma, seed=seed).astype(np.uint8)


def statistics(labels) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Volume fractions, lineal path, covariance."""
    fractions = one_hot(jnp.asarray(labels), 2)
    return fractions.mean((0, 1, 2)), dyadic_lineal_path(fractions, lags=LAGS), plane_covariance(fractions, r_max=16)


def off(labels, wanted) -> np.ndarray:
    """Mean deviations of fractions, lineal path and covariance."""
    return np.array([float(jnp.abs(a - b).mean()) for a, b in zip(statistics(labels), wanted, strict=True)])


@pytest.fixture(scope="module")
def wanted():
    """What several other media of the same kind have on average."""
    each = [statistics(medium(sigma=1.6, seed=seed)) for seed in range(10, 16)]
    return tuple(jnp.mean(jnp.stack(part), axis=0) for part in zip(*each, strict=True))


def test_lineal_path_and_correlation_come_nearer_and_fractions_stay(wanted):
    labels = medium(sigma=1.6, seed=1)
    before, after = off(labels, wanted), off(polished(jnp.asarray(labels), *wanted), wanted)
    assert after[0] < 1e-3
    assert after[1] < before[1] / 2 and after[2] < before[2] / 4, (before, after)


def test_slices_differ_from_their_neighbours_as_in_an_isotropic_medium(wanted):
    """Planes exchanged between two media: in each plane everything is as it was, but neighbours are strangers."""
    one, other = (medium(sigma=1.6, seed=seed) for seed in (1, 2))
    labels = np.where(np.arange(32)[:, None, None] % 4 < 2, one, other).astype(np.uint8)
    expected = isotropic_slice_steps(wanted[2], SHAPE)

    def ratios(labels) -> np.ndarray:
        return np.asarray(slice_steps(one_hot(jnp.asarray(labels), 2), periodic=True) / expected).mean(axis=(1, 2))

    assert ratios(labels)[0] > 3 and ratios(labels).mean() > 1.5
    moved = polished(jnp.asarray(labels), *wanted)
    assert ratios(moved)[0] < 1.5 and ratios(moved).mean() == pytest.approx(1, abs=0.1)
    assert off(moved, wanted)[2] < off(labels, wanted)[2] / 4


def test_what_s2_cannot_foretell_is_left_out():
    """Layers four voxels thick: their covariance turns negative at once, and no volume has negative squares."""
    layers = (np.arange(32) // 4 % 2)[:, None, None] + np.zeros((1, 32, 32), int)
    own = statistics(layers.astype(np.uint8))
    stripes = own[2].at[:, 1:].set(-own[2][:, :1])  # an extreme case of it
    assert np.isnan(isotropic_slice_steps(stripes, SHAPE, lags=(1, 2, 4))).all()
    with_slices, without = (
        optimise_interfaces(jnp.asarray(layers.astype(np.uint8)), own[0], own[1], stripes, weights=weights, steps=5)
        for weights in (WEIGHTS, PLANES)
    )
    np.testing.assert_array_equal(with_slices, without)


def test_only_what_is_near_an_interface_changes(wanted):
    labels = medium(sigma=1.6, seed=1)
    changed = np.asarray(polished(jnp.asarray(labels), *wanted)) != labels
    three = np.tile(labels, (3, 3, 3))  # periodic
    inside = ndimage.distance_transform_edt(three == 1) + ndimage.distance_transform_edt(three == 0)
    assert 0 < changed.mean() < 0.2
    assert inside[32:64, 32:64, 32:64][changed].max() < 4


def test_a_volume_that_has_what_is_wanted_stays_as_it_is():
    labels = medium(sigma=2.0, seed=3)
    again = np.asarray(jax.jit(partial(optimise_interfaces, weights=PLANES))(jnp.asarray(labels), *statistics(labels)))
    assert np.mean(again != labels) < 1e-3


def test_phases_of_unknown_statistics_are_left_alone_and_volumes_without_segments_too(wanted):
    labels = medium(sigma=1.6, seed=1)
    _, path, covariance = wanted
    own = statistics(labels)[0]
    free = polished(jnp.asarray(labels), own, jnp.full_like(path, jnp.nan), covariance)
    assert np.mean(np.asarray(free) != labels) < 1e-3
    boxed = jnp.asarray(labels[:16, :24])  # no cube
    three = boxed.at[..., :16].multiply(2)  # phase 2 on one side
    one = one_hot(three, 3)
    paths = dyadic_lineal_path(one, lags=3).at[0].set(jnp.nan)
    moved = optimise_interfaces(three, one.mean((0, 1, 2)), paths, plane_covariance(one, r_max=8), weights=PLANES)
    assert moved.shape == three.shape and np.mean(np.asarray(moved) != three) < 1e-3
    thin = jnp.asarray(labels[:1])
    np.testing.assert_array_equal(optimise_interfaces(thin, *wanted), thin)


def test_filtered_gradients_make_more_interface_without_specks():
    """Voxel by voxel the cheapest interface is that of specks; interfaces that move as a whole do not shed any."""
    labels = medium(sigma=1.6, seed=1)
    own = statistics(labels)

    def area(fractions) -> jax.Array:
        return crofton_surface_area(fractions[..., 1])

    def clusters(labels) -> int:
        return sum(int(label_clusters(np.asarray(labels) == phase, periodic=True).max()) for phase in range(2))

    wanted = 1.2 * float(area(one_hot(jnp.asarray(labels), 2)))
    found = {
        width: jax.jit(
            partial(
                optimise_interfaces,
                weights=PLANES._replace(interface=None),
                steps=40,
                filter_width=width,
                extra_misfit=lambda fractions: 16 * (area(fractions) / wanted - 1) ** 2,
            )
        )(jnp.asarray(labels), *own)
        for width in (0.0, 1.0)
    }
    specks = {width: clusters(moved) - clusters(labels) for width, moved in found.items()}
    assert specks[0.0] > 10 * max(specks[1.0], 1), specks
    areas = {width: float(area(one_hot(moved, 2))) for width, moved in found.items()}
    assert wanted > areas[1.0] > areas[0.0] > wanted / 1.2, areas
