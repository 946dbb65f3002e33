"""Warnings: given for volumes of another material, and at the stated rate for volumes of the same material."""

from collections.abc import Sequence

import numpy as np
import pytest

from jaxmicro.data.synthetic import gaussian_field
from jaxmicro.evaluate import compare, held_table, independent_table, truth_table, warnings
from jaxmicro.evaluate.overview import evidence
from jaxmicro.evaluate.rounding import plain
from jaxmicro.types import Microstructure

ALWAYS = ("One volume only", "The micrograph is small")


def structure(labels: np.ndarray) -> Microstructure:
    return Microstructure(labels.astype(np.uint8), (0.0, 1.0))


def medium(shape: tuple[int, ...], seed: int, phi: float, length: float | tuple[float, ...] = 2.0) -> np.ndarray:
    return gaussian_field(shape, correlation_length=length, fractions=(1 - phi, phi), seed=seed, periodic=False)


def warnings_of(volumes: np.ndarray, seed: int, phi: float, targets: tuple[str, ...] = ()) -> list[str]:
    """Warnings of volumes beside an image of the isotropic medium."""
    image = structure(medium((128, 128), seed, phi))
    report = compare([structure(v) for v in volumes], image, r_max=8, patches=0, targets=targets)
    return [line for line in warnings(report) if not line.startswith(ALWAYS)]


def false_alarms(seeds: range) -> list[str]:
    return [line for seed in seeds for line in warnings_of(medium((32,) * 3, 1000 + seed, 0.5)[None], seed, 0.5)]


def test_white_noise_of_the_same_fraction_gives_a_warning_also_for_an_abundant_phase():
    noise = np.random.default_rng(0).random((32, 32, 32)) < 0.86
    assert sum("shape of the two-point correlation" in line for line in warnings_of(noise[None], 0, 0.86)) == 2


def test_a_stretched_volume_gives_a_warning_unless_it_was_designed_for_an_axis():
    stretched = medium((32,) * 3, 5, 0.5, (2.0, 2.0, 6.0))
    assert any("volumes are anisotropic" in line for line in warnings_of(stretched[None], 0, 0.5))
    assert not any("anisotropic" in line for line in warnings_of(stretched[None], 0, 0.5, ("diffusivity.0.x",)))


def test_interface_gives_a_warning_for_the_phases_without_a_target_for_it():
    fractions = (0.3, 0.3, 0.4)
    image = gaussian_field((128, 128), correlation_length=2.0, fractions=fractions, seed=0, periodic=False)
    volume = gaussian_field((32,) * 3, correlation_length=4.0, fractions=fractions, seed=1, periodic=False)
    image, volume = (Microstructure(labels, (0.0, 1.0, 2.0)) for labels in (image, volume))

    def warned_phases(*targets: str) -> list[bool]:
        lines = warnings(compare([volume], image, r_max=8, patches=0, targets=targets))
        return [any(line.startswith(f"Phase {p}") and "interface" in line for line in lines) for p in range(3)]

    assert warned_phases() == [True, True, True]
    assert warned_phases("relative_surface_area.0") == [False, True, True]


def test_volumes_without_a_phase_of_the_micrograph_give_a_warning():
    volume, image = medium((24, 24, 24), 0, 0.4), medium((48, 48), 1, 0.4)
    image[:8, :8] = 2
    volume = Microstructure(volume, (0.0, 1.0, 2.0))
    report = compare([volume], Microstructure(image, (0.0, 1.0, 2.0)), r_max=8, patches=0)
    text = " ".join(warnings(report | {"held": ["volume_fraction"]}))
    assert "phase 2 is absent in all volumes" in text and "missing from at least one" not in text
    titled = (held_table(report | {"held": ["volume_fraction"]}).title, *evidence(report | {"held": ["two_point"]}))
    assert "agreement is no evidence" in titled[0] and "agreement is no evidence" in titled[1]


