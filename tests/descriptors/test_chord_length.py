import math

import numpy as np
import pytest
import reference
from media import laminate, markov_lines, outside_overlapping_balls

from jaxmicro.descriptors import chord_length_distribution, chord_lengths, crofton_surface_area, mean_chord_length
from jaxmicro.errors import UserError


@pytest.mark.parametrize("border", [True, False])
@pytest.mark.parametrize("shape", [(12, 15), (7, 8, 9)])
def test_chords_equal_a_loop_over_the_lines(shape: tuple[int, ...], border: bool):
    phase = np.random.default_rng(0).random(shape) < 0.6
    for axis in range(len(shape)):
        fast = chord_lengths(phase, axis=axis, border=border)
        assert fast.tolist() == reference.chord_lengths(phase, axis, border)


def test_chords_with_those_cut_by_the_border_fill_the_phase():
    phase = np.random.default_rng(0).random((20, 30)) < 0.7
    assert chord_lengths(phase, axis=1, border=True).sum() == phase.sum()


def test_all_chords_across_a_laminate_are_as_long_as_its_layers():
    phase = laminate((40, 3), thickness=4)
    assert set(chord_lengths(phase, axis=0).tolist()) == {4}
    np.testing.assert_array_equal(chord_length_distribution(phase, axis=0, r_max=6), [0, 0, 0, 0, 1, 0, 0])
    assert mean_chord_length(phase, axis=1) == math.inf


def test_an_absent_phase_has_no_chords():
    phase = np.zeros((6, 6))
    assert chord_lengths(phase, axis=0).size == 0
    assert mean_chord_length(phase, axis=0) == 0.0
    np.testing.assert_array_equal(chord_length_distribution(phase, axis=0, r_max=3), np.zeros(4))


def test_short_lines_of_an_exponential_medium_give_the_true_distribution_and_mean():
    """Chords are geometric, p(r) = q (1 - q)^(r - 1), mean 1 / q. In windows of two mean lengths uncorrected
    statistics are wrong."""
    q, edge, lines = 0.1, 24, 20_000
    phase = markov_lines(lines, edge, leave=q, rng=np.random.default_rng(0))
    r = np.arange(1, edge - 1)
    geometric = q * (1 - q) ** (r - 1)
    measured = chord_length_distribution(phase, axis=1, r_max=edge - 2)[1:]
    # About 1000 chords of each length: 3 % each, more for the few long ones; p is below 0.12.
    np.testing.assert_allclose(measured, geometric / geometric.sum(), atol=0.006)
    # 2e4 lines x 23 pairs x q = 46,000 ends, half a percent, and as much from the volume fraction: 4 standard errors.
    assert mean_chord_length(phase, axis=1) == pytest.approx(1 / q, rel=0.03)
    assert chord_lengths(phase, axis=1).mean() < 0.7 / q


def test_outside_overlapping_discs_chord_and_perimeter_agree():
    """Mean chord pi phi / L_A in 2D, and 1 / (2 R rho) outside discs."""
    radius, edge = 6.0, 400
    density = math.log(2) / (math.pi * radius**2)
    phase = outside_overlapping_balls(edge, 2, radius=radius, density=density, rng=np.random.default_rng(0))
    chord = np.mean([mean_chord_length(phase, axis=axis) for axis in (0, 1)])
    assert chord == pytest.approx(1 / (2 * radius * density), rel=0.06)  # about 1000 discs: twice their 3 %
    assert chord == pytest.approx(math.pi * phase.mean() / float(crofton_surface_area(phase)), rel=0.02)


def test_a_soft_phase_is_thresholded_at_one_half():
    assert chord_lengths(np.array([[0.0, 0.6, 0.9, 0.4]]), axis=1).tolist() == [2]


def test_a_length_that_cannot_have_both_ends_inside_raises_an_error():
    with pytest.raises(UserError, match="r_max is 7 voxels but must lie in 0..6"):
        chord_length_distribution(np.ones((8, 8)), axis=0, r_max=7)
