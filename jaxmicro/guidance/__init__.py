"""Guidance: targets for descriptors and properties, features of samples, their misfits, and score distillation."""

from jaxmicro.guidance.exact import exact_value, exact_values_of_planes
from jaxmicro.guidance.features import feature_deviations, is_guidable, soft_features
from jaxmicro.guidance.misfit import misfit, soft_values
from jaxmicro.guidance.quantities import LEAK, QUANTITIES, Quantity, of_each_plane
from jaxmicro.guidance.sds import DistillationConfig, distill, score_loss, total_loss
from jaxmicro.guidance.targets import CURVES, PER_LENGTH, LengthUnit, Target, TargetSpec, parse_target

__all__ = [
    "CURVES",
    "LEAK",
    "PER_LENGTH",
    "QUANTITIES",
    "DistillationConfig",
    "LengthUnit",
    "Quantity",
    "Target",
    "TargetSpec",
    "distill",
    "exact_value",
    "exact_values_of_planes",
    "feature_deviations",
    "is_guidable",
    "misfit",
    "of_each_plane",
    "parse_target",
    "score_loss",
    "soft_features",
    "soft_values",
    "total_loss",
]
