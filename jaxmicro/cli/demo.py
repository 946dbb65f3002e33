"""`jaxmicro demo`: the whole way, with what comes with the package."""

import time

from jaxmicro import pipeline
from jaxmicro.cli import figures
from jaxmicro.cli.console import Console, duration
from jaxmicro.cli.evaluate import summary, write_report
from jaxmicro.cli.inputs import three_edges
from jaxmicro.cli.options import Demo
from jaxmicro.cli.reconstruct import find_reference, sample_into, sampling_of
from jaxmicro.cli.run_folder import open_run_folder
from jaxmicro.errors import UserError
from jaxmicro.io import write

DEMO_PRIOR = "sofc"


def run(options: Demo) -> None:
    """Reconstruct, compare, report."""
    console, began = Console(quiet=options.quiet), time.monotonic()
    prior = pipeline.load_prior(DEMO_PRIOR)
    micrograph = find_reference(DEMO_PRIOR, prior, None)
    if micrograph is None:
        raise UserError("the bundled micrograph is missing from this installation; install jaxmicro again")
    shape, sampling = three_edges(options.size), sampling_of(options, prior)
    pipeline.sampling_config(prior, shape=shape, sampling=sampling)  # refuses what cannot be before a folder is made
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
    console.remark("3. evaluation: sections of the volume against the micrograph")
    report = write_report(folder, console, volumes, micrograph, title="jaxmicro demo: fuel-cell electrode")
    if report is not None and not options.quiet:
        console.result(summary(report))
    console.remark(f"done in {duration(time.monotonic() - began)}; open {folder.path / 'report.html'}")
