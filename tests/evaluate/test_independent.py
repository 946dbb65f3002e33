"""Independent statistics differ between materials with equal constrained statistics, but not within one material."""

import itertools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from media import level_cut
from scipy import ndimage
from scipy.stats import wasserstein_distance
from skimage.measure import euler_number
from skimage.measure import label as flood

from jaxmicro.descriptors import cluster_sizes, euler_characteristic, euler_density
from jaxmicro.evaluate import chord_distance, compare, independent, report_html, summarise, warnings
from jaxmicro.evaluate.independent import free_numbers
from jaxmicro.evaluate.overview import evidence, held_table, independent_table
from jaxmicro.evaluate.statistics import image_covariance, image_statistics
from jaxmicro.evaluate.windows import cluster_counts, contacts, cross_correlation, euler_densities, triple_points
from jaxmicro.reconstruct import dyadic_lags, optimise_interfaces
from jaxmicro.types import Microstructure

HELD = ("volume_fraction", "two_point", "lineal_path", "surface_area")
R_MAX = 16
optimised = jax.jit(optimise_interfaces)


def structure(labels: np.ndarray, phases: int = 2, *, periodic: bool = False) -> Microstructure:
    return Microstructure(labels.astype(np.uint8), tuple(map(float, range(phases))), periodic=periodic)


def balls(shape: tuple[int, ...], seed: int, *, radius: float = 4.0, fraction: float = 0.4) -> np.ndarray:
    """Overlapping spheres on a periodic grid with a volume fraction."""
    centres = np.random.default_rng(seed).random(shape) < -math.log(1 - fraction) / (4 / 3 * math.pi * radius**3)
    pad = int(radius) + 2
    distance = ndimage.distance_transform_edt(~np.pad(centres, pad, mode="wrap"))
    return (distance <= radius)[pad:-pad, pad:-pad, pad:-pad].astype(np.uint8)


@pytest.fixture(scope="module")
def micrograph() -> Microstructure:
    return structure(balls((32, 256, 256), 0)[16])


@pytest.fixture(scope="module")
def other_material(micrograph: Microstructure) -> Microstructure:
    """Level set of a Gaussian field with interfaces optimised for S2, lineal path and interface area of the spheres."""
    phi = micrograph.volume_fractions[1]
    own = image_statistics(micrograph.labels, phases=2, r_max=R_MAX)
    path = jnp.asarray(np.asarray(own.lineal_path)[0][:, dyadic_lags(R_MAX)])
    covariance = image_covariance(micrograph.labels, phases=2, r_max=R_MAX)
    field = level_cut((32, 32, 32), fraction=phi, sigma=1.8, seed=5).astype(np.uint8)
    return structure(
        np.asarray(optimised(jnp.asarray(field), jnp.array([1 - phi, phi]), path, covariance)), periodic=True
    )


@pytest.fixture(scope="module")
def report(micrograph, other_material) -> dict:
    return compare([other_material], micrograph, r_max=R_MAX, patches=0, held=HELD)


def test_another_material_with_the_same_two_point_correlation_is_outside_of_the_tolerances(report):
    for phase in report["phases"]:
        assert phase["two_point"]["error_rate"] < 0.6 and phase["lineal_path"]["error_rate"] < 2
        assert phase["two_point"]["held"] and phase["lineal_path"]["held"]
    assert {"euler_density.0", "clusters.0"} <= set(report["independent"]["outside"])
    assert any("Euler density of phase 0" in line for line in warnings(report))
    outside = {name for name, cells in independent_table(report).rows if any(cell.outside for cell in cells)}
    assert any(name.startswith("Euler density") for name in outside)
    assert json.loads(json.dumps(report))["overview"] == report["overview"]
    assert next(iter(report)) == "overview"


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_a_volume_of_the_same_material_is_within_the_scatter_of_the_micrograph(micrograph, seed: int):
    """Its error of S2 is ten times that of the other material: one small volume is not the mean of the material."""
    found = independent([structure(balls((32, 32, 32), seed), periodic=True)], micrograph, r_max=R_MAX, held=HELD)
    assert found["outside"] == []
    assert found["crops"] == 64 and found["window"] == 32
    # the largest of eight normal deviates is rarely below a tenth of their tolerance: the tolerances are not too wide
    assert max(part["difference"] / part["chance"] for part in free_numbers(found).values()) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["spheres", "level set", "three phases"])
