"""The fit of a 2D prior to crops of images: the networks in turn, checkpoints, and the statistics of the micrograph."""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxmicro import models
from jaxmicro.data import CropConfig, Sources, crop_batches
from jaxmicro.devices import jit_network
from jaxmicro.errors import UserError
from jaxmicro.io.checkpoint import load_weights, save_weights
from jaxmicro.models import PriorConfig
from jaxmicro.phases import one_hot
from jaxmicro.pipeline.prior import Material, Prior, with_statistics
from jaxmicro.pipeline.prior_files import save_prior
from jaxmicro.pipeline.progress import Progress
from jaxmicro.pipeline.stages import Mapped, fit_stage
from jaxmicro.pipeline.state import fingerprint, identity_of
from jaxmicro.pipeline.tuning import tune_correlation
from jaxmicro.train import TrainConfig, TrainState
from jaxmicro.types import Microstructure, check_all_phases, check_patch

FINE_TUNING = TrainConfig(
    steps=600, optimiser="muon", learning_rate=0.02, warmup=30, ema_decay=0.99, save_every=100, evaluate_every=200
)
FROM_SCRATCH = dataclasses.replace(FINE_TUNING, steps=1500, warmup=100)
AUTOENCODER = dataclasses.replace(FINE_TUNING, steps=1200)  # of a latent prior, from scratch
AUTOENCODER_FINE_TUNING = dataclasses.replace(FINE_TUNING, steps=400)
STATISTICS_BATCHES = 16  # of training crops, from which the mean and deviation of the code are measured
_SCORES = ("validation_", "whole_image_")


def train_on(
    sources: Sources,
    start: Prior | PriorConfig,
    *,
    config: TrainConfig,
    autoencoder: TrainConfig | None = None,
    material: Material | None = None,
    augment: Literal["isotropic", "flips", "none"] = "isotropic",
    tune: bool = True,
    out: Path | str | None = None,
    log: Callable[[dict[str, Any]], None] | None = None,
    on_sample: Callable[[int, Prior], None] | None = None,
    progress: Progress | None = None,
) -> Prior:
    """A 2D prior of any number of images and stacks of planes; arguments as `train`.

    Args:
        start: prior to fine-tune, or the network to start from scratch.
        material: metadata and statistics of the micrograph, stored with the prior; None for a general prior.
    """
    fresh = isinstance(start, PriorConfig)
    network = start if fresh else start.config
    params = init_params(network, jax.random.key(config.seed)) if fresh else start.params
    crops = CropConfig(patch=network.patch, batch=config.batch, seed=config.seed, augment=augment)
    record: dict[str, Any] = {"steps": config.steps, "seed": config.seed, "disjoint_validation": sources.disjoint}
    run = functools.partial(_fit, sources=sources, crops=crops, network=network, out=out, progress=progress)
    began = time.monotonic()
    if network.vae is not None:
        autoencoder = autoencoder or (AUTOENCODER if fresh else AUTOENCODER_FINE_TUNING)
        settings = network.to_dict(), dataclasses.asdict(autoencoder), dataclasses.asdict(crops)
        identity = identity_of(*settings, arrays=[*sources, params])
        params, entries = _with_autoencoder(
            run, params, network, autoencoder, sources=sources, crops=crops, identity=identity, out=out, log=log
        )
        record |= entries | {"autoencoder_seconds": time.monotonic() - began}

    def so_far(ema: Any, **more: Any) -> Prior:
        return Prior(network, ema if network.vae is None else params | {"unet": ema}, material, record | more)

    def keep(entry: dict[str, Any]) -> None:
        entry = _named(entry, disjoint=sources.disjoint)
        record.update({key: value for key, value in entry.items() if key.startswith(_SCORES)})
        if log is not None:
            log(entry)

    state = run(
        functools.partial(models.loss, network),
        models.network_params(network, params),
        config,
        stage="training",
        encode=None if network.vae is None else functools.partial(encode_labels, params, config=network),
        log=keep,
        on_sample=on_sample and (lambda step, ema: on_sample(step, so_far(ema))),
    )
    everywhere = crop_batches(sources.whole, dataclasses.replace(crops, seed=config.seed + 2))
    prior = with_statistics(
        so_far(jax.device_get(state.ema), steps=int(state.step), seconds=time.monotonic() - began),
        next(everywhere),
        sources.whole,
    )
    if tune and prior.material is not None and network.space == "pixel":
        prior = tune_correlation(prior, progress=progress)
    if out is not None:
        save_prior(Path(out) / "weights.safetensors", prior)
    return prior


def check_training(micrograph: Microstructure, network: PriorConfig) -> None:
    """Refuses an image that a network cannot be trained on.

    Raises:
        UserError: when the number of phases is not the network's, when a phase is absent from the image, or when the
            image is smaller than a crop.
    """
    if network.phases != micrograph.phases:
        raise UserError(
            f"{micrograph.source or 'the image'} has {micrograph.phases} phases, the prior to start from has "
            f"{network.phases}; start from another prior or from scratch"
        )
    check_all_phases(micrograph)
    check_patch(micrograph, network.patch)


