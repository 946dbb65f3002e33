import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmicro import models, pipeline
from jaxmicro.diffusion import PlaneModel, put_planes, take_planes
from jaxmicro.io import read
from jaxmicro.models import UNetConfig
from jaxmicro.reconstruct import (
    SamplingConfig,
    TargetStatistics,
    advance,
    blend_weights,
    boundary_density,
    calibrate_fractions,
    dyadic_lineal_path,
    evidence_tiled,
    expected_boundary_density,
    init_state,
    labels_of,
    tile_starts,
)

PRIOR = models.PriorConfig(phases=2, patch=16, unet=UNetConfig(widths=(8, 8), embedding=16))
SMALL = SamplingConfig(shape=(16, 16, 16), steps=4, harmonise=1)


def network_model() -> PlaneModel:
    """A network whose untrained output is not zero."""
    params, rng = jax.jit(models.init, static_argnums=0)(PRIOR, jax.random.key(0)), np.random.default_rng(1)
    noisy = jax.tree.map(lambda leaf: leaf + 0.2 * rng.standard_normal(leaf.shape).astype(np.float32), params)
    return models.plane_model(PRIOR, noisy)


def voxelwise_model() -> PlaneModel:
    """A denoiser of single voxels, without context."""
    return PlaneModel(lambda x_t, log_snr: jnp.zeros_like(x_t), models.product_of_experts)


def sample(model, config, *, key=0, start=0, stop=None, state=None, **options):
    key = jax.random.key(key)
    if state is None:
        state = init_state(config, 2, key=key)
    stop = config.evaluations if stop is None else stop
    run = jax.jit(lambda s, start, stop: advance(model, s, start, stop, config=config, key=key, **options))
    return run(state, start, stop)  # one program for every range of evaluations, as in the pipeline


@pytest.mark.parametrize("axis", range(3))
def test_planes_are_put_back_where_they_were(axis):
    volume = jax.random.normal(jax.random.key(0), (3, 4, 5, 2))
    planes = take_planes(volume, axis)
    assert planes.shape[0] == volume.shape[axis]
    np.testing.assert_array_equal(planes[1], jnp.take(volume, 1, axis=axis))
    np.testing.assert_array_equal(put_planes(planes, axis), volume)


