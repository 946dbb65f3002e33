"""Train the models of the studies and the bundled weights: `python -m experiments.weights.run NAME... | --all`.

A model that is finished is skipped, an unfinished one goes on where it stopped, and one that a model starts from is
trained first.
"""

import argparse
import dataclasses
import functools
import itertools
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax

from experiments.machine import describe
from experiments.tables import markdown_table, read_rows, replace_rows, write_table
from experiments.weights.config import RECIPES, Recipe, WeightsConfig, smoke
from experiments.weights.media import data_of
from jaxmicro import models, pipeline
from jaxmicro.data import CropConfig, Sources, crop_batches
from jaxmicro.io.checkpoint import load_weights, save_weights
from jaxmicro.phases import one_hot
from jaxmicro.pipeline import Prior
from jaxmicro.train import TrainConfig

HERE = Path(__file__).parent
OUT = Path("runs/weights")
BUNDLED = Path(pipeline.__file__).parents[1] / "weights"
VALIDATION_BATCHES = 8
PROGRESS_SECONDS = 30.0

COLUMNS = {
    "model": "Model", "data": "Data", "start": "From", "phases": "Phases", "steps": "Steps", "batch": "Batch",
    "optimiser": "Optimiser", "learning_rate": "Learning rate", "seed": "Seed", "loss_before": "Loss before",
    "validation_loss": "Loss after", "tuning": "S2 off (%)", "disjoint": "Held out", "wall_s": "Time (s)",
    "device": "On",
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is asked for, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RECIPES)}")
    parser.add_argument("--all", action="store_true", help="every model")
    parser.add_argument("--out", type=Path, default=OUT, help=f"folder of the runs (default {OUT})")
    parser.add_argument(
        "--tune", action="store_true", help="only measure the micrograph again, and find again what volumes are held to"
    )
    parser.add_argument("--publish", action="store_true", help="copy the models to be bundled into the package")
    parser.add_argument(
        "--smoke", action="store_true", help="a tiny network, two updates; results go to the out folder"
    )
    options = parser.parse_args(arguments)
    config, recipes = smoke() if options.smoke else (WeightsConfig(), RECIPES)
    names = list(recipes) if options.all else options.names
    unknown = [name for name in names if name not in recipes]
    if unknown:
        parser.error(f"no recipe {', '.join(unknown)}; there are {', '.join(recipes)}")
    results = options.out / "results.csv" if options.smoke else HERE / "results.csv"
    for name in names:
        if options.tune and (recipes[name].space != "pixel" or recipes[name].start is None):
            print(f"{name} knows no material, or is in latent space: there is nothing to tune", file=sys.stderr)
        elif options.tune:
            tuned(name, config, recipes, options.out, results)
        else:
            trained(name, config, recipes, options.out, results)
    if options.publish and not options.smoke:
        publish(recipes, options.out)
    if not options.smoke and read_rows(results):
        write_table(HERE / "README.md", "table", markdown_table(read_rows(results), COLUMNS))


def trained(name: str, config: WeightsConfig, recipes: dict[str, Recipe], out: Path, results: Path) -> Prior:
    """The finished model, trained now if it is not there; adds its row to the results.

    Raises:
        ValueError: the folder holds a model of another number of steps.
    """
    folder, recipe = out / name, recipes[name]
    if (folder / "weights.safetensors").is_file():
        prior = pipeline.load_prior(folder)
        if prior.record["steps"] != recipe.steps:
            raise ValueError(f"{folder} was trained for {prior.record['steps']} steps, not {recipe.steps}; delete it")
        return prior
    start = trained(recipe.start, config, recipes, out, results) if recipe.start else None
    folder.mkdir(parents=True, exist_ok=True)
    data, train = data_of(recipe, config), config.training(recipe)
    log = functools.partial(_append, folder / "log.jsonl")
    began = time.monotonic()
    try:
        prior = pipeline.train_on(
            data.sources, start or config.network(recipe), config=train, autoencoder=train, material=data.material,
            out=folder, log=log, progress=_printer(name),
        )  # fmt: skip
    finally:
        _append(folder / "time.jsonl", {"seconds": time.monotonic() - began})
    row = {
        "model": name,
        "data": data.description,
        "start": recipe.start or "scratch",
        "phases": recipe.phases,
        "steps": train.steps,
        "batch": train.batch,
        "optimiser": train.optimiser,
        "learning_rate": train.learning_rate,
        "seed": train.seed,
        "loss_before": None if start is None else validation_loss(start, data.sources, train),
        "validation_loss": validation_loss(prior, data.sources, train),
        "tuning": _tuning(prior),
        "disjoint": "yes" if prior.record["disjoint_validation"] else "no",
        "wall_s": round(sum(entry["seconds"] for entry in _entries(folder / "time.jsonl"))),
        **describe(),
    }
    replace_rows(results, [row], key=["model"])
    return prior


