"""The fit of a conditional prior to a collection: autoencoder (latent only), denoiser, predictor of the process.

One file, because the three stages share their draws, their identity and their record.
"""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmicro import models
from jaxmicro.collection import Collection
from jaxmicro.errors import UserError
from jaxmicro.io.checkpoint import load_weights, save_weights
from jaxmicro.models import PredictorConfig, PriorConfig
from jaxmicro.phases import one_hot
from jaxmicro.pipeline.conditions import Conditions, conditions_of
from jaxmicro.pipeline.draws import Draws, Symmetry, identity_of_collection, sample_config
from jaxmicro.pipeline.fitting import STATISTICS_BATCHES, encode_labels, init_params
from jaxmicro.pipeline.prior import FeaturePredictor, Material, Prior
from jaxmicro.pipeline.prior_files import save_prior
from jaxmicro.pipeline.process_distribution import process_scores
from jaxmicro.pipeline.progress import Progress
from jaxmicro.pipeline.stages import Mapped, fit_stage
from jaxmicro.pipeline.state import fingerprint, identity_of
from jaxmicro.train import TrainConfig, TrainState

DENOISER = TrainConfig(
    steps=4000, batch=8, optimiser="muon", learning_rate=0.02, warmup=100, ema_decay=0.995, save_every=200,
    evaluate_every=400,
)  # fmt: skip
PREDICTOR = dataclasses.replace(DENOISER, steps=1500, batch=16, learning_rate=0.01)
COLLECTION_FINE_TUNING = dataclasses.replace(DENOISER, steps=1500, learning_rate=0.01)
_OF_START = ("collection", "held_out_origins")  # of the record of a prior that is fine-tuned
AUTOENCODER_3D = dataclasses.replace(DENOISER, steps=2000)


def collection_network(collection: Collection, space: str = "pixel", *, paper: bool = False) -> PriorConfig:
    """The usual network for a collection, conditioned on all of its features; `paper` as `models.latent_collection`.

    Raises:
        UserError: an edge of the samples is no multiple of what the network needs.
    """
    names = tuple(feature.name for feature in collection.features)
    of_samples = collection.phases, collection.grid, names, tuple(collection.periodic)
    try:
        return (
            models.latent_collection(*of_samples, paper=paper)
            if space == "latent"
            else models.pixel_collection(*of_samples)
        )
    except ValueError as error:
        raise UserError(f"no network for the samples of {collection.source or 'the collection'}: {error}") from None


def train_on_collection(
    collection: Collection,
    start: PriorConfig | Prior,
    *,
    config: TrainConfig,
    autoencoder: TrainConfig | None = None,
    predictor: TrainConfig | None = None,
    symmetry: Symmetry = "isotropic",
    validation: float = 0.2,
    out: Path | str | None = None,
    log: Callable[[dict[str, Any]], None] | None = None,
    on_sample: Callable[[int, Prior], None] | None = None,
    progress: Progress | None = None,
) -> Prior:
    """A prior of the samples of a collection, conditioned on its features; arguments as `train`.

    One function, because each stage takes what the one before has left: data, record and parameters.

    Args:
        start: a network, conditioned on all features of the collection, in their order; or the prior of a collection
            with these, to fine-tune: with its scales of the features, its autoencoder as it is, and its predictor.
        predictor: training of the predictor of process parameters, if the collection has any; PREDICTOR by default.
        validation: share of the origins that is held out.
    Raises:
        UserError: the samples are of one origin, or the network is for others.
    """
    base, network = (start, start.config) if isinstance(start, Prior) else (None, start)
    check_collection(collection, network, known := base and base.conditions)
    training, held_out = collection.split(validation, seed=config.seed)
    exchanged = sample_config(training, symmetry, batch=config.batch, seed=config.seed).symmetric_axes
    conditions = conditions_of(training, exchanged=exchanged, like=known)
    identity = identity_of_collection(collection, network, symmetry, validation)
    if known is not None:
        identity["scales"] = [[entry.name, entry.scale, entry.mean, entry.std] for entry in known.entries]
    draw = Draws(training, held_out, conditions, symmetry, config.seed, identity)
    params = init_params(network, jax.random.key(config.seed)) if base is None else base.params
    record: dict[str, Any] = {
        "steps": config.steps,
        "seed": config.seed,
        "samples": len(training),
        "held_out_samples": len(held_out),
        "held_out_origins": np.unique(held_out.origin).tolist(),
        "collection": collection.source,
        "symmetry": symmetry,
        "started_from": base and {key: base.record.get(key) for key in _OF_START},
    }
    began = time.monotonic()
    fractions = _fractions(training, conditions)
    material = Material(collection.values, fractions, collection.voxel_size, collection.unit, collection.source)
    run = functools.partial(_run, draw, out=out, progress=progress)

    def keep(stage: str, entry: dict[str, Any]) -> None:
        record.update({f"{stage}{key}": value for key, value in entry.items() if key.startswith("validation_")})
        if log is not None:
            log(({"stage": stage.rstrip("_")} if stage else {}) | entry)

    if network.vae is not None and base is None:
        params = _with_autoencoder(run, draw, params, network, autoencoder or AUTOENCODER_3D, out, keep)

    def so_far(ema: Any, **more: Any) -> Prior:
        return Prior(
            network, ema if network.vae is None else params | {"unet": ema}, material, record | more, conditions
        )

    inputs = None if network.vae is None else functools.partial(_encoded, params, config=network)
    state = run(
        functools.partial(_denoising_loss, network),
        models.network_params(network, params),
        config,
        stage="training",
        inputs=inputs,
        log=functools.partial(keep, ""),
        on_sample=on_sample and (lambda step, ema: on_sample(step, so_far(ema))),
    )
    prior = so_far(jax.device_get(state.ema), steps=int(state.step), seconds=time.monotonic() - began)
    if conditions.process:
        keep_score = functools.partial(keep, "predictor_")
        prior = _with_predictor(run, prior, predictor or PREDICTOR, inputs, keep_score, base and base.predictor)
        record |= process_scores(prior, held_out)
    prior = dataclasses.replace(prior, record=record | prior.record | {"seconds": time.monotonic() - began})
    if out is not None:
        save_prior(Path(out) / "weights.safetensors", prior)
    return prior


