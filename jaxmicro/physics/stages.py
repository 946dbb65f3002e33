"""Where XLA must stop to fuse."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata
from jaxtyping import Array


def staged(function: Callable[..., Array]) -> Callable[..., Array]:
    """`function` of arrays to one array, which is written to memory before anything reads it.

    A product with a stencil reads its input in many places. Fused into it, what makes the input is computed as many
    times, and compile time grows with every product in a row. XLA for CPUs does fuse it, because it drops
    `lax.optimization_barrier` before it fuses; a call that must not be inlined stops it (jax 0.10 to 0.12;
    benchmarks/README.md has what it is worth). Where the default device is no CPU, the barrier does.

    The call takes its arrays as rows of numbers, which costs nothing: then a slice of all numbers in a row
    (`grid.neighbour`) is one. In an array with axes XLA works out the place of each of its numbers by divisions, unless
    the edges are powers of two. What a function closes over is not among its arguments, and slow for that.
    """
    if jax.default_backend() != "cpu":
        return lambda *arguments: lax.optimization_barrier(function(*arguments))

    def call(*arguments: Any) -> Array:
        leaves, tree = jax.tree.flatten(arguments)
        shapes = [jnp.shape(leaf) for leaf in leaves]

        def of_rows(*rows: Array) -> Array:
            return function(*tree.unflatten(row.reshape(shape) for row, shape in zip(rows, shapes, strict=True)))

        found = jax.jit(of_rows)(*(jnp.reshape(leaf, -1) for leaf in leaves))
        marked: Any = set_xla_metadata(found, inlineable="false")
        return marked

    return call
