"""Messages of a run: progress lines on standard error, results on standard output."""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

_REDRAW_SECONDS = 0.2  # on a terminal, where the line is overwritten
_LINE_SECONDS = 10.0  # in a log file or a pipe, where each line stays


@runtime_checkable
class Stream(Protocol):
    """Where progress is written: standard error, or a replacement in tests."""

    def write(self, text: str, /) -> object: ...

    def flush(self) -> None: ...

    def isatty(self) -> bool: ...


def duration(seconds: float) -> str:
    """A time as h:mm:ss, or m:ss below an hour.

    >>> duration(59.6), duration(61.0), duration(3725.0)
    ('1:00', '1:01', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Console:
    """Prints for one run. `quiet` silences progress and remarks; results and errors are always printed."""

    def __init__(
        self, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic, stream: Stream | None = None
    ):
        self.quiet = quiet
        self._clock, self._made = clock, clock()
        self._stream = stream or sys.stderr
        self._stage: str | None = None
        self._start = (0, 0.0)  # of the stage: steps done already, and the time
        self._warm: tuple[int, float] | None = None  # the same after its first step, which includes compilation
        self._printed = float("-inf")

    def progress(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Report `done` of `total` steps of a stage; printed at a readable rate, and always the last one."""
        now = self._clock()
        if stage != self._stage:
            self.end_line()
            self._stage, self._start, self._warm, self._printed = stage, (done, now), None, float("-inf")
        elif self._warm is None and done > self._start[0]:
            self._warm = (done, now)
        terminal = self._stream.isatty()
        due = now - self._printed >= (_REDRAW_SECONDS if terminal else _LINE_SECONDS)
        if self.quiet or not (due or done == total):
            return
        self._printed = now
        parts = [f"{stage} {done}/{total}", note, self._time_left(done, total, now)]
        line = "  ".join(part for part in parts if part)
        self._stream.write(f"\r\x1b[2K{line}" if terminal else f"{line}\n")
        if done == total:
            self.end_line()
        self._stream.flush()

    def _time_left(self, done: int, total: int, now: float) -> str:
        if done == total:
            return f"in {duration(now - self._start[1])}"
        if self._warm is None or done <= self._warm[0]:
            return ""
        warm_done, warm_time = self._warm
        return f"{duration((now - warm_time) * (total - done) / (done - warm_done))} left"

    def elapsed(self) -> str:
        """Time since this run began."""
        return duration(self._clock() - self._made)

    def end_line(self) -> None:
        """End a line that is being overwritten, so that the next output starts on a new one."""
        if self._stage is not None and not self.quiet and self._stream.isatty():
            self._stream.write("\n")
        self._stage = None

    def remark(self, text: str) -> None:
        """A line about the run, on standard error."""
        self.end_line()
        if not self.quiet:
            print(text, file=self._stream, flush=True)

    def result(self, text: str) -> None:
        """A line of the result, on standard output."""
        self.end_line()
        print(text, flush=True)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """A table of right-aligned columns.

    >>> print(aligned([["phase", "share"], ["0", "0.25"]]))
    phase  share
        0   0.25
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
