"""`jaxmicro simulate`: a collection of microstructures by phase separation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxmicro import pipeline
from jaxmicro.cli import figures
from jaxmicro.cli.console import Console
from jaxmicro.cli.options import Simulate
from jaxmicro.cli.resume import drop_damaged_arrays
from jaxmicro.cli.run_folder import open_run_folder
from jaxmicro.errors import UserError
from jaxmicro.pipeline import Range, Simulated, SimulationConfig, SimulationPlan


def run(options: Simulate) -> None:
    """Simulate and write the run folder.

    Raises:
        UserError: an option is out of range, nothing would separate, or a run did not reach its end.
    """
    console = Console(quiet=options.quiet)
    config = _config(options)
    pipeline.check_room(config, options.out or Path("runs"))
    plan = pipeline.plan_simulation(config)
    folder = open_run_folder(
        "simulate",
        options.equation,
        options,
        out=options.out,
        resume=options.resume,
        simulation=config,
        kappa=plan.kappa,
    )
    drop_damaged_arrays([folder.path / "evolution.npz"], console)
    _describe(console, config, plan)
    found = pipeline.simulate(config, folder.path, progress=console.progress)
    folder.write_figures({
        "evolution": figures.evolution(config, found), "parameters": figures.parameters(config, found)
    })  # fmt: skip
    folder.write("figures/film.gif", figures.evolution_film(config, found))
    folder.log("finished", samples=len(found.collection), steps=int(found.steps[:, -1].sum()))
    console.remark(_summary(found))
    console.remark(f"next: jaxmicro measure {folder.path}, then jaxmicro train {folder.path}")


def _config(options: Simulate) -> SimulationConfig:
    if options.threshold is not None and options.phases == 3:
        raise UserError("--threshold parts two phases; with --phases 3 give --band LOW HIGH")
    if options.band is not None and options.phases == 2:
        raise UserError("--band is for three phases; give --phases 3 with it, or --threshold for two")
    thresholds = options.band or (() if options.threshold is None else (options.threshold,))
    return SimulationConfig(
        shape=_shape(options.size),
        phi=_values("--phi", options.phi),
        chi=_values("--chi", options.chi),
        runs=options.runs,
        times=options.times,
        time_range=_range("--time-range", options.time_range) if options.time_range else None,
        energy=options.energy,
        chain_lengths=options.chain_lengths,
        wells=options.wells,
        mobility=options.mobility,
        kappa=options.kappa,
        noise=options.noise,
        amplitude=options.amplitude,
        no_flux=tuple(sorted(set(options.no_flux))),
        phases=options.phases,
        thresholds=thresholds,
        voxel_size=options.voxel_size,
        unit=options.unit,
        together=options.together,
        seed=options.seed,
        max_steps=options.max_steps,
    )


def _shape(size: Sequence[int]) -> tuple[int, ...]:
    if len(size) not in (1, 2, 3):
        raise UserError(
            f"--size takes one edge of a cube, two of an image (h w) or three of a volume (z y x); found {len(size)}"
        )
    return tuple(size) * 3 if len(size) == 1 else tuple(size)


def _values(option: str, words: Sequence[str]) -> Range | tuple[float, ...] | None:
    if not words:
        return None
    if len(words) == 1 and ":" in words[0]:
        return Range(*_range(option, words[0]))
    return tuple(_number(option, word) for word in words)


def _range(option: str, word: str) -> tuple[float, float]:
    low, colon, high = word.partition(":")
    if not colon:
        raise UserError(f"{option} {word}: expected a range such as 0.3:0.7")
    return _number(option, low), _number(option, high)


def _number(option: str, word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise UserError(f"{option}: {word!r:.60} is no number; give a range such as 0.3:0.7, or values") from None


def _describe(console: Console, config: SimulationConfig, plan: SimulationPlan) -> None:
    size, walls = " x ".join(map(str, config.shape)), " ".join(config.no_flux)
    sides = f"no flux along {walls}, " if walls else ""
    sides += "periodic" + (" along the others" if walls else "") if len(config.walls) < len(config.shape) else ""
    console.remark(f"{len(plan.times)} runs of {size} cells, {sides.removesuffix(', ')}; {config.mobility} mobility")
    spans = [f"{name} {low:.4g} to {high:.4g}" for name, (low, high) in _spans(plan).items()]
    console.remark(f"{', '.join(spans)}; kappa {plan.kappa:g}, the thinnest interface spans {plan.width:.2g} cells")
    for line in plan.warnings:
        console.remark(f"note: {line}")


def _spans(plan: SimulationPlan) -> dict[str, tuple[float, float]]:
    """Least and largest value of each feature."""
    columns = [*plan.parameters.T, plan.times]
    return {
        feature.name: (float(column.min()), float(column.max()))
        for feature, column in zip(plan.features, columns, strict=True)
    }


def _summary(found: Simulated) -> str:
    runs, times = found.energy.shape
    last = np.quantile(found.domain[:, -1], [0.0, 0.5, 1.0])
    features = ", ".join(feature.name for feature in found.plan.features)
    return (
        f"{runs * times} samples ({runs} runs x {times} times) with {features} in {found.collection.source}; domains "
        f"at the last time {last[1]:.3g} cells ({last[0]:.3g} to {last[2]:.3g})"
    )
