"""Networks and the 2D prior built from them: pure init / apply functions over parameter trees."""

from jaxmicro.models.layers import parameter_count
from jaxmicro.models.prior import PriorConfig, init, loss, plane_model, product_of_experts, weighted_mean
from jaxmicro.models.unet import UNet, UNetConfig

__all__ = [
    "PriorConfig",
    "UNet",
    "UNetConfig",
    "init",
    "loss",
    "parameter_count",
    "plane_model",
    "product_of_experts",
    "weighted_mean",
]