def tuned(name: str, config: WeightsConfig, recipes: dict[str, Recipe], out: Path, results: Path) -> Prior:
    """A finished model, trained or bundled, with the statistics of its data measured again and what volumes are held to
    found again; notes it in the row of the model."""
    recipe, path = recipes[name], out / name / "weights.safetensors"
    data = data_of(recipe, config)
    prior = pipeline.load_prior(path if path.is_file() else recipe.publish_as or name)
    prior = dataclasses.replace(prior, material=data.material)
    crops = CropConfig(patch=prior.config.patch, batch=recipe.batch, seed=recipe.seed + 2)
    whole = data.sources.whole
    prior = pipeline.with_statistics(prior, next(crop_batches(whole, crops)), whole)
    prior = pipeline.tune_correlation(prior, progress=_printer(name))
    path.parent.mkdir(parents=True, exist_ok=True)
    pipeline.save_prior(path, prior)
    rows = [{**row, "tuning": _tuning(prior)} for row in read_rows(results) if row["model"] == name]
    replace_rows(results, rows, key=["model"])
    return prior


def _tuning(prior: Prior) -> str | None:
    """How far S2 was off before and after, in percent of the variance."""
    off = prior.record.get("tuning")
    return off and f"{100 * off[0]:.1f} / {100 * off[-1]:.1f}"


def validation_loss(prior: Prior, sources: Sources, train: TrainConfig) -> float:
    """Loss on held-out crops, with fixed crops and noise: comparable between models of one space.

    Cross-entropy in nats per pixel; in latent space the squared error of the velocity of the code.
    """
    params, codec = models.network_params(prior.config, prior.params), models.codec(prior.config, prior.params)
    loss = jax.jit(functools.partial(models.loss, prior.config))
    encode = jax.jit(lambda labels: codec.encode(one_hot(labels, prior.config.phases)))
    crops = CropConfig(patch=prior.config.patch, batch=train.batch, seed=train.seed + 1)
    batches = itertools.islice(crop_batches(sources.validation, crops, weights=sources.weights), VALIDATION_BATCHES)
    if prior.config.space == "latent":
        batches = map(encode, batches)
    losses = [float(loss(params, batch, jax.random.key(i))[0]) for i, batch in enumerate(batches)]
    return sum(losses) / len(losses)


def publish(recipes: dict[str, Recipe], out: Path) -> None:
    """Copy the models that are to be bundled into the package, in half precision."""
    for name, recipe in recipes.items():
        weights = out / name / "weights.safetensors"
        if recipe.publish_as is None:
            continue
        if not weights.is_file():
            print(f"{name} is not trained yet, so {recipe.publish_as} is not published", file=sys.stderr)
            continue
        params, saved = load_weights(weights)
        BUNDLED.mkdir(exist_ok=True)
        target = BUNDLED / f"{recipe.publish_as}.safetensors"
        save_weights(target, params, saved, bits=16)
        print(f"{target}: {target.stat().st_size / 1e6:.1f} MB", file=sys.stderr)


def _printer(name: str):
    """Progress on standard error, every half minute."""
    last = time.monotonic()

    def tell(stage: str, done: int, total: int, note: str) -> None:
        nonlocal last
        if done == total or time.monotonic() - last >= PROGRESS_SECONDS:
            last = time.monotonic()
            print(f"{name}: {stage} {done}/{total} {note}", file=sys.stderr, flush=True)

    return tell


def _append(path: Path, entry: dict) -> None:
    with path.open("a") as file:
        file.write(json.dumps(entry) + "\n")


def _entries(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


if __name__ == "__main__":
    main()
