"""`jaxmicro reconstruct`: volumes sampled from a prior."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxmicro import pipeline
from jaxmicro.cli.console import Console
from jaxmicro.cli.evaluate import summary, write_report
from jaxmicro.cli.inputs import checked_options, three_edges
from jaxmicro.cli.options import Reconstruct, Sampling
from jaxmicro.cli.resume import drop_damaged_arrays, is_made
from jaxmicro.cli.run_folder import RunFolder, open_run_folder
from jaxmicro.errors import UserError
from jaxmicro.io import read, write
from jaxmicro.pipeline import Prior, SamplingConfig
from jaxmicro.types import Microstructure, check_all_phases


def run(options: Reconstruct) -> None:
    """Sample the volumes and write the run folder.

    Raises:
        UserError: options exclude each other, or do not fit the prior.
    """
    console = Console(quiet=options.quiet)
    prior = _checked_prior(options)
    reference = find_reference(options.source, prior, options.reference)
    shape, sampling = three_edges(options.size), sampling_of(options, prior)
    fractions = None if options.no_calibrate else options.fractions or "micrograph"
    resolved = pipeline.sampling_config(prior, shape=shape, sampling=sampling)
    held = pipeline.target_fractions(prior, fractions)
    if options.scatter:  # raises before a folder is made
        scattered = pipeline.scattered_fractions(prior, held, shape=shape, volumes=options.volumes, seed=options.seed)
        console.remark(
            "volume fractions to be held: "
            + "; ".join(" ".join(f"{fraction:.3f}" for fraction in each) for each in scattered)
            + ("" if options.volumes % 2 == 0 else " (an odd number: the last volume has no opposite)")
        )
    statistics = pipeline.constrained_statistics(prior, resolved, fractions)
    name = Path(options.source).name.removesuffix(".safetensors")
    folder = open_run_folder(
        "reconstruct",
        name,
        options,
        out=options.out,
        resume=options.resume,
        inputs=[pipeline.prior_path(options.source)],
        sampling=dataclasses.replace(resolved, shape=shape),
        fractions=held,
        prior=prior.config.to_dict(),
        held=statistics,
    )
    if (unconstrained := _left_to_network(prior, statistics)) is not None:
        console.remark(unconstrained)
    volumes = sample_into(
        folder,
        console,
        prior,
        count=options.volumes,
        formats=options.formats,
        shape=shape,
        seed=options.seed,
        fractions=fractions,
        scatter=options.scatter,
        sampling=sampling,
        together=options.together,
    )
    if not options.no_report:
        report = write_report(
            folder, console, volumes, reference, title=f"Volumes from {name}", diffusivity=not options.no_diffusivity,
            held=statistics,
        )  # fmt: skip
        if report is not None and not options.quiet:
            console.result(summary(report))
    console.remark(f"{len(volumes)} volume{'s' * (len(volumes) > 1)} in {folder.path}")


def _checked_prior(options: Reconstruct) -> Prior:
    """The prior; raises UserError if options exclude each other or do not fit it."""
    if options.no_calibrate and options.fractions:
        raise UserError("--fractions and --no-calibrate exclude each other; leave one out")
    if options.no_calibrate and options.scatter:
        raise UserError("--scatter and --no-calibrate exclude each other; leave one out")
    if not options.formats:
        raise UserError("--formats names no file format; give at least one of tif, vti, npz, zarr")
    prior = pipeline.load_prior(options.source)
    pipeline.check_of_planes(prior)
    if options.space not in (None, prior.config.space):
        raise UserError(f"{options.source} is a prior in {prior.config.space} space, but --space says {options.space}")
    if options.refine is not None and prior.config.space == "pixel":
        raise UserError(f"--refine is for latent priors, and {options.source} is none: its planes need no decoding")
    return prior


def _left_to_network(prior: Prior, held: Sequence[str]) -> str | None:
    """Remark that names the statistics of the micrograph that do not constrain the sampling; None if all do."""
    titles = {"two_point": "two-point correlation", "lineal_path": "lineal path", "surface_area": "interface"}
    missing = [title for name, title in titles.items() if name not in held]
    if not missing:
        return None
    material, why = prior.material, ""
    if prior.config.space == "pixel" and material is not None and material.covariance and not material.held_covariance:
        why = " (the prior was trained with --no-tune)"
    return f"not held while sampling, but left to the network: {', '.join(missing)}{why}"


def sampling_of(options: Sampling, prior: Prior) -> SamplingConfig:
    """Sampling settings: the given options, and the defaults of the prior for all others.

    Raises:
        UserError: an option is out of its range.
    """
    for name in ("volumes", "together", "rounds"):
        if getattr(options, name, 1) < 1:
            raise UserError(f"--{name} is {getattr(options, name)}; expected 1 or more")
    given = {name: getattr(options, name) for name in ("steps", "harmonise", "refine", "sampler", "mode")}
    with checked_options():
        return dataclasses.replace(
            pipeline.default_sampling(prior.config),
            periodic=options.periodic,
            **{name: value for name, value in given.items() if value is not None},
        )


def sample_into(
    folder: RunFolder,
    console: Console,
    prior: Prior,
    *,
    count: int,
    formats: Sequence[str],
    shape: Sequence[int],
    **options: Any,
) -> list[Microstructure]:
    """Sample the volumes that are not in the folder yet, and return all of them in order.

    Args:
        options: passed to `pipeline.reconstruct`.
    """

    def paths(number: int) -> list[Path]:
        return [folder.path / f"volume_{number:03d}.{ending}" for ending in formats]

    def keep(number: int, volume: Microstructure) -> None:
        for path in paths(number):
            write(path, volume)
        folder.log("volume", number=number, volume_fractions=volume.volume_fractions)

    unfinished, phases = folder.path / "unfinished.npz", prior.config.phases
    drop_damaged_arrays([unfinished], console)
    pipeline.reconstruct(
        prior,
        shape=shape,
        volumes=count,
        skip=[n for n in range(count) if is_made(paths(n), shape=shape, phases=phases, console=console)],
        on_volume=keep,
        checkpoint=unfinished,
        progress=console.progress,
        **options,
    )
    return [read(paths(number)[0]) for number in range(count)]


def find_reference(source: str, prior: Prior, given: Path | None) -> Microstructure | None:
    """The micrograph to compare with: the given one, that of the run folder, or that of the bundled prior.

    Raises:
        UserError: the micrograph cannot be read, or has other phases than the prior.
    """
    kept = Path(source) / "micrograph.npz"
    if given is not None:
        micrograph = read(given)
    else:
        micrograph = _kept_micrograph(kept, prior) if kept.is_file() else pipeline.bundled_micrograph(prior)
    if micrograph is not None and micrograph.phases != prior.config.phases:
        raise UserError(
            f"the reference {micrograph.source} has {micrograph.phases} phases, the prior {prior.config.phases}; "
            "give the micrograph it was trained on"
        )
    if micrograph is not None:
        check_all_phases(micrograph)
    return micrograph


def _kept_micrograph(path: Path, prior: Prior) -> Microstructure:
    """The copy in a run folder, with the file name of the original as its source."""
    micrograph = read(path)
    return dataclasses.replace(micrograph, source=prior.material.source if prior.material else micrograph.source)
