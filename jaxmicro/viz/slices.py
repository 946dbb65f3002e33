"""Figures of planes: of a volume beside its micrograph, of designs, concentrations, samples, and segmentations."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Integer, Shaped
from matplotlib import rc_context
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from jaxmicro.phases import phase_names
from jaxmicro.viz.style import (
    INK,
    STYLE,
    legend_columns,
    new_figure,
    phase_colours,
    phase_legend,
    scale_bar,
    show_labels,
)

_FEW = 4.0  # inches across a figure of few samples
_DEPTHS = (0.25, 0.5, 0.75)
_IN_PLANE = (("x", "y"), ("x", "z"), ("y", "z"))  # horizontal and vertical direction of the planes normal to z, y, x


@rc_context(STYLE)
def slice_panel(
    volume: Integer[np.ndarray, "z y x"],
    *,
    micrograph: Integer[np.ndarray, "h w"] | None = None,
    phases: int | None = None,
    voxel_size: float | int | None = None,
    unit: str | None = None,
    depths: Sequence[float] = _DEPTHS,
    names: Sequence[str] | None = None,
) -> Figure:
    """Planes of a volume normal to z, y and x, beside crops of the micrograph at the same scale.

    Args:
        volume: phase labels.
        micrograph: labels of its micrograph; a crop of the size of a plane is drawn beside each row of planes.
        phases: number of phases; by default the largest label + 1.
        voxel_size: edge of a voxel in `unit`; None: the scale bar is in voxels.
        unit: "nm", "um", ...
        depths: one row of planes for each relative depth, 0..1.
        names: names of the phases for the legend.
    Returns:
        a figure with one row per depth.
    """
    phases = phases or 1 + int(max(volume.max(), 0 if micrograph is None else micrograph.max()))
    columns = 3 + (micrograph is not None)
    aspect = np.max([(volume.shape[1] / volume.shape[2]), (volume.shape[0] / volume.shape[2])])
    figure = new_figure(2.5 * columns, 2.5 * aspect * len(depths) + 0.75)
    grid = figure.subplots(len(depths), columns, squeeze=False)
    for row, depth in zip(grid, depths, strict=True):
        axes = list(row)
        if micrograph is not None:
            show_labels(axes[0], _crop(micrograph, volume.shape, depth), phases)
            scale_bar(axes[0], min(volume.shape[2], micrograph.shape[1]), voxel_size, unit)
        for axis, ax in enumerate(axes[-3:]):
            _plane(ax, volume, axis, depth, phases)
            if micrograph is None and axis == 0:
                scale_bar(ax, volume.shape[2], voxel_size, unit)
    titles = ["micrograph (crop)"] * (columns - 3) + [f"plane normal to {a}" for a in "zyx"]
    for ax, title in zip(grid[0], titles, strict=True):
        ax.set_title(title)
    phase_legend(figure, phases, _with_fractions(volume, phases, names))
    return figure


@rc_context(STYLE)
def design_panel(
    before: Integer[np.ndarray, "z y x"],
    after: Integer[np.ndarray, "z y x"],
    targets: Sequence[tuple[str, float, float, float]],
    *,
    phases: int,
    voxel_size: float | int | None = None,
    unit: str | None = None,
    names: Sequence[str] | None = None,
) -> Figure:
    """The middle planes of a reconstruction and of its design, and the values of the targets.

    Args:
        before, after: labels of the reconstruction and of the design.
        targets: name with unit, value before, target value (NaN: none), value of the design.
        phases, voxel_size, unit, names: as in `slice_panel`.
    Returns:
        a figure with two rows of planes, and one bar chart for each target on the right.
    """
    figure = new_figure(7.5 + 2.2 * len(targets), 5.9)
    grid = figure.add_gridspec(2, 3 + len(targets))
    for row, (title, volume) in enumerate([("reconstruction", before), ("design", after)]):
        for axis in range(3):
            ax = figure.add_subplot(grid[row, axis])
            _plane(ax, volume, axis, 0.5, phases)
            ax.set_title(f"{title}, normal to {'zyx'[axis]}", fontsize=9.5)
            if axis == 0:
                scale_bar(ax, volume.shape[2], voxel_size, unit)
    for column, (name, first, target, achieved) in enumerate(targets):
        ax = figure.add_subplot(grid[:, 3 + column])
        heights = [value if np.isfinite(value) else 0.0 for value in (first, achieved)]
        bars = ax.bar(["before", "design"], heights, color=["0.75", INK], width=0.6)
        ax.bar_label(bars, labels=[f"{first:.3g}", f"{achieved:.3g}"])
        if np.isfinite(target):
            ax.axhline(target, color="crimson", linewidth=1.2, label=f"target {target:.3g}")
            ax.legend(loc="upper left", frameon=False)
        ax.set_ylabel(name)
        ax.set_ylim(0, 1.25 * np.nanmax([*heights, target]) or None)
    phase_legend(figure, phases, _with_fractions(after, phases, names))
    return figure


@rc_context(STYLE)
def section_distributions(
    panels: Sequence[tuple[str, Shaped[np.ndarray, " c"], Shaped[np.ndarray, " n"], Shaped[np.ndarray, " n"], float]],
) -> Figure:
    """Histograms of quantities over sections before and after a design, and over crops of the micrograph.

    Args:
        panels: name of the quantity, its values in crops of the micrograph, in sections of the reconstructions, in
            sections of the designs, and the target of its mean.
    Returns:
        a figure with one panel for each quantity.
    """
    figure = new_figure(3.6 * len(panels) + 0.4, 2.9)
    for ax, (name, crops, before, after, target) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
    ):
        every = np.concatenate([crops, before, after, [target]])
        bins = np.linspace(every.min(), every.max(), 41)
        groups = [("crops of the micrograph", crops, "0.75"), ("reconstructions", before, "tab:blue"),
                  ("designs", after, INK)]  # fmt: skip
        for label, values, colour in groups:
            filled = label.startswith("crops")
            ax.hist(values, bins, density=True, histtype="stepfilled" if filled else "step", color=colour, label=label)
        ax.axvline(target, color="crimson", linewidth=1.2, label=f"wanted mean {target:.3g}")
        ax.set(xlabel=name, yticks=[], ylabel="density", ylim=(0, 1.45 * ax.get_ylim()[1]))  # room for the legend
        ax.legend(frameon=False, fontsize="x-small")
    return figure


@rc_context(STYLE)
def concentration_panel(
    fields: Mapping[str, Shaped[np.ndarray, "*grid"]],
    phase: Shaped[np.ndarray, "*grid"],
    *,
    voxel_size: float | int | None = None,
    unit: str | None = None,
) -> Figure:
    """Steady concentration in one phase; of a volume in its middle plane or, if fewer than half of the mean number of
    pixels per plane conduct there, in the plane with the most.

    Args:
        fields: direction of the flux ("z", "y" or "x") -> concentration from 1 to 0, NaN where nothing conducts.
        phase: indicator of the phase; its parts that do not conduct are drawn in dark grey.
        voxel_size, unit: as in `slice_panel`.
    Returns:
        a figure with one panel per field; the flux runs from top to bottom.
    """
    figure = new_figure(2.7 * len(fields) + 0.6, 3.3)
    panels = figure.subplots(1, len(fields), squeeze=False)[0]
    for ax, (name, field) in zip(panels, fields.items(), strict=True):
        axis = "zyx"[-field.ndim :].index(name)
        across = field.ndim - 1 if axis != field.ndim - 1 else field.ndim - 2
        planes, solid = (np.moveaxis(grid, (axis, across), (0, 1)) for grid in (field, ~phase.astype(bool)))
        title = f"flux along {name}"
        if planes.ndim == 3:
            conducting = np.isfinite(planes).sum(axis=(0, 1))
            middle = planes.shape[2] // 2
            shown = middle if 2 * conducting[middle] >= conducting.mean() else int(conducting.argmax())
            planes, solid = planes[..., shown], solid[..., shown]
            title += f" (down),\nplane {'zyx'[({0, 1, 2} - {axis, across}).pop()]} = {shown}"
        ax.imshow(np.where(solid, 0.85, 0.6), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        ax.imshow(planes, cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
        ax.set(xticks=[], yticks=[], title=title)
        scale_bar(ax, planes.shape[1], voxel_size, unit)
    colours = ScalarMappable(Normalize(0, 1), "viridis")
    figure.colorbar(colours, ax=list(panels), label="concentration (dark grey: cut off)", shrink=0.8)
    return figure


@rc_context(STYLE)
def sample_grid(
    images: Integer[np.ndarray, "n h w"],
    phases: int,
    *,
    columns: int = 8,
    width: float = 1.3,
    title: str | None = None,
    voxel_size: float | int | None = None,
    unit: str | None = None,
    whole: Integer[np.ndarray, "n ..."] | None = None,
) -> Figure:
    """Grid of small images of phases, such as samples during training, with scale bar and legend.

    Args:
        images: phase labels, 0 to `phases` - 1.
        columns: images in a row.
        width: of each in inches; few images are wider, so that the legend has room.
        voxel_size, unit: as in `slice_panel`.
        whole: labels of the samples that the images are sections of, whose fractions the legend states; None: of these.
    """
    columns = min(columns, len(images))
    rows, aspect = -(-len(images) // columns), images.shape[1] / images.shape[2]
    width = max(width, _FEW / columns / max(1.0, aspect))
    legend, across = _with_fractions(images if whole is None else whole, phases, None), max(width * columns, _FEW)
    below = 0.3 + 0.2 * -(-phases // legend_columns(legend, across))
    figure = new_figure(across, width * rows * aspect + below + (0.3 if title else 0.0))
    grid = figure.subplots(rows, columns, squeeze=False)
    for ax in grid.ravel()[len(images) :]:
        ax.set_axis_off()
    for ax, image in zip(grid.ravel(), images, strict=False):
        show_labels(ax, image, phases)
    scale_bar(grid[0, 0], images.shape[2], voxel_size, unit, inches=width)
    phase_legend(figure, phases, legend)
    if title:
        figure.suptitle(title)
    return figure


@rc_context(STYLE)
def segmentation_check(
    grey: Shaped[np.ndarray, "h w"],
    labels: Integer[np.ndarray, "h w"],
    thresholds: Sequence[float | int],
    *,
    voxel_size: float | int | None = None,
    unit: str | None = None,
) -> Figure:
    """The grey image, its histogram with the thresholds, and the resulting phases, for a visual check.

    Args:
        grey: grey levels.
        labels: phase of each pixel.
        thresholds: grey levels between the phases, in order.
        voxel_size: edge of a pixel in `unit`.
        unit: "nm", "um", ...
    """
    phases = len(thresholds) + 1
    figure = new_figure(12, 4.2)
    left, middle, right = figure.subplots(1, 3)
    left.imshow(grey, cmap="gray", interpolation="nearest", extent=(0, grey.shape[1], grey.shape[0], 0))
    left.set(title="grey image", xticks=[], yticks=[])
    scale_bar(left, grey.shape[1], voxel_size, unit)
    counts, edges = np.histogram(grey, bins=_grey_bins(grey))
    centres = (edges[1:] + edges[:-1]) / 2
    phase_of_bin = np.searchsorted(thresholds, centres)
    for p, colour in enumerate(phase_colours(phases)):
        chosen = phase_of_bin == p
        middle.bar(centres[chosen], counts[chosen], width=np.diff(edges)[chosen], color=colour)
    for threshold in thresholds:
        middle.axvline(threshold, color=INK, linewidth=1, linestyle="--")
        middle.text(threshold, 1.0, f" {threshold:.4g}", transform=middle.get_xaxis_transform(), va="top", fontsize=9)
    middle.set(title="histogram and thresholds", xlabel="grey level", ylabel="pixels")
    show_labels(right, labels, phases)
    right.set_title("phases")
    phase_legend(figure, phases, _with_fractions(labels, phases, None))
    return figure


def _grey_bins(grey: Shaped[np.ndarray, "h w"]) -> np.ndarray:
    """Edges of at most 257 bins, each of which covers the same number of the possible grey levels.

    Bins whose width is not a multiple of the spacing of levels differ by one level, which shows as spikes and gaps.
    """
    levels = np.unique(grey)
    exact = max(abs(float(levels[0])), abs(float(levels[-1]))) < 2**53  # integers exact in float64, the type of edges
    if len(levels) == 1 or not exact or np.any(levels != np.round(levels)):
        return np.histogram_bin_edges(grey, bins=min(256, len(levels)))
    levels = levels.astype(np.int64)
    step = int(np.gcd.reduce(np.diff(levels)))  # spacing of the levels: 257 for 8 bits scaled to 16
    width = step * -(-(int(levels[-1] - levels[0]) // step + 1) // 256)
    return np.arange(levels[0] - step / 2, levels[-1] + width, width)


def _plane(ax, volume: np.ndarray, axis: int, depth: float, phases: int) -> None:
    index = min(int(depth * volume.shape[axis]), volume.shape[axis] - 1)
    show_labels(ax, np.take(volume, index, axis=axis), phases)
    across, down = _IN_PLANE[axis]
    ax.set_xlabel(f"{across} →", fontsize=8, labelpad=1)
    ax.set_ylabel(f"← {down}", fontsize=8, labelpad=1)
    ax.text(
        0.97, 0.97, f"{'zyx'[axis]} = {index}", transform=ax.transAxes, ha="right", va="top", fontsize=8,
        bbox={"facecolor": "white", "alpha": 0.85, "linewidth": 0, "pad": 1.5},
    )  # fmt: skip


def _crop(image: np.ndarray, shape: tuple[int, ...], depth: float) -> np.ndarray:
    h, w = min(shape[1], image.shape[0]), min(shape[2], image.shape[1])
    top, left = int(depth * (image.shape[0] - h)), int((1 - depth) * (image.shape[1] - w))
    return image[top : top + h, left : left + w]


def _with_fractions(labels: np.ndarray, phases: int, names: Sequence[str] | None) -> list[str]:
    shares = np.bincount(labels.ravel(), minlength=phases) / labels.size
    return [f"{name} ({100 * share:.1f} %)" for name, share in zip(phase_names(phases, names), shares, strict=True)]
