import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmicro.errors import UserError
from jaxmicro.evaluate import code_summary, consecutive_distance, flat_map


def test_a_summary_is_mean_and_deviation_of_each_channel_and_does_not_depend_on_positions():
    codes = jax.random.normal(jax.random.key(0), (5, 4, 4, 3)) * jnp.array([1.0, 2.0, 3.0]).reshape(1, 1, 1, 3) + 0.5
    summary = code_summary(codes)
    np.testing.assert_allclose(summary[:, :3], codes.mean(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(summary[:, 3:], codes.std(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(code_summary(jnp.swapaxes(codes, 1, 2)[:, ::-1]), summary, atol=1e-5)


def test_the_distance_of_neighbours_depends_on_the_order_only():
    points = np.array([[0.0, 0], [1, 0], [2, 0], [3, 0]])
    assert consecutive_distance(points) == 1
    assert consecutive_distance(points[[0, 2, 1, 3]]) == pytest.approx((2 + 1 + 2) / 3)
    assert consecutive_distance(points + 7) == 1


def test_a_plane_in_many_dimensions_is_mapped_without_distortion():
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(30, 2)) * (3, 1)
    basis = np.linalg.qr(rng.normal(size=(8, 2)))[0]
    found = flat_map(flat @ basis.T + 5)
    np.testing.assert_allclose(
        np.linalg.norm(found[:, None] - found[None], axis=-1), np.linalg.norm(flat[:, None] - flat[None], axis=-1),
        atol=1e-6,
    )  # fmt: skip
    assert np.var(found[:, 0]) > np.var(found[:, 1])


def test_errors_name_the_package_that_umap_needs_and_the_methods_there_are(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(UserError, match=r"jaxmicro\[umap\]"):
        flat_map(np.zeros((5, 3)), method="umap")
    with pytest.raises(UserError, match="pca, umap"):
        flat_map(np.zeros((5, 3)), method="tsne")
