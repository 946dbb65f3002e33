"""The result of a comparison as one self-contained HTML page: opens from disk, needs no network and no scripts."""

import math
from collections.abc import Mapping, Sequence
from html import escape

from jaxmicro.evaluate.findings import summarise, warnings
from jaxmicro.evaluate.html import figure, page, settings, table
from jaxmicro.evaluate.overview import Cell, Table, held_table, independent_table, yardstick
from jaxmicro.evaluate.report_texts import GLOSSARY, TWO_YARDSTICKS
from jaxmicro.phases import phase_names


def report_html(
    report: dict,
    figures: Mapping[str, bytes] | None = None,
    *,
    title: str = "Reconstruction report",
    names: Sequence[str] = (),
    tables: Mapping[str, Sequence[Sequence[str]]] | None = None,
    config: Mapping | None = None,
) -> str:
    """One HTML page: findings in plain language, figures, tables, meaning of the terms, configuration.

    Args:
        report: the dictionary `compare` returns.
        figures: name -> content of a PNG file, in the order of the page; known names get a caption, others their name.
        title: heading of the page.
        names: of the phases, beside their numbers in the heads of tables.
        tables: further tables by their heading, as rows of cells, the first of them the head.
        config: settings of the run, shown at the end; must be JSON-able.
    Returns:
        the page, self-contained: pictures as base64, no links, no scripts.
    """
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="lead">{escape(_subtitle(report))}</p>',
        _side_by_side(report, names),
        _list("box", summarise(report)),
        _warnings(warnings(report)),
        *(figure(name, content) for name, content in (figures or {}).items()),
        *(f"<h2>{escape(name)}</h2>{table(rows[0], rows[1:])}" for name, rows in (tables or {}).items()),
        "<h2>Numbers per phase</h2>",
        table(*_phase_rows(report, names)),
        *_sections(report),
        "<h2>What the terms mean</h2>",
        "<dl>" + "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in GLOSSARY) + "</dl>",
        settings(config),
    ]
    return page(title, body)


def _subtitle(report: dict) -> str:
    source = report["reference"]["source"] or "micrograph"
    return f"{report['volumes']} reconstructed volume{'s' * (report['volumes'] != 1)} against {source}"


def _side_by_side(report: dict, names: Sequence[str]) -> str:
    """Constrained statistics on the left, unconstrained ones on the right."""
    note = (
        "In brackets: the micrograph, ± what its own scatter explains. Bold red: the difference is larger than that. "
        "Of 3D the micrograph says nothing."
        if report["independent"]["crops"] > 1
        else "In brackets: the micrograph, which is too small to estimate its scatter."
    )
    note += f" In brackets {within}." if (within := yardstick(report)) else ""
    heads = phase_names(len(report["phases"]), names)
    tables = "".join(_overview(table, heads) for table in (held_table(report), independent_table(report)))
    return f'<div class="pair">{tables}</div><p class="lead">{escape(note)}</p>'


