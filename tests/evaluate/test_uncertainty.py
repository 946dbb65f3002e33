"""The errors estimated from one image are those between many images."""

import numpy as np
import pytest

from jaxmicro.data.synthetic import gaussian_field
from jaxmicro.evaluate import error_rate, representativity, shape_error
from jaxmicro.evaluate.statistics import image_statistics
from jaxmicro.evaluate.uncertainty import _frequencies, contrasts, student_weights

R_MAX, EDGE = 6, 64


def medium(seed: int, length: float | tuple[float, float] = 1.5) -> np.ndarray:
    return gaussian_field(
        (EDGE, EDGE), correlation_length=length, fractions=(0.3, 0.7), seed=seed, periodic=False
    )  # fmt: skip


def test_contrasts_are_the_weighted_sums_of_their_definition():
    """Plain loops over the pairs and segments of a small image."""
    labels, r_max = medium(0)[:9, :11], 3
    phase = (labels == 1).astype(float)
    h, w = phase.shape
    found = contrasts(labels, phases=2, r_max=r_max)
    phi = phase.mean()
    y, x = np.indices((h, w))
    for b, (j, k) in enumerate(_frequencies((h, w))):

        def cosine(y, x, j=j, k=k):
            norm = np.sqrt(2) ** np.count_nonzero([j, k])
            return norm * np.cos(np.pi * j * (y + 0.5) / h) * np.cos(np.pi * k * (x + 0.5) / w)

        fraction = np.mean((phase - phi) * cosine(y, x))
        assert found.volume_fraction[b, 1] == pytest.approx(fraction, abs=1e-6)
        for r in range(r_max + 1):
            lags = [(i, m) for i in range(-r_max, r_max + 1) for m in range(-r_max, r_max + 1)]
            lags = [d for d in lags if np.floor(np.hypot(*d) + 0.5) == r]
            pairs = [
                (cosine(a, c), (phase[a, c] - phi) * (phase[a + i, c + m] - phi))
                for i, m in lags for a in range(h) for c in range(w) if 0 <= a + i < h and 0 <= c + m < w
            ]  # fmt: skip
            weight, product = np.array(pairs).T
            expected = np.mean(weight * (product - product.mean())) + 2 * phi * fraction
            assert found.two_point[b, 1, r] == pytest.approx(expected, abs=1e-6)
            down = [(cosine(a + r / 2, c), phase[a : a + r + 1, c].all()) for a in range(h - r) for c in range(w)]
            right = [(cosine(a, c + r / 2), phase[a, c : c + r + 1].all()) for a in range(h) for c in range(w - r)]
            along = [
                np.mean(weight * (inside - inside.mean())) for weight, inside in (np.array(s).T for s in (down, right))
            ]
            assert found.lineal_path[b, 1, r] == pytest.approx(np.mean(along), abs=1e-6)
            assert found.lineal_path_difference[b, 1, r] == pytest.approx(along[0] - along[1], abs=1e-6)


def test_nine_images_in_ten_are_within_the_90_percent_quantile_of_errors():
    images = [medium(seed) for seed in range(80)]
    found = [image_statistics(image, phases=2, r_max=R_MAX) for image in images]
    s2, path, edges = (
        np.array([np.asarray(getattr(one, name)[0], float) for one in found])
        for name in ("two_point", "lineal_path", "boundary_length")
    )
    within = []
    for image, one, segments, edge in zip(images, s2, path, edges, strict=True):
        said = [part["error_90"] for part in representativity(image, 2, r_max=R_MAX)]
        errors = [
            {
                "volume_fraction": abs(one[p, 0] - s2[:, p, 0].mean()),
                "two_point": error_rate(one[p], s2[:, p].mean(axis=0)),
                "two_point_shape": shape_error(one[p], s2[:, p].mean(axis=0)),
                "lineal_path": error_rate(segments[p], path[:, p].mean(axis=0)),
                "surface_area": 100 * abs(edge[p] / edges[:, p].mean() - 1),
            }
            for p in range(2)
        ]
        within.append([[errors[p][name] <= said[p][name] for name in said[p]] for p in range(2)])
    coverage = np.mean(within, axis=0)
    # standard error of a coverage of 0.9 of 80 images: 0.034; smallest and largest of ten within three of it
    assert coverage.min() > 0.79 and coverage.mean() == pytest.approx(0.9, abs=0.05)


def test_weights_have_the_t_distribution_of_as_many_degrees_of_freedom():
    weights = student_weights(1, 40_000)[0]
    ones = np.ones(weights.shape[1])  # contrasts of unit size: a standard error of one
    size = np.abs(weights @ ones) * 1.0
    # Student's t of 8 degrees of freedom: 1.860 and 3.355 two-sided at 90 and 99 %
    assert np.quantile(size, 0.90) == pytest.approx(1.860, rel=0.02)
    assert np.quantile(size, 0.99) == pytest.approx(3.355, rel=0.04)


def test_anisotropy_is_detected_in_anisotropic_images_only():
    def unequal(length, seed: int) -> list[bool]:
        part = representativity(medium(seed, length), 2, r_max=R_MAX)[0]
        return [part["directions"][name] > part["directions_99"][name] for name in ("two_point", "lineal_path")]

    false = np.array([unequal(1.5, seed) for seed in range(60)])
    assert false.sum(axis=0).max() <= 3  # at a rate of 1 in 100, more than 3 of 60 occur in one case of 300
    assert np.array([unequal((1.5, 3.0), seed) for seed in range(8)]).all()
