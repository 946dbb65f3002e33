"""Claim: all slices of an axis are guided in one step, far faster than one slice at a time with a dense solve.

    python -m benchmarks.guidance --write                  # default network (pixel) and the paper's sizes (latent)
    python -m benchmarks.guidance --network default --slices 16
    python -m benchmarks.guidance --volumes --write        # whole designs of 64^3 instead: time and memory

A slice-step is one gradient of score loss and misfit of one slice of 64 x 64 and one update by Adam (P-MicroLad 3.4).
Side by side in one run, same network and quantity: ours (`guidance.total_loss` on all slices of an axis, one compiled
loop) and a plain loop that compiles the same step for a single slice, with a dense finite-element solve for each
direction where there is a diffusivity. Slices are sections of smoothed noise with three phases; the networks are
untrained, which costs the same.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import ndimage

from benchmarks.reconstruction import peak_memory
from benchmarks.solver_in_the_loop import dense_diffusivity
from experiments.machine import describe
from experiments.tables import markdown_table, write_table
from jaxmicro import models, pipeline
from jaxmicro.descriptors import radial_two_point
from jaxmicro.devices import jit_network
from jaxmicro.guidance import LEAK, QUANTITIES, DistillationConfig, Target, score_loss, total_loss
from jaxmicro.models import PriorConfig
from jaxmicro.phases import hardened, one_hot
from jaxmicro.pipeline import load_prior

HERE = Path(__file__).parent
NETWORKS = {"default": lambda: PriorConfig(phases=3), "paper": lambda: models.latent_paper(3)}
NUMBERS = ("volume_fraction", "relative_surface_area", "two_point", "slice_diffusivity")
DESIGNS = ("diffusivity.0.z=+30%", "surface_area.0=+10%")
R_MAX = 32  # of the correlation; voxels
LEVEL = 0.0  # log SNR of the score loss
STEPS = 2  # of each call


def main(arguments: Sequence[str] | None = None) -> None:
    """Every network and quantity."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, nargs="+", default=list(NETWORKS))
    parser.add_argument("--slices", type=int, default=64)
    parser.add_argument("--edge", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    parser.add_argument("--volumes", action="store_true", help="time whole designs of volumes with the bundled prior")
    options = parser.parse_args(arguments)
    if options.volumes:
        table = f"{describe()['device']}.\n\n" + designed(options.edge)
        print(table)
        if options.write:
            write_table(HERE / "README.md", "designs", table)
        return
    rows = []
    for network in options.network:
        for quantity in NUMBERS:
            rows.append(compared(network, quantity, options.slices, options.edge, options.repeats))
            print(rows[-1], flush=True)
    heading = f"{options.slices} slices of {options.edge} x {options.edge}; {describe()['device']}.\n\n"
    table = heading + markdown_table(rows, {column: column for column in rows[0]})
    print(table)
    if options.write:
        write_table(HERE / "README.md", "guidance", table)


def compared(network: str, quantity: str, slices: int, edge: int, repeats: int) -> dict[str, str]:
    """Slice-steps per second of both."""
    config = NETWORKS[network]()
    params = models.init(config, jax.random.key(0))
    model, codec = models.plane_model(config, params), models.codec(config, params)
    fractions = media(slices, edge)
    curve = quantity == "two_point"
    targets = [] if curve else [Target(quantity, 1, 1.0, axis=0, each=True)]  # of the planes of one axis
    settings, setpoints = DistillationConfig(), jnp.full(len(targets), 0.3)
    wanted = jnp.mean(jax.vmap(two_point)(fractions[..., 1]), axis=0)
    far = lambda image: jnp.mean((two_point(image[..., 1]) / wanted - 1) ** 2)  # noqa: E731
    extra_misfit = (lambda volume: jnp.mean(jax.vmap(far)(volume))) if curve else None
    optimiser = optax.adam(settings.learning_rate)
    level, key = jnp.float32(LEVEL), jax.random.key(1)

    @jit_network
    def ours(x):
        def step(carry, i):
            x, state = carry

            def loss(x):
                return total_loss(
                    model, codec, x, 0, targets, setpoints, level, key, config=settings, extra_misfit=extra_misfit
                )

            change, state = optimiser.update(jax.grad(loss)(x), state)
            return (optax.apply_updates(x, change), state), None

        return jax.lax.scan(step, (x, optimiser.init(x)), jnp.arange(STEPS))[0][0]

    def off(image):
        if curve:
            return far(image)
        if quantity != "slice_diffusivity":
            of_plane = QUANTITIES[quantity].of_plane
            assert of_plane is not None
            return (of_plane(image, 1) / setpoints[0] - 1) ** 2
        kappa = LEAK + (1 - LEAK) * image[..., 1]
        return ((dense_diffusivity(kappa) + dense_diffusivity(kappa.T)) / 2 / setpoints[0] - 1) ** 2

    @jit_network
    def one(x, state):
        def loss(x):
            image = hardened(codec.decode(x)[0])
            return score_loss(model, x, level, key) + off(image)

        change, state = optimiser.update(jax.grad(loss)(x), state)
        return optax.apply_updates(x, change), state

    def plain(x):
        for i in range(len(x)):
            jax.block_until_ready(one(x[i : i + 1], optimiser.init(x[i : i + 1])))

    encode = jit_network(codec.encode)
    x = jax.block_until_ready(encode(fractions))
    few = x[: min(4, slices)]
    jax.block_until_ready(ours(x))
    plain(few[:1])
    fast, slow = [], []
    for _ in range(repeats):  # in turns: machines are noisy
        fast.append(STEPS * slices / seconds(lambda: jax.block_until_ready(ours(x))))
        slow.append(len(few) / seconds(lambda: plain(few)))
    a, b = np.median(fast), np.median(slow)
    return {
        "Network": network,
        "Quantity": quantity,
        "Ours (slice-steps / s)": f"{a:.3g}",
        "Plain loop": f"{b:.3g}",
        "Times": f"{a / b:.3g}",
    }


def designed(edge: int) -> str:
    """A volume designed to each of `DESIGNS`: seconds of the first, which compiles, and of two others."""
    prior = load_prior("sofc")
    rows = []
    for target in DESIGNS:
        times, numbers = [], []
        for seed in range(3):
            began = time.perf_counter()
            (found,) = pipeline.design(prior, [target], shape=(edge,) * 3, seed=seed)
            times.append(time.perf_counter() - began)
            numbers.append(100 * abs(found.targets[0].deviation(found.achieved[0])))
            print(target, f"{times[-1]:.1f} s", f"{numbers[-1]:.2f} % off", flush=True)
        rows.append({
            "Target": target, "Edge": edge, "First, with compilation (s)": f"{times[0]:.1f}",
            "Others (s)": " ".join(f"{each:.1f}" for each in times[1:]),
            "Largest deviation (%)": f"{max(numbers):.2f}",
            "Peak memory of the process so far (MB)": f"{peak_memory() / 1e6:.0f}",
        })  # fmt: skip
    return markdown_table(rows, {column: column for column in rows[0]})


def two_point(phase: jax.Array) -> jax.Array:
    """S2 of one plane, periodic."""
    return radial_two_point(phase, r_max=min(R_MAX, min(phase.shape) // 2), periodic=True)


def seconds(call: Callable[[], object]) -> float:
    """Wall time of a call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def media(slices: int, edge: int) -> jax.Array:
    """Sections with three phases in equal shares, as one-hot fractions "n h w p"."""
    noise = np.random.default_rng(0).normal(size=(slices, edge, edge))
    smooth = np.stack([ndimage.gaussian_filter(plane, 2.0, mode="wrap") for plane in noise])
    labels = np.searchsorted(np.quantile(smooth, [1 / 3, 2 / 3]), smooth)
    return one_hot(jnp.asarray(labels), 3)


if __name__ == "__main__":
    main()