def check_same_material(micrographs: Sequence[Microstructure]) -> None:
    """Refuses images that do not have the same phases and voxel size.

    Raises:
        UserError: when there are no images, or when they differ.
    """
    kinds = {(each.values, each.voxel_size, each.unit) for each in micrographs}
    if len(kinds) != 1:
        listed = "; ".join(
            f"{', '.join(f'{value:g}' for value in values)} at {size or 'unknown'} {unit or ''}".strip()
            for values, size, unit in sorted(kinds, key=str)
        )
        raise UserError(
            f"{len(micrographs)} images of {len(kinds)} kinds ({listed or 'none'}); expected one set of phases and one "
            "voxel size: read them together (read_images), or name them in one command"
        )


def _fit(
    loss: Callable[..., Any],
    params: Any,
    config: TrainConfig,
    *,
    stage: str,
    sources: Sources,
    crops: CropConfig,
    network: PriorConfig,
    out: Path | str | None,
    log: Callable[[dict[str, Any]], None],
    progress: Progress | None,
    encode: Callable[[np.ndarray], Any] | None = None,
    on_sample: Callable[[int, Any], None] | None = None,
) -> TrainState:
    """One run of the training loop on crops of `sources`, or on their codes; resumed from the checkpoints in `out`."""
    crops = dataclasses.replace(crops, batch=config.batch)
    held_out = crop_batches(
        sources.validation, dataclasses.replace(crops, seed=crops.seed + 1), weights=sources.weights
    )
    batches = crop_batches(
        sources.train,
        crops,
        weights=sources.weights,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    if encode is not None:
        held_out, batches = Mapped(held_out, encode), Mapped(batches, encode)
    identity = {
        "prior": network.to_dict(),
        "crops": dataclasses.asdict(crops),
        "data": fingerprint([*sources, params]),  # a training is resumed only with the same images and start
    }
    folder = None if out is None else _checkpoint_folder(Path(out), network, stage)
    return fit_stage(
        loss,
        params,
        config,
        stage=stage,
        batches=batches,
        held_out=held_out,
        identity=identity,
        folder=folder,
        log=log,
        progress=progress,
        on_sample=on_sample,
    )


def _with_autoencoder(
    run: functools.partial[TrainState],
    params: dict[str, Any],
    network: PriorConfig,
    config: TrainConfig,
    *,
    sources: Sources,
    crops: CropConfig,
    identity: str,
    out: Path | str | None,
    log: Callable[[dict[str, Any]], None] | None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters with a trained autoencoder and the statistics of its code, and its entries of the record.

    A finished autoencoder is stored beside the checkpoints with `identity`; a resumed training of the same identity
    uses it, so that the code is the same.
    """
    assert network.vae is not None
    record: dict[str, Any] = {}

    def keep(entry: dict[str, Any]) -> None:
        entry = _named(entry, disjoint=sources.disjoint)
        record.update({f"autoencoder_{key}": v for key, v in entry.items() if key.startswith(_SCORES)})
        if log is not None:
            log({"stage": "autoencoder", **entry})

    finished = None if out is None else Path(out) / "checkpoints" / "autoencoder.safetensors"
    if finished is not None and finished.is_file():
        with contextlib.suppress(UserError):  # a damaged file: trained again, from the last checkpoint
            stored, saved = load_weights(finished)
            if saved.get("identity") == identity:
                return params | jax.tree.map(jnp.asarray, stored), saved["record"]
    loss = functools.partial(models.vae_loss, network.vae)
    state = run(loss, params["vae"], config, stage="training the autoencoder", log=keep)
    vae = jax.device_get(state.ema)
    plain = params | {"vae": vae, "latent": {"mean": jnp.zeros(network.channels), "std": jnp.ones(network.channels)}}
    batches = crop_batches(sources.train, dataclasses.replace(crops, seed=crops.seed + 2), weights=sources.weights)
    codes = [encode_labels(plain, next(batches), config=network) for _ in range(STATISTICS_BATCHES)]
    trained = {"vae": vae, "latent": jax.device_get(models.latent_statistics(codes))}
    record |= {"autoencoder_steps": int(state.step)}
    if finished is not None:
        save_weights(finished, trained, {"identity": identity, "record": record})
    return params | trained, record


@functools.partial(jit_network, static_argnames="config")
def encode_labels(params: Any, labels: Any, *, config: PriorConfig) -> Any:
    """Normalised codes "n *cell c" of labels "n *grid"."""
    return models.codec(config, params).encode(one_hot(labels, config.phases))


def _named(entry: dict[str, Any], *, disjoint: bool) -> dict[str, Any]:
    """An entry of the training log; without a held-out part the loss is renamed, because it is no validation."""
    if disjoint:
        return entry
    return {key.replace("validation_", "whole_image_"): value for key, value in entry.items()}


def _checkpoint_folder(out: Path, network: PriorConfig, stage: str) -> Path:
    """One folder of checkpoints per training; a latent prior has two."""
    return out / "checkpoints" / ("" if network.vae is None else stage.replace(" ", "_"))


init_params = jax.jit(models.init, static_argnums=0)  # one compilation instead of one for each operation
