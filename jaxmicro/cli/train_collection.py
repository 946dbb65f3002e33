"""`jaxmicro train COLLECTION`: a prior of many samples, conditioned on their features."""

import dataclasses

from jaxmicro import pipeline
from jaxmicro.cli import figures
from jaxmicro.cli.console import Console
from jaxmicro.cli.inputs import checked_options, listed
from jaxmicro.cli.options import Train
from jaxmicro.cli.run_folder import RunFolder, open_run_folder
from jaxmicro.cli.training import trained_before, training_config, write_training
from jaxmicro.collection import Collection
from jaxmicro.errors import UserError
from jaxmicro.io.collections import read_collection
from jaxmicro.pipeline import Prior, PriorConfig

_OF_IMAGES = (
    "segment", "merge_rare", "ignore", "crop", "stack", "from_scratch", "minutes", "patch", "latent_size",
    "tune", "dataset", "shape", "dtype", "voxel_size", "unit",
)  # fmt: skip


def run(options: Train) -> None:
    """Train on a collection and write the run folder.

    Raises:
        UserError: options are for images only, or the collection cannot be trained on.
    """
    console = Console(quiet=options.quiet)
    path = next(iter(options.micrograph))
    start = _start(options)
    collection = _chosen(read_collection(path), options, console, start)
    network = _network(collection, options) if start is None else start.config
    pipeline.check_collection(collection, network, start and start.conditions)
    base = pipeline.DENOISER if start is None else pipeline.COLLECTION_FINE_TUNING
    training = training_config(options, base, options.steps)
    predictor = training_config(options, pipeline.PREDICTOR, options.predictor_steps)
    folder = open_run_folder(
        "train",
        path.stem,
        options,
        out=options.out,
        resume=options.resume,
        inputs=[] if options.start is None else [pipeline.prior_path(options.start)],
        train=training,
        predictor=predictor,
        prior=network.to_dict(),
        samples=len(collection),
    )
    trained, complete = trained_before(folder, console)
    if trained is not None:
        if not complete:
            _finish(folder, console, trained)
        return
    _describe(console, collection, network)
    prior = pipeline.train(
        collection,
        config=training,
        predictor=predictor,
        autoencoder=training_config(options, pipeline.AUTOENCODER_3D, options.vae_steps),
        start=start,
        prior_config=network,
        augment=options.symmetry,
        out=folder.path,
        log=lambda record: folder.log(record.pop("stage", "training"), **record),
        on_sample=lambda step, now: _draw_samples(folder, step, now),
        progress=console.progress,
    )
    _finish(folder, console, prior)


def _start(options: Train) -> Prior | None:
    """The prior to fine-tune."""
    if options.start is None:
        return None
    start = pipeline.load_prior(options.start)
    if start.conditions is None:
        raise UserError(f"{options.start} is the prior of a micrograph; on a collection one of a collection goes on")
    if options.widths or options.paper or options.vae_steps or options.space not in (None, start.config.space):
        raise UserError("--widths, --paper, --vae-steps and --space shape a new network: leave them out with --start")
    return start


