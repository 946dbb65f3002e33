"""Compilation of programs with a network, so that they use all cores of a CPU."""

import functools
from collections.abc import Callable
from typing import Any

import jax

_WITHOUT_CONVOLUTIONS = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_DOT"}


def jit_network(function: Callable[..., Any], **settings) -> Any:
    """`jax.jit` without YNNPACK's convolutions if the default device is a CPU; the result has `lower`, too.

    On CPUs XLA (jaxlib 0.10) uses the convolutions of YNNPACK, which run on one core with up to 64 channels. XLA's own
    use all cores, which halves the time of the gradient of our default network. The device is determined at the first
    call, so that a function may be wrapped before `jax.distributed.initialize`.

    JAX accepts compiler options for outermost programs only: do not call the result inside another traced function.

    With this option buffers are not donated, so that a training holds two states: XLA (jaxlib 0.10.2) writes to donated
    buffers too early. The updates of a network of three phases at 32^3 voxels ended in NaN, each time at another one.
    """

    def compiled():
        options = _options()
        kept = {key: value for key, value in settings.items() if not (options and key.startswith("donate_"))}
        return jax.jit(function, compiler_options=options, **kept)

    program = functools.cache(compiled)

    def call(*args, **kwargs):
        return program()(*args, **kwargs)

    functools.update_wrapper(call, function)
    call.lower = lambda *args, **kwargs: program().lower(*args, **kwargs)  # pyright: ignore[reportFunctionMemberAccess]
    return call


@functools.cache
def _options() -> dict[str, str]:
    """Compiler options; empty for other devices, and for a version of XLA without this option."""
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda x: x, compiler_options=_WITHOUT_CONVOLUTIONS).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return _WITHOUT_CONVOLUTIONS
