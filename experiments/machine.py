"""What a study ran on."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import jax


def describe() -> dict[str, str]:
    """Device, processor cores this process may use, and versions."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    device = jax.devices()[0]
    return {
        "device": f"{jax.device_count()} x {device.device_kind}" if device.platform != "cpu" else f"{cores} CPU cores",
        "python": platform.python_version(),
        "jax": jax.__version__,
        "jaxmicro": _own_version(),
    }


def _own_version() -> str:
    try:
        return version("jaxmicro")
    except PackageNotFoundError:
        return "not installed, run from its source"
