"""From a process to structures and back: `python -m experiments.process.run [TABLE...]`.

Simulates a collection, measures it and trains on it, unless that is done, and makes one table for each question:

- asked: what is measured of volumes against what was asked, for conditions of held-out runs;
- spread: the scatter of volumes of one condition;
- unasked: what no condition says, of generated volumes against held-out ones of the same condition;
- parameters: predicted process parameters of held-out samples;
- again: predicted parameters simulated again, and measured.
"""

import argparse
import dataclasses
import functools
import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import jax
import numpy as np

from experiments.machine import describe
from experiments.process.config import ProcessConfig, smoke
from experiments.tables import as_text, markdown_table, write_rows, write_table
from jaxmicro import models, pipeline
from jaxmicro.cli.console import Console
from jaxmicro.collection import Collection
from jaxmicro.evaluate import two_point_along
from jaxmicro.io import read_collection
from jaxmicro.io.collection_store import COLLECTION
from jaxmicro.pipeline import Prior
from jaxmicro.pipeline.conditions import conditions_to_dict
from jaxmicro.pipeline.exact_features import PASSES, TOLERANCE
from jaxmicro.pipeline.generation import STEERED_FROM, in_memory
from jaxmicro.pipeline.measure_collection import measured_table
from jaxmicro.pipeline.process_distribution import predicted_process
from jaxmicro.pipeline.sample_targets import FARTHEST, NEIGHBOURS, SHARE
from jaxmicro.pipeline.state import Resumable, identity_of

HERE = Path(__file__).parent
UNASKED = ("surface_area.0", "percolating_fraction.0.x", "percolating_fraction.1.x", "tortuosity.0.x", "tortuosity.1.x")
METHODS = ("network alone", 0), ("steered", None)  # and their `steering_steps`; None: as usual
Rows = list[dict[str, object]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tables asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"{', '.join(TABLES)}; default: all")
    parser.add_argument("--model", help="a model that is trained already; default: train one in runs/process")
    parser.add_argument("--collection", type=Path, help="the collection that it was trained on")
    parser.add_argument("--conditions", type=int, help="other than the configured number")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.tables if name not in TABLES]
    if unknown or (options.model is None) != (options.collection is None):
        parser.error(f"expected tables among {', '.join(TABLES)}, and --model and --collection together")
    config = ProcessConfig()
    if options.conditions:
        config = dataclasses.replace(config, conditions=options.conditions)
    parts = (
        trained(config)
        if options.model is None
        else (pipeline.load_prior(options.model), read_collection(options.collection))
    )
    run(config, *parts, tables=options.tables or list(TABLES), results=HERE)


def run_smoke(out: Path) -> dict[str, Rows]:
    """All tables of tiny volumes; returns their rows."""
    config = smoke(out)
    return run(config, *trained(config), tables=list(TABLES), results=None)


def run(
    config: ProcessConfig, prior: Prior, collection: Collection, *, tables: Sequence[str], results: Path | None
) -> dict[str, Rows]:
    """Rows of each table; with `results` a folder, its CSV files and the tables of its README."""
    held_out, found = held_out_part(prior, collection), {}
    for name in tables:
        rows = [{**row, **describe()} for row in TABLES[name](config, prior, held_out)]
        found[name] = rows
        save(name, rows, results=results)
    return found


def held_out_part(prior: Prior, collection: Collection) -> Collection:
    """The samples of the runs that a prior was not trained on."""
    chosen = set(prior.record["held_out_origins"])
    return collection.subset(np.flatnonzero([origin in chosen for origin in collection.origin]))


def save(name: str, rows: Rows, *, results: Path | None = HERE) -> None:
    """Print a table; with `results` write it there, too, as CSV and into the README."""
    columns = [key for key in rows[0] if key not in describe()]
    text = [{key: as_text(value) for key, value in row.items()} for row in rows]
    table = markdown_table(text, {key: key for key in columns})
    print(f"\n{name}\n{table}", flush=True)
    if results is not None:
        write_rows(results / f"{name}.csv", rows)
        write_table(results / "README.md", name, table)


