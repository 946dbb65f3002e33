"""Train: from micrographs, or a collection, to a prior."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from jaxmicro.collection import Collection
from jaxmicro.data import training_sources
from jaxmicro.models import PriorConfig
from jaxmicro.pipeline.fitting import FINE_TUNING, FROM_SCRATCH, check_same_material, check_training, train_on
from jaxmicro.pipeline.fitting_collection import (
    COLLECTION_FINE_TUNING,
    DENOISER,
    collection_network,
    train_on_collection,
)
from jaxmicro.pipeline.prior import Prior, material_of
from jaxmicro.pipeline.prior_files import general_prior
from jaxmicro.pipeline.progress import Progress
from jaxmicro.train import TrainConfig
from jaxmicro.types import Microstructure


def train(
    micrograph: Microstructure | Sequence[Microstructure] | Collection,
    *,
    start: Prior | Literal["general"] | None = "general",
    config: TrainConfig | None = None,
    prior_config: PriorConfig | None = None,
    autoencoder: TrainConfig | None = None,
    augment: Literal["isotropic", "flips", "none"] = "isotropic",
    validation: float = 0.2,
    tune: bool = True,
    predictor: TrainConfig | None = None,
    out: Path | str | None = None,
    log: Callable[[dict[str, Any]], None] | None = None,
    on_sample: Callable[[int, Prior], None] | None = None,
    progress: Progress | None = None,
) -> Prior:
    """A 2D prior of one micrograph, of several of one material, or of the planes of a volume; or the prior of a
    collection, of images or volumes conditioned on their features.

    Args:
        micrograph: a collection, or images, of which several have the same phases and voxel size (`io.read_images`).
            Crops are drawn uniformly over all of them, and statistics are weighted by area.
        start: prior to fine-tune; "general" is the bundled one for this number of phases (and the space of
            `prior_config`), if there is one, and for collections there is none; None starts from scratch.
        config: number of steps, optimiser and its schedule; FINE_TUNING, FROM_SCRATCH or DENOISER by default.
        prior_config: the network, when starting from scratch; `models.latent_small` gives one in latent space.
        autoencoder: the same as `config` for the autoencoder of a latent prior, which is trained first; AUTOENCODER or
            AUTOENCODER_FINE_TUNING by default.
        augment: the symmetry of the material: all 8 turns and reflections, only reflections, or none; of a collection
            along axes that are alike and that no feature tells apart.
        validation: share of the image that is held out for the validation loss ("validation_loss" in the record). If
            the image is too small, nothing is held out, and the loss is "whole_image_loss". Of a collection, whole
            origins (runs, regions) are held out.
        tune: afterwards sample three pilot volumes to tune the constraints of the sampling (`tune_correlation`); in
            pixel space only.
        predictor: as `config`, for the predictor of the process parameters of a collection; PREDICTOR by default.
        out: folder for checkpoints and the result; an interrupted training in it is resumed, with a result equal to the
            bit.
        log: called with each entry of the training log, plain numbers.
        on_sample: called with the step and the prior so far, every `config.sample_every` steps and at the end.
    Raises:
        UserError: when the image does not fit the prior or is smaller than a crop; when a collection has no features,
            one origin only, or another shape than the network; when the loss is not finite.
    """
    if isinstance(micrograph, Collection):
        return train_on_collection(
            micrograph,
            start if isinstance(start, Prior) else prior_config or collection_network(micrograph),
            config=config or (COLLECTION_FINE_TUNING if isinstance(start, Prior) else DENOISER),
            autoencoder=autoencoder,
            predictor=predictor,
            symmetry=augment,
            validation=validation,
            out=out,
            log=log,
            on_sample=on_sample,
            progress=progress,
        )
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
