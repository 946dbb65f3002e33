"""Descriptors: statistics and curves that characterise a microstructure in 2D or 3D. Lengths are in voxels.

Each function takes one image or volume and one phase; map over slices or volumes with `jax.vmap`. The correlation
functions, volume fraction, surface areas and Euler characteristic are differentiable in soft phases; chords,
clusters and GraSPI's descriptors of a film are counted exactly on the host.
"""

from jaxmicro.descriptors.chord_length import chord_length_distribution, chord_lengths, mean_chord_length
from jaxmicro.descriptors.clusters import label_clusters, spanning, winding
from jaxmicro.descriptors.connectivity import (
    cluster_sizes,
    connected_fraction,
    euler_characteristic,
    euler_density,
    percolating_clusters,
    percolating_fraction,
    percolation,
)
from jaxmicro.descriptors.graspi import GRASPI_THREE_PHASE, GRASPI_TWO_PHASE, graspi_descriptors
from jaxmicro.descriptors.lineal_path import lineal_path
from jaxmicro.descriptors.slice_steps import dependent_steps, isotropic_slice_steps, slice_steps
from jaxmicro.descriptors.surface_area import (
    crofton_surface_area,
    interface_areas,
    relative_surface_area,
    smoothed_surface_area,
    specific_surface_area,
)
from jaxmicro.descriptors.two_point import (
    centred,
    directional_two_point,
    radial_lags,
    radial_two_point,
    two_point_correlation,
)
from jaxmicro.descriptors.volume_fraction import volume_fraction

__all__ = [
    "GRASPI_THREE_PHASE",
    "GRASPI_TWO_PHASE",
    "centred",
    "chord_length_distribution",
    "chord_lengths",
    "cluster_sizes",
    "connected_fraction",
    "crofton_surface_area",
    "dependent_steps",
    "directional_two_point",
    "euler_characteristic",
    "euler_density",
    "graspi_descriptors",
    "interface_areas",
    "isotropic_slice_steps",
    "label_clusters",
    "lineal_path",
    "mean_chord_length",
    "percolating_clusters",
    "percolating_fraction",
    "percolation",
    "radial_lags",
    "radial_two_point",
    "relative_surface_area",
    "slice_steps",
    "smoothed_surface_area",
    "spanning",
    "specific_surface_area",
    "two_point_correlation",
    "volume_fraction",
    "winding",
]
