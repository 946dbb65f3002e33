"""Images for a general prior: all phases occur, in varied media, reproducibly."""

import numpy as np
import pytest

from jaxmicro.data import prior_media
from jaxmicro.errors import UserError


@pytest.mark.parametrize("phases", [2, 3, 4])
def test_every_image_has_every_phase_and_no_other(phases):
    images = prior_media(phases, 24, 64, seed=0)
    assert images.shape == (24, 64, 64)
    fractions = np.array([np.bincount(image.ravel(), minlength=phases) / image.size for image in images])
    assert fractions.shape == (24, phases)
    assert fractions.min() >= 0.02


def test_an_image_depends_on_the_seed_and_its_number_alone():
    images = prior_media(3, 6, 64, seed=7)
    np.testing.assert_array_equal(prior_media(3, 3, 64, seed=7), images[:3])
    assert (prior_media(3, 3, 64, seed=8) != images[:3]).any(axis=(1, 2)).all()


def test_the_media_cover_a_wide_range_of_fractions_and_lengths():
    images = prior_media(2, 60, 64, seed=1)
    fractions = (images == 1).mean(axis=(1, 2))
    edges = (images[:, 1:] != images[:, :-1]).mean(axis=(1, 2))  # interfaces per pixel: an inverse length
    assert fractions.min() < 0.25
    assert fractions.max() > 0.75
    assert edges.max() > 5 * edges.min()


def test_no_phase_is_preferred():
    # Phases are renamed at random. The fraction of a phase scatters by about 0.2 between images: 0.2 / sqrt(90) = 0.02.
    fractions = [(prior_media(3, 90, 64, seed=2) == phase).mean() for phase in range(3)]
    np.testing.assert_allclose(fractions, 1 / 3, atol=0.1)


@pytest.mark.parametrize("phases", [1, 40])
def test_an_impossible_number_of_phases_is_refused(phases):
    with pytest.raises(UserError, match="synthetic media have 2 to 12 phases"):
        prior_media(phases, 1, 64, seed=0)