def _overview(table: Table, phases: list[str]) -> str:
    def cells(row: list[Cell]) -> str:
        span = f' colspan="{len(phases)}"' if len(row) < len(phases) else ""
        marks = (' class="out"' if cell.outside else "" for cell in row)
        return "".join(f"<td{span}{mark}>{escape(cell.text)}</td>" for cell, mark in zip(row, marks, strict=True))

    head = "".join(f"<th>{escape(name)}</th>" for name in phases)
    body = "".join(f"<tr><td>{escape(name)}</td>{cells(row)}</tr>" for name, row in table.rows)
    return (
        f'<div class="wide"><h2>{escape(table.title)}</h2><table><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _list(kind: str, lines: Sequence[str]) -> str:
    return f'<div class="{kind}"><ul>' + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul></div>"


def _warnings(lines: Sequence[str]) -> str:
    if not lines:
        return '<div class="box good"><p>No warnings.</p></div>'
    return "<h2>Before you use these volumes</h2>" + _list("box warn", lines)


def _sections(report: dict) -> list[str]:
    parts = ["<h2>Volume by volume</h2>", table(*_volume_rows(report))]
    if report["transport"]:
        parts += ["<h2>Diffusivity in 3D</h2>", table(*_transport_rows(report["transport"]))]
    if report["true_volume"]:
        parts += ["<h2>In 3D, against the true volume</h2>", table(*_truth_rows(report["true_volume"]))]
    if report["representativity"]:
        parts += [
            "<h2>How well the micrograph knows the material</h2>",
            table(*_representativity_rows(report)),
            f'<p class="lead">{escape(TWO_YARDSTICKS)}</p>',
        ]
    return parts


def _phase_rows(report: dict, names: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    head = ["phase", "fraction, micrograph", "fraction, volumes", "S2 error rate", "S2 area error", "shape error",
            "lineal path error rate", "surface area ratio", "share of interface, ratio", "percolating",
            "slice to slice"]  # fmt: skip
    rows = [
        [
            name,
            f"{p['volume_fraction']['reference']:.4f}",
            _spread(p["volume_fraction"], 4),
            _percent(p["two_point"]["error_rate"]),
            _percent(p["two_point"]["relative_area_error"]),
            f"{p['two_point']['shape_error']:.4f}",
            _percent(p["lineal_path"]["error_rate"]),
            _ratio(p["surface_area"]["ratio"]),
            _ratio(p["relative_surface_area"]["ratio"]),
            f"{100 * p['percolating_fraction']['mean']:.1f} %",
            _ratio(p["slice_steps"] and p["slice_steps"]["mean"]),
        ]
        for name, p in zip(phase_names(len(report["phases"]), names), report["phases"], strict=True)
    ]
    return head, rows


def _volume_rows(report: dict) -> tuple[list[str], list[list[str]]]:
    phases = report["phases"]
    head = ["volume"]
    head += [f"{what}, phase {p['phase']}" for what in ("fraction", "S2 error", "path error") for p in phases]
    rows = [
        [str(v)]
        + [f"{p['volume_fraction']['volumes'][v]:.4f}" for p in phases]
        + [_percent(p[name]["error_rate_volumes"][v]) for name in ("two_point", "lineal_path") for p in phases]
        for v in range(report["volumes"])
    ]
    return head, rows


def _transport_rows(transport: dict) -> tuple[list[str], list[list[str]]]:
    """Effective diffusivity of each phase and axis: between two faces, of the periodic medium, of the true volume."""
    first = transport["phases"][0]["axes"]["z"]
    true, periodic = "reference" in first["diffusivity"], first["diffusivity_periodic"] is not None
    head = ["", "D_eff / D_0", "tortuosity factor"]
    head += ["D_eff / D_0, periodic", "tortuosity factor, periodic"] * periodic
    head += ["D_eff / D_0, true volume", f"its {transport['sub_volumes']} parts"] * true
    rows = []
    for phase in transport["phases"]:
        for axis, along in phase["axes"].items():
            row = [f"phase {phase['phase']}, {axis}{' (target)' if along['target'] else ''}"]
            for name in ("", *["_periodic"] * periodic):
                row += [_spread(along["diffusivity" + name], 4), _spread(along["tortuosity_factor" + name], 2)]
            if true:
                parts = along["diffusivity"]["parts"]
                row.append(f"{along['diffusivity']['reference']:.4f}")
                row.append(f"{min(parts):.4f} to {max(parts):.4f}" if parts else "-")
            rows.append(row)
    return head, rows


def _truth_rows(truth: dict) -> tuple[list[str], list[list[str]]]:
    head = ["", "fraction", "fraction, true", "S2 error rate", "shape error", "lineal path error rate",
            "surface area ratio", "percolating", "percolating, true",
            "Euler density, per 10,000 voxels", "the same, true"]  # fmt: skip
    rows = []
    for phase in truth["phases"]:
        rows.append(_truth_row(f"phase {phase['phase']}", phase))
        if phase["yardstick"]:
            name = f"phase {phase['phase']}: {truth['sub_volumes']} parts of the true volume"
            rows.append(_truth_row(name, phase["yardstick"], each=True))
    return head, rows


def _truth_row(name: str, part: dict, *, each: bool = False) -> list[str]:
    """Errors of the mean over the volumes or, with `each`, the largest error of a single part of the true volume."""

    def error(curve: dict) -> str:
        return f"up to {_percent(max(curve['error_rate_volumes']))}" if each else _percent(curve["error_rate"])

    return [
        name,
        _spread(part["volume_fraction"], 4),
        f"{part['volume_fraction']['reference']:.4f}",
        error(part["two_point"]),
        "" if each else f"{part['two_point']['shape_error']:.4f}",
        error(part["lineal_path"]),
        _ratio(part["surface_area"]["ratio"]),
        f"{100 * part['percolating_fraction']['mean']:.1f} %",
        f"{100 * part['percolating_fraction']['reference']:.1f} %",
        f"{1e4 * part['euler_density']['mean']:.3g}" + _plus_minus(part["euler_density"], ".2g", scale=1e4),
        f"{1e4 * part['euler_density']['reference']:.3g}",
    ]


def _representativity_rows(report: dict) -> tuple[list[str], list[list[str]]]:
    head = [
        "phase",
        "fraction",
        "95 % range (integral range)",
        "relative",
        "image for 5 %",
        "image for 1 %",
        "known within (90 %): fraction",
        "S2",
        "shape of S2",
        "lineal path",
        "interface",
    ]
    rows = [
        [
            f"phase {p}",
            f"{part['volume_fraction']:.4f}",
            f"± {2 * part['standard_error']:.4f}",
            _percent(part["relative_error_percent"]),
            f"{part['edge_for_5_percent']} x {part['edge_for_5_percent']} px",
            f"{part['edge_for_1_percent']} x {part['edge_for_1_percent']} px",
            f"± {part['error_90']['volume_fraction']:.4f}",
            _percent(part["error_90"]["two_point"]),
            f"{part['error_90']['two_point_shape']:.4f}",
            _percent(part["error_90"]["lineal_path"]),
            _percent(part["error_90"]["surface_area"]),
        ]
        for p, part in enumerate(report["representativity"])
    ]
    return head, rows


def _percent(value: float) -> str:
    return f"{value:.2f} %"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _spread(measure: dict, digits: int) -> str:
    if math.isinf(measure["mean"]):  # a tortuosity factor where a volume does not conduct
        return _infinite(measure["volumes"], digits)
    return f"{measure['mean']:.{digits}f}" + _plus_minus(measure, f".{digits}f")


def _infinite(values: Sequence[float], digits: int) -> str:
    """An infinite mean as text: the number of infinite values, and the mean of the finite ones."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return "inf"
    count = len(values) - len(finite)
    return f"inf ({count} of {len(values)} volumes; mean of the others {sum(finite) / len(finite):.{digits}f})"


def _plus_minus(measure: dict, form: str, *, scale: float = 1.0) -> str:
    """Standard deviation between volumes as text; empty for a single volume."""
    return f" ± {scale * measure['std']:{form}}" if len(measure["volumes"]) > 1 else ""
