"""Settings of every test: strict broadcasting, and compiled programs shared between the tests of one session."""

import functools
import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Most of the time of these tests is compilation, and most of that optimises programs that run once. Fusions by XLA's
# older emitters compile three times as fast; and the parts of a program are not compiled side by side, for tests are.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1",
)

import jax
import pytest
from matplotlib.figure import Figure

from jaxmicro import viz
from jaxmicro.pipeline import tuning

jax.config.update("jax_numpy_rank_promotion", "raise")

MOST_MAPS = 4_000  # at the end of a file: about 1.5 GB of memory, and far below that limit

collect_ignore_glob = ["data/*"]  # scripts that made the files there, with programs that tests do not need


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest file first, so that no worker runs it alone at the end."""
    items.sort(key=lambda item: item.path.name != "test_readme.py")


def pytest_collection_finish() -> None:
    """The libraries stay: no collection of garbage has to look at them again."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory: pytest.TempPathFactory):
    """Compile equal programs once, for all workers and the processes that they start: most of the time of these tests
    is compilation."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    settings = {
        "jax_compilation_cache_dir": str(folder / "jax-cache"),
        "jax_persistent_cache_min_compile_time_secs": 0.2,
        "jax_compilation_cache_max_size": 4 * 2**30,  # with a limit entries are written under a lock
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            jax.config.update(name, value)
            patch.setenv(name.upper(), str(value))
        yield
    jax.config.update("jax_compilation_cache_dir", None)


@pytest.fixture(scope="session", autouse=True)
def short_tuning():
    """One pilot volume at the end of each training; the test of the tuning has all rounds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "ALL_GAINS", tuning.GAINS, raising=False)
        patch.setattr(tuning, "GAINS", tuning.GAINS[:1])
        yield


@pytest.fixture(scope="module")
def small_pictures():
    """Pictures of the command line at a third of their size, without the search for the best layout: their parts are
    the same, and they take a few seconds of every command that draws any."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(viz, "png", functools.partial(quick_png, viz.png))
        patch.setattr(viz, "volume_rendering", functools.partial(viz.volume_rendering, width=100))
        yield


@pytest.fixture
def one_pass(monkeypatch: pytest.MonkeyPatch):
    """Designs whose interfaces are moved once, with the program of all passes: for tests of what is done with them."""
    monkeypatch.setattr("jaxmicro.pipeline.interfaces.PASSES", 1)


def quick_png(png: Callable[..., bytes], figure: Figure, **options: Any) -> bytes:
    figure.set_layout_engine("none")
    return png(figure, **{"dpi": 50} | options)


def memory_maps() -> float:
    """Memory maps of this process; infinite where the system does not tell."""
    try:
        return Path("/proc/self/maps").read_bytes().count(b"\n")
    except OSError:
        return float("inf")


@pytest.fixture(scope="module", autouse=True)
def release_programs():
    """Compiled programs hold memory maps; more of them than a process may have (65,530) end in a crash. Below that, the
    next file uses programs of this one."""
    yield
    if memory_maps() > MOST_MAPS:
        jax.clear_caches()
