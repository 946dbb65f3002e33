"""Soft features are those by which collections are measured, and their gradients match central differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmicro.collection import Collection
from jaxmicro.guidance import LEAK, feature_deviations, is_guidable, soft_features
from jaxmicro.phases import one_hot
from jaxmicro.pipeline.measure_collection import measured_samples
from jaxmicro.pipeline.sample_properties import measurable_features
from tests.media import level_cut

# small enough for a direct solve, whose programs are soon compiled
KINDS = [((4, 4, 4), (False, True, True)), ((8, 8), (True, False))]


def sample(shape: tuple[int, ...]) -> np.ndarray:
    """Three phases, of which the first two percolate along most axes."""
    one, other = (level_cut(shape, fraction=f, sigma=1.0, seed=s) for f, s in ((0.5, 1), (0.1, 3)))
    return np.where(other, 2, one).astype(np.uint8)


def measured(labels: np.ndarray, periodic: tuple[bool, ...], voxel_size: float) -> dict[str, float]:
    """All features, by the code that measures collections."""
    of = Collection(
        labels[None], (), np.zeros((1, 0)), np.zeros(1, np.int64), (0.0, 1.0, 2.0), voxel_size, "nm", periodic
    )
    names = [feature.name for feature in measurable_features(of)]
    (found,) = list(measured_samples(of, np.arange(1), names, None))
    return {name: value for name, value in found[0].items() if is_guidable(name, phases=3, ndim=labels.ndim)}


@pytest.mark.parametrize(("shape", "periodic"), KINDS, ids=["film", "image"])
def test_soft_features_of_decided_phases_are_those_that_are_measured(shape, periodic):
    """Diffusivities up to the flux through the blocked phases, which is of the order of LEAK."""
    labels = sample(shape)
    expected = measured(labels, periodic, 2.0)
    assert len(expected) == 3 * (2 + 2 * len(shape))
    fractions = one_hot(labels, 3)
    found = jax.jit(lambda x: soft_features(x, list(expected), periodic=periodic, voxel_size=2.0))(fractions)
    connected = 0
    for name, value in zip(expected, found.tolist(), strict=True):
        exact = expected[name]
        if name.startswith("tortuosity"):
            connected += np.isfinite(exact)
            share = expected[f"volume_fraction.{name.split('.')[1]}"]
            value, exact = share / value, share / exact
        solved = name.startswith(("tortuosity", "diffusivity"))
        assert value == pytest.approx(exact, abs=20 * LEAK if solved else 1e-5), name
    assert 1 <= connected < 3 * len(shape)  # both kinds are tested


def test_the_gradient_of_the_misfit_is_that_of_central_differences():
    shape, periodic = KINDS[1]
    names = ["volume_fraction.0", "surface_area.1", "diffusivity.0.y", "tortuosity.1.x"]
    with jax.enable_x64(True):
        noise = jax.random.normal(jax.random.key(0), (*shape, 3), float)
        x = jax.nn.softmax(2 * one_hot(sample(shape), 3).astype(float) + 0.3 * noise, axis=-1)
        direction = jax.random.normal(jax.random.key(1), x.shape, float)

        @jax.jit
        def misfit(x: jax.Array) -> jax.Array:
            values = soft_features(x, names, periodic=periodic)
            return jnp.sum(feature_deviations(names, values, jnp.array([0.4, 0.2, 0.2, 3.0])) ** 2)

        slope = float(jnp.vdot(jax.grad(misfit)(x), direction))
        step = 1e-4  # the solver's error of D, 1e-4 of its square, varies smoothly along a short step
        expected = float(misfit(x + step * direction) - misfit(x - step * direction)) / (2 * step)
    assert slope == pytest.approx(expected, rel=2e-2)


def test_what_is_not_asked_and_what_is_not_connected_have_finite_deviations():
    names = ["volume_fraction.0", "tortuosity.0.z", "tortuosity.0.y"]
    values, asked = jnp.array([0.3, 600.0, 2.0]), jnp.array([jnp.nan, 3.0, jnp.inf])
    found = feature_deviations(names, values, asked)
    np.testing.assert_allclose(found, [0.0, 3 / 600 - 1, 0.5 / LEAK], rtol=1e-5)
    slopes = jax.jacobian(lambda v: feature_deviations(names, v, asked))(values)
    assert jnp.all(jnp.isfinite(slopes)) and slopes[0, 0] == 0


@pytest.mark.parametrize(
    "name", ["percolating_fraction.0.z", "volume_fraction.3", "tortuosity.0", "phi", "CT_f_D_tort1"]
)
def test_other_features_have_no_gradient(name: str):
    assert not is_guidable(name, phases=3, ndim=3)
    with pytest.raises(ValueError, match="no feature of samples"):
        soft_features(jnp.ones((2, 2, 2, 3)) / 3, [name])
