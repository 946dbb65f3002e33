"""2D to 3D: multi-plane denoising of volumes."""

from jaxmicro.reconstruct.calibrate import calibrate_fractions
from jaxmicro.reconstruct.correlation import match_covariance, plane_covariance
from jaxmicro.reconstruct.interface_optimisation import optimise_interfaces
from jaxmicro.reconstruct.lineal_path import dyadic_lags, dyadic_lineal_path
from jaxmicro.reconstruct.multiplane import (
    Guide,
    SamplingConfig,
    SamplingState,
    TargetStatistics,
    advance,
    init_state,
    labels_of,
    sampling_times,
)
from jaxmicro.reconstruct.planes import sample_planes
from jaxmicro.reconstruct.polyak import polyak_step
from jaxmicro.reconstruct.refine import decode_volume, interpolate, labels_of_fractions, refine
from jaxmicro.reconstruct.roughness import boundary_density, expected_boundary_density
from jaxmicro.reconstruct.statistics_misfit import MisfitWeights, match_lineal_path, statistics_misfit
from jaxmicro.reconstruct.tiles import blend_weights, evidence_tiled, tile_starts
from jaxmicro.reconstruct.value_matching import match_values, steer_prediction

__all__ = [
    "Guide",
    "MisfitWeights",
    "SamplingConfig",
    "SamplingState",
    "TargetStatistics",
    "advance",
    "blend_weights",
    "boundary_density",
    "calibrate_fractions",
    "decode_volume",
    "dyadic_lags",
    "dyadic_lineal_path",
    "evidence_tiled",
    "expected_boundary_density",
    "init_state",
    "interpolate",
    "labels_of",
    "labels_of_fractions",
    "match_covariance",
    "match_lineal_path",
    "match_values",
    "optimise_interfaces",
    "plane_covariance",
    "polyak_step",
    "refine",
    "sample_planes",
    "sampling_times",
    "statistics_misfit",
    "steer_prediction",
    "tile_starts",
]
