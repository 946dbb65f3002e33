"""Figures: colours and positions, no windows, and readable PNG files."""

import io
import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image
from scipy.ndimage import gaussian_filter

from jaxmicro import viz
from jaxmicro.viz.style import length_text, round_length

BLUE, YELLOW = (np.array(to_rgb(c)) for c in viz.phase_colours(2))


def random_field(shape: tuple[int, ...], phases: int, seed: int = 0) -> np.ndarray:
    field = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2.0)
    return np.digitize(field, np.quantile(field, np.arange(1, phases) / phases)).astype(np.uint8)


def curve(**more) -> dict:
    falling = [0.5 * 0.8**r for r in range(5)]
    sides = {"z": falling, "y": falling, "x": falling}
    return {
        "reference": falling, "mean": falling, "std": [0.01] * 5, "volumes": [falling, falling], "error_rate": 1.0,
        "error_rate_volumes": [1.0, 2.0], "directions": sides, "reference_directions": {"y": falling, "x": falling},
        "reference_crops_std": [0.05] * 5, **more,
    }  # fmt: skip


def report(phases: int = 2, *, voxel_size: float | None = 65.0) -> dict:
    """The parts of the result of `evaluate.compare` that figures read."""
    scalar = {"reference": 0.5, "mean": 0.5, "volumes": [0.49, 0.51], "error_percent": 0.0}
    per_phase = [
        {
            "two_point": curve(shape_error=0.01),
            "lineal_path": curve(),
            "surface_area": scalar,
            "volume_fraction": scalar,
        }
        for _ in range(phases)
    ]
    known = {"volume_fraction": 0.01, "two_point": 2.0, "lineal_path": 3.0, "surface_area": 1.0}
    parts = [{**p, "yardstick": p} for p in per_phase]
    return {
        "r": list(range(5)), "lags": LAGS,
        "voxel_size": voxel_size, "unit": None if voxel_size is None else "nm", "volumes": 2,
        "reference": {"shape": [128, 128], "crop": 64}, "phases": per_phase,
        "representativity": [{"error_90": known}] * phases,
        "memorisation": {"generated": [0.6, 0.7], "micrograph": [0.6, 0.65], "limit": 0.3},
        "true_volume": {"shape": [64, 64, 64], "phases": parts},
    }  # fmt: skip


