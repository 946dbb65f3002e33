"""From a micrograph to a prior."""

import contextlib
import dataclasses
import functools
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxmicro import models
from jaxmicro.data import CropConfig, Sources, crop_batches, training_sources
from jaxmicro.devices import jit_network
from jaxmicro.diffusion import StepInput, ddim_step, log_snr_times
from jaxmicro.errors import UserError
from jaxmicro.evaluate import micrograph_directions, representativity
from jaxmicro.io.checkpoint import Checkpoints, load_weights, save_weights
from jaxmicro.models import PriorConfig
from jaxmicro.phases import one_hot, to_labels
from jaxmicro.pipeline.prior import (
    Material,
    Prior,
    Progress,
    fingerprint,
    general_prior,
    material_of,
    remember_statistics,
    save_prior,
)
from jaxmicro.pipeline.tuning import tune_correlation
from jaxmicro.train import TrainConfig, TrainState, fit
from jaxmicro.types import Microstructure, check_all_phases, check_patch

FINE_TUNING = TrainConfig(
    steps=600, optimiser="muon", learning_rate=0.02, warmup=30, ema_decay=0.99, save_every=100, evaluate_every=200
)
FROM_SCRATCH = dataclasses.replace(FINE_TUNING, steps=1500, warmup=100)
AUTOENCODER = dataclasses.replace(FINE_TUNING, steps=1200)  # of a latent prior, from scratch
AUTOENCODER_FINE_TUNING = dataclasses.replace(FINE_TUNING, steps=400)