def _run(
    draw: Draws,
    loss: Callable[..., Any],
    params: Any,
    config: TrainConfig,
    *,
    stage: str,
    out: Path | str | None,
    log: Callable[[dict[str, Any]], None],
    progress: Progress | None,
    inputs: Callable[[Any], Any] | None = None,
    on_sample: Callable[[int, Any], None] | None = None,
    validation_loss: Callable[..., Any] | None = None,
) -> TrainState:
    """One stage of the training; `inputs` is applied to each batch before the device sees it."""
    batches, held_out = draw.batches(config.batch), draw.batches(config.batch, held_out=True)
    if inputs is not None:
        batches, held_out = Mapped(batches, inputs), Mapped(held_out, inputs)
    folder = None if out is None else Path(out) / "checkpoints" / stage.replace(" ", "_")
    return fit_stage(
        loss,
        params,
        config,
        stage=stage,
        batches=batches,
        held_out=held_out,
        identity=draw.identity | {"stage": stage, "start": fingerprint(params)},
        folder=folder,
        log=log,
        progress=progress,
        on_sample=on_sample,
        validation_loss=validation_loss,
    )


def _denoising_loss(network: PriorConfig, params: Any, batch: dict[str, Any], key: jax.Array):
    return models.loss(network, params, batch["labels"], key, batch["features"])


def _autoencoder_loss(network: PriorConfig, params: Any, batch: dict[str, Any], key: jax.Array):
    assert network.vae is not None
    return models.vae_loss(network.vae, params, batch["labels"], key)


def _with_autoencoder(
    run: Callable[..., TrainState],
    draw: Draws,
    params: dict[str, Any],
    network: PriorConfig,
    config: TrainConfig,
    out: Path | str | None,
    keep: Callable[[str, dict[str, Any]], None],
) -> dict[str, Any]:
    """The parameters with a trained autoencoder and the statistics of its code; those of a finished one are stored
    beside the checkpoints, and used when the training is resumed."""
    identity = identity_of(draw.identity, dataclasses.asdict(config), arrays=params)
    finished = None if out is None else Path(out) / "checkpoints" / "autoencoder.safetensors"
    stored: dict[str, Any] | None = None
    if finished is not None and finished.is_file():
        with contextlib.suppress(UserError):  # a damaged file: the codes are measured again
            found, saved = load_weights(finished)
            stored = found if saved.get("identity") == identity else None
    state = run(
        functools.partial(_autoencoder_loss, network),
        params["vae"],
        config,
        stage="training the autoencoder",
        log=functools.partial(keep, "autoencoder_"),
    )
    if stored is not None:
        return params | jax.tree.map(jnp.asarray, stored)
    vae = jax.device_get(state.ema)
    plain = params | {"vae": vae, "latent": {"mean": jnp.zeros(network.channels), "std": jnp.ones(network.channels)}}
    batches = draw.batches(config.batch)
    codes = [_encoded(plain, next(batches), config=network)["labels"] for _ in range(STATISTICS_BATCHES)]
    trained = {"vae": vae, "latent": jax.device_get(models.latent_statistics(codes))}
    if finished is not None:
        save_weights(finished, trained, {"identity": identity})
    return params | trained


