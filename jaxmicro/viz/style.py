"""Style of all figures: phase colours, lengths, scale bars, and conversion to PNG.

Figures are made without pyplot: no windows, no global state, the Agg backend only.
"""

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Integer, UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

# P. Tol's high-contrast set, then colours of his bright set: distinguishable by colour-blind readers and of increasing
# lightness, so that the order of phases is visible in a grey print.
_COLOURS = ("#004488", "#BB5566", "#DDAA33", "#66CCEE", "#228833", "#AA3377", "#CCBB44", "#BBBBBB")
_TWO_COLOURS = ("#004488", "#DDAA33")
INK = "#222222"
_LETTER, _SMALL_LETTER = 0.075, 0.068  # inches of a letter of 9 and of 8 points, on the average of a text
_NEXT = {"nm": "µm", "µm": "mm", "mm": "m"}  # a thousand times larger

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "white",
    "lines.linewidth": 2.0,
}


def phase_colours(phases: int) -> list[str]:
    """Colour of each phase, the same in all figures; colours repeat beyond eight phases.

    >>> phase_colours(2)
    ['#004488', '#DDAA33']
    """
    if phases == 2:
        return list(_TWO_COLOURS)
    return [_COLOURS[p % len(_COLOURS)] for p in range(phases)]


def paint(labels: Integer[np.ndarray, "*grid"], phases: int) -> Float[np.ndarray, "*grid 3"]:
    """Red, green, blue (0..1) of each voxel.

    >>> paint(np.array([0]), 2).round(2).tolist()
    [[0.0, 0.27, 0.53]]
    """
    return np.array([to_rgb(c) for c in phase_colours(phases)])[labels]


def new_figure(width: float | int, height: float | int) -> Figure:
    """Empty figure of a width and height in inches, with constrained layout."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure, *, dpi: int = 150) -> bytes:
    """The figure as the content of a PNG file; `dpi` dots per inch."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def pixels(figure: Figure, *, dpi: int = 100) -> UInt8[np.ndarray, "h w 4"]:
    """The figure as an array of red, green, blue, alpha."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())


def length_unit(voxel_size: float | int | None, unit: str | None) -> tuple[float, str]:
    """Length of a voxel edge and its unit as an axis shows it; (1, "voxels") when unknown.

    >>> length_unit(0.5, "um"), length_unit(None, None)
    ((0.5, 'µm'), (1.0, 'voxels'))
    """
    if voxel_size is None:
        return 1.0, "voxels"
    return float(voxel_size), {"um": "µm", "micron": "µm", "A": "Å", None: "units"}.get(unit, str(unit))


def length_text(length: float | int, unit: str) -> str:
    """A length as text with three digits, in the next larger unit from 1000 on.

    >>> length_text(4160.0, "nm"), length_text(64.0, "voxels")
    ('4.16 µm', '64 voxels')
    """
    while length >= 1000 and unit in _NEXT:
        length, unit = length / 1000, _NEXT[unit]
    return f"{length:.3g} {unit}" if length < 1000 else f"{length:.0f} {unit}"


def round_length(length: float | int) -> float:
    """The largest of 1, 2, 5 times a power of ten that is not above `length`.

    >>> round_length(37.0), round_length(0.6)
    (20.0, 0.5)
    """
    decade = 10.0 ** math.floor(math.log10(length) + 1e-9)
    return max(step * decade for step in (1, 2, 5) if step * decade <= length * (1 + 1e-9))


def scale_bar(ax: Axes, width: int, voxel_size: float | int | None, unit: str | None, *, inches: float = 2.5) -> None:
    """Draws a scale bar in the lower left corner of an image of `width` pixels and, on the page, `inches` inches."""
    share = width * min(1.0, 2.5 / inches)  # the bar of an image wider than 2.5 inches is no longer on the page
    edge, name = length_unit(voxel_size, unit)
    length = round_length(share * edge / 3)
    bar, height, margin = length / edge, ax.get_ylim()[0], share * 0.04
    text = length_text(length, name)
    across = max(bar, _SMALL_LETTER * len(text) * width / inches)  # of a short bar the text is longer
    box, middle = (margin, height - margin - share * 0.14), 2 * margin + across / 2
    ax.add_patch(Rectangle(box, across + 2 * margin, share * 0.14, facecolor="white", alpha=0.85, linewidth=0))
    ax.add_patch(Rectangle((middle - bar / 2, box[1] + share * 0.105), bar, share * 0.018, facecolor=INK, linewidth=0))
    ax.text(
        middle,
        box[1] + share * 0.09,
        text,
        ha="center",
        va="bottom",
        fontsize=8,
    )


def show_labels(ax: Axes, labels: Integer[np.ndarray, "h w"], phases: int) -> None:
    """Draws an image of phases without interpolation and ticks in a thin frame; row 0 is at the top."""
    ax.imshow(paint(labels, phases), interpolation="nearest", extent=(0, labels.shape[1], labels.shape[0], 0))
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set(visible=True, color=INK, linewidth=0.8)


def legend_columns(labels: Sequence[str], across: float) -> int:
    """Columns of the legend of phases in a figure `across` inches wide."""
    return max(1, min(len(labels), 4, int(across / (0.5 + _LETTER * max(map(len, labels))))))


def phase_legend(figure: Figure, phases: int, labels: Sequence[str]) -> None:
    """Adds a legend of the phase colours below the figure, in as many columns as its width has room for."""
    columns = legend_columns(labels, figure.get_figwidth())
    handles = [
        Patch(facecolor=c, edgecolor=INK, linewidth=0.5, label=label)
        for c, label in zip(phase_colours(phases), labels, strict=True)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, handlelength=1.2, handleheight=1.0)
