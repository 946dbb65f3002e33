"""Properties of all differentiable descriptors, in 2D and 3D."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmicro import descriptors as d

PHASES = 3


class Case(NamedTuple):
    """A descriptor of an array; `shifts`: whether a cyclic shift of the grid changes nothing."""

    function: Callable
    shifts: bool
    fractions: bool = False


CASES = {
    "volume_fraction": Case(d.volume_fraction, True, fractions=True),
    "two_point_correlation": Case(partial(d.two_point_correlation, periodic=False), False),
    "two_point_correlation-periodic": Case(partial(d.two_point_correlation, periodic=True), True),
    "radial_two_point": Case(partial(d.radial_two_point, r_max=3), False),
    "radial_two_point-periodic": Case(partial(d.radial_two_point, r_max=2, periodic=True), True),
    "radial_two_point-centred": Case(partial(d.centred(d.radial_two_point), r_max=3), False),
    "directional_two_point": Case(partial(d.directional_two_point, axis=0, r_max=3), False),
    "directional_two_point-periodic": Case(partial(d.directional_two_point, axis=-1, r_max=3, periodic=True), True),
    "lineal_path": Case(partial(d.lineal_path, axis=1, r_max=3), False),
    "lineal_path-periodic": Case(partial(d.lineal_path, axis=0, r_max=3, periodic=True), True),
    "specific_surface_area": Case(d.specific_surface_area, False),
    "specific_surface_area-periodic": Case(partial(d.specific_surface_area, periodic=True), True),
    "crofton_surface_area": Case(d.crofton_surface_area, False),
    "crofton_surface_area-periodic": Case(partial(d.crofton_surface_area, periodic=True), True),
    "smoothed_surface_area": Case(d.smoothed_surface_area, False),
    "smoothed_surface_area-periodic": Case(partial(d.smoothed_surface_area, periodic=True), True),
    "relative_surface_area": Case(d.relative_surface_area, False, fractions=True),
    "relative_surface_area-periodic": Case(partial(d.relative_surface_area, periodic=True), True, fractions=True),
    "interface_areas": Case(d.interface_areas, False, fractions=True),
    "interface_areas-periodic": Case(partial(d.interface_areas, periodic=True), True, fractions=True),
    "euler_characteristic": Case(d.euler_characteristic, False),
    "euler_characteristic-periodic": Case(partial(d.euler_characteristic, periodic=True), True),
}
SHAPES = [(6, 5), (4, 5, 6)]
# Few array shapes per law, since most of the time of these tests is compilation.
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=["2d", "3d"])
every_function = pytest.mark.parametrize("name", [name for name in CASES if not name.endswith("periodic")])


def soft(case: Case, shape: tuple[int, ...], dtype: type, *, batch: tuple[int, ...] = ()) -> np.ndarray:
    """A soft field as argument of the descriptor, different in each voxel."""
    draws = np.random.default_rng(0).random(batch + shape + ((PHASES,) if case.fractions else ()))
    return (draws / draws.sum(axis=-1, keepdims=True) if case.fractions else draws).astype(dtype)


@every_function
def test_compiled_equals_eager(name: str):
    case = CASES[name]
    field = jnp.asarray(soft(case, SHAPES[0], np.float32))
    compiled = jax.jit(case.function)(field)
    with jax.disable_jit():
        eager = case.function(field)
    np.testing.assert_allclose(compiled, eager, rtol=1e-5, atol=1e-6)  # float32 rounding, other order of sums


@every_function
def test_mapping_over_a_batch_equals_a_loop(name: str):
    case = CASES[name]
    fields = jnp.asarray(soft(case, SHAPES[0], np.float32, batch=(3,)))
    loop = np.stack([case.function(field) for field in fields])
    np.testing.assert_allclose(jax.jit(jax.vmap(case.function))(fields), loop, rtol=1e-5, atol=1e-6)


@every_shape
@every_case
def test_gradient_is_finite_and_matches_central_differences(case: Case, shape: tuple[int, ...], float64: None):
    field, step = soft(case, shape, np.float64, batch=(2,))
    weights = np.random.default_rng(1).normal(size=jax.eval_shape(case.function, field).shape)
    value_and_gradient = jax.jit(jax.value_and_grad(lambda field: jnp.sum(weights * case.function(field))))
    for special in (np.ones_like(field), np.round(field)):  # uniform, sharp
        assert np.all(np.isfinite(value_and_gradient(special)[1]))
    h = 1e-6  # error of the difference: h^2 of truncation, 1e-16 / h of rounding
    above, below = (value_and_gradient(field + sense * h * step)[0] for sense in (1, -1))
    along = np.sum(value_and_gradient(field)[1] * step)
    assert along == pytest.approx(float(above - below) / (2 * h), rel=1e-6, abs=1e-7)


@every_shape
@every_case
def test_floating_dtype_is_kept(case: Case, shape: tuple[int, ...], float64: None):
    for dtype in (np.float32, np.float64):
        assert jax.eval_shape(case.function, soft(case, shape, dtype)).dtype == dtype


@every_function
def test_booleans_and_integers_are_read_as_an_indicator(name: str):
    case = CASES[name]
    mask = soft(case, SHAPES[0], np.float32) > 0.4
    expected = case.function(mask.astype(np.float32))
    for indicator in (mask, jnp.asarray(mask), mask.astype(np.uint8)):
        np.testing.assert_allclose(case.function(indicator), expected, rtol=1e-6)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.shifts])
def test_a_cyclic_shift_changes_nothing(name: str, float64: None):
    case = CASES[name]
    field = soft(case, SHAPES[0], np.float64)
    shifted = np.roll(field, (2, 3), axis=(0, 1))
    np.testing.assert_allclose(case.function(shifted), case.function(field), rtol=1e-12, atol=1e-12)


def test_mirroring_an_axis_changes_nothing(float64: None):
    field = np.random.default_rng(0).random((5, 6, 7))
    for describe in (partial(d.radial_two_point, r_max=4), d.crofton_surface_area, d.smoothed_surface_area):
        np.testing.assert_allclose(describe(field[::-1, :, ::-1].copy()), describe(field), rtol=1e-12)