def _chosen(collection: Collection, options: Train, console: Console, start: Prior | None) -> Collection:
    """The collection with the features that are asked for, less those that do not vary in the training part; with a
    prior to fine-tune, those of its conditions."""
    path = next(iter(options.micrograph))
    if len(options.micrograph) > 1:
        raise UserError(f"{path} is a collection, and one collection is trained on; leave out the rest")
    for name in _OF_IMAGES:
        if getattr(options, name) != getattr(Train, name):
            raise UserError(f"--{name.replace('_', '-')} is for images, and {path} is a collection")
    if start is None and options.space != "latent" and (options.vae_steps or options.paper):
        raise UserError("--vae-steps and --paper are for latent priors: give them with --space latent")
    if options.phases is not None and options.phases != collection.phases:
        raise UserError(f"{collection.source} has {collection.phases} phases, but --phases says {options.phases}")
    if start is not None and start.conditions is not None:
        names, there = start.conditions.names, {feature.name for feature in collection.features}
        if absent := [name for name in names if name not in there]:
            raise UserError(
                f"{collection.source} lacks {', '.join(absent)}, conditions of {options.start}; properties are added "
                f"by: jaxmicro measure {path}"
            )
        if options.features:
            raise UserError("--features chooses the conditions of a new network: leave it out with --start")
        console.remark(f"note: scores on the held-out runs flatter if {options.start} has been trained on these runs")
        return _checked(collection.select(list(names)), options)
    features = listed(options.features)
    for prefix in features:
        if not any(feature.begins_with(prefix) for feature in collection.features):
            collection.select([prefix])  # raises with the names that there are
    chosen = [f.name for f in collection.features if not features or any(map(f.begins_with, features))]
    collection = collection.select(chosen)
    constant = pipeline.constant_features(collection.split(seed=options.seed)[0])
    if constant and len(constant) < len(chosen):
        console.remark(f"left out, for they do not vary in the runs to train on: {', '.join(constant)}")
        collection = collection.select([name for name in chosen if name not in constant])
    pipeline.conditions_of(collection.split(seed=options.seed)[0])  # raises where there is none
    return _checked(collection, options)


def _checked(collection: Collection, options: Train) -> Collection:
    """The collection, if it can be split and has what the predictor needs."""
    collection.split(seed=options.seed)  # raises where all samples are of one origin
    process = [feature.name for feature in collection.features if feature.role == "process"]
    if options.predictor_steps and not process:
        raise UserError("--predictor-steps is for process parameters, and the collection has none")
    return collection


def _network(collection: Collection, options: Train) -> PriorConfig:
    with checked_options():
        network = pipeline.collection_network(collection, options.space or "pixel", paper=options.paper)
        if not options.widths:
            return network
        attention = (False,) * (len(options.widths) - 1) + (True,)
        unet = dataclasses.replace(network.unet, widths=options.widths, attention=attention)
        return dataclasses.replace(network, unet=unet)


def _describe(console: Console, collection: Collection, network: PriorConfig) -> None:
    size = " x ".join(map(str, collection.grid))
    console.remark(
        f"{collection.source}: {len(collection)} samples of {size}, {collection.phases} phases; conditions "
        f"{', '.join(network.conditions)}"
    )


def _draw_samples(folder: RunFolder, step: int, prior: Prior) -> None:
    assert prior.conditions is not None
    rows = prior.conditions.natural(prior.conditions.samples[:: max(1, len(prior.conditions.samples) // 8)][:8])
    alone = dataclasses.replace(pipeline.default_generation(prior.config), steering_steps=0)  # what it has learned
    labels = pipeline.generate_labels(prior, rows, seed=step, config=alone)
    images = labels if labels.ndim == 3 else labels[:, labels.shape[1] // 2]
    scale = pipeline.length_unit_of(prior)
    picture = figures.samples(images, prior.config.phases, voxel_size=scale.voxel_size, unit=scale.unit)
    folder.write(f"figures/samples_{step:06d}.png", picture)


def _finish(folder: RunFolder, console: Console, prior: Prior) -> None:
    write_training(folder, prior)
    score = prior.record.get("validation_loss")
    loss = "" if score is None else f", loss on the held-out runs {score:.4f}"
    console.remark(f"trained prior in {folder.path}{loss}; {console.elapsed()} in this run")
    for name, r2 in prior.record.get("process_r2", {}).items():
        share = prior.record["process_coverage_90"][name]
        score = "" if r2 is None else f"R^2 {r2:.3f}, "
        console.remark(f"{name} from the structure, held-out runs: {score}{share:.0%} inside the 90 % interval")
    first = pipeline.example_targets(prior)
    console.remark(f"next: jaxmicro generate {folder.path} --target {first} --count 4")
