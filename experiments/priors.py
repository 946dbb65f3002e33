"""The trained models that the studies use."""

from pathlib import Path

import jax

from experiments.weights.config import RECIPES
from experiments.weights.run import OUT as WEIGHTS
from jaxmicro import models, pipeline
from jaxmicro.models import PriorConfig, UNetConfig
from jaxmicro.pipeline import Prior
from jaxmicro.pipeline.prior import material_of
from jaxmicro.types import Microstructure

SMOKE_PATCH = 32


def find_prior(name: str, weights: Path = WEIGHTS) -> Prior:
    """The model of a recipe, trained by `experiments.weights.run`; else the bundled one of that recipe.

    Raises:
        FileNotFoundError: neither is there; the message says how to train it.
    """
    if (weights / name / "weights.safetensors").is_file():
        return pipeline.load_prior(weights / name)
    published = RECIPES[name].publish_as
    if published in pipeline.bundled():
        return pipeline.load_prior(published)
    raise FileNotFoundError(f"no weights {weights / name}; train them: python -m experiments.weights.run {name}")


def untrained_prior(micrograph: Microstructure) -> Prior:
    """A tiny network that has learned nothing, for the smoke variants."""
    unet = UNetConfig(widths=(8, 8), embedding=16)
    config = PriorConfig(phases=micrograph.phases, patch=SMOKE_PATCH, unet=unet)
    params = jax.jit(models.init, static_argnums=0)(config, jax.random.key(0))
    prior = Prior(config, params, material_of(micrograph))
    planes = micrograph.labels.reshape(-1, *micrograph.shape[-2:])
    return pipeline.with_statistics(prior, planes[:1, :SMOKE_PATCH, :SMOKE_PATCH], [planes])
