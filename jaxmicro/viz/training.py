"""Learning curves from the records of a training log."""

from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jaxmicro.viz.style import INK, STYLE, new_figure

_COLOURS = {"loss": "#004488", "validation_loss": "#BB5566", "whole_image_loss": "#DDAA33"}
_LABELS = {"validation_loss": "held-out part", "whole_image_loss": "averaged weights, whole image (nothing held out)"}
_UNITS = {
    "cross_entropy": "loss: cross-entropy, nats per pixel\n(mean over all noise levels)",
    "squared_error": "loss: mean squared error of the prediction\n(mean over all noise levels)",
}
_WINDOW = 0.02  # width of the running mean as a share of the records


@rc_context(STYLE)
def training_curves(records: Sequence[dict]) -> Figure:
    """Training loss against step and, where recorded, the loss of the averaged weights on a held-out part or on the
    whole image.

    Args:
        records: rows of a training log; those with "step" and "loss", "validation_loss" or "whole_image_loss" are
            drawn. A key "cross_entropy" or "squared_error" selects the label of the loss.
    Returns:
        a figure; the thin line is the loss of each record, the thick one a running mean.
    """
    figure = new_figure(7, 4)
    ax = figure.subplots()
    lowest, largest, steps = np.inf, 0.0, {record["step"] for record in records if "step" in record}
    for name, colour in _COLOURS.items():
        rows = [(r["step"], r[name]) for r in records if "step" in r and isinstance(r.get(name), int | float)]
        if not rows:
            continue
        step, value = np.array(sorted(rows), float).T
        value = np.where(np.isfinite(value), value, np.nan)
        if name == "loss":
            ax.plot(step, value, color=colour, linewidth=0.8, alpha=0.35)
            alone = "o" if len(step) == 1 else None  # a line needs two points
            ax.plot(step, _running_mean(value), color=colour, marker=alone, markersize=4, label="training")
        else:
            ax.plot(step, value, color=colour, marker="o", markersize=4, label=_LABELS[name])
        if np.isfinite(value).any():
            if len(steps) == 1:
                ax.annotate(f"{value[-1]:.4g}", (step[-1], value[-1]), (8, 0), textcoords="offset points", va="center")
            lowest, largest = min(lowest, np.nanmin(value)), max(largest, np.nanmax(value))
    if lowest < np.inf:
        ax.legend()
    else:
        ax.text(0.5, 0.5, "no loss recorded yet", transform=ax.transAxes, ha="center", color=INK)
    if len(steps) == 1:
        ax.set_xticks(list(steps))
    else:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if 0 < lowest < largest / 5:
        ax.set_yscale("log")
    what = next((text for name, text in _UNITS.items() if any(name in record for record in records)), "loss")
    ax.set(xlabel="step", ylabel=what)
    return figure


def _running_mean(values: np.ndarray) -> np.ndarray:
    """Mean over a window that is narrower at both ends; NaN is ignored."""
    half = int(len(values) * _WINDOW / 2)
    return np.array([np.nanmean(w) if np.isfinite(w).any() else np.nan
                     for w in (values[max(0, i - half) : i + half + 1] for i in range(len(values)))])  # fmt: skip
