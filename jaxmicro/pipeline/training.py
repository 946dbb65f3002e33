"""From a micrograph to a prior."""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxmicro import models
from jaxmicro.data import CropConfig, Sources, crop_batches, training_sources
from jaxmicro.diffusion import StepInput, ddim_step, log_snr_times
from jaxmicro.errors import UserError
from jaxmicro.io.checkpoint import Checkpoints
from jaxmicro.models import PriorConfig
from jaxmicro.phases import to_labels
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
from jaxmicro.pipeline.tuning import tune_coupling
from jaxmicro.train import TrainConfig, fit
from jaxmicro.types import Microstructure, check_patch

FINE_TUNING = TrainConfig(
    steps=600, optimiser="muon", learning_rate=0.02, warmup=30, ema_decay=0.99, save_every=100, evaluate_every=200
)
FROM_SCRATCH = dataclasses.replace(FINE_TUNING, steps=1500, warmup=100)


def train(
    micrograph: Microstructure,
    *,
    start: Prior | Literal["general"] | None = "general",
    config: TrainConfig | None = None,
    prior_config: PriorConfig | None = None,
    augment: Literal["isotropic", "flips", "none"] = "isotropic",
    validation: float = 0.2,
    tune: bool = True,
    out: Path | str | None = None,
    log: Callable[[dict[str, Any]], None] | None = None,
    on_sample: Callable[[int, Prior], None] | None = None,
    progress: Progress | None = None,
) -> Prior:
    """A 2D prior of one micrograph (or of the planes of a volume).

    Args:
        start: prior to fine-tune; "general" is the bundled one for this number of phases, None starts from scratch.
        config: length and pace of the training; FINE_TUNING or FROM_SCRATCH by default.
        prior_config: the network, when starting from scratch.
        augment: the symmetry of the material: all 8 turns and reflections, only reflections, or none.
        validation: share of the image that is held out to measure the loss on.
        tune: afterwards sample four volumes to set the coupling of planes for this prior (`tune_coupling`).
        out: folder for checkpoints and the result; an interrupted training in it goes on where it stopped, to the bit.
        log: takes one record of plain numbers from time to time.
        on_sample: called with the step and the prior so far, every `config.sample_every` steps and at the end.
    Raises:
        UserError: the image does not fit the prior, or holds no crop; the loss is no longer finite.
    """
    base = general_prior(micrograph.phases) if start == "general" else start
    config = config or (FROM_SCRATCH if base is None else FINE_TUNING)
    network = base.config if base is not None else prior_config or PriorConfig(phases=micrograph.phases)
    check_training(micrograph, network)
    return train_on(
        training_sources(micrograph.labels, patch=network.patch, validation=validation),
        network if base is None else base,
        config=config,
        material=material_of(micrograph),
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
    network = start if isinstance(start, PriorConfig) else start.config
    params = _init(network, jax.random.key(config.seed)) if isinstance(start, PriorConfig) else start.params
    crops = CropConfig(patch=network.patch, batch=config.batch, seed=config.seed, augment=augment)
    held_out = crop_batches(
        sources.validation, dataclasses.replace(crops, seed=config.seed + 1), weights=sources.weights
    )
    record: dict[str, Any] = {"steps": config.steps, "seed": config.seed, "disjoint_validation": sources.disjoint}

    def so_far(ema: Any, **more: Any) -> Prior:
        return Prior(network, ema, material, {**record, **more})

    def keep(entry: dict[str, Any]) -> None:
        record.update({key: value for key, value in entry.items() if key.startswith("validation_")})
        if log is not None:
            log(entry)

    began = time.monotonic()
    data = fingerprint([*sources, params])  # what is trained on and from: of the same work alone can it go on
    with _checkpoints(out, network, config, crops, data) as checkpoints:
        state = fit(
            functools.partial(models.loss, network),
            params,
            crop_batches(
                sources.train,
                crops,
                weights=sources.weights,
                process_index=jax.process_index(),
                process_count=jax.process_count(),
            ),
            config,
            save=checkpoints.save if checkpoints else None,
            restore=checkpoints.restore if checkpoints else None,
            log=keep,
            progress=progress and (lambda now: progress("training", now.step, now.steps, f"loss {now.loss:.4f}")),
            on_sample=on_sample and (lambda step, ema: on_sample(step, so_far(ema))),
            validation=[next(held_out) for _ in range(VALIDATION_BATCHES)],
        )
    images = sources.train + (sources.validation if sources.disjoint else [])  # else they are the same
    everywhere = crop_batches(images, dataclasses.replace(crops, seed=config.seed + 2))
    prior = remember_statistics(
        so_far(jax.device_get(state.ema), steps=int(state.step), seconds=time.monotonic() - began),
        next(everywhere),
        images,
    )
    if tune and prior.material is not None:
        prior = tune_coupling(prior, progress=progress)
    if out is not None:
        save_prior(Path(out) / "weights.safetensors", prior)
    return prior


_init = jax.jit(models.init, static_argnums=0)  # one compilation instead of one for each operation


def check_training(micrograph: Microstructure, network: PriorConfig) -> None:
    """Refuses an image that a network cannot be trained on.

    Raises:
        UserError: the number of phases is not the network's, or the image is smaller than a training crop.
    """
    if network.phases != micrograph.phases:
        raise UserError(
            f"{micrograph.source or 'the image'} has {micrograph.phases} phases, the prior to start from has "
            f"{network.phases}; start from another prior or from scratch"
        )
    check_patch(micrograph, network.patch)


VALIDATION_BATCHES = 4  # crops of the held-out part: enough to rank steps, few enough to be cheap


@contextlib.contextmanager
def _checkpoints(
    out: Path | str | None, network: PriorConfig, config: TrainConfig, crops: CropConfig, data: str
) -> Iterator[Checkpoints | None]:
    """The checkpoints of a training in `out`; only the time limit may differ when it goes on."""
    if out is None:
        yield None
        return
    identity = {
        "prior": network.to_dict(),
        "train": dataclasses.asdict(dataclasses.replace(config, minutes=None)),
        "crops": dataclasses.asdict(crops),
        "data": data,
    }
    with Checkpoints(Path(out) / "checkpoints", config=identity) as checkpoints:
        yield checkpoints


def sample_images(prior: Prior, *, count: int = 8, steps: int = 40, seed: int = 0) -> np.ndarray:
    """Labels "n h w" of images drawn from a 2D prior, of the size of its training crops: what it has learned."""
    keys = jax.random.split(jax.random.key(seed), steps + 1)
    shape = (count, prior.config.patch, prior.config.patch, prior.config.phases)
    return np.asarray(_sample_images(prior.params, keys, shape=shape, prior=prior.config))


@functools.partial(jax.jit, static_argnames=("shape", "prior"))
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
    return to_labels(predictions[-1])
