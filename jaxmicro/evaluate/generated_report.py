"""The report on generated samples as one self-contained HTML page."""

import math
from collections.abc import Mapping, Sequence
from html import escape

from jaxmicro.evaluate.html import figure, page, settings, table
from jaxmicro.units import with_unit


def generated_html(record: Mapping, figures: Mapping[str, bytes], *, title: str, config: Mapping | None = None) -> str:
    """One HTML page on generated samples: asked against measured, the process that would make them, figures.

    Args:
        record: "count", "shape", "summary" of each feature, "process" of each parameter, "exact" and "training", as
            `jaxmicro generate` writes them to generated.json.
        figures, title, config: as `report_html`.
    """
    size = " x ".join(map(str, record["shape"]))
    count = f"{record['count']} sample{'s' * (record['count'] != 1)}"
    keys = ("asked", "mean", "standard_deviation", "mean_absolute_error")
    rows = [
        [
            with_unit(name, of["unit"]),
            *("-" if of[key] is None else f"{of[key]:.4g}" for key in keys),
            str(of["not_connected"] or "-"),
        ]
        for name, of in record["summary"].items()
    ]
    missing = record["not_measured"]
    head = ["feature", "asked", "mean", "standard deviation", "mean absolute error", "not connected"]
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="lead">{count} of {size}, measured by the code that measures collections.</p>',
        "<h2>Asked and measured</h2>",
        table(head, rows),
        *([f"<p>Asked, but not measured here: {escape(', '.join(missing))}.</p>"] if missing else []),
        *(f"<p>Note: {escape(note)}.</p>" for note in record.get("notes", ())),
        *_exact(record),
        *(figure(name, content) for name, content in figures.items()),
        *_beside_training(record.get("training"), record.get("not_compared")),
    ]
    if record["process"]:
        quantiles = [f"{float(q):.0%}" for q in next(iter(record["process"].values()))["quantiles"]]
        rows = [
            [
                with_unit(name, of["unit"]),
                "-" if of["asked"] is None else f"{of['asked']:.4g}",
                *(f"{v:.4g}" for v in of["quantiles"].values()),
            ]
            for name, of in record["process"].items()
        ]
        body += [
            "<h2>Process that would make them</h2>",
            "<p>Quantiles over all samples: a structure does not determine its process.</p>",
            table(["parameter", "asked", *quantiles], rows),
        ]
    return page(title, [*body, settings(config)])


def _exact(record: Mapping) -> list[str]:
    """What was changed in the samples to meet targets exactly."""
    exact = record.get("exact")
    if exact is None:
        return []
    rows = []
    for name in exact["targets"]:
        asked, missed = record["targets"][name], exact["missed"][name]
        before, after = (
            [abs(value - asked) for value in values if value is not None and math.isfinite(value)]
            for values in (exact["sampled"][name], record["samples"][name])
        )
        errors = [f"{max(of):.3g}" if of else "-" for of in (before, after)]
        values = ", ".join(f"{record['samples'][name][i]:.4g} (sample {i})" for i in missed)
        rows.append([name, f"{asked:.4g}", *errors, values or "none"])
    changed, area, two_point = (exact[key] for key in ("voxels_changed", "surface_area_change", "two_point_change"))
    left = exact["left_as_sampled"]
    return [
        "<h2>Targets made exact</h2>",
        "<p>After the sampling, the phase of voxels along interfaces was changed along the gradient of what was "
        f"missed: {_mean(changed):.2%} of the voxels (at most {max(changed):.2%}). This changed the interface area by "
        f"{_mean(area):+.1%} (mean), and the two-point correlation by at most {max(two_point):.3f}.</p>",
        table(["target", "asked", "largest error as sampled", "largest error now", "missed"], rows),
        *([f"<p>Left as sampled: {escape(', '.join(left))}.</p>"] if left else []),
    ]


def _beside_training(training: Mapping | None, not_compared: str | None) -> list[str]:
    """Copies of training samples, and how much samples vary."""
    heading = "<h2>Beside the training samples</h2>"
    if training is None:
        return [heading, f"<p>Not compared: {escape(not_compared or 'there was nothing to compare with')}.</p>"]
    copies, diversity = training["copies"], training["diversity"]
    distances = [
        [name, str(len(of)), *(f"{value:.3f}" for value in (min(of), sorted(of)[len(of) // 2], max(of)))]
        for name, of in (("generated", copies["generated"]), ("held out", copies["held_out"]))
    ]
    both = [diversity[of] for of in ("generated", "held_out")]
    rows = [
        ["number of samples", *(str(of["samples"]) for of in both)],
        ["mean distance of pairs", *(_number(of["pair_distance"]) for of in both)],
        ["spread of S2", *(_number(of["two_point_spread"]) for of in both)],
        *(
            [f"standard deviation of {name}", _number(of["generated"]), _number(of["held_out"])]
            for name, of in diversity["features"].items()
        ),
    ]
    verdict = _verdict(copies["copied"], copies["limit"])
    return [
        heading,
        "<p>Distance of each sample, before it was made exact, to the nearest of the training samples whose two-point "
        "statistics are most like its own (a copy of which more than about 5 % was changed may be missed), over the "
        "shifts, mirrors and exchanges of axes that the training used: the share of voxels that differ, over that of a "
        "blank sample; 0 is a copy. "
        f"The same for samples of the runs that were held out. {verdict}</p>",
        table(["samples", "number", "smallest", "median", "largest"], distances),
        "<p>How much samples vary, beside the held-out samples whose features are nearest to what was asked (they "
        "scatter in these features, too). Pairs: share of voxels that differ at the best shift, over that of "
        "independent samples. S2: root mean square of the standard deviation over distances and axes, "
        "over the variance of the phases.</p>",
        table(["quantity", "generated", "held out"], rows),
    ]


def _verdict(copied: int, limit: float | None) -> str:
    """Whether samples are copies."""
    number = f"{copied} of the samples {'is' if copied == 1 else 'are'}" if copied else "None is"
    if limit is None:
        return (
            f"{number} identical to a training sample; how close others may come by chance cannot be told from these "
            "held-out samples."
        )
    chance = f"the limit {limit:.3f}, below which at most one set of 100 has a sample by chance"
    return f"{number} closer to a training sample than {chance}{': probably copied' * bool(copied)}."


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
