"""The page is self-contained, its sentences agree with the numbers, and text from outside is escaped."""

import base64
import copy
import math
import re

import numpy as np
import pytest
import scipy.stats
from scipy.ndimage import gaussian_filter

from jaxmicro.evaluate import compare, report_html, summarise, warnings
from jaxmicro.evaluate.rounding import mean_and_spread
from jaxmicro.evaluate.uncertainty import CONTRASTS
from jaxmicro.types import Microstructure

PICTURE = b"\x89PNG\r\n\x1a\n a picture"


def structure(shape: tuple[int, ...], seed: int) -> Microstructure:
    field = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2.0, mode="wrap")
    return Microstructure((field > 0).astype(np.uint8), (0.0, 255.0), 50.0, "nm", source="electrode <1>.png")


@pytest.fixture(scope="module")
def report() -> dict:
    volumes = [structure((32, 32, 32), seed) for seed in (1, 2)]
    truth = structure((64, 32, 32), 4)
    return compare(volumes, structure((128, 128), 3), true_volume=truth, r_max=8, patches=3)


def test_the_page_is_self_contained(report: dict):
    page = report_html(report, {"slices": PICTURE})
    assert not re.search(r"<script|<link|@import|https?://|url\(", page)
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'src="([^"]*)"', page))


def test_a_single_volume_is_printed_without_a_spread(report: dict):
    one = compare([structure((32, 32, 32), 1)], structure((128, 128), 3), r_max=8, patches=0)
    for each, spread in ((report, True), (one, False)):
        mean = each["phases"][0]["volume_fraction"]["mean"]
        assert (f"{mean:.4f} ± " in report_html(each, {})) == spread


def test_pictures_come_back_from_the_page_unchanged(report: dict):
    page = report_html(report, {"slices": PICTURE, "my own figure": PICTURE})
    found = re.findall(r"base64,([^\"]*)", page)
    assert [base64.b64decode(data) for data in found] == [PICTURE, PICTURE]
    assert "my own figure" in page


def test_names_from_files_are_escaped(report: dict):
    page = report_html(report, title="a & b <c>", config={"file": "<script>"})
    assert "electrode &lt;1&gt;.png" in page
    assert "<title>a &amp; b &lt;c&gt;</title>" in page
    assert "<script>" not in page


def test_every_tag_that_is_opened_is_closed(report: dict):
    page = report_html(report, {"slices": PICTURE}, config={"seed": 0})
    for tag in ("html", "body", "div", "ul", "li", "figure", "table", "tr", "td", "th", "dl", "details", "pre", "h2"):
        assert len(re.findall(rf"<{tag}[ >]", page)) == page.count(f"</{tag}>"), tag


def test_the_summary_names_what_was_compared_and_the_largest_error(report: dict):
    text = " ".join(summarise(report))
    assert "2 volumes of 32 x 32 x 32 voxels of 50 nm" in text
    assert "128 x 128" in text
    assert f"{max(p['two_point']['error_rate'] for p in report['phases']):.2g} %" in text
    assert "true volume" in text


def test_a_report_without_optional_parts_gives_a_page(report: dict):
    bare = report | {"memorisation": None, "representativity": None, "true_volume": None}
    assert "Configuration" not in report_html(bare)


def changed(report: dict, change) -> list[str]:
    other = copy.deepcopy(report)
    change(other)
    return [line for line in warnings(other) if line not in warnings(report)]


def test_a_copied_plane_is_the_first_warning(report: dict):
    def copied(r: dict):
        r["memorisation"] |= {"flagged": True, "copied": 2}

    other = copy.deepcopy(report)
    copied(other)
    assert warnings(other)[0].startswith("Memorisation: 2 of 3 planes")


def test_large_errors_small_images_and_anisotropy_give_warnings(report: dict):
    def far(r: dict):
        r["phases"][0]["lineal_path"]["error_rate"] = 145.0

    def shapeless(r: dict):
        r["phases"][0]["two_point"]["shape_error"] = 0.6

    def fuller(r: dict):
        r["phases"][0]["volume_fraction"]["mean"] = 0.9

    def rough(r: dict):
        r["phases"][1]["surface_area"]["ratio"] = 2.5

    def small(r: dict):
        r["representativity"][1] |= {"relative_error_percent": 77.0, "edge_for_5_percent": 9999}

    def layered(r: dict):
        r["representativity"][0]["directions"]["two_point"] = 0.5

    def stretched(r: dict):
        r["phases"][0]["two_point"]["directions"] = {"y": [0.5, 0.1], "x": [0.5, 0.5]}

    assert "140 % off" in changed(report, far)[0]  # two digits, no exponent
    assert "shape of the two-point correlation" in changed(report, shapeless)[0]
    assert "volume fraction 0.9 instead of" in changed(report, fuller)[0]
    assert "rougher" in changed(report, rough)[0]
    assert "9999 x 9999 pixels" in changed(report, small)[0]
    assert "micrograph is anisotropic" in changed(report, layered)[0]
    assert "volumes are anisotropic" in changed(report, stretched)[0]


def test_targets_of_a_design_give_no_warning(report: dict):
    def designed(*targets: str):
        def change(r: dict):
            r["phases"][0]["two_point"]["directions"] = {"y": [0.5, 0.1], "x": [0.5, 0.5]}
            r["phases"][1]["surface_area"]["ratio"] = 2.5
            r["phases"][0]["volume_fraction"]["mean"] = 0.9
            r["targets"] = list(targets)

        return changed(report, change)

    assert len(designed()) == 3
    assert (
        len(designed("diffusivity.0.x")) == len(designed("surface_area.1")) == len(designed("volume_fraction.0")) == 2
    )
    assert designed("diffusivity.0.x", "relative_surface_area.1", "volume_fraction.0") == []


def test_the_error_of_the_micrograph_is_given_for_each_phase(report: dict):
    line = next(line for line in summarise(report) if line.startswith("How well the micrograph knows"))
    for p, part in enumerate(report["representativity"]):
        assert f"phase {p}: {part['error_90']['two_point']:.2g} %" in line


def test_names_of_phases_are_in_the_heads_of_tables(report: dict):
    names = [f"name{p}" for p in range(len(report["phases"]))]
    page = report_html(report, names=names)
    assert page.count("<th>phase 0 (name0)</th>") == 2 and "<td>phase 0 (name0)</td>" in page


def test_an_infinite_mean_has_the_number_of_infinite_volumes_and_the_mean_of_the_others(report: dict):
    def along(*tau: float) -> dict:
        diffusivity = mean_and_spread([0.5 / value for value in tau])
        return {"diffusivity": diffusivity, "tortuosity_factor": mean_and_spread(tau), "target": False} | {
            "diffusivity_periodic": None, "tortuosity_factor_periodic": None
        }  # fmt: skip

    def page(*tau: float) -> str:
        axes = {axis: along(*tau) for axis in "zyx"}
        transport = {"sub_volumes": 0, "phases": [{"phase": p, "axes": axes} for p in range(len(report["phases"]))]}
        return report_html(report | {"transport": transport})

    assert "<td>inf (1 of 2 volumes; mean of the others 2.50)</td>" in page(2.5, math.inf)
    assert "<td>inf</td>" in page(math.inf, math.inf)
    assert "± nan" not in page(2.5, math.inf)


def test_the_two_error_estimates_of_the_volume_fraction_are_explained(report: dict):
    page = report_html(report)
    assert "95 % range (integral range)" in page and "known within (90 %): fraction" in page
    assert "0.93 of the range" in page and scipy.stats.t.ppf(0.95, CONTRASTS) / 2 == pytest.approx(0.93, abs=0.001)
