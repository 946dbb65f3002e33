"""The benchmark's own check passes and its numbers have the right form; nothing is timed here."""

from benchmarks.reconstruction import HARMONISE_COLUMNS, SIZE_COLUMNS, Case, measure, parse_case
from jaxmicro.models import PriorConfig, UNetConfig


def test_a_case_is_checked_and_reported_with_the_columns_of_the_tables():
    tiny = PriorConfig(phases=3, patch=32, unet=UNetConfig(widths=(8, 8), embedding=16))
    row = measure(Case(edge=16, harmonise=1, steps=1), prior=tiny)
    assert row["evaluations"] == row["steps"] * 2
    assert set(SIZE_COLUMNS) | set(HARMONISE_COLUMNS) <= set(row)


def test_a_case_survives_being_written_as_text():
    case = Case(edge=96, harmonise=5, steps=1, whole=True)
    assert parse_case(case.name) == case
