"""Targets that no medium can meet, that exclude each other, and that contradict a constraint of a design."""

import dataclasses

import numpy as np
import pytest

from jaxmicro import pipeline
from jaxmicro.descriptors import crofton_surface_area
from jaxmicro.errors import UserError
from jaxmicro.guidance import Target
from jaxmicro.pipeline import Prior, check_feasible
from jaxmicro.pipeline.feasibility import interface_of_curves
from jaxmicro.pipeline.prior import material_of, without_tuning
from jaxmicro.types import Microstructure
from tests.cli.conftest import blobs, tiny_prior

AXES = [Target("diffusivity", 0, 0.2, axis=axis) for axis in range(3)]


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([Target("volume_fraction", 0, 0.7), Target("volume_fraction", 1, 0.4)], "no volume fractions of 2 phases"),
        ([Target("volume_fraction", 0, 1.2)], "no volume fractions of 3 phases"),
        ([Target("volume_fraction", 0, 0.6), Target("volume_fraction", 1, 0.5, relation=">=")], "no volume fractions"),
        ([Target("diffusivity", 0, 0.35, axis=0)], "Wiener bound 0.3"),
        ([Target("diffusivity", 0, 0.25)], "Hashin-Shtrikman bound 0.2222"),
        ([Target("tortuosity", 0, 0.9, axis=0)], "Wiener bound 1 "),
        ([Target("tortuosity", 0, 1.3, relation="<=")], "Hashin-Shtrikman bound 1.35"),
        ([Target("relative_surface_area", 0, 0.6)], "at most 0.5"),
        ([Target("surface_area", 0, 0.2), Target("surface_area", 0, 0.1, relation="<=")], "contradict"),
        ([Target("tortuosity", 0, 4.0, axis=0), Target("diffusivity", 0, 0.2, axis=0, relation=">=")], "contradict"),
        ([Target("tortuosity", 0, 4.0), Target("diffusivity", 0, 0.2)], r"fraction \(0.5\); leave one out"),
        ([Target("diffusivity", 0, 0.1), *AXES], "make a mean diffusivity of 0.196 to 0.204"),
        ([Target("diffusivity", 0, 0.1), Target("tortuosity", 0, 1.2, axis=0)], "make a mean diffusivity of 0.136"),
        ([Target("surface_area", 0, 0.1), Target("surface_area", 1, 0.2)], "as each interface|each interface of"),
        ([Target("relative_surface_area", 0, 0.4, relation="<="), Target("relative_surface_area", 1, 0.4)], "sum to 1"),
    ],
)
def test_targets_that_no_medium_can_meet_are_refused_with_the_bound(targets: list[Target], message: str):
    with pytest.raises(UserError, match=message):
        check_feasible(targets, (0.3, 0.3, 0.4) if len(targets) == 1 else (0.5, 0.5))


def test_free_fractions_are_bounded_by_the_targets_for_them():
    """As in score distillation, which does not constrain them."""
    most = Target("volume_fraction", 1, 0.3, relation="<=")
    check_feasible([most, Target("diffusivity", 1, 0.29, axis=0)], None)
    with pytest.raises(UserError, match="Wiener bound 0.3 "):
        check_feasible([most, Target("diffusivity", 1, 0.31, axis=0)], None)
    with pytest.raises(UserError, match=r"volume fraction \(0 to 0.3\)"):
        check_feasible([most, Target("diffusivity", 1, 0.2, axis=0), Target("tortuosity", 1, 1.6, axis=0)], None)


def test_targets_that_can_be_met_together_pass():
    """Within their tolerances, because equations between rounded numbers hold approximately."""
    check_feasible([Target("diffusivity", 0, 0.2), *AXES, Target("tortuosity", 0, 2.49)], (0.5, 0.5))
    check_feasible([Target("surface_area", p, v) for p, v in enumerate((0.1, 0.15, 0.2))], (0.3, 0.3, 0.4))
    check_feasible([Target("relative_surface_area", p, v) for p, v in enumerate((0.3, 0.3, 0.4))], (0.3, 0.3, 0.4))
    with pytest.raises(UserError, match="each interface of phase 2"):
        check_feasible([Target("surface_area", p, v) for p, v in enumerate((0.1, 0.15, 0.3))], (0.3, 0.3, 0.4))


@pytest.fixture(scope="module")
def micrograph() -> Microstructure:
    return Microstructure(blobs(96, phases=3), (0.0, 127.0, 255.0), 65.0, "nm", "blobs.png")


