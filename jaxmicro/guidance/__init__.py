"""Guidance: targets for descriptors and properties, and one gradient of one loss towards them."""

from jaxmicro.guidance.exact import exact, exact_of_planes
from jaxmicro.guidance.loss import measured, misfit, steer
from jaxmicro.guidance.quantities import LEAK, QUANTITIES, Quantity, of_each_plane
from jaxmicro.guidance.sds import DistillationConfig, distill, score_loss, total_loss
from jaxmicro.guidance.targets import CURVES, PER_LENGTH, Scale, Target, Wish, parse_target

__all__ = [
    "CURVES",
    "LEAK",
    "PER_LENGTH",
    "QUANTITIES",
    "DistillationConfig",
    "Quantity",
    "Scale",
    "Target",
    "Wish",
    "distill",
    "exact",
    "exact_of_planes",
    "measured",
    "misfit",
    "of_each_plane",
    "parse_target",
    "score_loss",
    "steer",
    "total_loss",
]
