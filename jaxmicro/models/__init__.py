"""Networks and the 2D prior built from them: pure init / apply functions over parameter trees."""

from jaxmicro.models.layers import parameter_count
from jaxmicro.models.prior import PriorConfig, denoiser, init, loss
from jaxmicro.models.unet import UNet, UNetConfig

__all__ = ["PriorConfig", "UNet", "UNetConfig", "denoiser", "init", "loss", "parameter_count"]
