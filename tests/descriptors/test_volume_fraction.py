import numpy as np
import pytest
import reference

from jaxmicro.descriptors import volume_fraction


@pytest.mark.parametrize("shape", [(5, 4, 3), (3, 4, 5, 2)])
def test_it_equals_a_loop_over_voxels_and_sums_to_one(shape: tuple[int, ...], float64: None):
    fractions = np.random.default_rng(0).dirichlet(np.ones(shape[-1]), size=shape[:-1])
    phi = volume_fraction(fractions)
    np.testing.assert_allclose(phi, reference.volume_fraction(fractions), rtol=1e-12)
    assert float(phi.sum()) == pytest.approx(1.0, rel=1e-12)


def test_permuting_the_phases_permutes_the_fractions():
    fractions = np.eye(3, dtype=np.float32)[np.random.default_rng(0).integers(0, 3, (8, 8))]
    order = [2, 0, 1]
    np.testing.assert_array_equal(volume_fraction(fractions[..., order]), volume_fraction(fractions)[np.array(order)])
