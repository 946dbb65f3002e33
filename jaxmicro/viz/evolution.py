"""Figures of simulated phase separation: one run over time, the parameters of all runs, and the frames of a film."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from jaxmicro.viz.style import INK, STYLE, length_unit, new_figure, phase_colours, pixels, scale_bar

_POOR, _RICH = phase_colours(2)
COMPOSITION = LinearSegmentedColormap.from_list("composition", [_POOR, "#F4F1E8", _RICH])
_SHOWN = 5  # snapshots of a run side by side
_LINE = "#BB5566"


@rc_context(STYLE)
def evolution_panel(
    film: Float[np.ndarray, "t h w"],
    times: Float[np.ndarray, " t"],
    energy: Float[np.ndarray, " t"],
    domain: Float[np.ndarray, " t"],
    *,
    title: str = "",
    voxel_size: float | None = None,
    unit: str | None = None,
) -> Figure:
    """One run: composition at a few times, and over time its free energy and the size of its domains.

    Args:
        film: composition in a plane.
        times: of the snapshots.
        energy: free energy.
        domain: size of the domains, voxels.
        title: names the run.
        voxel_size: edge of a voxel in `unit`; None: lengths are in voxels.
        unit: "nm", "um", ...
    """
    chosen = np.unique(np.linspace(0, len(times) - 1, _SHOWN).round().astype(int))
    high = min(max(2.1 * film.shape[1] / film.shape[2], 0.8), 4.0)
    figure = new_figure(10.5, 2.9 + high + 0.5)
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=[high + 0.6, 2.8])[:, 0]
    row = above.subplots(1, len(chosen), squeeze=False)[0]
    limits = _limits(film)
    for ax, number in zip(row, chosen, strict=True):
        _show(ax, film[number], limits)
        ax.set_title(f"t = {_number(float(times[number]))}")
    scale_bar(row[0], film.shape[2], voxel_size, unit, inches=10.0 / len(chosen))
    _colour_bar(above, list(row), limits)
    left, right = below.subplots(1, 2)
    edge, length = length_unit(voxel_size, unit)
    for ax, values, label in ((left, energy, "free energy $F$"), (right, domain * edge, f"domain size ({length})")):
        _curve(ax, times, values, label)
        ax.plot(times[chosen], np.asarray(values)[chosen], "o", color=_LINE, markersize=5)
    if title:
        figure.suptitle(title)
    return figure


@rc_context(STYLE)
def parameter_panel(
    names: Sequence[str],
    parameters: Float[np.ndarray, "r f"],
    times: Float[np.ndarray, "r t"],
    *,
    drawn: int,
    spinodal: tuple[Float[np.ndarray, " s"], Float[np.ndarray, " s"]] | None = None,
) -> Figure:
    """The parameters of all runs, and the times of their snapshots.

    Args:
        names: of the parameters.
        parameters: of each run.
        times: of the snapshots of each run.
        drawn: the run of the other figures, marked.
        spinodal: first and second parameter along the line that bounds what separates.
    """
    figure = new_figure(9.0, 3.8)
    left, right = figure.subplots(1, 2)
    last = parameters[:, 1] if parameters.shape[1] > 1 else np.arange(len(parameters))
    name = names[1] if parameters.shape[1] > 1 else "run"
    if spinodal is not None:
        left.plot(*spinodal, color="0.6", linestyle="--", linewidth=1.2, label="spinodal", scalex=False, scaley=False)
    left.plot(parameters[:, 0], last, "o", color=_POOR, markersize=4.5, label=f"{len(parameters)} runs")
    left.plot(parameters[drawn, 0], last[drawn], "o", color=_LINE, markersize=8, label=f"run {drawn}")
    shown = [parameters[:, 0], last]
    if spinodal is not None:  # so that it is seen how far the runs are from what does not separate
        near = (spinodal[0] >= parameters[:, 0].min()) & (spinodal[0] <= parameters[:, 0].max())
        shown[1] = np.append(last, spinodal[1][near])
    for set_limits, values in zip((left.set_xlim, left.set_ylim), shown, strict=True):
        width = float(np.ptp(values)) or abs(float(values[0])) or 1.0
        set_limits(values.min() - 0.12 * width, values.max() + 0.12 * width)
    left.set(xlabel=_symbol(names[0]), ylabel=_symbol(name))
    left.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    order = np.argsort(times[:, 0])
    for height, run in enumerate(order):
        marked = run == drawn
        right.plot(times[run], np.full(times.shape[1], height), "|" if times.shape[1] > 1 else "o",
                   color=_LINE if marked else _POOR, markersize=5 if marked else 3, markeredgewidth=0.7)  # fmt: skip
    right.set(xlabel="time $t$", ylabel="runs, by their first snapshot", yticks=[])
    _logarithmic(right, times)
    return figure


@rc_context(STYLE)
def film_frames(
    film: Float[np.ndarray, "t h w"],
    times: Float[np.ndarray, " t"],
    energy: Float[np.ndarray, " t"],
    *,
    title: str = "",
    voxel_size: float | None = None,
    unit: str | None = None,
    dpi: int = 90,
) -> UInt8[np.ndarray, "t height width 3"]:
    """The frames of a film of one run: composition on the left, the free energy up to that time on the right."""
    figure = new_figure(7.0, 3.6)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1])
    limits = _limits(film)
    image = _show(left, film[0], limits)
    scale_bar(left, film.shape[2], voxel_size, unit, inches=3.0)
    _colour_bar(figure, [left], limits)
    _curve(right, times, energy, "free energy $F$")
    right.lines[0].set_color("0.8")
    (line,) = right.plot(times[:1], energy[:1], color=_LINE)
    (dot,) = right.plot(times[:1], energy[:1], "o", color=_LINE, markersize=6)
    heading = figure.suptitle(f"{title}\n")
    frames = []
    for number, time in enumerate(times):
        image.set_data(film[number])
        line.set_data(times[: number + 1], energy[: number + 1])
        dot.set_data(times[number : number + 1], energy[number : number + 1])
        heading.set_text(f"{title}\nt = {_number(time)}")
        frames.append(pixels(figure, dpi=dpi)[..., :3])
        figure.set_layout_engine("none")  # as in the first frame, so that nothing moves
    return np.stack(frames)


def _show(ax: Axes, plane: Float[np.ndarray, "h w"], limits: tuple[float, float]):
    image = ax.imshow(
        plane, cmap=COMPOSITION, vmin=limits[0], vmax=limits[1], interpolation="nearest",
        extent=(0, plane.shape[1], plane.shape[0], 0),
    )  # fmt: skip
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set(visible=True, color=INK, linewidth=0.8)
    return image


def _limits(film: Float[np.ndarray, "t h w"]) -> tuple[float, float]:
    return float(film.min()), float(film.max())


def _colour_bar(figure, axes: list[Axes], limits: tuple[float, float]) -> None:
    colours = ScalarMappable(Normalize(*limits), COMPOSITION)
    figure.colorbar(colours, ax=axes, label=r"composition $\phi$", shrink=0.85, aspect=18, pad=0.02)


def _curve(ax: Axes, times: Float[np.ndarray, " t"], values: Float[np.ndarray, " t"], label: str) -> None:
    ax.plot(times, values, color=_POOR)
    ax.set(xlabel="time $t$", ylabel=label)
    _logarithmic(ax, times)


def _logarithmic(ax: Axes, times: np.ndarray) -> None:
    """A logarithmic axis of times, labelled by plain numbers."""
    ax.set_xscale("log")
    decades = np.log10(times.max() / times.min())
    subs = (1.0,) if decades > 2.5 else (1.0, 2.0, 5.0)
    ax.xaxis.set_major_locator(LogLocator(subs=subs))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _number(x)))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _number(x: float) -> str:
    return f"{x:.3g}" if x < 1000 else f"{x:,.0f}".replace(",", " ")


def _symbol(name: str) -> str:
    return {"phi": r"mean composition $\phi$", "chi": r"interaction parameter $\chi$"}.get(name, name)
