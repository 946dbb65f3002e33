"""Where XLA must stop to fuse."""

from collections.abc import Callable
from typing import Any

import jax
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata


def staged(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of arrays, its result written to memory before anything reads it.

    A product with a stencil reads its input in many places. Fused into it, what makes the input is computed as many
    times, and compile time grows with every product in a row. XLA for CPUs does fuse it, because it drops
    `lax.optimization_barrier` before it fuses; a call that must not be inlined stops it (jax 0.10 to 0.12;
    benchmarks/README.md has what it is worth). Where the default device is no CPU, the barrier does.
    """
    if jax.default_backend() != "cpu":
        return lambda *arguments: lax.optimization_barrier(function(*arguments))
    called = jax.jit(function)
    return lambda *arguments: jax.tree.map(lambda leaf: set_xla_metadata(leaf, inlineable="false"), called(*arguments))