def test_numbers_in_sentences_have_the_given_number_of_digits_and_no_exponent():
    numbers = np.round(np.geomspace(0.01, 9e6, 3000), 4)
    for digits in (2, 3):
        texts = [plain(value, digits) for value in numbers]
        assert max(len(text.replace(".", "").strip("0")) for text in texts) <= digits
        assert [float(text) for text in texts] == [float(f"{value:.{digits}g}") for value in numbers]
        assert not any("e" in text for text in texts)


def test_slices_that_are_more_alike_than_their_scatter_allows_give_a_warning():
    """Each slice twice: half of the steps are zero, and their root mean square decreases to 0.71."""
    thick = np.stack([np.repeat(medium((16, 32, 32), seed, 0.5), 2, axis=0) for seed in range(8)])
    lines = [line for line in warnings_of(thick, 0, 0.5) if "Neighbouring slices along z differ only" in line]
    assert len(lines) == 1


def test_samples_of_the_same_material_seldom_give_a_warning():
    # at a rate of 1 in 20, ten samples have more than 3 warnings in one case of 1000 (binomial)
    assert len(false_alarms(range(10))) <= 3


@pytest.mark.slow  # many volumes
def test_samples_of_the_same_material_give_a_warning_in_one_case_of_twenty():
    # at that rate a hundred samples have more than 12 warnings in one case of 700 (binomial)
    assert len(false_alarms(range(100))) <= 12


def test_errors_beyond_their_limit_are_marked_unless_the_statistic_was_constrained_or_a_target():
    image = structure(medium((128, 128), 0, 0.5))
    noise = structure(np.random.default_rng(0).random((16,) * 3) < 0.5)

    def marks(held: Sequence[str] | None, *targets: str) -> dict[str, list[bool]]:
        report = compare([noise], image, r_max=8, patches=0, held=held, targets=targets)
        rows = (held_table(report) if held is None else independent_table(report)).rows
        return {name: [cell.outside for cell in cells] for name, cells in rows}

    for held in ([], None):
        marked = marks(held)
        assert marked["interface, ratio"] == [True, True]  # 3.2 times the interface; the limit is 1.2
        assert marked["volume fraction"] == [False, False]
    assert marks([], "surface_area.0")["interface, ratio"] == [False, False]
    held = compare([noise], image, r_max=8, patches=0, held=["surface_area"])
    assert not any(cell.outside for _, cells in held_table(held).rows for cell in cells)


def test_axes_of_unlike_slices_share_a_warning_that_does_not_suspect_shuffling_in_own_volumes():
    media = [medium((32,) * 3, seed, 0.5) for seed in range(32)]
    unrelated = structure(np.stack([each[0] for each in media]))
    image = structure(medium((128, 128), 0, 0.5))
    report = compare([unrelated], image, r_max=8, patches=0)
    for phase in report["phases"]:
        steps = phase["slice_steps"]
        steps["axes"] |= {"y": steps["axes"]["z"]}
    assert [line for line in warnings(report) if "shuffled" in line and "along z" in line and "along y" in line]
    assert sum("Neighbouring slices" in line for line in warnings(report)) == 1
    lines = [line for line in warnings(report | {"held": []}) if "Neighbouring slices" in line]
    assert len(lines) == 1 and "shuffled" not in lines[0]


def test_the_true_volume_has_a_table_that_marks_values_beyond_the_range_of_its_parts():
    truth = structure(medium((32, 32, 32), 1, 0.5))
    image = structure(truth.labels[0])
    noise = structure(np.random.default_rng(0).random((16,) * 3) < 0.5)
    table = truth_table(compare([noise], image, true_volume=truth, r_max=8, patches=0))
    assert table is not None and "8 parts of it" in table.title
    rows = dict(table.rows)
    assert rows["interface, ratio"][0].outside and not rows["volume fraction"][0].outside
    assert "(up to" in rows["lineal path error rate"][0].text
    assert f"({truth.volume_fractions[0]:.4f};" in rows["volume fraction"][0].text
    assert truth_table(compare([noise], image, r_max=8, patches=0)) is None