def train(
    micrograph: Microstructure | Sequence[Microstructure],
    *,
    start: Prior | Literal["general"] | None = "general",
    config: TrainConfig | None = None,
    prior_config: PriorConfig | None = None,
    autoencoder: TrainConfig | None = None,
    augment: Literal["isotropic", "flips", "none"] = "isotropic",
    validation: float = 0.2,
    tune: bool = True,
    out: Path | str | None = None,
    log: Callable[[dict[str, Any]], None] | None = None,
    on_sample: Callable[[int, Prior], None] | None = None,
    progress: Progress | None = None,
) -> Prior:
    """A 2D prior of one micrograph, of several of one material, or of the planes of a volume.

    Args:
        micrograph: several have the same phases and voxel size (`io.read_images`). Crops are drawn from everywhere in
            them alike, and their statistics are weighted by their area.
        start: prior to fine-tune; "general" is the bundled one for this number of phases (and the space of
            `prior_config`), if there is one; None starts from scratch.
        config: length and pace of the training; FINE_TUNING or FROM_SCRATCH by default.
        prior_config: the network, when starting from scratch; `models.latent_small` gives one in latent space.
        autoencoder: the same as `config` for the autoencoder of a latent prior, which is trained first; AUTOENCODER or
            AUTOENCODER_FINE_TUNING by default.
        augment: the symmetry of the material: all 8 turns and reflections, only reflections, or none.
        validation: share of the image that is held out to measure the loss on ("validation_loss" in the record). From
            an image too small for that nothing is held out, and the loss is "whole_image_loss".
        tune: afterwards sample three volumes, to know what to hold others to (`tune_correlation`); in pixel space.
        out: folder for checkpoints and the result; an interrupted training in it goes on where it stopped, to the bit.
        log: takes one record of plain numbers from time to time.
        on_sample: called with the step and the prior so far, every `config.sample_every` steps and at the end.
    Raises:
        UserError: the image does not fit the prior, or holds no crop; the loss is no longer finite.
    """
    space = "pixel" if prior_config is None else prior_config.space
    micrographs = [micrograph] if isinstance(micrograph, Microstructure) else list(micrograph)
    check_same_material(micrographs)
    phases = micrographs[0].phases
    base = general_prior(phases, space) if start == "general" else start
    config = config or (FROM_SCRATCH if base is None else FINE_TUNING)
    network = base.config if base is not None else prior_config or PriorConfig(phases=phases)
    for each in micrographs:
        check_training(each, network)
    return train_on(
        training_sources([each.labels for each in micrographs], patch=network.patch, validation=validation),
        network if base is None else base,
        config=config,
        autoencoder=autoencoder,
        material=material_of(*micrographs),
        augment=augment,
        tune=tune,
        out=out,
        log=log,
        on_sample=on_sample,
        progress=progress,
    )


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
        material: what the prior remembers of its micrograph; None for a general prior.
    """
    fresh = isinstance(start, PriorConfig)
    network = start if fresh else start.config
    params = _init(network, jax.random.key(config.seed)) if fresh else start.params
    crops = CropConfig(patch=network.patch, batch=config.batch, seed=config.seed, augment=augment)
    record: dict[str, Any] = {"steps": config.steps, "seed": config.seed, "disjoint_validation": sources.disjoint}
    run = functools.partial(_fit, sources=sources, crops=crops, network=network, out=out, progress=progress)
    began = time.monotonic()
    if network.vae is not None:
        autoencoder = autoencoder or (AUTOENCODER if fresh else AUTOENCODER_FINE_TUNING)
        parts = [network.to_dict(), dataclasses.asdict(autoencoder), dataclasses.asdict(crops)]
        identity = json.dumps([*parts, fingerprint([*sources, params])])
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
        encode=None if network.vae is None else functools.partial(_encode, params, config=network),
        log=keep,
        on_sample=on_sample and (lambda step, ema: on_sample(step, so_far(ema))),
    )
    everywhere = crop_batches(sources.whole, dataclasses.replace(crops, seed=config.seed + 2))
    prior = remember_statistics(
        so_far(jax.device_get(state.ema), steps=int(state.step), seconds=time.monotonic() - began),
        next(everywhere),
        sources.whole,
    )
    if tune and prior.material is not None and network.space == "pixel":
        prior = tune_correlation(prior, progress=progress)
    if out is not None:
        save_prior(Path(out) / "weights.safetensors", prior)
    return prior


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
    """One run of the training loop on crops of `sources`, or on their codes; in `out` it goes on where it stopped."""
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
        held_out, batches = _Encoded(held_out, encode), _Encoded(batches, encode)
    data = fingerprint([*sources, params])  # what is trained on and from: of the same work alone can it go on
    folder = None if out is None else _checkpoint_folder(Path(out), network, stage)
    with _checkpoints(folder, network, config, crops, data) as checkpoints:
        return fit(
            loss,
            params,
            batches,
            config,
            save=checkpoints.save if checkpoints else None,
            restore=checkpoints.restore if checkpoints else None,
            log=log,
            progress=progress and (lambda now: progress(stage, now.step, now.steps, _loss(now.loss))),
            on_sample=on_sample,
            validation=[next(held_out) for _ in range(VALIDATION_BATCHES)],
        )


def _loss(value: float) -> str:
    """What progress says of the loss, which is NaN before the first update."""
    return "" if math.isnan(value) else f"loss {value:.4f}"


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
    """The parameters with a trained autoencoder and the statistics of its code, and what to record of it.

    Once finished it is kept beside the checkpoints, so that a training that goes on finds the same code again.
    `identity` tells whether what is kept belongs to this work.
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
        with contextlib.suppress(UserError):  # damaged: trained again, from the last checkpoint on
            found, saved = load_weights(finished)
            if saved.get("identity") == identity:
                return params | jax.tree.map(jnp.asarray, found), saved["record"]
    loss = functools.partial(models.vae_loss, network.vae)
    state = run(loss, params["vae"], config, stage="training the autoencoder", log=keep)
    vae = jax.device_get(state.ema)
    plain = params | {"vae": vae, "latent": {"mean": jnp.zeros(network.channels), "std": jnp.ones(network.channels)}}
    batches = crop_batches(sources.train, dataclasses.replace(crops, seed=crops.seed + 2), weights=sources.weights)
    codes = [_encode(plain, next(batches), config=network) for _ in range(STATISTICS_BATCHES)]
    trained = {"vae": vae, "latent": jax.device_get(models.latent_statistics(codes))}
    record |= {"autoencoder_steps": int(state.step)}
    if finished is not None:
        save_weights(finished, trained, {"identity": identity, "record": record})
    return params | trained, record


@functools.partial(jit_network, static_argnames="config")
def _encode(params, labels, *, config: PriorConfig):
    return models.codec(config, params).encode(one_hot(labels, config.phases))


class _Encoded:
    """Batches of labels as batches of codes, with the position of the labels."""

    def __init__(self, batches: Any, encode: Callable[[np.ndarray], Any]):
        self._batches, self._encode = batches, encode
        self.get_state, self.set_state = batches.get_state, batches.set_state

    def __iter__(self) -> "_Encoded":
        return self

    def __next__(self) -> np.ndarray:
        return np.asarray(self._encode(next(self._batches)))


_init = jax.jit(models.init, static_argnums=0)  # one compilation instead of one for each operation


