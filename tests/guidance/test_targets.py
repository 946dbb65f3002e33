"""The notation of targets, and texts that are refused."""

import math

import pytest

from jaxmicro.errors import UserError
from jaxmicro.guidance import LengthUnit, Target, parse_target


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("volume_fraction.0=0.3", ("volume_fraction", 0, None, "=", "number", 0.3)),
        ("volume_fraction.nickel=+20%", ("volume_fraction", 2, None, "=", "change", 1.2)),
        ("diffusivity.pore.y<=5e-2", ("diffusivity", 0, 1, "<=", "number", 0.05)),
        ("slice_diffusivity.1=2*max", ("slice_diffusivity", 1, None, "=", "max", 2.0)),
        ("relative_surface_area.1>=min", ("relative_surface_area", 1, None, ">=", "min", 1.0)),
        (" surface_area.2 = -7.5% ", ("surface_area", 2, None, "=", "change", 0.925)),
        ("two_point.1=micrograph", ("two_point", 1, None, "=", "micrograph", 1.0)),
        ("volume_fraction.0=40%", ("volume_fraction", 0, None, "=", "number", 0.4)),
        ("relative_surface_area.0 >= 12.5 %", ("relative_surface_area", 0, None, ">=", "number", 0.125)),
        ("volume_fraction.0=+1e1%", ("volume_fraction", 0, None, "=", "change", 1.1)),
        ("surface_area.0=0.012/nm", ("surface_area", 0, None, "=", "number", 0.012, "nm")),
        ("surface_area.0=.1 1/µm", ("surface_area", 0, None, "=", "number", 0.1, "µm")),
        ("surface_area.0=0.13 / voxel", ("surface_area", 0, None, "=", "number", 0.13, "voxel")),
    ],
)
def test_a_target_is_read(text: str, expected: tuple):
    spec = parse_target(text, phases=3, names=("pore", "ysz", "nickel"))
    assert (spec.quantity, spec.phase, spec.axis, spec.relation, spec.kind) == expected[:5]
    assert spec.value == pytest.approx(expected[5])
    assert spec.per == (expected[6] if len(expected) > 6 else None)
    assert parse_target(str(spec), phases=3) == spec  # its text is read as the same target


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("diffusivity", "cannot be read"),
        ("diffusivity.0.z", 'in quotes, "diffusivity.0.z>=VALUE"'),  # what the shell leaves of an unquoted >=
        ("difusivity.0.z=0.1", "perhaps you meant diffusivity"),
        ("volume_fraction.0=140%", "a share is at most 100%"),
        ("diffusivity=0.1", "names no phase"),
        ("diffusion.0=0.1", "no quantity 'diffusion'"),
        ("diffusivity.3=0.1", "no phase '3'"),
        ("diffusivity.0.w=0.1", "no axis 'w'"),
        ("volume_fraction.0.z=0.1", "has no direction"),
        ("volume_fraction.0=much", "no value"),
        ("volume_fraction.0=-0.1", "no value"),
        ("volume_fraction.0=nan", "no value"),
        ("volume_fraction.0=-100%", "no value"),
        ("volume_fraction.0=0*max", "no value"),
        ("volume_fraction.0=+0.05", r"give 0.05 for the number, or a change of what there is such as \+5%"),
        ("surface_area.0=-0.1/nm", "a number has no sign"),
        ("diffusivity.0.z=20%", r"give \+20% for a change of what there is, or 0.2 for the number"),
        ("volume_fraction.0=0.3/nm", "a number without a unit"),
        ("volume_fraction.0=0.3 5", "no value"),
        ("volume_fraction.0=0.3=5", "cannot be read"),
        ("diffusivity.0=max", "in 3D"),
        ("two_point.0=0.2", "two_point can only be that of the micrograph"),
        ("two_point.0>=micrograph", "two_point can only be that of the micrograph"),
    ],
)
def test_texts_that_are_no_target_are_refused_with_the_reason(text: str, said: str):
    with pytest.raises(UserError, match=said):
        parse_target(text, phases=3)


def test_a_bound_is_satisfied_on_one_side_only():
    at_least, at_most, equal = (Target("diffusivity", 0, 0.1, relation=r) for r in (">=", "<=", "="))
    assert (at_least.deviation(0.2), at_most.deviation(0.05)) == (0, 0)
    assert at_least.deviation(0.05) == pytest.approx(-0.5)
    assert at_most.deviation(0.2) == pytest.approx(1.0)
    assert equal.deviation(0.11) == pytest.approx(0.1)
    assert math.isnan(Target("two_point", 0, math.nan).value)


def test_areas_are_written_in_the_unit_of_the_voxel_size_and_in_voxels():
    target = Target("surface_area", 0, 0.13)
    assert LengthUnit(65.0, "nm").text(target) == "surface_area.0=0.002/nm (0.13/voxel)"
    assert LengthUnit().text(target) == LengthUnit(65.0).text(target) == "surface_area.0=0.13/voxel"
    assert LengthUnit(65.0, "nm").unit_of("surface_area") == "1/nm"
    assert LengthUnit(65.0, "nm").text(Target("diffusivity", 1, 0.1, axis=0)) == "diffusivity.1.z=0.1"


@pytest.mark.parametrize("text", ["diffusivity.0.z 0.3", "foo"])
def test_quotes_are_advised_only_where_the_text_could_have_been_a_bound(text: str):
    with pytest.raises(UserError) as refused:
        parse_target(text, phases=2)
    assert "quotes" not in str(refused.value)
