"""Guidance: targets for descriptors and properties, and one gradient of one loss towards them."""

from jaxmicro.guidance.exact import exact
from jaxmicro.guidance.loss import measured, misfit, steer
from jaxmicro.guidance.quantities import LEAK, QUANTITIES, Quantity
from jaxmicro.guidance.sds import DistillationConfig, distill, score_loss, total_loss
from jaxmicro.guidance.targets import Target, Wish, parse_target

__all__ = [
    "LEAK",
    "QUANTITIES",
    "DistillationConfig",
    "Quantity",
    "Target",
    "Wish",
    "distill",
    "exact",
    "measured",
    "misfit",
    "parse_target",
    "score_loss",
    "steer",
    "total_loss",
]
