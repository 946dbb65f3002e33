"""Results as small text: CSV rows, and the tables of a README that are drawn from them."""

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

Row = Mapping[str, object]


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file, all as text; none if there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write rows with the columns of all of them, in the order they first appear; numbers with five figures."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: as_text(value) for name, value in row.items()} for row in rows)
    os.replace(partial, path)


def replace_rows(path: Path, rows: Sequence[Row], *, key: Sequence[str]) -> list[dict[str, str]]:
    """Write rows into a CSV file; each takes the place of the row with the same key, or comes at the end."""
    merged: dict[tuple[str, ...], Row] = {}
    for row in [*read_rows(path), *rows]:
        merged[tuple(as_text(row[name]) for name in key)] = row
    write_rows(path, list(merged.values()))
    return read_rows(path)


def as_text(value: object) -> str:
    """Numbers with five significant figures, None as nothing, the rest as it is."""
    if value is None:
        return ""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def markdown_table(rows: Sequence[Mapping[str, str]], columns: Mapping[str, str]) -> str:
    """A table of some columns.

    Args:
        columns: name of the column in the rows -> its heading.

    >>> print(markdown_table([{"a": "1", "b": "2"}], {"b": "B"}))
    | B |
    |---|
    | 2 |
    """
    lines = ["| " + " | ".join(columns.values()) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(str(row.get(name, "")) for name in columns) + " |" for row in rows]
    return "\n".join(lines)


def write_table(readme: Path, name: str, table: str) -> None:
    """Put a table between the lines <!-- NAME --> and <!-- /NAME --> of a README.

    Raises:
        ValueError: the README has no such lines.
    """
    text = readme.read_text()
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if start not in text or end not in text:
        raise ValueError(f"{readme} has no lines {start} and {end}; add them where the table belongs")
    before, rest = text.split(start, 1)
    after = rest.split(end, 1)[1]
    readme.write_text(f"{before}{start}\n{table}\n{end}{after}")
