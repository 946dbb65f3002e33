"""Networks and the 2D prior built from them: pure init / apply functions over parameter trees."""

from jaxmicro.models.layers import parameter_count
from jaxmicro.models.prior import (
    PriorConfig,
    codec,
    init,
    latent_paper,
    latent_small,
    loss,
    network_params,
    plane_model,
    product_of_experts,
    weighted_mean,
)
from jaxmicro.models.unet import UNet, UNetConfig
from jaxmicro.models.vae import VAEConfig, decode, encode, init_vae, latent_statistics, vae_loss

__all__ = [
    "PriorConfig",
    "UNet",
    "UNetConfig",
    "VAEConfig",
    "codec",
    "decode",
    "encode",
    "init",
    "init_vae",
    "latent_paper",
    "latent_small",
    "latent_statistics",
    "loss",
    "network_params",
    "parameter_count",
    "plane_model",
    "product_of_experts",
    "vae_loss",
    "weighted_mean",
]
