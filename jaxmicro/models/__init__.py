"""Networks and the prior built from them: pure init / apply functions over parameter trees."""

from jaxmicro.models.layers import parameter_count
from jaxmicro.models.plane_model import plane_model, product_of_experts, weighted_mean
from jaxmicro.models.predictor import (
    Mixture,
    PredictorConfig,
    init_predictor,
    log_density,
    mean_of,
    predict,
    predictor_loss,
    sample_features,
)
from jaxmicro.models.presets import latent_collection, latent_paper, latent_small, pixel_collection
from jaxmicro.models.prior import (
    PriorConfig,
    codec,
    denoiser,
    init,
    loss,
    network_params,
)
from jaxmicro.models.unet import UNet, UNetConfig
from jaxmicro.models.vae import VAEConfig, decode, encode, init_vae, latent_statistics, vae_loss

__all__ = [
    "Mixture",
    "PredictorConfig",
    "PriorConfig",
    "UNet",
    "UNetConfig",
    "VAEConfig",
    "codec",
    "decode",
    "denoiser",
    "encode",
    "init",
    "init_predictor",
    "init_vae",
    "latent_collection",
    "latent_paper",
    "latent_small",
    "latent_statistics",
    "log_density",
    "loss",
    "mean_of",
    "network_params",
    "parameter_count",
    "pixel_collection",
    "plane_model",
    "predict",
    "predictor_loss",
    "product_of_experts",
    "sample_features",
    "vae_loss",
    "weighted_mean",
]