def trained(config: ProcessConfig) -> tuple[Prior, Collection]:
    """The model and its collection, made unless they are there."""
    folder = config.out / "films"
    simulated = pipeline.simulate(config.simulation, folder).collection
    measured = pipeline.chosen_features(simulated, [*config.features, *UNASKED])
    collection = pipeline.measure_collection(folder / COLLECTION, measured)
    return fitted(config, collection), collection


def fitted(config: ProcessConfig, collection: Collection) -> Prior:
    """The model of the configured features and the process parameters of a collection, trained unless it is there."""
    process = [feature.name for feature in collection.features if feature.role == "process"]
    properties = [f.name for f in collection.features if any(map(f.begins_with, config.features))]
    conditioned = collection.select([*properties, *process])
    file = config.out / "model" / "weights.safetensors"
    if not file.is_file():
        network = pipeline.collection_network(conditioned)
        pipeline.train(
            conditioned, prior_config=network, config=config.training, predictor=config.predictor, out=file.parent,
            progress=Console().progress,
        )  # fmt: skip
    return pipeline.load_prior(file)


def asked_and_measured(config: ProcessConfig, prior: Prior, held_out: Collection) -> Rows:
    """R^2 and errors of every asked feature: of the network alone, steered by gradients, and made exact."""
    names, samples = conditions(config, prior, held_out, config.conditions)
    every = table_of(samples, names)
    rows: Rows = []
    for method, steps in METHODS:
        labels, seconds = drawn(config, prior, names, every, steps=steps)
        rows += scores(method, names, every, measured(prior, labels, names), seconds)
        labels, truth = labels[: config.costly], every[: config.costly]
        meet = functools.partial(pipeline.meet_features, in_memory(prior, labels), names, truth)
        met, more = kept(config, "exact", (names, TOLERANCE, PASSES), (labels, truth), meet)
        found = scores(f"{method}, exact", names, truth, measured(prior, met, names), seconds + more)
        rows += [{**row, "voxels changed": float(np.mean(met != labels))} for row in found]
    return rows


def spread(config: ProcessConfig, prior: Prior, held_out: Collection) -> Rows:
    """Standard deviation of each asked feature among volumes of one condition, mean over the conditions."""
    names, samples = conditions(config, prior, held_out, config.repeated)
    truth = np.repeat(table_of(samples, names), config.volumes, axis=0)
    rows: Rows = []
    for method, steps in METHODS:
        values = measured(prior, drawn(config, prior, names, truth, steps=steps)[0], names)
        for name, of, true in zip(names, values.T.reshape(len(names), len(samples), -1), truth.T, strict=True):
            connected = [one[np.isfinite(one)] for one in of]
            asked = true[:: config.volumes]
            rows.append({
                "method": method, "feature": name,
                "standard deviation": _mean(float(one.std(ddof=1)) for one in connected if len(one) > 1),
                "error of the mean": _mean(
                    abs(float(one.mean()) - a) for one, a in zip(connected, asked, strict=True) if len(one)
                ),
                "not connected": int(np.sum(~np.isfinite(of))),
            })  # fmt: skip
    return rows


def unasked(config: ProcessConfig, prior: Prior, held_out: Collection) -> Rows:
    """Of what no condition says: means and scatter of generated and held-out volumes, and of their differences."""
    names, samples = conditions(config, prior, held_out, config.conditions)
    labels = drawn(config, prior, names, table_of(samples, names))[0]
    true_labels = samples.samples(np.arange(len(samples)))
    theirs, ours = table_of(samples, UNASKED), measured(prior, labels, UNASKED)
    phases, periodic = prior.config.phases, samples.periodic
    curves = [np.array([two_point_along(one, phases, periodic) for one in each]) for each in (true_labels, labels)]
    values = {name: (theirs[:, i], ours[:, i]) for i, name in enumerate(UNASKED)}
    lags = np.flatnonzero(np.isfinite(curves[0][0, -1]))
    values |= {f"S2 along x, lag {number}": (curves[0][:, -1, number], curves[1][:, -1, number]) for number in lags}
    rows: Rows = []
    for name, (true, made) in values.items():
        both = np.isfinite(true) & np.isfinite(made)
        true, made = true[both], made[both]
        if not len(true):
            continue
        rows.append({
            "feature": name, "held-out mean": true.mean(), "generated mean": made.mean(),
            "held-out scatter": true.std(), "generated scatter": made.std(),
            "mean absolute difference": np.abs(true - made).mean(),
        })  # fmt: skip
    return rows


