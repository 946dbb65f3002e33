"""How well images are restored: wrong pixels, fractions, interfaces, and whether probabilities are frequencies."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from jaxmicro.descriptors import crofton_surface_area

_BINS = 10


def restoration_scores(
    truth: UInt8[np.ndarray, "n h w"], probabilities: Float[np.ndarray, "n h w p"]
) -> dict[str, float]:
    """Scores of restored images, whose labels are the most probable phases.

    Returns:
        "wrong", share of wrong pixels; "fraction", largest error of a volume fraction; "interface", largest relative
        error of a phase's interface (Crofton); "calibration", the expected calibration error: mean difference between
        the probability of a label and how often it is right, over ten classes of the probability.

    Source: Guo, Pleiss, Sun, Weinberger, ICML 2017 (expected calibration error).
    """
    labels, phases = probabilities.argmax(axis=-1), range(probabilities.shape[-1])
    fractions = [abs(float(np.mean(labels == p)) - float(np.mean(truth == p))) for p in phases]
    areas = [[_interface(images, p) for p in phases] for images in (labels, truth)]
    confidence, right = probabilities.max(axis=-1).ravel(), (labels == truth).ravel()
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = [abs(float(np.mean(confidence[of] - right[of]))) * of.mean() for of in (bins == b for b in np.unique(bins))]
    return {
        "wrong": float(np.mean(~right)),
        "fraction": max(fractions),
        "interface": max(abs(a / b - 1) for a, b in zip(*areas, strict=True) if b > 0),
        "calibration": float(np.sum(gaps)),
    }


def _interface(images: np.ndarray, phase: int) -> float:
    return float(np.mean([crofton_surface_area(jnp.asarray(image == phase)) for image in images]))