def test_the_same_key_gives_the_same_volume_and_another_key_another():
    model = network_model()
    first, again, other = (labels_of(sample(model, SMALL, key=key)) for key in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.1


@pytest.mark.parametrize("stops", [(1, 8), (3, 4, 8)])
def test_stopping_and_resuming_changes_nothing(stops):
    model, state, start = network_model(), None, 0
    for stop in stops:
        state = sample(model, SMALL, start=start, stop=stop, state=state)
        start = stop
    for part, whole in zip(state, sample(model, SMALL), strict=True):
        np.testing.assert_array_equal(part, whole)


def test_with_a_voxelwise_denoiser_the_order_of_the_axes_does_not_matter():
    config = dataclasses.replace(SMALL, eta=0.0, harmonise=0, periodic=False)
    turned = sample(voxelwise_model(), config, start=0, stop=4)
    start = init_state(config, 2, key=jax.random.key(0))
    state = sample(voxelwise_model(), config, state=start._replace(x_t=jnp.swapaxes(start.x_t, 0, 2)))
    np.testing.assert_allclose(jnp.swapaxes(state.x_t, 0, 2), turned.x_t, atol=1e-6)


def test_average_treats_the_planes_of_each_axis_alike():
    config = dataclasses.replace(SMALL, mode="average", eta=0.0, harmonise=0, periodic=False)
    model = network_model()
    start = init_state(config, 2, key=jax.random.key(0))
    first = sample(model, config, state=start, stop=1)
    # after the swap the planes normal to y are those that were normal to z
    second = sample(model, config, state=start._replace(x_t=jnp.swapaxes(start.x_t, 0, 1)), stop=1)
    np.testing.assert_allclose(first.evidence[0], jnp.swapaxes(second.evidence[1], 0, 1), atol=1e-4)


def test_volumes_sampled_together_equal_volumes_sampled_one_by_one():
    model, keys = network_model(), jax.random.split(jax.random.key(3), 2)

    def one(key):
        state = init_state(SMALL, 2, key=key)
        constraints = TargetStatistics(jnp.array([0.3, 0.7]), lineal_path=jnp.array([[0.3, 0.2, 0.1], [0.7, 0.6, 0.4]]))
        return advance(model, state, 0, SMALL.evaluations, config=SMALL, key=key, constraints=constraints)

    together = jax.jit(jax.vmap(one))(keys)
    for i, key in enumerate(keys):
        np.testing.assert_allclose(together.x0_hat[i], jax.jit(one)(key).x0_hat, atol=1e-3)


def test_boxes_are_sampled_as_well_as_cubes():
    config = dataclasses.replace(SMALL, shape=(8, 16, 24))
    labels = labels_of(sample(network_model(), config))
    assert labels.shape == (8, 16, 24)


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_calibrated_predictions_have_the_target_fractions(fraction):
    p = jax.nn.softmax(2 * jax.random.normal(jax.random.key(0), (12, 12, 12, 3)), axis=-1)
    target = jnp.array([fraction, (1 - fraction) / 2, (1 - fraction) / 2])
    calibrated = calibrate_fractions(2 * p - 1, target, iterations=30)
    np.testing.assert_allclose(((calibrated + 1) / 2).mean((0, 1, 2)), target, atol=2e-3)
    np.testing.assert_allclose(((calibrated + 1) / 2).sum(-1), 1.0, atol=1e-5)


def test_calibration_does_not_change_a_prediction_with_the_target_fractions():
    p = jax.nn.softmax(jax.random.normal(jax.random.key(0), (8, 8, 8, 2)), axis=-1)
    calibrated = calibrate_fractions(2 * p - 1, p.mean((0, 1, 2)))
    np.testing.assert_allclose(calibrated, 2 * p - 1, atol=1e-4)


def test_calibration_keeps_the_order_of_the_odds():
    p = jax.nn.softmax(3 * jax.random.normal(jax.random.key(0), (500, 2)), axis=-1)
    calibrated = calibrate_fractions(2 * p - 1, jnp.array([0.8, 0.2]))
    assert (jnp.diff(calibrated[jnp.argsort(p[:, 0]), 0]) >= -1e-6).all()


@pytest.mark.parametrize("undecided", [0.0, 1e-7, 1e-6, 1e-5])
def test_fractions_are_met_to_rounding_however_few_voxels_are_undecided(undecided: float):
    """At the end of the sampling nearly all are certain, and the Jacobian of the fractions is close to zero."""
    certain = 2 * jax.nn.one_hot(np.random.default_rng(0).integers(0, 3, (48, 48, 48)), 3) - 1
    within_reach = jnp.mean((certain + 1) / 2, axis=(0, 1, 2)) + jnp.array([1e-6, -2e-6, 1e-6])
    calibrated = calibrate_fractions(certain * (1 - 2 * undecided), within_reach)
    np.testing.assert_allclose(jnp.mean((calibrated + 1) / 2, axis=(0, 1, 2)), within_reach, atol=5e-7)
    out_of_reach = calibrate_fractions(certain * (1 - 2 * undecided), jnp.array([0.6, 0.3, 0.1]))
    assert jnp.isfinite(out_of_reach).all()


def test_in_a_box_that_is_cut_to_its_middle_the_middle_has_the_fractions():
    p = jax.nn.softmax(jax.random.normal(jax.random.key(0), (12, 12, 12, 2)), axis=-1)
    p = p.at[:3].set(jnp.array([0.9, 0.1]))  # other fractions in the margin
    config = dataclasses.replace(SMALL, shape=(12, 12, 12), kept=(6, 8, 6), periodic=False)
    assert [(part.start, part.stop) for part in config.middle] == [(3, 9), (2, 10), (3, 9)]
    calibrated = calibrate_fractions(2 * p - 1, jnp.array([0.3, 0.7]), within=config.middle)
    np.testing.assert_allclose((calibrated[config.middle].mean((0, 1, 2)) + 1) / 2, [0.3, 0.7], atol=1e-4)
    assert float((calibrated[:3, ..., 0].mean() + 1) / 2) > 0.6


def test_sampled_volumes_have_the_target_fractions():
    config = dataclasses.replace(SMALL, steps=20)
    for fraction in (0.2, 0.6):
        state = sample(network_model(), config, constraints=TargetStatistics(jnp.array([fraction, 1 - fraction])))
        assert float((labels_of(state) == 0).mean()) == pytest.approx(fraction, abs=0.03)


@pytest.mark.parametrize(("edge", "tile", "overlap"), [(64, 64, 16), (128, 64, 16), (200, 64, 24), (72, 64, 32)])
def test_tiles_cover_the_plane_and_their_weights_sum_to_one(edge, tile, overlap):
    starts = tile_starts(edge, tile, overlap)
    assert starts[0] == 0
    assert starts[-1] + min(tile, edge) == edge
    assert all(b - a <= tile - overlap for a, b in zip(starts, starts[1:], strict=False))
    weights = blend_weights(edge, tile, overlap)
    total = np.zeros(edge)
    for start, weight in zip(starts, weights, strict=True):
        total[start : start + tile] += weight
    np.testing.assert_allclose(total, 1.0, atol=1e-6)


def test_tiling_a_pointwise_function_changes_nothing():
    x = jax.random.normal(jax.random.key(0), (3, 40, 24, 2))
    tiled = evidence_tiled(lambda x, t: jnp.sin(x), x, jnp.array(0.0), tile=16, overlap=6, batch=4)
    np.testing.assert_allclose(tiled, jnp.sin(x), atol=1e-5)


def test_far_from_the_seams_tiles_agree_with_the_whole_plane():
    x = jax.random.normal(jax.random.key(0), (1, 192, 16, 2))
    model = network_model()
    whole = model.evidence(x, jnp.zeros(1))
    tiled = evidence_tiled(model.evidence, x, jnp.array(0.0), tile=128, overlap=64, batch=8)
    np.testing.assert_allclose(tiled[:, :32], whole[:, :32], atol=1e-3)


def test_a_periodic_volume_has_no_seam():
    config = dataclasses.replace(SMALL, periodic=True, steps=12, shape=(24, 24, 24))
    model = network_model()
    volumes = np.stack([labels_of(sample(model, config, key=key)) for key in range(4)]).astype(float)
    across = np.abs(volumes[:, 0] - volumes[:, -1]).mean()  # change between the first and the last plane
    inside = np.abs(np.diff(volumes, axis=1)).mean()
    assert across == pytest.approx(inside, abs=4 * np.sqrt(0.25 / (4 * 24 * 24)))  # four standard errors


def test_boundary_density_counts_unlike_neighbours_along_each_axis():
    labels = np.zeros((4, 6, 6), int)
    labels[:, 3:] = 1  # one interface normal to y among five gaps
    density = boundary_density(jnp.eye(2)[labels])
    np.testing.assert_allclose(density, [0, 1 / 5, 0], atol=1e-6)


def test_without_noise_the_expected_boundary_density_is_that_of_the_image():
    labels = read(Path(__file__).parents[1] / "data" / "carbonate_binary.png").labels[None, :128, :128]
    expected = expected_boundary_density(
        voxelwise_model(), jnp.asarray(labels), 2, jnp.array([-8.0, 8.0]), key=jax.random.key(0)
    )
    in_plane = boundary_density(jnp.eye(2)[labels[0]])
    assert float(expected[1]) == pytest.approx(float(in_plane.mean()), abs=1e-6)
    assert float(expected[0]) > 0.4  # noise alone decides: unlike neighbours are nearly as many as like ones


def test_planes_rougher_than_expected_are_coupled_more_and_smoother_ones_are_not_coupled():
    config = dataclasses.replace(SMALL, steer_from=-6.0)
    for expected, couple in ((1e-4, config.steer_max), (1.0, 0.0)):
        steered = sample(
            network_model(), config, constraints=TargetStatistics(roughness=jnp.full(config.steps + 1, expected))
        )
        fixed = sample(network_model(), dataclasses.replace(config, couple=couple))
        np.testing.assert_allclose(steered.x0_hat, fixed.x0_hat, atol=1e-4)


@pytest.mark.parametrize("periodic", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_constraint_on_the_lineal_path_reduces_its_misfit(periodic: bool):
    config = dataclasses.replace(SMALL, steps=6, log_snr_range=(-3.0, 2.5), periodic=periodic)
    config = config if periodic else dataclasses.replace(config, kept=(12, 12, 12))
    path = jnp.array([[0.5, 0.45, 0.36, 0.22]] * 2)  # coarser than the volumes of an untrained network

    def deviation(constraints: TargetStatistics) -> float:
        labels = labels_of(sample(network_model(), config, constraints=constraints))[config.middle]
        found = dyadic_lineal_path(jnp.eye(2)[labels], lags=3, periodic=periodic)
        return float(jnp.sum((found - path[:, :3])[:, 1:] ** 2))

    fractions = jnp.array([0.5, 0.5])
    assert deviation(TargetStatistics(fractions, lineal_path=path)) < 0.85 * deviation(TargetStatistics(fractions))


@pytest.mark.slow  # samples a volume with a trained network
def test_a_volume_of_the_bundled_prior_is_as_rough_as_its_micrograph():
    prior = pipeline.load_prior("carbonate")
    volume = pipeline.reconstruct(prior, shape=(32, 32, 32), seed=1)[0]
    density = float(boundary_density(jnp.eye(2)[volume.labels]).mean())
    assert prior.material is not None
    # a 32^3 volume holds a dozen pores: such volumes scatter by about 10 %
    assert density == pytest.approx(prior.material.roughness[-1], rel=0.3)
    assert volume.volume_fractions[0] == pytest.approx(prior.material.volume_fractions[0], abs=0.01)


def test_configs_refuse_invalid_values():
    for field, value in {
        "mode": "both",
        "sampler": "euler",
        "times": "even",
        "couple": 2.0,
        "eta": -1.0,
        "steps": 0,
    }.items():
        with pytest.raises(ValueError, match=field):
            SamplingConfig(**{field: value})
    with pytest.raises(ValueError, match="three positive edges"):
        SamplingConfig(shape=(0, 64, 64))