def check_training(micrograph: Microstructure, network: PriorConfig) -> None:
    """Refuses an image that a network cannot be trained on.

    Raises:
        UserError: the number of phases is not the network's, or the image lacks one, or is smaller than a crop.
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
        UserError: there are none, or they differ.
    """
    kinds = {(each.values, each.voxel_size, each.unit) for each in micrographs}
    if len(kinds) != 1:
        found = "; ".join(
            f"{', '.join(f'{value:g}' for value in values)} at {size or 'unknown'} {unit or ''}".strip()
            for values, size, unit in sorted(kinds, key=str)
        )
        raise UserError(
            f"{len(micrographs)} images of {len(kinds)} kinds ({found or 'none'}); expected one set of phases and one "
            "voxel size: read them together (read_images), or name them in one command"
        )


STATISTICS_BATCHES = 16  # of training crops whose codes are measured
_SCORES = ("validation_", "whole_image_")


def _named(entry: dict[str, Any], *, disjoint: bool) -> dict[str, Any]:
    """A record of the training loop; a loss on an image too small to hold a part of it out is no validation."""
    if disjoint:
        return entry
    return {key.replace("validation_", "whole_image_"): value for key, value in entry.items()}


VALIDATION_BATCHES = 4  # crops of the held-out part: enough to rank steps, few enough to be cheap


def _checkpoint_folder(out: Path, network: PriorConfig, stage: str) -> Path:
    """One folder of checkpoints per training; a latent prior has two."""
    return out / "checkpoints" / ("" if network.vae is None else stage.replace(" ", "_"))


@contextlib.contextmanager
def _checkpoints(
    folder: Path | None, network: PriorConfig, config: TrainConfig, crops: CropConfig, data: str
) -> Iterator[Checkpoints | None]:
    """The checkpoints of a training; only the time limit may differ when it goes on."""
    if folder is None:
        yield None
        return
    identity = {
        "prior": network.to_dict(),
        "train": dataclasses.asdict(dataclasses.replace(config, minutes=None)),
        "crops": dataclasses.asdict(crops),
        "data": data,
    }
    with Checkpoints(folder, config=identity) as checkpoints:
        yield checkpoints


def directions(micrograph: Microstructure, *, r_max: int = 32) -> tuple[str, bool]:
    """By how much a micrograph differs between its axes, beside its scatter, in words, and whether that is more.

    Of a volume the middle planes normal to each axis are looked at, and the first that is anisotropic is told of.
    """
    labels, images = micrograph.labels, [("", micrograph.labels)]
    if labels.ndim == 3:
        planes = zip("zyx", (np.take(labels, n // 2, axis) for axis, n in enumerate(labels.shape)), strict=True)
        images = [(f"In the middle plane normal to {axis}: ", plane) for axis, plane in planes if min(plane.shape) > 3]
    found = []
    for where, image in images:
        parts = representativity(image, micrograph.phases, r_max=min(r_max, min(image.shape) // 2))
        line, anisotropic = micrograph_directions(parts)
        found.append((where + line, anisotropic))
    return max(found, key=lambda each: each[1])


def sample_images(prior: Prior, *, count: int = 8, steps: int = 40, seed: int = 0) -> np.ndarray:
    """Labels "n h w" of images drawn from a 2D prior, of the size of its training crops: what it has learned."""
    keys = jax.random.split(jax.random.key(seed), steps + 1)
    edge = prior.config.patch // prior.config.cell
    shape = (count, edge, edge, prior.config.channels)
    return np.asarray(_sample_images(prior.params, keys, shape=shape, prior=prior.config))


@functools.partial(jit_network, static_argnames=("shape", "prior"))
def _sample_images(params, keys, *, shape: tuple[int, ...], prior: PriorConfig):
    model = models.plane_model(prior, params)
    low, high = prior.log_snr_range
    times = log_snr_times(len(keys) - 1, log_snr_min=low, log_snr_max=high)

    def one_step(x_t, now):
        t, s, key = now
        evidence = model.evidence(x_t, jnp.broadcast_to(t, shape[:1]))
        x0_hat = model.combine(evidence[None], jnp.ones(1), x_t, t)
        noise = jax.random.normal(key, shape)
        return ddim_step(StepInput(x_t, x0_hat, x0_hat, noise, t, t, s), eta=1.0), x0_hat

    x_t = jax.random.normal(keys[0], shape)
    _, predictions = jax.lax.scan(one_step, x_t, (times[:-1], times[1:], keys[1:]))
    return to_labels(models.codec(prior, params).decode(predictions[-1]))
