"""Damages small valid files of every format, or what runs leave, and reads them.

    python -m tests.fuzz files --count 10000 --seed 0
    python -m tests.fuzz state --count 2000

Nothing may end in a traceback, in the death of the process, in 20 seconds without an answer, or in more than 2 GiB.
Case N of a seed is always the same; `--case N` shows it alone, with all that it said. Damage is generated, never
stored.
"""

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from tests.fuzz import kinds
from tests.fuzz.worker import Result, work

SECONDS = 20.0  # for one case
FAILURES = ("TRACEBACK", "DEATH", "HANG", "MEMORY")
VERDICTS = ("refused", "equal", "other", *FAILURES)
SORTS = {"files": kinds.of_files, "state": kinds.of_state}


def judged(sort: str, cases: range, seed: int) -> Iterator[Result]:
    """The verdict on every case, in order."""
    process, connection = _started(sort, seed)
    for case in cases:
        connection.send(case)
        answered = connection.poll(SECONDS)
        try:
            if answered:
                yield connection.recv()
                continue
        except (EOFError, ConnectionError):
            pass
        process.kill()
        process.join()
        said = f"exit code {process.exitcode}" if answered else f"no answer within {SECONDS:.0f} s"
        yield Result(case, _name(sort, case), "DEATH" if answered else "HANG", "", said)
        process, connection = _started(sort, seed)
    connection.send(None)
    process.join()


_KINDS: dict[str, list[str]] = {}


def _started(sort: str, seed: int) -> tuple[BaseProcess, Connection]:
    here, there = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=work, args=(there, SORTS[sort], seed), daemon=True)
    process.start()
    there.close()
    _KINDS[sort] = here.recv()
    return process, here


def _name(sort: str, case: int) -> str:
    return _KINDS[sort][case % len(_KINDS[sort])]


def main() -> int:
    """Runs the cases; the exit code is 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("sort", choices=SORTS)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="this one only")
    parser.add_argument("--others", type=int, default=0, help="show so many of what was accepted, per kind")
    options = parser.parse_args()
    cases = range(options.count) if options.case is None else range(options.case, options.case + 1)
    began, table, shown = time.monotonic(), Counter(), Counter()
    for result in judged(options.sort, cases, options.seed):
        table[result.kind, result.verdict] += 1
        shown[result.kind] += result.verdict == "other"
        few = result.verdict == "other" and shown[result.kind] <= options.others
        if result.verdict in FAILURES or few or options.case is not None:
            print(f"{result.verdict} case {result.case}, {result.kind}, {result.damage}: {result.said}", flush=True)
    print(f"{'':28}" + "".join(f"{verdict:>10}" for verdict in VERDICTS))
    for kind in sorted({kind for kind, _ in table}):
        print(f"{kind:28}" + "".join(f"{table[kind, verdict]:10}" for verdict in VERDICTS))
    total = {verdict: sum(n for (_, v), n in table.items() if v == verdict) for verdict in VERDICTS}
    print(f"{'all':28}" + "".join(f"{n:10}" for n in total.values()))
    print(f"{len(cases)} cases of {options.sort}, seed {options.seed}, in {time.monotonic() - began:.0f} s")
    return int(any(total[verdict] for verdict in FAILURES))


if __name__ == "__main__":
    sys.exit(main())
