"""Phases as labels and as phase fractions: arrays only. Grey levels are handled by `jaxmicro.io.segmentation`."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, UInt8

ArrayLike = Array | np.ndarray


def one_hot(labels: Integer[ArrayLike, "*grid"], phases: int) -> Float[Array, "*grid p"]:
    """Phase fractions of a labelled grid: 1 for the phase of the voxel, 0 for the others.

    >>> one_hot(np.array([0, 2]), 3).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    return jax.nn.one_hot(labels, phases, dtype=jnp.float32)


def to_labels(fractions: Float[ArrayLike, "*grid p"]) -> UInt8[Array, "*grid"]:
    """Label of the largest phase fraction in each voxel; of equal fractions the lowest label.

    >>> to_labels(np.array([[0.2, 0.8], [0.5, 0.5]], np.float32)).tolist()
    [1, 0]
    """
    return jnp.argmax(fractions, axis=-1).astype(jnp.uint8)


def hardened(fractions: Float[Array, "*grid p"]) -> Float[Array, "*grid p"]:
    """One-hot fractions of the most probable phases, with the derivative of `fractions` (straight-through estimator).

    Quantities of a blurred prediction differ from those of the volume that it becomes: its diffusivity is too high and
    its surface area too small. The derivative still acts only on voxels whose phase is undecided.
    """
    hard = jax.nn.one_hot(jnp.argmax(fractions, axis=-1), fractions.shape[-1], dtype=fractions.dtype)
    return fractions + jax.lax.stop_gradient(hard - fractions)


def phase_names(phases: int, names: Sequence[str] | None = None) -> list[str]:
    """Names for legends and tables: "phase 0", "phase 1", ..., each followed by its given name.

    >>> phase_names(2), phase_names(2, ["pore", "solid"])
    (['phase 0', 'phase 1'], ['phase 0 (pore)', 'phase 1 (solid)'])
    """
    return [f"phase {p}" + (f" ({names[p]})" if names else "") for p in range(phases)]
