"""Progress of long work, reported to a function of the caller."""

from collections.abc import Callable

Progress = Callable[[str, int, int, str], None]
"""(stage, done, total, note); nothing is printed where there is none."""


def stage_progress(progress: Progress | None, stage: str) -> Callable[[int, int], None]:
    """A function (done, total) that reports the progress of one stage."""
    if progress is None:
        return lambda done, total: None
    return lambda done, total: progress(stage, done, total, "")


def with_prefix(progress: Progress | None, prefix: str) -> Progress | None:
    """Progress whose stages have a prefix."""
    if progress is None:
        return None
    return lambda stage, done, total, note: progress(prefix + stage, done, total, note)
