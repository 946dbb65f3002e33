"""Figures of an evaluation report: correlation functions, directions, errors, memorisation.

All take the dictionary that `evaluate.compare` or `pipeline.evaluate` returns; only the latter has the lags of S2.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxmicro.phases import phase_names
from jaxmicro.viz.style import INK, STYLE, length_unit, new_figure, phase_colours

_FUNCTIONS = (("two_point", "two-point correlation $S_2(r)$"), ("lineal_path", "lineal path $L(r)$"))
_DASHES = {"z": "-", "y": "--", "x": ":"}
_MEASURES = (
    ("two_point", "$S_2$ error rate"),
    ("lineal_path", "lineal path error rate"),
    ("surface_area", "surface area error"),
    ("volume_fraction", "volume fraction error"),
)


@rc_context(STYLE)
def correlation_curves(report: dict, *, names: Sequence[str] | None = None) -> Figure:
    """S2 and lineal path of the planes of the volumes and of the micrograph, one column per phase.

    Coloured bands are one standard deviation between the volumes, grey bands one between crops of the micrograph.
    """
    return _curve_grid(report, report["phases"], report["reference"]["shape"], names, "volumes", None, "two_point")


@rc_context(STYLE)
def true_volume_curves(report: dict, *, names: Sequence[str] | None = None) -> Figure:
    """S2 and lineal path in 3D of the volumes and of the true volume; the grey band is the range of its sub-volumes."""
    truth = report["true_volume"]
    return _curve_grid(report, truth["phases"], truth["shape"], names, "volumes, 3D", "yardstick", "two_point_3d")


@rc_context(STYLE)
def direction_curves(report: dict, *, names: Sequence[str] | None = None) -> Figure:
    """S2 and lineal path along z, y and x of the volumes, and along y and x of the micrograph, to check isotropy."""
    r, unit = _distances(report, "two_point_along")
    phases = report["phases"]
    figure, grid = _grid(len(phases), unit)
    for p, (column, colour) in enumerate(zip(grid.T, phase_colours(len(phases)), strict=True)):
        column[0].set_title(phase_names(len(phases), names)[p])
        for ax, (name, _) in zip(column, _FUNCTIONS, strict=True):
            curve = phases[p][name]
            for axis, values in curve["reference_directions"].items():
                ax.plot(r, values, color=INK, linestyle=_DASHES[axis], linewidth=1.2, label=f"micrograph, {axis}")
            for axis, values in curve["directions"].items():
                ax.plot(r, values, color=colour, linestyle=_DASHES[axis], label=f"volumes, {axis}")
    _finish(figure, grid)
    return figure


@rc_context(STYLE)
def error_summary(report: dict, *, names: Sequence[str] | None = None) -> Figure:
    """Errors against the micrograph for each phase: bars for the mean of the volumes, dots for single volumes."""
    phases = report["phases"]
    labels, colours = phase_names(len(phases), names), phase_colours(len(phases))
    figure = new_figure(2.9 * len(_MEASURES), 3.2)
    for ax, (name, title) in zip(figure.subplots(1, len(_MEASURES)), _MEASURES, strict=True):
        for p, phase in enumerate(phases):
            mean, each = _errors(phase[name])
            ax.bar(p, mean, color=colours[p], width=0.62, zorder=1)
            offsets = np.linspace(-0.2, 0.2, len(each)) if len(each) > 1 else np.zeros(1)
            ax.scatter(p + offsets, each, s=14, facecolor="white", edgecolor=INK, linewidth=0.8, zorder=3)
            _known_line(ax, p, report, name, phase["volume_fraction"]["reference"])
        ax.set(title=title, ylabel="percent" if name == "two_point" else "", xticks=range(len(phases)))
        ax.set_xticklabels(
            [f"{label}\n{_errors(phase[name])[0]:.2g} %" for label, phase in zip(labels, phases, strict=True)]
        )
        ax.set_ylim(0, max(1.0, ax.get_ylim()[1]))
    handles = [
        figure.axes[0].scatter([], [], s=14, facecolor="white", edgecolor=INK, label="each volume"),
    ]
    if report.get("representativity"):
        handles += figure.axes[0].plot([], [], color=INK, linestyle="--", label="known from the micrograph (9 of 10)")
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


@rc_context(STYLE)
def memorisation_figure(report: dict) -> Figure:
    """Distances of generated patches to their nearest crop of the micrograph, and those within the micrograph."""
    memory = report["memorisation"]
    figure = new_figure(8, 3.0)
    ax = figure.subplots()
    groups = (
        ("generated planes", memory["generated"], "#BB5566"),
        ("micrograph against itself", memory["micrograph"], INK),
    )
    for row, (_, distances, colour) in enumerate(groups):
        offset = 0.12 * np.sin(2.4 * np.arange(len(distances)))  # vertical, so that equal distances do not overlap
        ax.scatter(distances, row + offset, s=26, color=colour, alpha=0.8, linewidth=0)
    ax.axvline(memory["limit"], color=INK, linestyle="--", linewidth=1,
               label=f"limit {memory['limit']:.2g}: closer patches count as copies; of 100 volumes that copy nothing, "
               "at most one has a patch below it")  # fmt: skip
    largest = max(1.0, *memory["generated"], *memory["micrograph"])
    # so that marks at 0 and 1 are not clipped
    ax.set(yticks=[0, 1], ylim=(1.5, -0.5), xlim=(-0.02 * largest, 1.02 * largest))
    figure.legend(loc="outside lower center")
    ax.set_yticklabels([name for name, _, _ in groups])
    ax.set_xlabel("distance to the nearest crop of the micrograph (0: copy, 1: no likeness)")
    return figure


def _curve_grid(
    report: dict,
    phases: list[dict],
    shape: list[int],
    names: Sequence[str] | None,
    label: str,
    band: str | None,
    lags: str,
) -> Figure:
    """Figure of S2 and lineal path, one column per phase.

    Args:
        shape: of the micrograph or true volume.
        label: of the curves of the volumes.
        band: key of the sub-volumes whose range is drawn; None: the standard deviation between crops.
        lags: key in report["lags"] of the distances of S2.
    """
    distances = {"two_point": _distances(report, lags)[0], "lineal_path": _distances(report, "lineal_path")[0]}
    unit = _distances(report, lags)[1]
    count = report["volumes"]
    original = ("micrograph " if len(shape) == 2 else "true volume ") + " x ".join(map(str, shape))
    figure, grid = _grid(len(phases), unit)
    for p, (column, colour) in enumerate(zip(grid.T, phase_colours(len(phases)), strict=True)):
        column[0].set_title(phase_names(len(phases), names)[p])
        for ax, (name, _) in zip(column, _FUNCTIONS, strict=True):
            r, curve = distances[name], phases[p][name]
            _reference_band(ax, r, curve, phases[p], name, band, report["reference"].get("crop"))
            mean, spread = np.array(curve["mean"]), np.array(curve["std"])
            ax.fill_between(r, mean - spread, mean + spread, color=colour, alpha=0.3, linewidth=0)
            ax.plot(
                r,
                mean,
                color=colour,
                linewidth=2.6,
                label=f"{count} {label}" if count > 1 else label.replace("volumes", "volume"),
            )
            ax.plot(r, curve["reference"], color=INK, linestyle=(0, (4, 2)), linewidth=1.5, label=original)
            note = f"error rate {curve['error_rate']:.2g} %"
            if "shape_error" in curve:
                note += f", shape error {curve['shape_error']:.2g}"
            ax.set_title(f"{ax.get_title()}\n{note}" if ax.get_title() else note, fontsize=9.5)
    _finish(figure, grid)
    return figure


def _reference_band(
    ax: Axes, r: np.ndarray, curve: dict, phase: dict, name: str, band: str | None, crop: int | None
) -> None:
    """Draws the scatter of the reference: between sub-volumes of the true volume, or crops of the micrograph."""
    if band and phase.get(band):
        parts = np.array(phase[band][name]["volumes"])
        ax.fill_between(r, parts.min(0), parts.max(0), color="0.8", linewidth=0, label="its sub-volumes (range)")
    elif not band and curve.get("reference_crops_std"):
        centre, scatter = np.array(curve["reference"]), np.array(curve["reference_crops_std"])
        ax.fill_between(r, np.maximum(centre - scatter, 0), centre + scatter, color="0.88", linewidth=0,
                        label=f"its {crop} x {crop} crops (1 sd)")  # fmt: skip


def _grid(phases: int, unit: str) -> tuple[Figure, np.ndarray]:
    figure = new_figure(max(3.6 * phases, 6), 6.2)
    grid = figure.subplots(2, phases, squeeze=False, sharex=True)
    for row, (_, label) in zip(grid, _FUNCTIONS, strict=True):
        row[0].set_ylabel(label)
        for ax in row:
            ax.margins(x=0)
    for ax in grid[-1]:
        ax.set_xlabel(f"distance $r$ ({unit})")
    return figure, grid


def _finish(figure: Figure, grid: np.ndarray) -> None:
    for row in grid:  # the same range of ordinates for all phases
        top = max(ax.get_ylim()[1] for ax in row)
        for ax in row:
            ax.set_ylim(0, top)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)


def _distances(report: dict, lags: str) -> tuple[np.ndarray, str]:
    """Distances of a curve and their unit; those of radial S2 are the mean distances of its shells (1.21 voxels at
    r = 1)."""
    edge, unit = length_unit(report["voxel_size"], report["unit"])
    return np.array(report.get("lags", {}).get(lags, report["r"])) * edge, unit


def _errors(measure: dict) -> tuple[float, list[float]]:
    if "error_rate" in measure:
        return measure["error_rate"], measure["error_rate_volumes"]
    if not measure["reference"]:
        return 0.0, []
    return measure["error_percent"], [100 * abs(v / measure["reference"] - 1) for v in measure["volumes"]]


def _known_line(ax: Axes, p: int, report: dict, name: str, reference: float | None) -> None:
    """Draws the 90 % quantile of the error of the micrograph in percent; that of a volume fraction is absolute and
    divided by the reference."""
    if not report.get("representativity"):
        return
    known = report["representativity"][p]["error_90"][name]
    if name == "volume_fraction":
        known = 100 * known / reference if reference else 0.0
    ax.plot([p - 0.4, p + 0.4], [known] * 2, color=INK, linestyle="--", linewidth=1.2, zorder=2)