def parameters(config: ProcessConfig, prior: Prior, held_out: Collection) -> Rows:
    """R^2 of the mean of each predicted process parameter, standardised as the model takes it, and the coverage of
    central intervals."""
    assert prior.conditions is not None
    some = np.unique(np.linspace(0, len(held_out) - 1, min(config.conditions, len(held_out))).astype(int))
    mixture = predicted_process(prior, held_out.samples(some))
    drawn_parameters = models.sample_features(mixture, 2000, key=jax.random.key(config.seed))
    rows: Rows = []
    for place, entry in enumerate(e for e in prior.conditions.entries if e.role == "process"):
        truth = entry.standardised(held_out.column(entry.name)[some])
        draws = np.asarray(drawn_parameters)[..., place]
        row: dict[str, object] = {
            "parameter": entry.name,
            "R2": r2(truth, np.asarray(models.mean_of(mixture))[:, place]),
        }
        for share in (0.5, 0.9):
            low, high = np.quantile(draws, [(1 - share) / 2, (1 + share) / 2], axis=1)
            row[f"within {share:.0%}"] = float(np.mean((low <= truth) & (truth <= high)))
        rows.append(row)
    return rows


def again(config: ProcessConfig, prior: Prior, held_out: Collection) -> Rows:
    """Median process parameters predicted for generated volumes, simulated again from other noise: what is measured of
    these against what was asked."""
    assert prior.conditions is not None
    names, samples = conditions(config, prior, held_out, config.again)
    truth = table_of(samples, names)
    process = np.median(pipeline.process_of(prior, drawn(config, prior, names, truth)[0]), axis=1)
    entries = [entry for entry in prior.conditions.entries if entry.role == "process"]
    column = {e.name: np.clip(process[:, place], e.least, e.most) for place, e in enumerate(entries)}
    kappa = pipeline.plan_simulation(config.simulation).kappa  # by default it follows from the range of chi
    made = []
    for number in range(len(truth)):
        phi, chi, end = (float(column[name][number]) for name in ("phi", "chi", "time"))
        one = dataclasses.replace(
            config.simulation, phi=(phi,), chi=(chi,), kappa=kappa, runs=1, times=2, time_range=(0.9 * end, end),
            seed=config.seed + 1000 + number,
        )  # fmt: skip
        made.append(pipeline.simulate(one, config.out / "again" / f"{number:03d}").collection.samples([1])[0])
    return scores("simulated again", names, truth, measured(prior, np.stack(made), names), None)


def conditions(
    config: ProcessConfig, prior: Prior, held_out: Collection, count: int
) -> tuple[tuple[str, ...], Collection]:
    """Names of the asked features, and held-out samples whose features are asked for."""
    assert prior.conditions is not None
    entries = [f for f in held_out.features if f.name in prior.conditions.names]
    names = tuple(f.name for f in entries if any(map(f.begins_with, config.asked)))
    possible = np.full(len(held_out), True)
    for name in names:
        if name.startswith("tortuosity"):
            possible &= held_out.column(name) < config.most_tortuous
    chosen = np.random.default_rng(config.seed).permutation(np.flatnonzero(possible))[:count]
    return names, held_out.subset(chosen)


def table_of(samples: Collection, names: Sequence[str]) -> np.ndarray:
    """Features of samples, "n m"."""
    return np.stack([samples.column(name) for name in names], axis=1)


