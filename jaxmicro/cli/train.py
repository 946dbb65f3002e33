"""`jaxmicro train`: a prior trained or fine-tuned on micrographs."""

import dataclasses
from collections.abc import Sequence

from jaxmicro import pipeline
from jaxmicro.cli import figures, train_collection
from jaxmicro.cli.collection import is_trainable_collection, no_collection, remark_on_tables
from jaxmicro.cli.console import Console
from jaxmicro.cli.inputs import checked_options, files_of, grey_levels, read_several
from jaxmicro.cli.options import Train
from jaxmicro.cli.resume import is_made
from jaxmicro.cli.run_folder import RunFolder, open_run_folder
from jaxmicro.cli.training import trained_before, training_config, write_training
from jaxmicro.errors import UserError
from jaxmicro.io import write
from jaxmicro.pipeline import Prior, PriorConfig, UNetConfig
from jaxmicro.types import Microstructure


def run(options: Train) -> None:
    """Train and write the run folder.

    Raises:
        UserError: options exclude each other, or an image cannot be trained on.
    """
    if is_trainable_collection(options.micrograph):
        train_collection.run(options)
    else:
        _train_on_images(options)


def _train_on_images(options: Train) -> None:
    console = Console(quiet=options.quiet)
    if options.features or options.predictor_steps:
        raise no_collection(options.micrograph[0], "--features and --predictor-steps are")
    remark_on_tables(options.micrograph, console)
    micrographs = read_several(options.micrograph, options, console)
    # the reference that volumes will be compared with
    micrograph = max(micrographs, key=lambda image: image.labels.size)
    _check(options, micrograph)
    start = _start(options, micrograph)
    if start is not None and (options.patch != Train.patch or options.widths or options.paper):
        raise UserError("--patch, --widths and --paper shape a new network: give them with --from-scratch")
    config = training_config(options, pipeline.FROM_SCRATCH if start is None else pipeline.FINE_TUNING, options.steps)
    autoencoder = training_config(
        options, pipeline.AUTOENCODER if start is None else pipeline.AUTOENCODER_FINE_TUNING, options.vae_steps
    )
    network = start.config if start is not None else _network(options, micrograph.phases)
    _check_space(options, network)
    for each in micrographs:
        pipeline.check_training(each, network)
    folder = open_run_folder(
        "train",
        options.micrograph[0].stem,
        options,
        out=options.out,
        resume=options.resume,
        inputs=files_of(options.micrograph),
        train=config,
        autoencoder=autoencoder if network.space == "latent" else None,
        prior=network.to_dict(),
    )
    trained, complete = trained_before(folder, console)
    if trained is not None:
        if not complete:
            _finish(folder, console, trained)
        return
    _describe(console, start, micrographs, network)
    if len(micrographs) > 1:
        console.remark(f"volumes will be compared with the largest of the images, {micrograph.source}")
    keep_micrograph(folder, micrograph, options, console, number=micrographs.index(micrograph))
    line, anisotropic = pipeline.directions(micrograph)
    console.remark("note: " * anisotropic + line)
    folder.log("directions", anisotropic=anisotropic, found=line)
    if micrograph.thresholds:
        console.remark(f"check the segmentation in {folder.path / 'figures' / 'segmentation.png'}")
    prior = pipeline.train(
        micrographs,
        start=start,
        config=config,
        autoencoder=autoencoder,
        prior_config=network,
        augment=options.symmetry,
        tune=options.tune,
        out=folder.path,
        log=lambda record: folder.log(record.pop("stage", "training"), **record),
        on_sample=lambda step, now: _draw_samples(folder, step, now),
        progress=console.progress,
    )
    _finish(folder, console, prior)


def keep_micrograph(
    folder: RunFolder, micrograph: Microstructure, options: Train, console: Console, *, number: int
) -> None:
    """Save the segmented image, number `number` of those read, as the reference for evaluation, and its figures."""
    kept = folder.path / "micrograph.npz"
    if not is_made([kept], shape=micrograph.shape, phases=micrograph.phases, console=console):
        write(kept, micrograph)
    grey = grey_levels(options.micrograph, options, number) if micrograph.thresholds else None
    folder.write_figures(figures.of_input(micrograph, grey))


def _check(options: Train, micrograph: Microstructure) -> None:
    if options.phases is not None and micrograph.phases != options.phases:
        raise UserError(
            f"{options.micrograph[0]} has {micrograph.phases} phases, but --phases says {options.phases}; "
            "correct the option, or segment the image into that many phases"
        )
    if options.from_scratch and options.start is not None:
        raise UserError("--from-scratch and --start exclude each other; leave one out")


def _start(options: Train, micrograph: Microstructure) -> Prior | None:
    if options.from_scratch:
        return None
    if options.start:
        start = pipeline.load_prior(options.start)
        pipeline.check_of_planes(start)
        return start
    return pipeline.general_prior(micrograph.phases, options.space or "pixel")


def _check_space(options: Train, network: PriorConfig) -> None:
    if options.space not in (None, network.space):
        raise UserError(f"{options.start} is a prior in {network.space} space, but --space says {options.space}")
    if network.space == "pixel" and (options.vae_steps or options.paper or options.latent_size != Train.latent_size):
        raise UserError("--vae-steps, --latent-size and --paper are for latent priors: give them with --space latent")


def _network(options: Train, phases: int) -> PriorConfig:
    """The network of a training from scratch."""
    with checked_options():
        if options.space == "latent":
            latent = pipeline.latent_paper if options.paper else pipeline.latent_small
            network = latent(phases, options.latent_size, patch=options.patch)
            unet = dataclasses.replace(network.unet, widths=options.widths or network.unet.widths)
            return dataclasses.replace(network, unet=unet)
        unet = UNetConfig(widths=options.widths) if options.widths else UNetConfig()
        return PriorConfig(phases=phases, patch=options.patch, unet=unet)


def _describe(
    console: Console, start: Prior | None, micrographs: Sequence[Microstructure], network: PriorConfig
) -> None:
    for micrograph in micrographs:
        fractions = ", ".join(f"{fraction:.3f}" for fraction in micrograph.volume_fractions)
        size = " x ".join(map(str, micrograph.shape))
        console.remark(f"{micrograph.source}: {size}, {micrograph.phases} phases with volume fractions {fractions}")
    micrograph = micrographs[0]
    if micrograph.thresholds:
        console.remark(f"grey levels between the phases: {', '.join(f'{t:g}' for t in micrograph.thresholds)}")
    how = "fine-tuning a trained prior" if start is not None else "training from scratch"
    console.remark(f"{how}, crops of {network.patch} x {network.patch} pixels")


def _draw_samples(folder: RunFolder, step: int, prior: Prior) -> None:
    images, scale = pipeline.sample_images(prior, count=8), pipeline.length_unit_of(prior)
    picture = figures.samples(images, prior.config.phases, voxel_size=scale.voxel_size, unit=scale.unit)
    folder.write(f"figures/samples_{step:06d}.png", picture)


def _finish(folder: RunFolder, console: Console, prior: Prior) -> None:
    write_training(folder, prior)
    measured = {"validation_loss": "the held-out part", "whole_image_loss": "the whole image (nothing was held out)"}
    remark = "".join(
        f", loss on {what} {prior.record[name]:.4f}" for name, what in measured.items() if name in prior.record
    )
    took = f"{console.elapsed()} in this run, with preparation and compilation"
    console.remark(f"trained prior in {folder.path}{remark}; {took}")
    console.remark(f"next: jaxmicro reconstruct {folder.path}")