def test_one_in_twenty_volumes_of_the_same_material_is_marked_as_different(kind: str):
    def make(shape: tuple[int, ...], seed: int) -> Microstructure:
        if kind == "spheres":
            return structure(balls(shape, seed), periodic=len(shape) == 3)
        field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2.0, mode="wrap")
        shares = [0.4] if kind == "level set" else [0.3, 0.65]
        return structure(np.digitize(field, np.quantile(field, shares)), len(shares) + 1, periodic=True)

    def plane(seed: int) -> Microstructure:
        found = make((16, 256, 256), seed)
        return structure(found.labels[8], found.phases)

    reports = [independent([make((32, 32, 32), k)], plane(100 + k), r_max=R_MAX, held=HELD) for k in range(24)]
    different = sum(bool(report["outside"]) for report in reports)
    assert different <= 4  # at a rate of 1 in 20, more than 4 of 24 have a probability of 0.7 %
    ratios = [part["difference"] / part["chance"] for r in reports for part in free_numbers(r).values()]
    assert 0.2 < np.sqrt(np.mean(np.square(ratios))) < 0.5  # normal deviates: 1 / 2.7 to 1 / 3.1


def test_without_known_constraints_no_statistic_is_marked_as_constrained(micrograph, other_material):
    report = compare([other_material], micrograph, r_max=R_MAX, patches=0)
    assert report["held"] is None and not report["overview"]["held_is_known"]
    assert all(phase[name]["held"] is None for phase in report["phases"] for name in HELD)
    assert "not known" in held_table(report).title
    assert "not known what was held" in " ".join(summarise(report))
    free = compare([other_material], micrograph, r_max=R_MAX, patches=0, held=())
    assert [name for name, _ in independent_table(free).rows][:4] == [
        "volume fraction", "S2 error rate", "lineal path error rate", "interface, ratio",
    ]  # fmt: skip
    assert held_table(free).rows == []


def test_constrained_and_independent_statistics_are_side_by_side_at_the_top_of_the_page(report):
    page = report_html(report)
    first = page[: page.index('<div class="box')]
    assert first.index("Held while the volumes were made") < first.index("Held by nothing")
    assert 'class="out"' in first and "Euler density" in first


def test_a_micrograph_of_one_crop_says_that_its_scatter_is_unknown():
    volume, image = structure(level_cut((16, 16, 16), fraction=0.5)), structure(level_cut((20, 20), fraction=0.5))
    found = independent([volume], image, r_max=4)
    assert found["crops"] == 1 and found["outside"] == []
    assert found["phases"][0]["euler_density"]["chance"] is None
    assert "cannot be told" in " ".join(evidence({"independent": found, "held": None}))


def test_euler_numbers_and_clusters_of_windows_equal_those_of_scikit_image():
    windows = np.random.default_rng(0).random((3, 12, 12)) < 0.55
    clusters = [flood(window, connectivity=1) for window in windows]
    counted, specks = cluster_counts(windows, below=4)
    assert counted.tolist() == [each.max() for each in clusters] == [len(cluster_sizes(w)) for w in windows]
    border = np.ones((12, 12), bool)
    border[1:-1, 1:-1] = False
    assert specks.tolist() == [
        sum(np.sum(each == k) < 4 and not np.any(each[border] == k) for k in range(1, each.max() + 1))
        for each in clusters
    ]
    for window, density in zip(windows, np.asarray(euler_densities(windows)), strict=True):
        assert float(euler_characteristic(window)) == euler_number(window, connectivity=1)
        down, along = window[1:] & window[:-1], window[:, 1:] & window[:, :-1]
        squares = down[:, 1:] & down[:, :-1]
        assert density == pytest.approx(window.mean() - down.mean() - along.mean() + squares.mean(), abs=1e-6)


