"""Laws of the solution, for both discretisations. In float64; once in float32."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from media import level_cut

from jaxmicro.errors import UserError
from jaxmicro.physics import DiffusionSolution, SolverConfig, solve
from jaxmicro.physics.steady_diffusion import problem

TIGHT = SolverConfig(tolerance=1e-7)  # relative error of D_eff 1e-14: below every tolerance here
SCHEMES = ["finite_volume", "q1"]
every_scheme = pytest.mark.parametrize("scheme", SCHEMES)
# compilations of a quarter of a minute: for elements in `make test-all` only
schemes_by_cost = pytest.mark.parametrize("scheme", ["finite_volume", pytest.param("q1", marks=pytest.mark.slow)])


def d_eff(kappa, *, axis: int = 0, scheme: str = "finite_volume", sides: str = "insulated", config=TIGHT):
    solution = solve(kappa, axis=axis, discretisation=scheme, sides=sides, config=config)
    assert isinstance(solution.converged, jax.core.Tracer) or solution.converged
    return solution.d_eff


def two_phase(shape: tuple[int, ...], contrast: float = 1e-2) -> np.ndarray:
    return np.where(level_cut(shape, fraction=0.5) > 0, 1.0, contrast)


@every_scheme
@pytest.mark.parametrize("sides", ["insulated", "periodic"])
@pytest.mark.parametrize("shape", [(12, 13), (6, 5, 4)], ids=["2d", "3d"])
def test_uniform_medium_conducts_exactly_as_its_material(shape, sides: str, scheme: str, float64: None):
    kappa = np.full(shape, 3.0)
    for axis in range(len(shape)) if sides == "insulated" else [0]:
        solution = solve(kappa, axis=axis, discretisation=scheme, sides=sides)
        assert solution.d_eff == pytest.approx(3.0, rel=1e-15)  # the linear profile is the solution: no iteration
        assert solution.converged and abs(solution.flux_balance) < 1e-13


@every_scheme
def test_layers_conduct_in_parallel_and_in_series(scheme: str, float64: None):
    layers = np.array([1.0, 1.0, 1e-3, 0.5] * 4)
    kappa = np.broadcast_to(layers[:, None], (16, 12)).copy()
    assert d_eff(kappa, axis=0, scheme=scheme) == pytest.approx(1 / np.mean(1 / layers), rel=1e-9)
    assert d_eff(kappa, axis=1, scheme=scheme) == pytest.approx(np.mean(layers), rel=1e-9)


@pytest.mark.parametrize("shape", [(24, 24), (10, 11, 12)], ids=["2d", "3d"])
def test_mirrors_and_rotations_change_nothing(shape, float64: None):
    kappa = two_phase(shape)
    for scheme in SCHEMES:
        value = float(d_eff(kappa, scheme=scheme))
        for axis in range(kappa.ndim):
            assert d_eff(np.flip(kappa, axis).copy(), scheme=scheme) == pytest.approx(value, rel=1e-11)
        turned = np.ascontiguousarray(np.moveaxis(kappa, 0, -1))
        assert d_eff(turned, axis=-1, scheme=scheme) == pytest.approx(value, rel=1e-11)


@schemes_by_cost
@pytest.mark.parametrize("contrast", [1e-3, 1e-6])
def test_scaling_and_euler_relation(contrast: float, scheme: str, float64: None):
    """D_eff is homogeneous of degree one: D(k kappa) = k D(kappa), hence sum(kappa dD/dkappa) = D."""
    kappa = two_phase((21, 18), contrast)
    value, gradient = jax.value_and_grad(partial(d_eff, scheme=scheme))(kappa)
    assert d_eff(1e-12 * kappa, scheme=scheme) == pytest.approx(1e-12 * float(value), rel=1e-10)
    assert np.sum(kappa * gradient) == pytest.approx(float(value), rel=1e-12)
    assert np.all(gradient >= 0)  # more diffusivity in any voxel never decreases D_eff


def test_checkerboard_tends_to_the_geometric_mean(float64: None):
    """Keller, J. Math. Phys. 5, 548 (1964): sqrt(D1 D2) = 1/3. From above for elements, from below for volumes."""
    values = {}
    for cell in (4, 16):
        kappa = np.where(sum(np.indices((2 * cell, 2 * cell)) // cell) % 2 == 0, 1.0, 1 / 9)
        values[cell] = {scheme: float(d_eff(kappa, scheme=scheme)) for scheme in SCHEMES}
    for cell in values:
        assert values[cell]["finite_volume"] < 1 / 3 < values[cell]["q1"]
    for scheme in SCHEMES:
        assert abs(values[16][scheme] - 1 / 3) < 0.5 * abs(values[4][scheme] - 1 / 3)
        assert values[16][scheme] == pytest.approx(1 / 3, rel=0.05)


@every_scheme
def test_error_falls_with_the_square_of_the_voxel(scheme: str, float64: None):
    """kappa = (1 + x)^2 (1 + y^2) on the unit square: u depends on x alone, u = (1 - x) / (1 + x)."""
    exact = 4 / 3 * 2  # mean of 1 + y^2 over mean of (1 + x)^-2
    errors = []
    for edge in (16, 32):
        centre, corner = (np.arange(edge) + 0.5) / edge, np.arange(edge + 1) / edge
        kappa = (1 + centre[:, None]) ** 2 * (1 + centre**2)
        solution = solve(kappa, axis=0, discretisation=scheme, config=TIGHT)
        x = centre if scheme == "finite_volume" else corner
        u = (1 - x) / (1 + x)
        field_error = np.sqrt(np.mean((solution.concentration - u[:, None]) ** 2))
        errors.append([abs(float(solution.d_eff) - exact), field_error])
    order = np.log2(np.divide(*errors))
    np.testing.assert_allclose(order, 2.0, atol=0.1)  # asymptotic range; smooth kappa only


@every_scheme
def test_gradient_matches_central_differences(scheme: str, float64: None):
    kappa = two_phase((16, 17), 1e-3)
    step = kappa * np.random.default_rng(0).normal(size=kappa.shape)
    h = 1e-4  # error of the difference: h^2 of truncation, 1e-14 / h of rounding
    slope = (d_eff(kappa + h * step, scheme=scheme) - d_eff(kappa - h * step, scheme=scheme)) / (2 * h)
    gradient = jax.grad(partial(d_eff, scheme=scheme))(kappa)
    assert np.sum(gradient * step) == pytest.approx(float(slope), rel=1e-6)


@schemes_by_cost
def test_implicit_derivative_of_the_field_and_second_derivative_match_differences(scheme: str, float64: None):
    kappa = two_phase((12, 11))
    step = kappa * np.random.default_rng(0).normal(size=kappa.shape)
    weights = np.random.default_rng(1).random((13, 12))[: 12 + (scheme == "q1"), : 11 + (scheme == "q1")]

    def of_field(kappa):
        field = solve(kappa, axis=0, discretisation=scheme, config=TIGHT).concentration
        return jnp.sum(weights * field**2)

    def slope(kappa):
        return jax.jvp(partial(d_eff, scheme=scheme), (kappa,), (step,))[1]

    h = 1e-4
    for function in (of_field, slope):
        difference = (function(kappa + h * step) - function(kappa - h * step)) / (2 * h)
        assert jnp.sum(jax.grad(function)(kappa) * step) == pytest.approx(float(difference), rel=1e-5)


@schemes_by_cost
def test_a_batch_equals_a_loop_and_each_member_stops_by_itself(scheme: str, float64: None):
    media = np.stack([two_phase((20, 20), contrast) for contrast in (1.0, 1e-2, 1e-4)])
    solver = partial(solve, axis=0, discretisation=scheme)
    batch = jax.jit(jax.vmap(solver))(media)
    loop = [solver(kappa) for kappa in media]
    assert len({int(iterations) for iterations in batch.iterations}) == 3
    for i, single in enumerate(loop):
        assert batch.iterations[i] == single.iterations
        assert batch.d_eff[i] == pytest.approx(float(single.d_eff), rel=1e-9)


@schemes_by_cost
def test_compiled_equals_step_by_step(scheme: str, float64: None):
    kappa = two_phase((7, 8))
    compiled = jax.jit(partial(d_eff, scheme=scheme))(kappa)
    with jax.disable_jit():
        assert d_eff(kappa, scheme=scheme) == pytest.approx(float(compiled), rel=1e-12)


def test_volumes_equal_an_assembled_direct_solve(float64: None):
    for shape, blocked in (((17, 15), 0.0), ((12, 11, 13), 0.0), ((12, 11, 13), 1e-4)):
        kappa = np.where(level_cut(shape, fraction=0.7) > 0, 1.0, blocked)
        expected = reference.finite_volume_diffusivity(kappa, 0)
        assert d_eff(kappa, config=SolverConfig(tolerance=1e-4)) == pytest.approx(expected, rel=1e-6)


@every_scheme
def test_warm_start_gives_the_same_answer_in_fewer_iterations(scheme: str, float64: None):
    kappa = two_phase((32, 32))
    cold = solve(kappa, axis=1, discretisation=scheme)
    warm = solve(1.01 * kappa, axis=1, discretisation=scheme, guess=cold.concentration)
    assert warm.d_eff == pytest.approx(1.01 * float(cold.d_eff), rel=1e-7)
    assert warm.iterations <= 6 < cold.iterations  # the stopping criterion needs a window of steps


@every_scheme
def test_single_precision_agrees_at_moderate_contrast(scheme: str):
    kappa = two_phase((32, 32), 1e-3).astype(np.float32)
    single = solve(kappa, axis=0, discretisation=scheme)
    with jax.enable_x64(True):
        double = solve(kappa.astype(np.float64), axis=0, discretisation=scheme)
    assert single.d_eff.dtype == np.float32 and single.converged
    assert single.d_eff == pytest.approx(float(double.d_eff), rel=2e-4)  # design target at contrast 1e3


def test_reaching_the_largest_number_of_iterations_is_reported(float64: None):
    solution = solve(two_phase((32, 32), 1e-4), axis=0, config=SolverConfig(max_iterations=3))
    assert not solution.converged and solution.iterations == 3


@schemes_by_cost
def test_boxes_one_voxel_thick_have_their_exact_diffusivity(scheme: str, float64: None):
    assert d_eff(np.full((1, 1, 1), 2.0), scheme=scheme) == pytest.approx(2.0)
    slab = np.random.default_rng(0).uniform(0.1, 1.0, size=(1, 5, 4))
    assert d_eff(slab, axis=0, scheme=scheme) == pytest.approx(slab.mean())  # each voxel is its own path
    for axis in (1, 2):
        assert d_eff(slab, axis=axis, scheme=scheme) == pytest.approx(
            float(d_eff(slab[0], axis=axis - 1, scheme=scheme)), rel=1e-10
        )
    line = slab[:, :1, :]
    assert d_eff(line, axis=2, scheme=scheme) == pytest.approx(1 / np.mean(1 / line))


def test_one_voxel_channel_conducts_by_its_area(float64: None):
    kappa = np.zeros((8, 6, 6))
    kappa[:, 2, 3] = 1.0
    kappa[3, 5, 5] = 1.0  # an isolated voxel, and two that touch only each other
    kappa[5, 0, 0:2] = 1.0
    assert d_eff(kappa) == pytest.approx(1 / 36, rel=1e-12)


def test_blocked_medium_conducts_nothing(float64: None):
    kappa = np.ones((16, 16))
    kappa[7] = 0.0
    for medium in (kappa, np.zeros((6, 6))):
        solution = solve(medium, axis=0)
        assert 0 <= solution.d_eff < 1e-15 and np.all(np.isfinite(solution.concentration))
        assert np.all(np.isfinite(jax.grad(lambda k: solve(k, axis=0).d_eff)(medium)))


def test_unusable_input_is_one_clear_line():
    good = np.ones((4, 4), np.float32)
    bad = good.copy()
    bad[1, 1] = np.nan
    for kappa, options, message in [
        (bad, {}, "NaN"),
        (-good, {}, "negative"),
        (good[0], {}, "shape"),
        (good[:, :0], {}, "non-empty"),
        (good, {"axis": 2}, "axis 2"),
        (good, {"backend": "jaxfem"}, "q1"),
        (good, {"guess": good[1:]}, "guess"),
    ]:
        with pytest.raises(UserError, match=message) as error:
            solve(kappa, **{"axis": 0} | options)
        assert "\n" not in str(error.value)
    for names, message in [(("spectral", "periodic", "xla"), "spectral"), (("q1", "fixed", "xla"), "sides")]:
        with pytest.raises(UserError, match=message):
            problem(2, 0, *names)  # of `solve`, whose literal types the tests check before it can
    for kappa in (bad, -good):  # compiled code cannot raise: `converged` is False
        solution: DiffusionSolution = jax.jit(partial(solve, axis=0))(kappa)
        assert np.isnan(solution.d_eff) and not solution.converged
    with pytest.raises(UserError, match="tolerance"):
        SolverConfig(tolerance=0.0)
