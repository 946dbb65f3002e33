"""The report on generated samples as one self-contained HTML page."""

from collections.abc import Mapping
from html import escape

from jaxmicro.evaluate.html import figure, page, settings, table


def generated_html(record: Mapping, figures: Mapping[str, bytes], *, title: str, config: Mapping | None = None) -> str:
    """One HTML page on generated samples: asked against measured, the process that would make them, figures.

    Args:
        record: "count", "shape", "summary" of each feature and "process" of each parameter, as `jaxmicro generate`
            writes them to generated.json.
        figures, title, config: as `report_html`.
    """
    size = " x ".join(map(str, record["shape"]))
    keys = ("asked", "mean", "standard_deviation", "mean_absolute_error")
    rows = [
        [name, *("-" if of[key] is None else f"{of[key]:.4g}" for key in keys), str(of["not_connected"] or "-")]
        for name, of in record["summary"].items()
    ]
    missing = record["not_measured"]
    head = ["feature", "asked", "mean", "standard deviation", "mean absolute error", "not connected"]
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="lead">{record["count"]} samples of {size}, measured by the code that measures collections.</p>',
        "<h2>Asked and measured</h2>",
        table(head, rows),
        *([f"<p>Asked, but not measured here: {escape(', '.join(missing))}.</p>"] if missing else []),
        *(figure(name, content) for name, content in figures.items()),
    ]
    if record["process"]:
        quantiles = [f"{float(q):.0%}" for q in next(iter(record["process"].values()))["quantiles"]]
        rows = [[name, *(f"{v:.4g}" for v in of["quantiles"].values())] for name, of in record["process"].items()]
        body += [
            "<h2>Process that would make them</h2>",
            "<p>Quantiles over all samples: a structure does not determine its process.</p>",
            table(["parameter", *quantiles], rows),
        ]
    return page(title, [*body, settings(config)])