@pytest.mark.parametrize("shape", [(16, 18), (8, 9, 10)])
def test_the_euler_density_of_windows_is_that_of_the_medium_on_average(shape: tuple[int, ...]):
    """Over all positions of a window in a periodic medium each vertex, edge, face and cell is inside equally often."""
    medium = level_cut(shape, fraction=0.4, sigma=1.0, seed=1)
    window = tuple(slice(0, n // 2) for n in shape)
    positions = itertools.product(*map(range, shape))
    windows = np.stack([np.roll(medium, position, tuple(range(len(shape))))[window] for position in positions])
    mean = float(jnp.mean(jax.vmap(euler_density)(jnp.asarray(windows, jnp.float32))))
    exact = float(euler_characteristic(medium, periodic=True)) / medium.size
    assert mean == pytest.approx(exact, abs=1e-6)  # float32 sums
    assert float(euler_density(medium, periodic=True)) == pytest.approx(exact, abs=1e-7)


def test_triple_points_contacts_and_cross_correlation_equal_loops():
    labels = np.random.default_rng(1).integers(0, 4, (2, 7, 6)).astype(np.uint8)
    corners = [[labels[n, i : i + 2, j : j + 2] for i in range(6) for j in range(5)] for n in range(2)]
    expected = [np.mean([len(np.unique(corner)) >= 3 for corner in each]) for each in corners]
    np.testing.assert_allclose(triple_points(labels), expected)
    found = np.asarray(cross_correlation(labels, phases=4, r_max=2))  # n q r
    edges = np.asarray(contacts(labels, phases=4))
    for n, (q, (one, other)) in itertools.product(range(2), enumerate(itertools.combinations(range(4), 2))):
        pixels = list(itertools.product(range(7), range(6)))
        lags = [(a, b) for a in pixels for b in pixels if 0.5 <= math.dist(a, b) < 1.5]
        hits = [labels[n][a] == one and labels[n][b] == other for a, b in lags]
        assert found[n, q, 1] == pytest.approx(np.mean(hits), abs=1e-6)
        touching = sum(labels[n][a] == one and labels[n][b] == other for a, b in lags if math.dist(a, b) == 1)
        assert edges[n, one, other] == pytest.approx(touching / 42, abs=1e-6)
    np.testing.assert_allclose(found[..., 0], 0, atol=1e-6)  # no pixel is in two phases


def test_the_cross_correlation_of_three_phases_follows_from_their_two_point_correlations():
    labels = np.random.default_rng(2).integers(0, 3, (1, 16, 16)).astype(np.uint8)
    found = np.asarray(cross_correlation(labels, phases=3, r_max=4))[0]
    own = np.asarray(image_covariance(labels[0], phases=3, r_max=4))
    phi = np.bincount(labels.ravel()) / labels.size
    implied = (own[2] - own[0] - own[1]) / 2 + phi[0] * phi[1]
    # pairs in the window have another mean fraction than the whole image: some percent of phi^2
    np.testing.assert_allclose(found[0], implied, atol=0.01)
    volume = structure(np.random.default_rng(3).integers(0, 3, (8, 8, 8)), 3)
    report = independent([volume], structure(labels[0], 3), r_max=4, held=HELD)
    assert {part["held"] for part in (*report["cross_correlation"], *report["contacts"])} == {"implied"}
    assert report["phases"][0]["mean_chord_length"]["held"] == "implied"
    assert report["phases"][0]["euler_density"]["held"] == report["triple_points"]["held"] == "no"


def test_the_distance_of_chord_length_distributions_is_wassersteins():
    one, other = np.random.default_rng(0).random((2, 9))
    lengths = np.arange(9)
    assert chord_distance(one, other) == pytest.approx(wasserstein_distance(lengths, lengths, one, other))


def test_constraints_at_other_volume_fractions_are_reported_as_scaled():
    """A design with 40 % of a phase, and a micrograph with 36 %, cannot have the same S2."""
    report = {
        "held": ("volume_fraction", "two_point", "lineal_path"),
        "independent": {"crops": 1, "window": 16},
        "phases": [{"volume_fraction": {"mean": m, "reference": r}} for m, r in ((0.4, 0.36), (0.6, 0.64))],
    }
    text = " ".join(evidence(report))
    assert "phase 0 0.36 -> 0.4, phase 1 0.64 -> 0.6" in text and "two-point correlation and lineal path" in text
    same = [{"volume_fraction": {"mean": m, "reference": r}} for m, r in ((0.362, 0.36), (0.638, 0.64))]
    for other in ({"phases": same}, {"held": ("volume_fraction",)}, {"held": ("two_point",)}):
        assert "other volume fractions" not in " ".join(evidence(report | other))


def test_expected_numbers_of_clusters_and_specks_are_not_negative():
    """The number of clusters decreases with the fraction, and its regression is negative at that of the volume."""
    rng = np.random.default_rng(0)
    image = np.zeros((96, 96), np.uint8)
    for y, x in rng.integers(0, 90, (60, 2)):
        image[y : y + 4, x : x + rng.integers(1, 5)] = 1
    image[48:] = 1 - image[48:]
    volume = level_cut((24, 24, 24), fraction=0.98, sigma=2.0)
    found = independent([structure(volume)], structure(image), r_max=8)
    names = ("clusters", "specks")
    assert min(phase[name]["expected"] for phase in found["phases"] for name in names) >= 0