LAGS = {
    "two_point": [0.0, 1.2, 2.15, 3.04, 4.08], "two_point_3d": [0.0, 1.28, 2.23, 3.13, 4.1],
    "two_point_along": [0, 1, 2, 3, 4], "lineal_path": [0, 1, 2, 3, 4],
}  # fmt: skip
VOLUME = random_field((16, 20, 24), 3)
FIGURES = {
    "slices": lambda: viz.slice_panel(VOLUME, micrograph=random_field((64, 48), 3), voxel_size=65.0, unit="nm"),
    "slices alone": lambda: viz.slice_panel(VOLUME, depths=(0.0, 1.0)),
    "rendering": lambda: viz.volume_rendering(VOLUME, width=60, voxel_size=0.4, unit="um"),
    "samples": lambda: viz.sample_grid(random_field((5, 16, 16), 2), 2, columns=3, title="step 100"),
    "segmentation": lambda: viz.segmentation_check(
        np.arange(64.0).reshape(8, 8), (np.arange(64).reshape(8, 8) > 31).astype(np.uint8), (31.5,)
    ),
    "correlations": lambda: viz.correlation_curves(report(3)),
    "correlations without a voxel size": lambda: viz.correlation_curves(report(voxel_size=None)),
    "directions": lambda: viz.direction_curves(report()),
    "errors": lambda: viz.error_summary(report(), names=["pore", "solid"]),
    "true volume": lambda: viz.true_volume_curves(report()),
    "memorisation": lambda: viz.memorisation_figure(report()),
    "training": lambda: viz.training_curves(
        [{"step": s, "loss": 1 / (s + 1)} for s in range(100)] + [{"step": 50, "validation_loss": 0.1}]
    ),
    "training that has not begun": lambda: viz.training_curves([{"event": "start"}]),
    "training that went wrong": lambda: viz.training_curves(
        [{"step": 1, "loss": 1.0}, {"step": 2, "loss": float("nan")}]
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_a_readable_png_and_not_blank(name: str):
    image = np.asarray(Image.open(io.BytesIO(viz.png(FIGURES[name](), dpi=40))).convert("RGB"))
    assert min(image.shape[:2]) > 50
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 10


def test_colours_of_phases_differ_in_lightness():
    for phases in (2, 3):
        lightness = viz.paint(np.arange(phases), phases) @ [0.2126, 0.7152, 0.0722]
        assert np.all(np.diff(lightness) > 0.1)  # increasing, so that the order is visible in a grey print


def test_paint_gives_each_voxel_the_colour_of_its_phase():
    np.testing.assert_allclose(viz.paint(np.array([[0, 1]]), 2), [[BLUE, YELLOW]])


def test_the_cube_shows_the_top_the_left_and_the_right_face():
    """Only the faces z = 0, y = last and x = last are visible: each in turn is phase 1, all else phase 0."""
    shape = (12, 12, 12)
    where = {"top": (0, np.s_[:], np.s_[:]), "left": (np.s_[:], -1, np.s_[:]), "right": (np.s_[:], np.s_[:], -1)}
    spots = {"top": (0.25, 0.5), "left": (0.65, 0.2), "right": (0.65, 0.8)}
    for painted, index in where.items():
        volume = np.zeros(shape, np.uint8)
        volume[index] = 1
        picture = viz.cube_image(volume, 2, width=80)
        for face, (down, across) in spots.items():
            pixel = picture[int(down * picture.shape[0]), int(across * picture.shape[1])]
            hue = pixel[:3] / np.linalg.norm(pixel[:3])
            is_yellow = np.linalg.norm(hue - YELLOW / np.linalg.norm(YELLOW)) < 0.05
            assert is_yellow == (face == painted), (face, painted)


def test_hidden_faces_do_not_show():
    volume = np.zeros((12, 12, 12), np.uint8)
    volume[-1], volume[:, 0], volume[:, :, 0] = 1, 1, 1
    volume[0], volume[:, -1], volume[:, :, -1] = 0, 0, 0
    empty = np.zeros((12, 12, 12), np.uint8)
    np.testing.assert_array_equal(viz.cube_image(volume, 2, width=40), viz.cube_image(empty, 2, width=40))


def test_a_phase_that_is_absent_has_no_surface_and_a_full_one_hides_the_box():
    volume = np.zeros((10, 10, 10), np.uint8)
    assert viz.surface_image(volume, 2, show=(1,), width=40)[..., 3].max() == 0
    np.testing.assert_array_equal(
        viz.surface_image(volume, 2, show=(0,), width=40)[..., 3], viz.cube_image(volume, 2, width=40)[..., 3]
    )


def test_a_ball_is_seen_as_a_disc_of_its_size():
    edge, radius = 40, 12.0
    distance = np.sqrt(sum((c - (edge - 1) / 2) ** 2 for c in np.indices((edge,) * 3)))
    picture = viz.surface_image((distance < radius).astype(np.uint8), 2, show=(1,), width=120)
    # a voxel along x is sqrt(3) / 2 wide on the page; lengths normal to the line of sight are sqrt(3 / 2) times longer
    scale = 120 / (2 * edge * np.sqrt(0.75)) * np.sqrt(1.5)
    area = picture[..., 3].sum()
    # smoothing shifts the surface by about a tenth of a voxel
    assert area == pytest.approx(np.pi * (radius * scale) ** 2, rel=0.05)


def test_the_surface_is_lit_from_above():
    edge = 40
    distance = np.sqrt(sum((c - (edge - 1) / 2) ** 2 for c in np.indices((edge,) * 3)))
    picture = viz.surface_image((distance < 12).astype(np.uint8), 2, show=(1,), width=100)
    rows = np.flatnonzero(picture[..., 3].sum(axis=1) > 5)
    light = picture[..., :3].sum(axis=-1) * picture[..., 3]
    third = len(rows) // 3
    assert light[rows[:third]].sum() > 1.3 * light[rows[-third:]].sum()


@pytest.mark.parametrize("length", [0.013, 0.99, 1.0, 37.0, 1e4])
def test_scale_bars_have_round_lengths_that_fit(length: float):
    found = round_length(length)
    assert length / 2.5 - 1e-12 <= found <= length * (1 + 1e-9)
    first_digit = found / 10 ** np.floor(np.log10(found) + 1e-9)
    assert np.any(np.isclose(first_digit, [1, 2, 5]))


def test_large_lengths_are_given_in_the_next_unit():
    assert length_text(25600.0, "nm") == "25.6 µm"
    assert length_text(128.0, "voxels") == "128 voxels"


def test_a_figure_is_the_same_each_time():
    first, second = (viz.png(viz.memorisation_figure(report()), dpi=40) for _ in range(2))
    assert first == second


def test_correlations_are_drawn_at_the_mean_distance_of_their_shells_and_paths_at_their_length():
    for figure, name in ((viz.correlation_curves(report(2)), "two_point"),
                         (viz.true_volume_curves(report(2)), "two_point_3d")):  # fmt: skip
        s2, paths = figure.axes[:2], figure.axes[2:4]
        for axes, expected in ((s2, LAGS[name]), (paths, LAGS["lineal_path"])):
            for line in (line for ax in axes for line in ax.lines):
                np.testing.assert_allclose(line.get_xdata(), 65.0 * np.array(expected))


@pytest.mark.parametrize(("step", "levels"), [(1, 190), (257, 190), (1, 1000)])
def test_bins_of_a_histogram_cover_equally_many_grey_levels(step: int, levels: int):
    """All levels are equally frequent: bins whose width is not a multiple of the spacing of levels would differ."""
    grey = 40 + step * np.repeat(np.delete(np.arange(levels), [5, 7, 60]), 4)[None]  # some levels do not occur
    middle = viz.segmentation_check(grey, (grey > 5000).astype(np.uint8), (5000,)).axes[1]
    heights = [bar.get_height() for bar in middle.patches if bar.get_height()]
    full = 4 * -(-levels // 256)
    # bins with a missing level
    assert len(heights) <= 256 and max(heights) == full and sum(height != full for height in heights) <= 3


def test_integers_that_are_equal_as_floats_have_a_histogram():
    grey = np.array([[2**63, 2**63 + 4096, 2**64 - 1, 2**63]], np.uint64)
    middle = viz.segmentation_check(grey, (grey > 2**63 + 5000).astype(np.uint8), (2**63 + 5000,)).axes[1]
    assert sum(bar.get_height() for bar in middle.patches) == grey.size


def test_marks_at_the_ends_of_the_axis_of_distances_are_not_clipped_and_the_limit_is_explained():
    found = {"generated": [0.0, 1.0], "micrograph": [0.6, 1.0], "limit": 0.3}
    figure = viz.memorisation_figure(report() | {"memorisation": found})
    left, right = figure.axes[0].get_xlim()
    assert left < 0 and right > 1
    assert "copies" in figure.legends[0].get_texts()[0].get_text()


def test_titles_of_neighbouring_concentrations_do_not_overlap():
    figure = viz.concentration_panel({axis: np.ones((8, 8, 8)) for axis in "zyx"}, np.ones((8, 8, 8), bool))
    viz.png(figure)
    boxes = [ax.title.get_window_extent() for ax in figure.axes[:3]]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


@pytest.mark.parametrize(("count", "phases"), [(1, 2), (2, 2), (2, 3), (1, 5)])
def test_the_legend_and_the_scale_bar_of_few_samples_are_whole(count: int, phases: int):
    figure = viz.sample_grid(random_field((count, 24, 24), phases), phases)
    figure.set_dpi(50)
    figure.canvas.draw()
    legend, page = figure.legends[0].get_window_extent(), figure.bbox
    assert page.x0 <= legend.x0 and legend.x1 <= page.x1 and page.y0 <= legend.y0
    assert legend.y1 <= min(ax.get_window_extent().y0 for ax in figure.axes)


def test_the_text_of_a_short_scale_bar_is_within_its_box():
    figure = viz.sample_grid(random_field((8, 24, 24), 2), 2)
    figure.canvas.draw()
    box, text = (part[0].get_window_extent() for part in (figure.axes[0].patches, figure.axes[0].texts))
    assert box.x0 <= text.x0 and text.x1 <= box.x1


def test_the_losses_of_one_step_are_points_with_their_numbers_and_steps_are_whole():
    figure = viz.training_curves([{"step": 7, "loss": 0.71}, {"step": 7, "validation_loss": 0.52}])
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["0.71", "0.52"] and axes.get_xticks().tolist() == [7]
    assert all(line.get_marker() == "o" for line in axes.lines if line.get_label() in ("training", "held-out part"))
    (axes,) = viz.training_curves([{"step": s, "loss": 1 / s} for s in (1, 2, 3)]).axes
    assert all(tick == round(tick) for tick in axes.get_xticks())


@pytest.mark.parametrize("decades", [0.1, 1.2, 5.0])
def test_numbers_at_the_axes_of_process_parameters_do_not_overlap(decades: float):
    rng = np.random.default_rng(0)
    draws = {"time": 10 ** (2 + decades * rng.uniform(-0.5, 0.5, 500)), "phi": 0.5 + 0.02 * rng.standard_normal(500)}
    figure = viz.process_distribution(draws, {"time": "log"})
    figure.set_dpi(50)
    figure.canvas.draw()
    for ax in (ax for ax in figure.axes if ax.axison):
        within = [text for text in ax.get_xticklabels() if text.get_text() and text.get_window_extent().width > 0]
        left, right = ax.get_window_extent().x0, ax.get_window_extent().x1
        boxes = [box for text in within for box in [text.get_window_extent()] if left <= (box.x0 + box.x1) / 2 <= right]
        assert len(boxes) > 1 and all(one.x1 < two.x0 for one, two in itertools.pairwise(boxes))


def test_the_heading_of_one_feature_is_whole():
    figure = viz.asked_and_measured({"phi": np.array([0.5])}, {"phi": 0.5}, {"phi": (0.2, 0.8)})
    figure.canvas.draw()
    heading = figure.get_suptitle()
    assert heading and figure.texts[0].get_window_extent().x0 >= 0


def test_a_feature_that_no_sample_has_is_said_to_be_connected_nowhere():
    figure = viz.asked_and_measured({"tau": np.array([np.inf] * 3), "phi": np.array([0.5])}, {"tau": np.inf}, {})
    figure.canvas.draw()
    assert [ax.get_title() for ax in figure.axes] == ["tau (none connected)", "phi"]


def test_surfaces_reach_the_hidden_faces_of_the_box(monkeypatch: pytest.MonkeyPatch):
    """Steps along the rays must not show: fine ones see the same, also where a ray leaves the box between two."""
    volume = random_field((8, 8, 8), 2, seed=1)
    seen = viz.surface_image(volume, 2, show=(1,), width=60)[..., 3]
    monkeypatch.setattr("jaxmicro.viz.rendering._STEP", np.float32(0.05))
    fine = viz.surface_image(volume, 2, show=(1,), width=60)[..., 3]
    assert np.mean(np.abs(seen - fine)) < 0.001  # rays that graze a surface may miss it


def test_samples_have_a_scale_bar_and_a_legend_and_the_loss_has_a_label():
    figure = viz.sample_grid(random_field((3, 16, 16), 2), 2, voxel_size=65.0, unit="nm")
    assert figure.axes[0].texts[0].get_text() == "200 nm"
    assert len(figure.legends[0].get_texts()) == 2
    losses = viz.training_curves([{"step": s, "loss": 1.0, "cross_entropy": 1.0} for s in range(3)])
    assert "cross-entropy, nats per pixel" in losses.axes[0].get_ylabel()


def test_bars_of_a_design_have_a_labelled_axis():
    figure = viz.design_panel(VOLUME, VOLUME, [("diffusivity.0.z\n(D_eff / D_0)", 0.1, 0.12, 0.12)], phases=3)
    assert figure.axes[6].get_ylabel().startswith("diffusivity.0.z")


def test_names_of_phases_follow_their_numbers_in_figures():
    titles = [ax.get_title() for ax in viz.correlation_curves(report(2), names=["pore", "solid"]).axes]
    assert titles[0].startswith("phase 0 (pore)")
