"""Move the interfaces of a finished volume until its numbers are those wanted."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxmicro.guidance import Target, measured, misfit
from jaxmicro.phases import one_hot
from jaxmicro.pipeline.targets import MOVABLE, goals, worst
from jaxmicro.reconstruct import Held, Weights, plane_covariance, polish, segment_lags, segments_inside

WEIGHT = 16.0  # of the misfit of the targets, among those of the statistics
# of these: what conducts better along an axis has another lineal path, and is isotropic no longer
GIVING = Weights(path=0.1, interface=0.01, two_point=32.0)
STEPS = 40  # of a pass towards targets; more passes, with better aims, do more than longer ones
# of their gradients, voxels. Of 3 volumes of 64^3 at 30 % more diffusivity of the pores: clusters of pores per 1000
# voxels 0.22, 0.09, 0.05, 0.04 at 0, 0.5, 0.8, 1.1 (0.03 before), S2 errors 0.73, 0.66, 0.58, 0.59 %
FILTER_WIDTH = 1.0
PASSES, PUSH = 6, 1.05  # times that interfaces are moved and measured, at most; correction of an aim after each
FARTHEST = 4.0  # factor between what is aimed at and what is wanted


def move_interfaces(
    labels: np.ndarray,
    achieved: list[float],
    targets: Sequence[Target],
    held: Held,
    *,
    measure: Callable[[np.ndarray], list[float]],
    report: Callable[[int, int], None],
) -> tuple[np.ndarray, list[float]]:
    """A periodic volume with its interfaces moved until it has what is wanted, and its numbers.

    What it has is measured exactly after each pass of `reconstruct.polish`, and what was missed is added to the aims.
    Each pass also brings S2 and lineal path nearer, so that of two volumes that meet their targets the moved one is
    taken.

    Args:
        labels: "z y x".
        achieved: its numbers, one for each target.
        held: fractions, and S2 and lineal path to keep; None for its own.
        measure: labels -> numbers.
        report: called with the passes made and their largest number.
    """
    phases = len(jnp.asarray(held.fractions))
    if held.lineal_path is None or held.covariance is None:
        own, reach = one_hot(jnp.asarray(labels), phases), min(labels.shape) // 2
        path = segments_inside(own, lags=len(segment_lags(reach)))
        held = held._replace(lineal_path=path, covariance=plane_covariance(own, r_max=reach))
    moved = tuple(target for target in targets if target.quantity in MOVABLE)
    wanted, push = goals(moved), np.ones(len(moved))
    best = worst(targets, achieved), labels, achieved
    for number in range(PASSES):
        report(number, PASSES)
        # gradients are of conductors that leak, and elements: aimed at is what they make of the wanted number
        own = np.asarray(_measured(jnp.asarray(labels), targets=valueless(moved), phases=phases))
        found = np.maximum(some_of(moved, targets, achieved), 1e-12)
        aims = jnp.asarray(wanted * np.clip(own / found, 1 / FARTHEST, FARTHEST) * push, jnp.float32)
        before, labels = labels, np.asarray(_polish(jnp.asarray(labels), held, aims, targets=valueless(moved)))
        achieved = measure(labels)
        miss = worst(targets, achieved)
        if miss < best[0] or (number == 0 and miss <= 1):
            best = miss, labels, achieved
        if not moved or miss < 0.5:
            break
        short = wanted / np.maximum(some_of(moved, targets, achieved), 1e-12)
        if np.array_equal(labels, before):  # no voxel changed its phase: a small correction would change none either
            correction = np.where(short > 1, PUSH, 1 / PUSH)
        else:
            correction = np.clip(np.sqrt(short), 1 / PUSH, PUSH)
        push = np.clip(push * correction, *sides(moved, 2.0))
    report(PASSES, PASSES)
    return best[1:]


def sides(targets: Sequence[Target], farthest: float) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest factor of what is aimed at on what is wanted; of a bound it stays on its side."""
    low = np.array([1.0 if target.relation == ">=" else 1 / farthest for target in targets])
    return low, np.array([1.0 if target.relation == "<=" else farthest for target in targets])


def valueless(targets: Sequence[Target]) -> tuple[Target, ...]:
    """Targets whose values are aims that are given apart: one program for all values."""
    return tuple(dataclasses.replace(target, value=1.0, tolerance=1.0) for target in targets)


def some_of(some: Sequence[Target], targets: Sequence[Target], numbers: Sequence[float]) -> np.ndarray:
    """The numbers that belong to some of the targets."""
    return np.array([number for target, number in zip(targets, numbers, strict=True) if target in some])


@functools.partial(jax.jit, static_argnames="targets")
def _polish(labels, held: Held, aims, *, targets):
    """Interfaces moved as `polish` does, or towards S2, lineal path and the aims if there are any."""
    assert held.fractions is not None and held.lineal_path is not None and held.covariance is not None
    wanted = held.fractions, held.lineal_path, held.covariance
    if not targets:
        return polish(labels, *wanted)
    also = lambda fractions: WEIGHT * misfit(fractions, targets, aims)  # noqa: E731
    steered_area = any(target.quantity == "surface_area" for target in targets)
    weights = GIVING._replace(interface=None) if steered_area else GIVING
    return polish(labels, *wanted, weights=weights, steps=STEPS, filter_width=FILTER_WIDTH, also=also)


@functools.partial(jax.jit, static_argnames=("targets", "phases"))
def _measured(labels, *, targets, phases: int):
    return measured(one_hot(labels, phases), targets) if targets else jnp.zeros(0)
