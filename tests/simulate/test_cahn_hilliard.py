"""Laws of the Cahn-Hilliard equation: what is kept, what falls, exact solutions, symmetries."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

from jaxmicro.errors import UserError
from jaxmicro.simulate import (
    CahnHilliardConfig,
    FloryHuggins,
    Polynomial,
    coexisting,
    evolve,
    mixture,
    three_phases,
    two_phases,
)
from jaxmicro.simulate.grids import grids_of

ENERGIES = {"flory-huggins": (FloryHuggins(chi=3.0), 10.0, 0.45), "polynomial": (Polynomial(), 2.0, 0.5)}
# periodic and with walls, 2D and 3D, odd edges, transforms by products and by FFT
BOXES = [((16, 16), ()), ((15, 16), (0,)), ((9, 8, 8), ()), ((8, 8, 72), (0,))]


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64():
        yield


@functools.partial(jax.jit, static_argnames=("config", "source"))
def run(initial, times, energy, kappa, *, config, mobility=1.0, temperature=0.0, key=None, source=None):
    return evolve(
        initial,
        jnp.asarray(times),
        energy,
        kappa=kappa,
        mobility=mobility,
        temperature=temperature,
        key=key,
        config=config,
        source=source,
    )


def start(shape, mean=0.5, amplitude=0.05, seed=0):
    return mixture(mean, amplitude=amplitude, key=jax.random.key(seed), shape=shape).astype(jnp.float64)


def centres(box, axis):
    """Coordinate of the cell centres along an axis, shaped for the grid."""
    along = [1] * len(box.shape)
    along[axis] = -1
    return ((jnp.arange(box.shape[axis]) + 0.5) * box.spacing[axis]).reshape(along)


@pytest.mark.parametrize("mobility", ["constant", "degenerate"])
@pytest.mark.parametrize("name", ENERGIES)
@pytest.mark.parametrize(("shape", "no_flux"), BOXES)
def test_mass_is_kept_and_the_free_energy_never_rises(shape, no_flux, name, mobility):
    energy, kappa, mean = ENERGIES[name]
    config = CahnHilliardConfig(shape=shape, no_flux=no_flux, mobility=mobility, tolerance=1e-2)
    rate = 1.0 if mobility == "constant" else 4.0
    initial = start(shape, mean)
    found = run(initial, jnp.arange(0.0, 80.0), energy, kappa, mobility=rate, config=config)
    assert bool(found.finished.all())
    np.testing.assert_allclose(found.mean, initial.mean(), atol=1e-14)
    assert np.all(np.diff(found.energy) <= 1e-12 * abs(found.energy[0]))
    assert found.energy[-1] < found.energy[0]
    assert found.fields.min() > 0 and found.fields.max() < 1


@pytest.mark.parametrize("config", [
    CahnHilliardConfig(shape=(12, 16), spacing=(0.5, 2.0)),
    CahnHilliardConfig(shape=(8, 9, 66), no_flux=(0,), spacing=(1.0, 0.5, 2.0)),
    CahnHilliardConfig(shape=(7, 8), no_flux=(0, 1)),
], ids=str)  # fmt: skip
def test_modes_are_those_of_the_laplacian(config):
    box = config.box
    field = start(config.shape)
    modes = box.modes(field)
    np.testing.assert_allclose(box.field(modes), field, atol=1e-12)
    np.testing.assert_allclose(box.squared_sum(modes), jnp.sum(field**2), rtol=1e-12)
    for axis, (edge, spacing) in enumerate(zip(box.shape, box.spacing, strict=True)):
        walls = axis in box.no_flux
        k = 2 * np.pi / (edge * spacing) * (0.5 if walls else 1)
        wave = jnp.broadcast_to(jnp.cos(k * centres(box, axis)), box.shape)
        curved = box.field(box.squared_wave_number(jnp.float64) * box.modes(wave))
        np.testing.assert_allclose(curved, k**2 * wave, atol=1e-12)
        slope = box.gradient(wave, axis)
        np.testing.assert_allclose(slope, jnp.broadcast_to(-k * jnp.sin(k * centres(box, axis)), box.shape), atol=1e-12)
        np.testing.assert_allclose(box.divergence(slope, axis), -(k**2) * wave, atol=1e-11)


@pytest.mark.parametrize("mobility", ["constant", "degenerate"])
@pytest.mark.parametrize(("no_flux", "waves"), [((), (1, 2, 4)), ((0, 1), (1, 3, 6))])
def test_small_waves_grow_at_the_rate_of_linear_theory(no_flux, waves, mobility):
    """sigma = -M k^2 (f'' + kappa k^2), within 1 %: to 1e-6 of phi the equation is linear."""
    energy, kappa, mean = FloryHuggins(chi=2.6), 10.0, 0.4
    config = CahnHilliardConfig(shape=(32, 4), no_flux=no_flux, mobility=mobility, tolerance=1e-4)
    for wave in waves:
        k = (1 if no_flux else 2) * np.pi * wave / 32
        shape = jnp.broadcast_to(jnp.cos(k * centres(config.box, 0)), config.shape)
        m = 1.0 if mobility == "constant" else mean * (1 - mean)
        sigma = -m * k**2 * (1 / mean + 1 / (1 - mean) - 2 * 2.6 + kappa * k**2)
        found = run(mean + 1e-6 * shape, jnp.array([1 / abs(sigma)]), energy, kappa, config=config)
        grown = jnp.sum((found.fields[0] - mean) * shape) / jnp.sum(shape**2) / 1e-6
        assert jnp.log(grown) * abs(sigma) == pytest.approx(sigma, rel=0.01)


def test_walls_are_those_of_the_evenly_reflected_periodic_box():
    energy, kappa, mean = ENERGIES["flory-huggins"]
    walls = start((8, 12), mean)
    reflected = jnp.concatenate([walls, walls[::-1]])
    reflected = jnp.concatenate([reflected, reflected[:, ::-1]], 1)
    times = jnp.array([5.0, 40.0])
    a = run(walls, times, energy, kappa, config=CahnHilliardConfig(shape=(8, 12), no_flux=(0, 1)))
    b = run(reflected, times, energy, kappa, config=CahnHilliardConfig(shape=(16, 24)))
    np.testing.assert_allclose(b.fields[:, :8, :12], a.fields, atol=1e-9)
    np.testing.assert_allclose(b.energy, 4 * a.energy, rtol=1e-9)


@pytest.mark.parametrize("mobility", ["constant", "degenerate"])
def test_the_two_components_are_mirror_images(mobility):
    """phi -> 1 - phi with equal chains: every field and so every statistic is exactly mirrored."""
    config = CahnHilliardConfig(shape=(16, 16), mobility=mobility)
    energy, kappa, _ = ENERGIES["flory-huggins"]
    initial, times = start((16, 16), 0.45), jnp.array([10.0, 50.0])
    a, b = (run(field, times, energy, kappa, config=config) for field in (initial, 1 - initial))
    np.testing.assert_allclose(1 - b.fields, a.fields, atol=1e-9)
    np.testing.assert_allclose(b.energy, a.energy, rtol=1e-12)


@pytest.mark.parametrize(
    "no_flux", [*(pytest.param(axes, marks=pytest.mark.slow) for axes in ((), (0, 1))), (0,)], ids=str
)
def test_coarser_grids_are_used_and_change_the_field_by_no_more_than_the_tolerance(no_flux):
    """Against a hundredth of the tolerance, at which no coarser grid serves for long; and F falls on the finest one."""
    shape, times = (192, 180), jnp.array([0.0, 1.0, 20.0, 40.0, 41.0, 42.0])
    rough, exact = (CahnHilliardConfig(shape=shape, no_flux=no_flux, tolerance=t) for t in (3e-3, 3e-5))
    assert [grid.shape for grid in grids_of(rough)] == [(192, 180), (144, 144), (96, 90)]
    initial = start(shape)
    a, b = (run(initial, times, Polynomial(1.0, 0.0, 1.0), 4.0, config=config) for config in (rough, exact))
    deviation = jnp.std(b.fields, axis=(1, 2))
    assert np.all(jnp.sqrt(jnp.mean((a.fields - b.fields) ** 2, axis=(1, 2))) < 5 * 3e-3 * deviation)
    assert np.all(np.diff(a.energy) < 0)
    np.testing.assert_allclose(a.mean, initial.mean(), atol=1e-14)


@pytest.mark.parametrize("shape", [(24, 30), (25, 30), (24, 31)], ids=str)
@pytest.mark.parametrize("no_flux", [(), (0,), (1,), (0, 1)], ids=str)
def test_a_smooth_field_is_the_same_on_a_coarser_grid_and_back(shape, no_flux):
    fine = CahnHilliardConfig(shape=shape, no_flux=no_flux).box
    coarse = CahnHilliardConfig(shape=(16, 18), spacing=(shape[0] / 16, shape[1] / 18), no_flux=no_flux).box

    def smooth(box):
        # along periodic axes the first cell is the same point on both grids
        shift = [0 if axis in no_flux else box.spacing[axis] / 2 for axis in (0, 1)]
        x, y = (jnp.pi * (centres(box, axis) - shift[axis]) / shape[axis] for axis in (0, 1))
        return jnp.cos(2 * x) * jnp.cos(4 * y) + (jnp.cos(6 * y) if 1 in no_flux else jnp.sin(6 * y + 1))

    modes = fine.resampled(fine.modes(smooth(fine)), coarse)
    np.testing.assert_allclose(coarse.field(modes), smooth(coarse), atol=1e-12)
    np.testing.assert_allclose(fine.field(coarse.resampled(modes, fine)), smooth(fine), atol=1e-12)


def test_a_batch_equals_single_runs():
    config = CahnHilliardConfig(shape=(16, 16))
    chi, mean = jnp.array([2.6, 3.4, 1.5]), jnp.array([0.5, 0.4, 0.3])
    initial = jnp.stack([start((16, 16), m, seed=i) for i, m in enumerate(mean)])
    times = jnp.array([5.0, 60.0])
    batch = jax.vmap(lambda field, x: run(field, times, FloryHuggins(x), 10.0, config=config))(initial, chi)
    for i in range(3):
        single = run(initial[i], times, FloryHuggins(chi[i]), 10.0, config=config)
        np.testing.assert_allclose(batch.fields[i], single.fields, atol=1e-10)
        np.testing.assert_array_equal(batch.accepted[i], single.accepted)


def test_output_times_do_not_change_the_run():
    config = CahnHilliardConfig(shape=(16, 16))
    energy, kappa, mean = ENERGIES["flory-huggins"]
    initial = start((16, 16), mean)
    many = run(initial, jnp.linspace(1.0, 60.0, 60), energy, kappa, config=config)
    few = run(initial, jnp.array([30.0, 60.0]), energy, kappa, config=config)
    np.testing.assert_allclose(few.fields, many.fields[jnp.array([29, 59])], atol=1e-12)


def manufactured(box, time):
    """phi = 1/2 + 0.15 exp(-t) exp(sin x) cos y: no finite sum of modes, and within (0, 1), as a mobility asks."""
    x, y = (2 * jnp.pi * centres(box, axis) / (box.shape[axis] * box.spacing[axis]) for axis in (0, 1))
    return 0.5 + 0.15 * jnp.exp(-time) * jnp.exp(jnp.sin(x)) * jnp.cos(y)


def manufactured_source(box, energy, kappa, mobility, time):
    """d phi / dt - div(M grad mu) of the manufactured solution, by automatic differentiation in x and y."""
    edges = [edge * spacing for edge, spacing in zip(box.shape, box.spacing, strict=True)]

    def phi(t, x, y):
        return 0.5 + 0.15 * jnp.exp(-t) * jnp.exp(jnp.sin(2 * jnp.pi * x / edges[0])) * jnp.cos(
            2 * jnp.pi * y / edges[1]
        )

    def lap(g):
        return lambda x, y: jax.grad(jax.grad(g, 0), 0)(x, y) + jax.grad(jax.grad(g, 1), 1)(x, y)

    def mu(x, y):
        return energy.slope(phi(time, x, y)) - kappa * lap(lambda x, y: phi(time, x, y))(x, y)

    def flux(axis):
        def along(x, y):
            p = phi(time, x, y)
            return (p * (1 - p) if mobility == "degenerate" else 1.0) * jax.grad(mu, axis)(x, y)

        return along

    def rate(x, y):
        return jax.grad(phi, 0)(time, x, y) - jax.grad(flux(0), 0)(x, y) - jax.grad(flux(1), 1)(x, y)

    x, y = jnp.broadcast_arrays(centres(box, 0), centres(box, 1))
    return jax.vmap(jax.vmap(rate))(x, y)


def miss(edge, step, mobility):
    """Largest error at t = 1 with this number of cells in a box of length 8, and step."""
    energy, kappa = Polynomial(1.0, 0.2, 0.8), 0.5
    config = CahnHilliardConfig(shape=(edge, edge), spacing=(8 / edge,) * 2, mobility=mobility, step=step)
    times = jnp.arange(round(1 / step) + 1) * step
    rate = jax.jit(jax.vmap(functools.partial(manufactured_source, config.box, energy, kappa, mobility)))(times)

    def source(time):
        return rate[jnp.round(time / step).astype(int)]

    found = run(manufactured(config.box, 0.0), jnp.array([1.0]), energy, kappa, config=config, source=source)
    return float(jnp.abs(found.fields[0] - manufactured(config.box, found.time[0])).max())


@pytest.mark.parametrize("mobility", ["constant", "degenerate"])
def test_a_manufactured_solution_is_of_second_order_in_time_and_spectral_in_space(mobility):
    errors = [miss(16, step, mobility) for step in (1 / 16, 1 / 32, 1 / 64)]
    orders = [np.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert min(orders) > 1.9  # third where h L is small
    coarse, fine = (miss(edge, 1 / 256, mobility) for edge in (8, 16))
    assert fine < coarse / 100  # a second-order method would gain 4


def test_the_plateaus_are_on_the_binodal():
    """A film that has separated: its two layers against the common tangent, here from scipy."""
    chi = 2.6
    poor = brentq(lambda p: np.log(p / (1 - p)) + chi * (1 - 2 * p), 1e-3, 0.4)
    config = CahnHilliardConfig(shape=(64, 4), no_flux=(0,))
    initial = 0.5 + 0.3 * jnp.broadcast_to(jnp.sign(centres(config.box, 0) - 32), config.shape)
    found = run(initial, jnp.array([3000.0]), FloryHuggins(chi), 10.5, config=config)
    assert float(found.fields[0].min()) == pytest.approx(poor, abs=1e-4)  # decays as exp(-x / 1.6 cells)
    assert float(found.fields[0].max()) == pytest.approx(1 - poor, abs=1e-4)
    assert float(coexisting(FloryHuggins(chi), 0.4)[0]) == pytest.approx(poor, rel=0.05)


def test_the_continued_logarithm_is_smooth_and_has_no_nan():
    energy = FloryHuggins(chi=3.0, n1=2.0)
    phi = jnp.concatenate([jnp.linspace(-0.01, 0.01, 2001), jnp.linspace(0.99, 1.01, 2001), jnp.array([-5.0, 7.0])])
    value, slope, curvature = energy.value(phi), energy.slope(phi), energy.curvature(phi)
    np.testing.assert_allclose(slope, jax.vmap(jax.grad(energy.value))(phi), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(curvature, jax.vmap(jax.grad(energy.slope))(phi), rtol=1e-9)
    assert np.isfinite(np.concatenate([value, slope, curvature])).all()
    assert (curvature[(phi < 1e-3) | (phi > 1 - 1e-3)] > 0).all()
    start_outside = jnp.broadcast_to(jnp.array([[0.0], [1.0], [-0.1], [1.1]]), (4, 4))
    found = run(start_outside, jnp.array([50.0]), energy, 10.0, config=CahnHilliardConfig(shape=(4, 4)))
    assert found.fields.min() > 0 and found.fields.max() < 1


def test_fields_stay_within_0_and_1_far_from_the_critical_point():
    config = CahnHilliardConfig(shape=(32, 32))
    found = run(start((32, 32), 0.3), jnp.array([1.0, 5.0, 100.0]), FloryHuggins(4.0), 10.0, config=config)
    assert found.fields.min() > 0 and found.fields.max() < 1


PFHUB = {1.0: 318.86, 5.0: 316.4, 10.0: 298.1, 20.0: 213.1, 50.0: 167.4, 100.0: 137.0}  # a converged run at 200^2


@pytest.mark.slow
def test_the_first_benchmark_of_pfhub_has_its_free_energy():
    """Within 1 % of the converged curve to t = 100, at 100^2 cells; then down to two flat interfaces, or a disc."""
    config = CahnHilliardConfig(shape=(100, 100), spacing=(2.0, 2.0))
    x, y = (centres(config.box, axis) - 1.0 for axis in (0, 1))
    waves = (
        jnp.cos(0.105 * x) * jnp.cos(0.11 * y)
        + (jnp.cos(0.13 * x) * jnp.cos(0.087 * y)) ** 2
        + jnp.cos(0.025 * x - 0.15 * y) * jnp.cos(0.07 * x - 0.02 * y)
    )
    times = jnp.array([*PFHUB, 1e3, 1e4, 1e5])
    found = run(0.5 + 0.01 * waves, times, Polynomial(), 2.0, mobility=5.0, config=config)
    np.testing.assert_allclose(found.energy[: len(PFHUB)], list(PFHUB.values()), rtol=0.01)
    np.testing.assert_allclose(found.mean, found.mean[0], atol=1e-10)
    assert np.all(np.diff(found.energy) <= 0)
    # interfaces of tension 0.0477, 2 x 200 of them, or around a disc
    assert min(abs(found.energy[-1] / end - 1) for end in (19.08, 23.9)) < 0.03


@pytest.mark.slow
def test_domains_coarsen_with_the_cube_root_of_time():
    """Lifshitz and Slyozov, over a decade; length: area over excess energy, to which interfaces are proportional."""
    config = CahnHilliardConfig(shape=(256, 256))
    energy, kappa, times = Polynomial(1.0, 0.0, 1.0), 1.0, jnp.geomspace(1e3, 1e4, 8)
    fields = jnp.stack([start((256, 256), 0.5, seed=seed) for seed in (0, 1)])
    found = jax.vmap(lambda field: run(field, times, energy, kappa, config=config))(fields)
    slope = np.polyfit(np.log(times), np.log(1 / np.mean(found.energy, axis=0)), 1)[0]
    assert slope == pytest.approx(1 / 3, abs=0.03)


def test_thermal_noise_has_the_variance_of_fluctuations_in_equilibrium():
    """<|u_k|^2> = kT / (f'' + kappa k^2) per volume in a stable mixture."""
    kt, kappa, energy = 1e-4, 2.0, FloryHuggins(chi=1.0)
    config = CahnHilliardConfig(shape=(16, 16), noise=True, step=0.05)
    box = config.box
    runs = jax.vmap(
        lambda key: run(
            jnp.full((16, 16), 0.5),
            jnp.linspace(20.0, 60.0, 20),
            energy,
            kappa,
            temperature=kt,
            key=key,
            config=config,
        )
    )(jax.random.split(jax.random.key(0), 8))
    np.testing.assert_allclose(runs.mean, 0.5, atol=1e-14)
    runs_modes = jax.vmap(jax.vmap(box.modes))(runs.fields - 0.5)
    k2 = jnp.broadcast_to(box.squared_wave_number(jnp.float64), runs_modes.shape[2:])
    # the real and the imaginary part of unnormalised Fourier modes share the variance
    power = jnp.mean(runs_modes**2, axis=(0, 1)) * 2 / 16**2
    ratio = power * (4 - 2 + kappa * k2) / kt
    # 160 fields of a few dozen modes each: a standard error below 3 %; steps of 0.05 bias by less
    for band in [(k2 > 0) & (k2 < 1), (k2 > 1) & (k2 < 4), k2 > 4]:
        assert float(ratio[band].mean()) == pytest.approx(1, abs=0.08)


def test_a_run_that_is_given_up_says_so():
    config = CahnHilliardConfig(shape=(16, 16), max_steps=10)
    found = run(start((16, 16)), jnp.array([0.001, 1e4]), FloryHuggins(3.0), 10.0, config=config)
    assert found.finished.tolist() == [True, False]
    assert found.time[1] < 1e4 and int(found.accepted[1] + found.rejected[1]) == 10
    assert np.isfinite(found.fields).all()


def test_single_precision_is_kept_and_enough():
    config = CahnHilliardConfig(shape=(16, 16))
    energy, kappa, mean = ENERGIES["flory-huggins"]
    initial = start((16, 16), mean)
    times = jnp.array([5.0, 30.0])
    double = run(initial, times, energy, kappa, config=config)
    single = run(initial.astype(jnp.float32), times, energy, kappa, config=config)
    assert single.fields.dtype == jnp.float32
    np.testing.assert_allclose(single.fields, double.fields, atol=2e-3)
    np.testing.assert_allclose(single.mean, initial.mean(), atol=3e-7)  # units of rounding are 6e-8


def test_labels_are_numbered_by_increasing_phi():
    field = jnp.linspace(0.0, 1.0, 11).reshape(11, 1)
    assert two_phases(field, 0.55).ravel().tolist() == [0] * 6 + [1] * 5
    assert three_phases(field, 0.25, 0.75).ravel().tolist() == [0] * 3 + [1] * 5 + [2] * 3


@pytest.mark.parametrize("wrong", [
    {"shape": (8,)}, {"spacing": (1.0,)}, {"no_flux": (2,)}, {"mobility": "none"}, {"tolerance": 0.0}, {"step": -1.0},
    {"max_steps": 0},
], ids=str)  # fmt: skip
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(UserError):
        CahnHilliardConfig(**{"shape": (8, 8), **wrong})
    with pytest.raises(UserError, match="shape"):
        evolve(jnp.zeros((4, 4)), jnp.ones(1), Polynomial(), kappa=1.0, config=CahnHilliardConfig(shape=(8, 8)))
