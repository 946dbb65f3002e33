"""A short run of the fuzzer, in this process and without its limits, and what it notices."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jaxmicro.errors import UserError
from tests.fuzz import kinds
from tests.fuzz.mutate import mutated
from tests.fuzz.worker import Kind, Result, judge, put


def judged(make: Callable[[Path], list[Kind]], cases: range, folder: Path) -> list[Result]:
    (folder / "made").mkdir()
    (folder / "work").mkdir()
    made = make(folder / "made")
    right = {}
    for number, kind in enumerate(made):
        (folder / str(number)).mkdir()
        put(folder / str(number) / kind.file, kind.tree)
        right[kind.name] = kind.read(folder / str(number) / kind.file)
    each = [(case, made[case % len(made)]) for case in cases]
    return [judge(kind, right[kind.name], case, 1, folder / "work") for case, kind in each]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("make", "count"), [(kinds.of_files, 75), (kinds.of_state, 50)], ids=["files", "state"])
def test_damage_is_refused_in_one_line_or_read(make: Callable, count: int, tmp_path: Path):
    results = judged(make, range(count), tmp_path)
    assert {result.verdict for result in results} <= {"refused", "equal", "other"}, [
        result for result in results if result.verdict not in ("refused", "equal", "other")
    ]
    assert sum(result.verdict == "refused" for result in results) > count / 2
    assert not [result for result in results if result.verdict == "refused" and "\n" in result.said]


def raising(error: BaseException) -> Callable[[Path], object]:
    def read(path: Path) -> object:
        raise error

    return read


@pytest.mark.parametrize(
    ("read", "verdict"),
    [
        (raising(UserError("no")), "refused"),
        (raising(ValueError("a bug")), "TRACEBACK"),
        (raising(MemoryError()), "MEMORY"),
        (raising(UserError("Unable to allocate 9 TiB")), "MEMORY"),
        (lambda path: 1, "equal"),
        (lambda path: 2, "other"),
    ],
)
def test_what_is_read_gets_the_right_verdict(read: Callable, verdict: str, tmp_path: Path):
    kind = Kind("a", "a.txt", {"": b"123"}, read, lambda found, right: "" if found == right else "differs")
    assert judge(kind, 1, 0, 0, tmp_path).verdict == verdict
    assert not list(tmp_path.iterdir())


def test_damage_is_the_same_each_time_and_damages():
    tree = {"a.json": b'{"b": [1, 2, {"c": 3}]}', "c/0": bytes(range(64))}
    first, again = ([mutated(tree, np.random.default_rng(seed)) for seed in range(200)] for _ in range(2))
    assert first == again
    assert sum(damaged != tree for damaged, _ in first) > 150
    assert len({what for _, what in first}) > 20
