"""Maps of slices: points in a plane, coloured by group and by quantity."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib import rc_context
from matplotlib.figure import Figure

from jaxmicro.viz.style import STYLE, new_figure

_GROUPS = ("#BBBBBB", "#004488", "#BB5566", "#DDAA33", "#228833", "#AA3377")


@rc_context(STYLE)
def slice_map(
    points: Float[np.ndarray, "n 2"],
    groups: Mapping[str, slice],
    quantities: Mapping[str, Float[np.ndarray, " n"]],
) -> Figure:
    """Points of slices in a plane (P-MicroLad Fig. 8), coloured by group in the first panel and by one quantity in each
    of the others.

    Args:
        points: result of `evaluate.flat_map`.
        groups: name -> its points; drawn in this order.
        quantities: name -> value of each point.
    Returns:
        a figure with 1 + len(quantities) panels.
    """
    columns = 1 + len(quantities)
    figure = new_figure(3.4 * columns, 3.4)
    first, *others = figure.subplots(1, columns, sharex=True, sharey=True, squeeze=False)[0]
    for colour, (name, part) in zip(_GROUPS, groups.items(), strict=False):
        first.scatter(*points[part].T, s=4, color=colour, label=name, linewidths=0)
    first.legend(markerscale=3)
    for ax, (name, values) in zip(others, quantities.items(), strict=True):
        drawn = ax.scatter(*points.T, s=4, c=values, cmap="viridis", linewidths=0)
        figure.colorbar(drawn, ax=ax, label=name)
    for ax in (first, *others):
        ax.set(xticks=[], yticks=[])
    return figure
