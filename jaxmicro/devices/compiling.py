"""Compile programs that have a network in them, so that all cores of a CPU work."""

import functools
from collections.abc import Callable
from typing import Any

import jax

_WITHOUT_CONVOLUTIONS = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_DOT"}


def jit_network(function: Callable[..., Any], **settings) -> Any:
    """`jax.jit` without YNNPACK's convolutions where the default device is a CPU; with its `lower`.

    XLA (jaxlib 0.10) gives the convolutions of a CPU to YNNPACK, which runs those with up to 64 channels on one core.
    XLA's own use all cores; the gradient of our default network then takes half the time. The device is asked for at
    the first call, not before, so that a program may be declared before processes have found each other.

    JAX takes such options for outermost programs only: not to be called from another one that is being traced.
    """
    program = functools.cache(lambda: jax.jit(function, compiler_options=_options(), **settings))

    def call(*args, **kwargs):
        return program()(*args, **kwargs)

    functools.update_wrapper(call, function)
    call.lower = lambda *args, **kwargs: program().lower(*args, **kwargs)  # pyright: ignore[reportFunctionMemberAccess]
    return call


@functools.cache
def _options() -> dict[str, str]:
    """Empty for other devices, and for an XLA that knows no such option."""
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda x: x, compiler_options=_WITHOUT_CONVOLUTIONS).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return _WITHOUT_CONVOLUTIONS
