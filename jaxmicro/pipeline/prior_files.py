"""Where priors are kept: run folders, single files, and those that come with jaxmicro."""

import dataclasses
import functools
from importlib.resources import files
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxmicro import models
from jaxmicro.errors import UserError
from jaxmicro.io import read
from jaxmicro.io.checkpoint import check_weights, load_weights, save_weights
from jaxmicro.models import PredictorConfig, PriorConfig
from jaxmicro.pipeline.conditions import Conditions, conditions_from_dict, conditions_to_dict
from jaxmicro.pipeline.prior import FeaturePredictor, Material, Prior
from jaxmicro.types import Microstructure, check_fields

CONDITIONS, PREDICTOR = "conditions", "predictor"  # entries of a file beside the parameters of the network


def bundled() -> dict[str, Path]:
    """Names and files of the priors that come with jaxmicro."""
    folder = Path(str(files("jaxmicro") / "weights"))
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def save_prior(path: Path | str, prior: Prior) -> None:
    """Write a prior as one safetensors file with its configuration inside."""
    config: dict[str, Any] = {"prior": prior.config.to_dict(), "record": prior.record}
    params = dict(prior.params)
    if prior.material is not None:
        config["material"] = dataclasses.asdict(prior.material)
    if prior.conditions is not None:
        config["conditions"] = conditions_to_dict(prior.conditions)
        params[CONDITIONS] = {"samples": prior.conditions.samples, "origin": prior.conditions.origin}
    if prior.predictor is not None:
        config["predictor"] = dataclasses.asdict(prior.predictor.config)
        params[PREDICTOR] = prior.predictor.params
    save_weights(Path(path), params, config)


def load_prior(source: Path | str) -> Prior:
    """A prior from a run folder of `train`, a .safetensors file, or the name of a bundled one.

    Raises:
        UserError: when there is no such prior, or the file is not a prior of this version of jaxmicro.
    """
    path = prior_path(source)
    params, config = load_weights(path)
    try:
        prior = PriorConfig.from_dict(config["prior"])
        material = _material_from_dict(config["material"]) if config.get("material") else None
        if material is not None and len(material.values) != prior.phases:
            raise ValueError(f"its material has {len(material.values)} phases, its network {prior.phases}")
        kept, weights = params.pop(CONDITIONS, None), params.pop(PREDICTOR, None)
        conditions = None
        if kept is not None or "conditions" in config or prior.conditions:
            kept = kept or {}
            conditions = conditions_from_dict(config["conditions"], kept["samples"], kept["origin"], prior.phases)
            if conditions.names != prior.conditions or material is None:
                raise ValueError("its conditions are not those of its network, or it has no material")
        predictor = None
        if weights is not None or "predictor" in config:
            predictor = FeaturePredictor(_predictor_config(config["predictor"], prior, conditions), weights)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UserError(f"{path} holds no prior of this version of jaxmicro ({error}); train it again") from None
    if predictor is not None:
        shape = predictor.config
        like = jax.eval_shape(lambda: models.init_predictor(shape, prior.channels, jax.random.key(0)))
        check_weights(weights or {}, like, source=path)
        predictor = FeaturePredictor(shape, jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), weights))
    record = config.get("record")
    record = record if isinstance(record, dict) else {}
    return Prior(prior, _checked_params(params, prior, path), material, record, conditions, predictor)


def general_prior(phases: int, space: str = "pixel") -> Prior | None:
    """The bundled prior for media of this many phases, to fine-tune from; None if there is none."""
    name = f"general_{phases}phase" + ("" if space == "pixel" else f"_{space}")
    return load_prior(name) if name in bundled() else None


def bundled_micrograph(prior: Prior) -> Microstructure | None:
    """The micrograph that a bundled prior was trained on; None if it does not come with jaxmicro."""
    if prior.material is None:
        return None
    assets = {path.name: path for path in Path(str(files("jaxmicro") / "assets")).iterdir() if path.is_file()}
    path = assets.get(prior.material.source)  # the source may be any text: only names of bundled files match
    if path is None:
        return None
    return read(path, voxel_size=prior.material.voxel_size, unit=prior.material.unit)


def prior_path(source: Path | str) -> Path:
    """The file of a prior: that of a run folder, the file itself, or the bundled one of this name.

    Raises:
        UserError: when there is none, or the file is not a prior.
    """
    path = Path(source)
    if path.is_dir():
        weights = path / "weights.safetensors"
        if not weights.is_file():
            raise UserError(
                f"{path} holds no trained prior (weights.safetensors); if its training was interrupted, repeat its "
                f"command with --out {path} --resume"
            )
        return weights
    if path.is_file() and path.suffix.lower() in (".png", ".tif", ".tiff", ".npy", ".npz", ".vti"):
        raise UserError(f"{path} is an image or a volume, not a trained prior; train one on it first: jaxmicro train")
    if path.is_file():
        return path
    if str(source) in bundled():
        return bundled()[str(source)]
    names = ", ".join(bundled()) or "none"
    raise UserError(
        f"no prior {str(source)!r}: it is no run folder of 'jaxmicro train', no .safetensors file and no bundled prior "
        f"(these are: {names})"
    )


def _material_from_dict(data: dict) -> Material:
    """The material of a file, its lists as tuples; fields that this version does not know are ignored."""
    lists: dict[str, Any] = {name: tuple(data.get(name, ())) for name in ("values", "volume_fractions", "roughness")}
    lists["covariance"] = tuple(tuple(tuple(curve) for curve in row) for row in data.get("covariance", ()))
    for name in ("lineal_path", "held_covariance", "held_lineal_path"):
        lists[name] = tuple(tuple(curve) for curve in data.get(name, ()))
    known = {field.name for field in dataclasses.fields(Material)}
    material = Material(**{name: value for name, value in {**data, **lists}.items() if name in known})
    check_fields(material)
    return material


def _predictor_config(data: dict[str, Any], prior: PriorConfig, conditions: Conditions | None) -> PredictorConfig:
    """The configuration of a predictor; raises ValueError if it is not one for this prior."""
    fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in data.items()}
    config = PredictorConfig(**fields)
    check_fields(config)
    coarsest = prior.cell * config.fold * 2 ** (len(config.widths) - 1)
    fits = config.dims == prior.unet.dims and not any(edge % coarsest for edge in prior.sample_shape)
    if conditions is None or config.features != conditions.process or not fits:
        raise ValueError("its predictor is not one of its process parameters")
    return config


def _checked_params(params: Any, config: PriorConfig, path: Path) -> Any:
    """The parameters as JAX arrays, after a check of their names, shapes, types and statistics."""
    check_weights(params, _shapes(config), source=path)
    if other := {str(leaf.dtype) for leaf in jax.tree.leaves(params)} - {"float32"}:
        raise UserError(f"{path} is damaged: it has weights of type {' and '.join(other)}, expected float32")
    if config.vae is not None and not (params["latent"]["std"] > 0).all():
        raise UserError(f"{path} is damaged: the standard deviation of a channel of its code is not positive")
    return jax.tree.map(jnp.asarray, params)


@functools.lru_cache(maxsize=8)
def _shapes(config: PriorConfig) -> Any:
    """Names and shapes of the parameters of a network."""
    return jax.eval_shape(lambda: models.init(config, jax.random.key(0)))
