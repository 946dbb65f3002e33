"""Score distillation against its weight, learning rate and steps: `python -m experiments.design.parameters`.

P-MicroLad's Tables E.1 to E.3: one volume of the electrode, each number of the pores to its largest over crops of the
micrograph, by distillation alone: nothing is measured and aimed at again. The paper takes one slice a step; ours all 64
slices of an axis, so that 48 of ours are 3072 of theirs. A turn is a third of the steps: each axis has one.
"""

import argparse
import functools
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.machine import describe
from experiments.materials import micrograph
from experiments.priors import find_prior, untrained_prior
from experiments.tables import markdown_table, read_rows, replace_rows, write_table
from jaxmicro import models, pipeline
from jaxmicro.devices import jit_network
from jaxmicro.guidance import DistillationConfig, Target, distill, exact_value
from jaxmicro.models import PriorConfig
from jaxmicro.phases import one_hot
from jaxmicro.pipeline import Prior
from jaxmicro.types import Microstructure

HERE = Path(__file__).parent
NUMBERS = ("volume_fraction", "relative_surface_area", "slice_diffusivity")
PAPER = {  # absolute errors after 500, 1000, 2000 and 3000 slice-steps, by quantity, weight and learning rate
    ("volume_fraction", 1.0, 0.1): (0.06262, 0.04244, 0.03507, 0.01118),
    ("volume_fraction", 1.0, 0.05): (0.09939, 0.09382, 0.06882, 0.03741),
    ("volume_fraction", 1.0, 0.01): (0.15433, 0.12856, 0.10210, 0.09602),
    ("volume_fraction", 5.0, 0.1): (0.05681, 0.03538, 0.04064, 0.02920),
    ("volume_fraction", 5.0, 0.01): (0.14113, 0.10953, 0.08771, 0.06617),
    ("relative_surface_area", 1.0, 0.1): (0.02266, 0.02734, 0.01947, 0.01702),
    ("relative_surface_area", 1.0, 0.05): (0.07357, 0.06704, 0.05207, 0.04819),
    ("relative_surface_area", 1.0, 0.01): (0.07679, 0.07244, 0.07095, 0.06355),
    ("relative_surface_area", 5.0, 0.1): (0.02474, 0.02310, 0.02711, 0.02742),
    ("relative_surface_area", 5.0, 0.01): (0.05948, 0.05301, 0.04693, 0.04815),
    ("slice_diffusivity", 1.0, 0.1): (0.00073, 0.00065, 0.00063, 0.00057),
    ("slice_diffusivity", 1.0, 0.05): (0.00093, 0.00081, 0.00073, 0.00074),
    ("slice_diffusivity", 1.0, 0.01): (0.00094, 0.00092, 0.00084, 0.00081),
    ("slice_diffusivity", 10.0, 0.1): (0.00063, 0.00062, 0.00065, 0.00045),
    ("slice_diffusivity", 10.0, 0.01): (0.00085, 0.00080, 0.00075, 0.00076),
}
STEPS = (9, 15, 33, 48)  # times 64 slices: 576, 960, 2112, 3072
COLUMNS = {
    "quantity": "Number", "weight": "Weight", "rate": "Learning rate", "slice_steps": "Slice-steps", "wanted": "Wanted",
    "achieved": "Achieved", "error": "Error", "relative": "Error (%)", "seconds": "Time (s)", "paper": "Paper's error",
    "device": "On",
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """All of the tables, or one quantity."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("quantities", nargs="*", metavar="QUANTITY", help=f"default: all of {', '.join(NUMBERS)}")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.quantities if name not in NUMBERS]
    if unknown:
        parser.error(f"no quantity {', '.join(unknown)}; there are {', '.join(NUMBERS)}")
    results = HERE / "parameters.csv"
    image = micrograph("sofc")
    run(find_prior("sofc"), image, results, quantities=options.quantities or NUMBERS, shape=(64, 64, 64), steps=STEPS)
    write_table(HERE / "README.md", "parameters", markdown_table(read_rows(results), COLUMNS))


def run_smoke(out: Path) -> list[dict[str, str]]:
    """The same with a tiny untrained network, few steps and one quantity, in seconds; returns the rows."""
    image = micrograph("sofc")
    run(untrained_prior(image), image, out / "rows.csv", quantities=["volume_fraction"], shape=(16, 16, 16), steps=(3,))
    return read_rows(out / "rows.csv")


def run(
    prior: Prior, image: Microstructure, results: Path, *, quantities: Sequence[str], shape: tuple[int, ...],
    steps: Sequence[int],
) -> None:  # fmt: skip
    """One row for each quantity, weight, rate and number of steps."""
    labels = pipeline.reconstruct(prior, shape=shape)[0].labels
    for quantity in quantities:
        wanted = pipeline.crop_values(image, quantity, 0, edge=min(64, *shape)).max()
        for (name, weight, rate), errors in PAPER.items():
            if name != quantity:
                continue
            for count, theirs in zip(steps, errors, strict=False):
                # the paper's weight is that of the number, ours that of the prior against it
                config = DistillationConfig(steps=count, turn=count // 3, learning_rate=rate, weight=1 / weight)
                inputs = prior.params, jnp.asarray(labels), jnp.array([wanted])
                settings = {"prior": prior.config, "target": Target(quantity, 0, 1.0), "config": config}
                program = distilled.lower(*inputs, **settings).compile()
                began = time.monotonic()
                found = np.asarray(jax.block_until_ready(program(*inputs)))
                seconds = time.monotonic() - began
                achieved = exact_value(quantity, found, image.phases, 0)
                row = {
                    "quantity": quantity, "weight": weight, "rate": rate, "slice_steps": count * shape[0],
                    "wanted": f"{wanted:.4g}", "achieved": f"{achieved:.4g}", "error": f"{abs(achieved - wanted):.2g}",
                    "relative": f"{100 * abs(achieved / wanted - 1):.2g}", "seconds": f"{seconds:.1f}", "paper": theirs,
                    **describe(),
                }  # fmt: skip
                print(row, flush=True)
                replace_rows(results, [row], key=["quantity", "weight", "rate", "slice_steps"])


@functools.partial(jit_network, static_argnames=("prior", "target", "config"))
def distilled(
    params, labels, setpoints, *, prior: PriorConfig, target: Target, config: DistillationConfig
) -> jax.Array:
    """Labels of the distillation of a volume towards an aim."""
    model, codec = models.plane_model(prior, params), models.codec(prior, params)
    fractions = one_hot(labels, prior.phases)
    found = distill(model, codec, fractions, [target], setpoints, config=config, key=jax.random.key(0))
    return jnp.argmax(found, axis=-1).astype(jnp.uint8)


if __name__ == "__main__":
    main()
