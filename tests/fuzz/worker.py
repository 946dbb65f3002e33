"""The process that reads damaged files, with limits; it may die.

Verdicts: refused (in one line), equal, other (content accepted that is not the original's) and, as failures, TRACEBACK
and MEMORY; whoever watches the process adds DEATH and HANG.
"""

import contextlib
import io
import re
import resource
import shutil
import tempfile
import traceback
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxmicro.errors import UserError
from tests.fuzz.mutate import Tree, mutated

MEMORY = 2 * 2**30  # bytes above what the process has before it reads
_NO_MEMORY = re.compile(r"MemoryError|[Uu]nable to allocate|bad_alloc|RESOURCE_EXHAUSTED|out of memory")


class Kind(NamedTuple):
    """A sort of case: a valid tree of files, how it is read, and what is then known of it."""

    name: str
    file: str  # the file, or the folder that holds the tree
    tree: Tree
    read: Callable[[Path], Any]
    difference: Callable[[Any, Any], str]  # of what was read from what is right; "" if none


class Result(NamedTuple):
    """What became of a case."""

    case: int
    kind: str
    verdict: str
    damage: str
    said: str  # the line, the difference, or the traceback


def tree_of(path: Path) -> Tree:
    """Contents of a file, or of all files of a folder."""
    if path.is_file():
        return {"": path.read_bytes()}
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def put(path: Path, tree: Tree) -> None:
    """Inverse of `tree_of`."""
    if set(tree) == {""}:
        path.write_bytes(tree[""])
        return
    path.mkdir()
    for name, content in tree.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)


def judge(kind: Kind, right: Any, case: int, seed: int, folder: Path) -> Result:
    """Damages, reads, compares."""
    tree, damage = mutated(kind.tree, np.random.default_rng([seed, case]))
    path = folder / kind.file
    put(path, tree)
    _reset_peak()
    before = _memory("VmRSS")
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            found = kind.read(path)
    except UserError as error:
        verdict, said = "refused", str(error)
    except MemoryError as error:
        verdict, said = "MEMORY", repr(error)
    except Exception:
        verdict, said = "TRACEBACK", traceback.format_exc()
    else:
        said = kind.difference(found, right)
        verdict = "other" if said else "equal"
    peak = _memory("VmHWM") - before
    if verdict != "TRACEBACK" and (_NO_MEMORY.search(said) or peak > MEMORY):
        verdict, said = "MEMORY", f"{peak / 2**30:.1f} GiB; {said}"
    for rest in folder.iterdir():
        shutil.rmtree(rest) if rest.is_dir() else rest.unlink()
    return Result(case, kind.name, verdict, damage, said)


def work(connection: Connection, make_kinds: Callable[[Path], list[Kind]], seed: int) -> None:
    """Judges the cases that arrive until None does."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "made").mkdir()
        kinds = make_kinds(folder / "made")
        shutil.rmtree(folder / "made")
        right = {}
        for kind in kinds:  # also loads what is loaded when it is first needed
            put(folder / kind.file, kind.tree)
            right[kind.name] = kind.read(folder / kind.file)
            put_away = folder / kind.file
            shutil.rmtree(put_away) if put_away.is_dir() else put_away.unlink()
        most = _memory("VmSize") + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        connection.send([kind.name for kind in kinds])
        while (case := connection.recv()) is not None:
            kind = kinds[case % len(kinds)]
            connection.send(judge(kind, right[kind.name], case, seed, folder))


def _memory(field: str) -> int:
    """Bytes, from what Linux says of this process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return 1024 * int(line.split()[1])


def _reset_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
