"""Figures: arrays and reports in, matplotlib figures out; `png` turns a figure into the content of a file."""

from jaxmicro.viz.curves import (
    correlation_curves,
    direction_curves,
    error_summary,
    memorisation_figure,
    true_volume_curves,
)
from jaxmicro.viz.evolution import evolution_panel, film_frames, parameter_panel
from jaxmicro.viz.generated import asked_and_measured, process_distribution
from jaxmicro.viz.maps import slice_map
from jaxmicro.viz.rendering import cube_image, surface_image, volume_rendering
from jaxmicro.viz.slices import (
    concentration_panel,
    design_panel,
    sample_grid,
    section_distributions,
    segmentation_check,
    slice_panel,
)
from jaxmicro.viz.style import paint, phase_colours, pixels, png
from jaxmicro.viz.training import training_curves

__all__ = [
    "asked_and_measured",
    "concentration_panel",
    "correlation_curves",
    "cube_image",
    "design_panel",
    "direction_curves",
    "error_summary",
    "evolution_panel",
    "film_frames",
    "memorisation_figure",
    "paint",
    "parameter_panel",
    "phase_colours",
    "pixels",
    "png",
    "process_distribution",
    "sample_grid",
    "section_distributions",
    "segmentation_check",
    "slice_map",
    "slice_panel",
    "surface_image",
    "training_curves",
    "true_volume_curves",
    "volume_rendering",
]
