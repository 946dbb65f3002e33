"""Exact thresholds of Otsu for a histogram and any number of classes, by dynamic programming."""

import numpy as np
from jaxtyping import Float, Integer


def multi_otsu(
    levels: Float[np.ndarray, " level"], counts: Integer[np.ndarray, " level"], classes: int
) -> Float[np.ndarray, " threshold"]:
    """The thresholds that maximise the variance between the classes of a histogram.

    With n_k and m_k the number and the mean of the values of class k, Otsu's criterion sum_k n_k (m_k - m)^2 is a sum
    over the classes, each of which depends on its first and last level only. The best division of the first j levels
    into k classes therefore follows from those into k - 1 classes: O(K L^2) operations instead of all L^(K-1) sets of
    thresholds.

    Args:
        levels: the L distinct values, increasing.
        counts: how often each occurs, at least once.
        classes: number of classes K, at most L.
    Returns:
        K - 1 thresholds, each midway between two neighbouring levels; one of the optima if there are several.
    Source: Otsu, IEEE Trans. Syst. Man Cybern. 9, 62 (1979); the recursion is Fisher's, J. Am. Stat. Assoc. 53, 789
        (1958).

    >>> multi_otsu(np.array([1.0, 2.0, 8.0, 9.0]), np.array([5, 1, 2, 2]), 2)
    array([5.])
    """
    # avoids cancellation: otherwise the criterion is a difference of large sums
    centred = levels - np.average(levels, weights=counts)
    number = np.concatenate([[0], np.cumsum(counts, dtype=np.float64)])
    total = np.concatenate([[0], np.cumsum(counts * centred, dtype=np.float64)])
    with np.errstate(divide="ignore", invalid="ignore"):  # [i, j]: term of a class of the levels i to j - 1
        between = (total[None] - total[:, None]) ** 2 / (number[None] - number[:, None])
    between[np.tri(len(number), dtype=bool)] = -np.inf  # i >= j: no class is empty
    best, starts = between[0], []
    for _ in range(classes - 1):
        sums = best[:, None] + between
        starts.append(np.argmax(sums, axis=0))  # [j]: first level of the last class of the levels before j
        best = np.max(sums, axis=0)
    first, stop = [], len(levels)
    for start in reversed(starts):
        stop = start[stop]
        first.append(stop)
    first = np.array(first[::-1], int)
    return (levels[first - 1] + levels[first]) / 2
