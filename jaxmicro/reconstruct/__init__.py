"""2D to 3D: multi-plane denoising of volumes."""

from jaxmicro.reconstruct.calibrate import calibrate_fractions
from jaxmicro.reconstruct.correlation import match_covariance, plane_covariance
from jaxmicro.reconstruct.multiplane import (
    Guide,
    Held,
    SamplingConfig,
    SamplingState,
    advance,
    init_state,
    labels_of,
    sampling_times,
)
from jaxmicro.reconstruct.polish import polish
from jaxmicro.reconstruct.refine import decode_volume, interpolate, labels_of_fractions, refine
from jaxmicro.reconstruct.roughness import boundary_density, expected_boundary_density
from jaxmicro.reconstruct.segments import Weights, match_lineal_path, segment_lags, segments_inside, statistics_misfit
from jaxmicro.reconstruct.tiles import blend_weights, evidence_tiled, tile_starts

__all__ = [
    "Guide",
    "Held",
    "SamplingConfig",
    "SamplingState",
    "Weights",
    "advance",
    "blend_weights",
    "boundary_density",
    "calibrate_fractions",
    "decode_volume",
    "evidence_tiled",
    "expected_boundary_density",
    "init_state",
    "interpolate",
    "labels_of",
    "labels_of_fractions",
    "match_covariance",
    "match_lineal_path",
    "plane_covariance",
    "polish",
    "refine",
    "sampling_times",
    "segment_lags",
    "segments_inside",
    "statistics_misfit",
    "tile_starts",
]
