"""Compile programs that have a network in them, so that all cores of a CPU work."""

import functools
from collections.abc import Callable
from typing import Any

import jax

_WITHOUT_CONVOLUTIONS = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_DOT"}


@functools.cache
def network_options() -> dict[str, str]:
    """Options of the compiler for programs of convolutions, as `jax.jit(..., compiler_options=...)` takes them.

    XLA gives the convolutions of a CPU to YNNPACK, which runs those with up to 64 channels on one core (jaxlib 0.10);
    its own take all, and the gradient of our default network half the time. Empty for other devices and for an XLA
    that knows no such option.
    """
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda x: x, compiler_options=_WITHOUT_CONVOLUTIONS).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return _WITHOUT_CONVOLUTIONS


def jit_network(function: Callable[..., Any], **settings) -> Callable[..., Any]:
    """`jax.jit` with `network_options`, which are asked for at the first call: only then may a device be chosen.

    Not to be called inside another compiled function, where JAX takes no such options.
    """
    program = functools.cache(lambda: jax.jit(function, compiler_options=network_options(), **settings))

    @functools.wraps(function)
    def call(*args, **kwargs):
        return program()(*args, **kwargs)

    return call
