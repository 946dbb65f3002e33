"""`jaxmicro demo`: reconstruction, design and evaluation with the bundled micrograph and prior."""

import time
from typing import Any

from jaxmicro import pipeline
from jaxmicro.cli import figures
from jaxmicro.cli.console import Console, aligned, duration
from jaxmicro.cli.design import design_into
from jaxmicro.cli.evaluate import summary, write_report
from jaxmicro.cli.inputs import three_edges
from jaxmicro.cli.options import Demo
from jaxmicro.cli.reconstruct import find_reference, sample_into, sampling_of
from jaxmicro.cli.run_folder import RunFolder, open_run_folder
from jaxmicro.errors import UserError
from jaxmicro.io import read, write
from jaxmicro.pipeline import Prior, exact_value, parse_target

DEMO_PRIOR = "sofc"
NAMES = ("pore", "grey", "white")  # it is not known which solid is grey and which white
TARGET = "diffusivity.pore.z=+20%"


def run(options: Demo) -> None:
    """Reconstruct, design, compare, report.

    Raises:
        UserError: the bundled micrograph is missing.
    """
    console, began = Console(quiet=options.quiet), time.monotonic()
    prior = pipeline.load_prior(DEMO_PRIOR)
    micrograph = find_reference(DEMO_PRIOR, prior, None)
    if micrograph is None:
        raise UserError("the bundled micrograph is missing from this installation; install jaxmicro again")
    shape, sampling = three_edges(options.size), sampling_of(options, prior)
    # raises on settings that do not fit the prior, before a folder is made
    resolved = pipeline.sampling_config(prior, shape=shape, sampling=sampling)
    folder = open_run_folder("demo", "", options, out=options.out, resume=options.resume)
    write(folder.file("micrograph.npz"), micrograph)
    folder.write_figures({"phases": figures.phases(micrograph)})
    console.remark(f"1. micrograph: {micrograph.source}, {micrograph.phases} phases")
    console.remark(f"2. volume: {' x '.join(map(str, shape))} voxels by multi-plane diffusion")
    volumes = sample_into(
        folder,
        console,
        prior,
        count=options.volumes,
        formats=("tif", "vti"),
        shape=shape,
        seed=options.seed,
        sampling=sampling,
        together=options.together,
    )
    more = {}
    if exact_value("diffusivity", volumes[0].labels, volumes[0].phases, 0, 0, periodic=volumes[0].periodic) > 0:
        _design(folder, console, prior, options, shape=shape, seed=options.seed, sampling=sampling)
        more["design"] = folder.file("figures/design_000.png").read_bytes()
    else:
        console.remark("3. no design: the pores of so small a volume conduct nothing along z")
    console.remark("4. evaluation: sections of the reconstructed volume against the micrograph")
    report = write_report(
        folder, console, volumes, micrograph, title="jaxmicro demo: fuel-cell electrode", more=more,
        held=pipeline.constrained_statistics(prior, resolved), names=NAMES,
    )  # fmt: skip
    if report is not None and not options.quiet:
        console.result(summary(report, names=NAMES))
    console.remark(f"done in {duration(time.monotonic() - began)}; open {folder.path / 'report.html'}")


def _design(folder: RunFolder, console: Console, prior: Prior, options: Demo, **settings: Any) -> None:
    """The first volume designed to a target, and the diffusivities of both."""
    console.remark(f"3. design: {TARGET}, at the same volume fractions")
    target = parse_target(TARGET, phases=prior.config.phases, names=NAMES)
    design_into(
        folder, console, prior, [target], count=1, formats=("tif", "vti"), names=NAMES,
        stems=("reconstruction", "designed"), rounds=2, **settings,
    )  # fmt: skip
    if options.quiet:
        return
    rows = [["pores, D_eff / D_0 along", "z", "y", "x", "volume fraction"]]
    for periodic, where in ((True, "periodic medium"), (False, "between two faces")):
        for name in ("reconstruction", "designed"):
            volume = read(folder.path / f"{name}_000.tif")
            along = [
                exact_value("diffusivity", volume.labels, volume.phases, 0, a, periodic=periodic) for a in range(3)
            ]
            values = *(f"{value:.4f}" for value in along), f"{volume.volume_fractions[0]:.4f}"
            rows.append([f"{name}, {where}", *values])
    console.result(aligned(rows))