def _encoded(params: Any, batch: dict[str, Any], *, config: PriorConfig) -> dict[str, Any]:
    """A batch with the codes of its samples in place of their labels."""
    return batch | {"labels": encode_labels(params, batch["labels"], config=config)}


def _with_predictor(
    run: Callable[..., TrainState],
    prior: Prior,
    config: TrainConfig,
    inputs: Callable[[Any], Any] | None,
    log: Callable[[dict[str, Any]], None],
    known: FeaturePredictor | None,
) -> Prior:
    """The prior with a predictor of the distribution of its process parameters, fine-tuned from one that is known."""
    assert prior.conditions is not None
    network, names = prior.config, prior.conditions.process
    columns = np.array([prior.conditions.names.index(name) for name in names])
    fold = 1 if network.vae is not None else network.unet.patch
    shape = PredictorConfig(features=names, dims=network.unet.dims, fold=fold, periodic=network.unet.periodic)
    params = (
        models.init_predictor(shape, network.channels, jax.random.key(config.seed + 1))
        if known is None or known.config != shape
        else known.params
    )

    def loss(params: Any, batch: dict[str, Any], key: jax.Array | None):
        x = batch["labels"] if network.vae is not None else 2 * one_hot(batch["labels"], network.phases) - 1
        return models.predictor_loss(shape, params, x, batch["features"][:, columns], key)

    def without_dropout(params: Any, batch: dict[str, Any], _: jax.Array):
        return loss(params, batch, None)

    state = run(
        loss, params, config, stage="training the predictor", inputs=inputs, log=log, validation_loss=without_dropout
    )
    return dataclasses.replace(prior, predictor=FeaturePredictor(shape, jax.device_get(state.ema)))


def _fractions(collection: Collection, conditions: Conditions) -> tuple[float, ...]:
    """Mean volume fraction of each phase, measured or from a few samples."""
    names = [f"volume_fraction.{phase}" for phase in range(collection.phases)]
    if set(names) <= set(conditions.names):
        means = np.array([collection.column(name).mean() for name in names])
        return tuple(float(share) for share in means / means.sum())
    labels = collection.samples(np.linspace(0, len(collection) - 1, min(16, len(collection))).astype(int))
    return tuple(float(np.mean(labels == phase)) for phase in range(collection.phases))


def check_collection(collection: Collection, network: PriorConfig, conditions: Conditions | None = None) -> None:
    """Check that a network is for the samples of a collection, and if it has been trained, for its features in their
    units.

    Raises:
        UserError: it is not.
    """
    names = tuple(feature.name for feature in collection.features)
    expected = (collection.phases, collection.grid, names)
    if (network.phases, network.sample_shape, network.conditions) != expected:
        raise UserError(
            f"the network is for {network.phases} phases, samples of {network.sample_shape} and the features "
            f"{', '.join(network.conditions) or 'none'}; the collection has {expected[0]}, {expected[1]} and "
            f"{', '.join(names) or 'none'}"
        )
    if conditions is None:
        return
    for entry, feature in zip(conditions.entries, collection.features, strict=True):
        if (entry.role, entry.unit) != (feature.role, feature.unit):
            raise UserError(
                f"{feature.name} of the collection is a {feature.role} in {feature.unit or 'no unit'}, and that of the "
                f"prior to fine-tune a {entry.role} in {entry.unit or 'no unit'}; convert it"
            )
    ours, theirs = (
        ", ".join(axis for axis, yes in zip(collection.axes, of, strict=False) if yes) or "no axis"
        for of in (collection.periodic, network.unet.periodic)
    )
    if ours != theirs:
        raise UserError(f"samples are periodic along {ours}, those of the prior to fine-tune along {theirs}")
