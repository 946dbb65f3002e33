"""What conjugate gradients require of the multigrid cycle."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmicro.physics.elements import Elements
from jaxmicro.physics.finite_volumes import FiniteVolumes
from jaxmicro.physics.grid import halved
from jaxmicro.physics.multigrid import cycle, hierarchy

schemes = pytest.mark.parametrize("scheme", [FiniteVolumes, Elements], ids=["finite_volume", "q1"])
SIDES = [("fixed", "insulated", "periodic"), ("periodic", "fixed", "insulated"), ("insulated", "periodic", "fixed")]


@schemes
@pytest.mark.parametrize("sides", SIDES, ids="-".join)
@pytest.mark.parametrize("cells", [(8, 6, 4), (7, 5, 9)], ids=["even", "odd"])
def test_restriction_is_the_transpose_of_prolongation(scheme, sides, cells, float64: None):
    rng, grid = np.random.default_rng(0), scheme(sides)
    fine, coarse = rng.random(grid.unknowns(cells)), rng.random(grid.unknowns(halved(cells)))
    prolonged, restricted = grid.prolong(jnp.asarray(coarse), cells), grid.restrict(jnp.asarray(fine), cells)
    assert float(jnp.vdot(prolonged, fine)) == pytest.approx(float(jnp.vdot(coarse, restricted)), rel=1e-12)


@schemes
@pytest.mark.parametrize("sides", SIDES, ids="-".join)
@pytest.mark.parametrize("cells", [(5, 4, 6), (4, 1, 2), (2, 5, 1)], ids=str)
def test_the_product_is_the_gradient_of_the_energy_and_has_its_diagonal(scheme, sides, cells, float64: None):
    """The energy is written without stencils and halos. Half its second derivative is K."""
    grid, rng = scheme(sides), np.random.default_rng(0)
    shape, zero = grid.unknowns(cells), (0.0,) * 3
    if not math.prod(shape):
        return  # one element between two fixed faces
    kappa, u = jnp.asarray(rng.random(cells)), jnp.asarray(rng.random(shape))

    @jax.jit  # one compilation, not one for each operation
    def everything(kappa, u):
        stencil, halo = grid.stencil(grid.material(kappa)), grid.haloed(u)
        slope = jax.grad(lambda u: grid.energy(kappa, u, zero) / 2)
        found = grid.interior(halo), grid.product(stencil, halo), grid.diagonal(stencil).ravel()
        return found, (u, slope(u), jnp.diagonal(jax.jacfwd(slope)(u).reshape(u.size, u.size)))

    (inside, product, diagonal), (field, slope, curvature) = everything(kappa, u)
    np.testing.assert_array_equal(inside, field)
    np.testing.assert_allclose(product, slope, atol=1e-12)
    np.testing.assert_allclose(diagonal, curvature, atol=1e-12)


@pytest.mark.parametrize("cells", [(10, 1, 10), (8, 8, 2), (7, 7, 3)], ids=str)
def test_thin_boxes_of_finite_volumes_have_coarser_grids(cells, float64: None):
    """An insulated axis of one voxel has no face."""
    grid = FiniteVolumes(("fixed", "insulated", "insulated"))
    levels = jax.jit(lambda kappa: hierarchy(grid, kappa))(jnp.ones(cells))
    assert len(levels) > 1 and all(bool(jnp.isfinite(level.inverse_diagonal).all()) for level in levels)


@functools.partial(jax.jit, static_argnums=(0, 1))  # one compilation for all contrasts
def dense(scheme, cells, kappa):
    """The cycle B and the operator K as matrices."""
    grid = scheme(("fixed", "insulated", "periodic")[: len(cells)])
    levels = hierarchy(grid, kappa)
    assert len(levels) >= 3
    shape, zero = grid.unknowns(cells), (0.0,) * len(cells)
    units = jnp.eye(math.prod(shape)).reshape(-1, *shape)
    b = jax.lax.map(lambda r: cycle(grid, levels, cells, r).ravel(), units, batch_size=32)
    return b, jax.lax.map(lambda u: grid.forces(grid.material(kappa), u, zero).ravel(), units, batch_size=32)


@schemes
@pytest.mark.parametrize("cells", [(24, 22), (10, 8, 8)], ids=["2d", "3d"])
@pytest.mark.parametrize("contrast", [pytest.param(1e-2, marks=pytest.mark.slow), 1e-6, 0.0])
def test_the_cycle_is_symmetric_and_positive_and_amplifies_no_error(scheme, contrast: float, cells, float64: None):
    """B K has its eigenvalues in (0, 2): then I - B K contracts, and B is a preconditioner. In dense algebra, on
    grids deep enough for repeated visits in 3D, with isolated clusters where the contrast is 0."""
    kappa = jnp.asarray(np.where(np.random.default_rng(1).random(cells) < 0.6, 1.0, contrast))
    b, k = map(np.asarray, dense(scheme, cells, kappa))
    connected = np.ix_(np.diag(k) > 0, np.diag(k) > 0)  # no force acts on the others
    b, k = b[connected], k[connected]
    np.testing.assert_allclose(b, b.T, atol=1e-9 * np.abs(b).max())
    values, vectors = np.linalg.eigh(k)
    stiff = values > 1e-9 * values.max()  # the others are fields without any flux
    root = vectors[:, stiff] * np.sqrt(values[stiff])
    found = np.linalg.eigvalsh(root.T @ b @ root)
    assert 0 < found.min() and found.max() < 2


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="elsewhere barriers separate the products")
@schemes
def test_the_products_of_a_cycle_stay_calls_when_compiled(scheme):
    """Inlined products would be fused into each other and computed repeatedly."""
    grid, cells = scheme(("fixed", "insulated")), (16, 16)
    levels = hierarchy(grid, jnp.ones(cells, jnp.float32))
    program = jax.jit(lambda r: cycle(grid, levels, cells, r)).lower(jnp.ones(grid.unknowns(cells), jnp.float32))
    calls = program.compile().as_text().count(" call(")
    assert calls >= 5 * (len(levels) - 1)  # first step, residual, restriction, prolongation, second smoothing
