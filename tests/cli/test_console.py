"""Progress on standard error at a readable rate; results on standard output."""

import io

import pytest

from jaxmicro.cli.console import Console


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(console: Console, clock: list[float], *, seconds: float, total: int) -> None:
    for done in range(total + 1):
        console.progress("sampling", done, total)
        clock[0] += seconds


@pytest.mark.parametrize("seconds", [0.01, 1.0, 30.0])
def test_a_log_gets_a_line_every_ten_seconds_at_most_and_always_the_last(seconds: float):
    clock, stream = [0.0], io.StringIO()
    run(Console(clock=lambda: clock[0], stream=stream), clock, seconds=seconds, total=60)
    lines = stream.getvalue().splitlines()
    assert lines[-1].startswith("sampling 60/60")
    assert len(lines) <= 3 + 60 * seconds / 10


def test_the_time_left_is_exact_for_a_constant_pace_after_a_first_step_that_compiles():
    clock, stream = [0.0], io.StringIO()
    console = Console(clock=lambda: clock[0], stream=stream)
    for now, done in ((0.0, 0), (500.0, 10), (530.0, 20)):
        clock[0] = now
        console.progress("training", done, 100)
    first, second, third = stream.getvalue().splitlines()
    assert "left" not in first + second and "4:00 left" in third


def test_a_resumed_stage_counts_its_pace_from_where_it_began():
    clock, stream = [0.0], io.StringIO()
    console = Console(clock=lambda: clock[0], stream=stream)
    for now, done in ((0.0, 90), (60.0, 92), (80.0, 96)):
        clock[0] = now
        console.progress("training", done, 100)
    assert "0:20 left" in stream.getvalue()


def test_a_terminal_line_is_overwritten_and_closed_at_the_end():
    clock, stream = [0.0], Terminal()
    console = Console(clock=lambda: clock[0], stream=stream)
    run(console, clock, seconds=1.0, total=3)
    console.remark("next")
    assert stream.getvalue().count("\n") == 2
    assert stream.getvalue().endswith("\nnext\n")


def test_quiet_prints_results_only(capsys: pytest.CaptureFixture):
    clock = [0.0]
    console = Console(quiet=True, clock=lambda: clock[0])
    run(console, clock, seconds=20.0, total=3)
    console.remark("a remark")
    console.result("42")
    assert capsys.readouterr() == ("42\n", "")