@pytest.fixture(scope="module")
def prior(micrograph: Microstructure) -> Prior:
    tiny = dataclasses.replace(tiny_prior(3), material=material_of(micrograph))
    return without_tuning(pipeline.with_statistics(tiny, micrograph.labels[None, :16, :16], [micrograph.labels]))


def test_the_slope_of_the_two_point_correlation_is_the_interface_of_the_micrograph(
    prior: Prior, micrograph: Microstructure
):
    """S2(r) = phi - s r / 4 + ... (Debye); boundary per area of isotropic sections is pi / 4 of the area per volume."""
    area, growth = interface_of_curves(prior, micrograph.volume_fractions)
    boundary = [4 / np.pi * float(crofton_surface_area(micrograph.labels == p)) for p in range(3)]
    assert area == pytest.approx(boundary, rel=0.02) and growth == pytest.approx(np.ones(3))
    wider, growth = interface_of_curves(prior, (0.5, 0.25, 0.25))
    assert wider == pytest.approx(area * growth) and growth[0] == pytest.approx(0.25 / (2 / 9), rel=1e-3)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (
            ["surface_area.0=+100%"],
            r"target surface_area.0=\+100% contradicts what is held: S2 fixes .*--release two_point",
        ),
        (["surface_area.1<=-20%"], "--release two_point"),
        (["surface_area.0=0.5/voxel"], "--release two_point, or ask for 0.00[0-9]*/nm"),
        (["surface_area.0=0.1/um"], "--release two_point"),
        (["relative_surface_area.0>=0.45"], "--release two_point"),
        (["two_point.0=micrograph", "surface_area.0=+30%"], "two_point.0=micrograph and .* contradict each other"),
        (["lineal_path.0=micrograph", "surface_area.0=+30%"], "lineal_path.0=micrograph and .* the lineal path fixes"),
    ],
)
def test_an_interface_area_that_contradicts_constrained_curves_is_refused_with_what_to_release(
    targets: list[str], message: str, prior: Prior
):
    with pytest.raises(UserError, match=message):
        pipeline.read_targets(targets, prior, shape=(16,) * 3)
    is_lineal_path = len(targets) > 1 and targets[0].startswith("lineal")
    if len(targets) == 1:
        pipeline.read_targets(targets, prior, shape=(16,) * 3, release=["two_point"])
        pipeline.read_targets(targets, prior, shape=(16,) * 3, method="sds")  # has no constraints
    elif is_lineal_path:
        with pytest.raises(UserError, match="contradict each other"):
            pipeline.read_targets(targets, prior, shape=(16,) * 3, release=["two_point"])
    else:
        with pytest.raises(UserError, match="asks for what --release two_point gives up"):
            pipeline.read_targets(targets, prior, shape=(16,) * 3, release=["two_point"])


def test_an_interface_area_close_to_that_of_constrained_curves_passes_also_at_other_fractions(prior: Prior):
    pipeline.read_targets(["two_point.0=micrograph", "surface_area.0=+5%"], prior, shape=(16,) * 3)
    pipeline.read_targets(["surface_area.0>=-50%", "surface_area.1<=+50%"], prior, shape=(16,) * 3)
    # the variance of a phase, and with it the interface, grows from 2 / 9 to 1 / 4
    pipeline.read_targets(["volume_fraction.0=50%", "surface_area.0=+15%"], prior, shape=(16,) * 3)
    with pytest.raises(UserError, match="contradicts what is held"):
        pipeline.read_targets(["volume_fraction.0=50%", "surface_area.0=-5%"], prior, shape=(16,) * 3)


def test_areas_are_read_in_the_unit_in_which_measure_prints_them(prior: Prior, micrograph: Microstructure):
    area = float(interface_of_curves(prior, micrograph.volume_fractions)[0][0])  # per voxel
    size = 65.0
    for text in (f"{area / size}", f"{area / size}/nm", f"{1000 * area / size}/um", f"{area}/voxel", f"{area} 1/px"):
        (target,) = pipeline.read_targets([f"surface_area.0={text}"], prior, shape=(16,) * 3)
        assert target.value == pytest.approx(area, rel=1e-6), text
    with pytest.raises(UserError, match="no unit 'furlong'"):
        pipeline.read_targets(["surface_area.0=1/furlong"], prior, shape=(16,) * 3)
    unknown = dataclasses.replace(prior, material=dataclasses.replace(prior.material, voxel_size=None, unit=None))
    (target,) = pipeline.read_targets([f"surface_area.0={area}"], unknown, shape=(16,) * 3)
    assert target.value == pytest.approx(area, rel=1e-6)
    with pytest.raises(UserError, match="voxel size of the material is unknown"):
        pipeline.read_targets(["surface_area.0=1/nm"], unknown, shape=(16,) * 3)
