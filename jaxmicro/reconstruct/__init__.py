"""2D to 3D: multi-plane denoising of volumes."""

from jaxmicro.reconstruct.calibrate import calibrate_fractions
from jaxmicro.reconstruct.multiplane import SamplingConfig, SamplingState, advance, init_state, labels_of
from jaxmicro.reconstruct.tiles import blend_weights, evidence_tiled, tile_starts

__all__ = [
    "SamplingConfig",
    "SamplingState",
    "advance",
    "blend_weights",
    "calibrate_fractions",
    "evidence_tiled",
    "init_state",
    "labels_of",
    "tile_starts",
]
