"""Figures of generated samples: what was asked against what was measured, and the process that would make them."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from jaxtyping import Float
from matplotlib import rc_context
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from jaxmicro.viz.style import INK, STYLE, new_figure

_BAND = "#e8e8e8"
_DATA, _ASKED = "#004488", "#BB5566"
_COLUMNS = 4
_STEPS = [1, 2, 2.5, 5, 10]  # of ticks
_LEAST_WIDTH = 5.6  # inches of the title


@rc_context(STYLE)
def asked_and_measured(
    measured: Mapping[str, Float[np.ndarray, " n"]], asked: Mapping[str, float], ranges: Mapping[str, tuple]
) -> Figure:
    """Each measured feature of all samples as a strip, with the value that was asked.

    Args:
        measured: values by the name of the feature; infinite ones are stated in the title.
        asked: targets by name; features without one have no line.
        ranges: of the values in training; a grey band, which the axis contains.
    """
    columns = min(_COLUMNS, len(measured))
    rows = -(-len(measured) // columns)
    across = max(2.6 * columns, _LEAST_WIDTH)
    figure = new_figure(across, 1.5 * rows + 0.4)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(measured) :]:
        ax.set_axis_off()
    for ax, (name, values) in zip(axes, measured.items(), strict=False):
        finite = values[np.isfinite(values)]
        if not len(finite):
            ax.set_axis_off()
            ax.set_title(f"{name} (none connected)", fontsize=9)
            continue
        offset = np.linspace(-0.25, 0.25, len(finite)) if len(finite) > 1 else np.zeros(len(finite))
        ax.plot(finite, offset, "o", color=_DATA, markersize=4, alpha=0.6, linewidth=0, clip_on=False)
        if name in asked and np.isfinite(asked[name]):
            ax.axvline(asked[name], color=_ASKED, linestyle="--", linewidth=1.5)
        least, most = ranges.get(name, (np.nan, np.nan))
        if np.isfinite([least, most]).all() and least < most:
            ax.axvspan(least, most, color=_BAND, linewidth=0, zorder=0)
            ends = [least, most, *finite.tolist(), *(x for x in [asked.get(name)] if x is not None and np.isfinite(x))]
            margin = 0.03 * (max(ends) - min(ends))  # so that points at the ends are whole
            ax.set_xlim(min(ends) - margin, max(ends) + margin)
        blocked = len(values) - len(finite)
        ax.set_title(name + (f" ({blocked} not connected)" if blocked else ""), fontsize=9)
        ax.set(yticks=[], ylim=(-1, 1))
        ax.xaxis.set_major_locator(MaxNLocator(5, steps=_STEPS))
        ax.spines["left"].set_visible(False)
        ax.tick_params(labelsize=8)
    figure.suptitle("blue: measured, one point a sample; dashed: asked; grey: 98 of 100 training samples", fontsize=9)
    return figure


@rc_context(STYLE)
def process_distribution(
    draws: Mapping[str, Float[np.ndarray, " s"]],
    scales: Mapping[str, str],
    asked: Mapping[str, float] = MappingProxyType({}),
) -> Figure:
    """Distribution of the process parameters that would make the samples: each by itself and in pairs.

    Args:
        draws: of all samples together, by the name of the parameter.
        scales: "log" where the axis is logarithmic.
        asked: values that were asked, by name; a dashed line.
    """
    names = list(draws)
    figure = new_figure(2.4 * len(names) + 0.4, 2.2 * len(names) + 0.4)
    axes = figure.subplots(len(names), len(names), squeeze=False)
    edges = {name: _edges(draws[name], scales.get(name) == "log") for name in names}
    for i, below in enumerate(names):
        for j, along in enumerate(names):
            ax = axes[i, j]
            if j > i:
                ax.set_axis_off()
                continue
            if i == j:
                ax.hist(draws[along], bins=edges[along], color=_DATA, alpha=0.8)
                if along in asked:
                    ax.axvline(asked[along], color=_ASKED, linestyle="--", linewidth=1.5)
                ax.set_yticks([])
            else:
                ax.hist2d(draws[along], draws[below], bins=[edges[along], edges[below]], cmap="Blues")
            for axis, name in (("x", along), ("y", below)):
                if axis == "y" and i == j:  # counts
                    continue
                if logarithmic := scales.get(name) == "log":
                    getattr(ax, f"set_{axis}scale")("log")
                getattr(ax, f"set_{axis}lim")(edges[name][0], edges[name][-1])
                _plain_ticks(getattr(ax, f"{axis}axis"), edges[name][-1] / edges[name][0] if logarithmic else 1.0)
            if i == len(names) - 1:
                ax.set_xlabel(along)
            if j == 0 and i > 0:
                ax.set_ylabel(below)
            ax.tick_params(labelsize=8, colors=INK)
    return figure


def _plain_ticks(axis: Axis, ratio: float) -> None:
    """At most about five labels, as plain numbers: 1, 2 and 5 of each decade of a logarithmic axis, less over several.

    Args:
        ratio: of the ends of a logarithmic axis, else 1.
    """
    if ratio < 10:
        axis.set_major_locator(MaxNLocator(5, steps=_STEPS))
    else:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if ratio < 100 else (1.0,), numticks=6))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def _edges(values: Float[np.ndarray, " s"], logarithmic: bool) -> np.ndarray:
    low, high = np.quantile(values, [0.001, 0.999])
    if logarithmic and low > 0:
        return np.geomspace(low, max(high, low * 1.001), 41)
    return np.linspace(low, max(high, low + 1e-9), 41)
