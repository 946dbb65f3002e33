"""Limits of XLA's fusion."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata
from jaxtyping import Array


def staged(function: Callable[..., Array]) -> Callable[..., Array]:
    """`function` of arrays to one array, whose result is written to memory before it is read.

    A product with a stencil reads its input in many places. If the computation of the input is fused into the product,
    it is repeated as many times, and compile time grows with every product in a row. XLA for CPUs does so, because it
    drops `lax.optimization_barrier` before fusion; a call that must not be inlined prevents it (jax 0.10 to 0.12;
    effect in benchmarks/README.md). If the default device is no CPU, the barrier suffices.

    The call takes its arrays flattened, at no cost, so that a slice of the flat array (`grid.neighbour`) stays one
    slice. For arrays with several axes XLA computes the index of each number by divisions, unless the edges are powers
    of two. Arrays that a function closes over are not flattened, and therefore slow.
    """
    if jax.default_backend() != "cpu":
        return lambda *arguments: lax.optimization_barrier(function(*arguments))

    def call(*arguments: Any) -> Array:
        leaves, tree = jax.tree.flatten(arguments)
        shapes = [jnp.shape(leaf) for leaf in leaves]

        def of_rows(*rows: Array) -> Array:
            return function(*tree.unflatten(row.reshape(shape) for row, shape in zip(rows, shapes, strict=True)))

        result = jax.jit(of_rows)(*(jnp.reshape(leaf, -1) for leaf in leaves))
        marked: Any = set_xla_metadata(result, inlineable="false")
        return marked

    return call