def drawn(
    config: ProcessConfig, prior: Prior, names: Sequence[str], asked: np.ndarray, *, steps: int | None = None
) -> tuple[np.ndarray, float]:
    """Labels of a volume for each row of asked features, and seconds for each.

    Args:
        steps: `steering_steps` of `GenerationConfig`; None: as usual.
    """
    assert prior.conditions is not None
    rows = np.stack([prior.conditions.row(dict(zip(names, row, strict=True))) for row in asked])
    generation = pipeline.default_generation(prior.config)
    if steps is not None:
        generation = dataclasses.replace(generation, steering_steps=steps)
    make = functools.partial(pipeline.generate_labels, prior, rows, seed=config.seed, config=generation)
    constants = STEERED_FROM, NEIGHBOURS, SHARE, FARTHEST
    settings = dataclasses.asdict(generation), constants, conditions_to_dict(prior.conditions)
    return kept(config, f"drawn_{generation.steering_steps}", (*settings, names), (prior.params, rows), make)


def kept(
    config: ProcessConfig, stage: str, settings: object, arrays: object, make: Callable[..., np.ndarray]
) -> tuple[np.ndarray, float]:
    """The labels that `make` returns, and seconds for each; stored every minute, so that an interrupted study goes on.

    Args:
        settings, arrays: plain data and arrays on which the labels depend.
        make: takes `known`, `on_sample` and `progress` as `pipeline.generate_labels`.
    """
    identity = identity_of(stage, config.seed, settings, arrays=arrays)
    store = Resumable(
        config.out / "kept" / f"{stage}_{hashlib.sha256(identity.encode()).hexdigest()[:8]}.npz", identity
    )
    (config.out / "kept").mkdir(parents=True, exist_ok=True)
    labels: dict[int, np.ndarray] = {}
    began, before = time.monotonic(), 0.0
    if (stored := store.load()) is not None:
        labels.update(zip(stored["numbers"].tolist(), stored["labels"], strict=True))
        before = float(stored["seconds"])
    saved = began

    def save() -> None:
        arrays = {"numbers": np.array(list(labels)), "labels": np.array(list(labels.values()))}
        store.save(**arrays, seconds=np.array(before + time.monotonic() - began))

    def on_sample(number: int, sample: np.ndarray) -> None:
        nonlocal saved
        labels[number] = sample
        if time.monotonic() - saved > 60:
            save()
            saved = time.monotonic()

    known = dict(labels)
    made = make(known=known, on_sample=on_sample, progress=Console().progress)
    if len(labels) == len(known):
        return made, before / len(made)
    save()
    return made, (before + time.monotonic() - began) / len(made)


def measured(prior: Prior, labels: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Features of labels by the code that measures collections, "n m"."""
    return measured_table(in_memory(prior, labels), names)


def scores(method: str, names: Sequence[str], asked: np.ndarray, found: np.ndarray, seconds: float | None) -> Rows:
    """A row for each feature. Volumes in which a phase does not connect have no tortuosity factor; they are counted,
    and of the reciprocal, which is 0 there, R^2 is of all."""
    rows: Rows = []
    for name, true, made in zip(names, asked.T, found.T, strict=True):
        finite = np.isfinite(made)
        rows.append({
            "method": method, "feature": name, "n": len(true), "R2": r2(true[finite], made[finite]),
            "R2 of the reciprocal": r2(1 / true, 1 / made) if name.startswith("tortuosity") else None,
            "mean absolute error": float(np.abs(made - true)[finite].mean()), "not connected": int((~finite).sum()),
            "s / volume": seconds,
        })  # fmt: skip
    return rows


def _mean(numbers: Iterable[float]) -> float | None:
    """The mean; None of nothing."""
    found = list(numbers)
    return float(np.mean(found)) if found else None


def r2(truth: np.ndarray, found: np.ndarray) -> float:
    """Coefficient of determination."""
    return float(1 - np.mean((found - truth) ** 2) / max(np.var(truth), 1e-12))


TABLES: dict[str, Callable[[ProcessConfig, Prior, Collection], Rows]] = {
    "asked": asked_and_measured, "spread": spread, "unasked": unasked, "parameters": parameters, "again": again,
}  # fmt: skip


if __name__ == "__main__":
    main()
