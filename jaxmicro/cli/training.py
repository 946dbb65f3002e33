"""What the trainings of images and of collections share: settings, a finished run, the files at the end."""

import dataclasses
import shutil

from jaxmicro.cli import figures
from jaxmicro.cli.console import Console
from jaxmicro.cli.inputs import checked_options
from jaxmicro.cli.options import Train
from jaxmicro.cli.resume import finished_prior
from jaxmicro.cli.run_folder import RunFolder
from jaxmicro.pipeline import Prior, TrainConfig


def training_config(options: Train, base: TrainConfig, steps: int | None) -> TrainConfig:
    """The settings of `base` with what the options give.

    Raises:
        UserError: an option is out of its range.
    """
    given = {"steps": steps, "learning_rate": options.learning_rate, "batch": options.batch}
    with checked_options():
        return dataclasses.replace(
            base,
            seed=options.seed,
            minutes=options.minutes,
            sample_every=options.sample_every,
            **{name: value for name, value in given.items() if value is not None},
        )


def trained_before(folder: RunFolder, console: Console) -> tuple[Prior | None, bool]:
    """The prior of a training that has ended in this folder, and whether all of its files are written."""
    trained = finished_prior(folder.path / "weights.safetensors", console)
    complete = trained is not None and (folder.path / "training.json").exists()  # the last file that a training writes
    if complete:
        console.remark(f"the training in {folder.path} is complete; nothing to do")
    return trained, complete


def write_training(folder: RunFolder, prior: Prior) -> None:
    """Learning curve, record, and no more checkpoints."""
    folder.write("figures/training.png", figures.training(folder.path / "log.jsonl"))
    folder.log("finished", **prior.record)
    shutil.rmtree(folder.path / "checkpoints", ignore_errors=True)  # used only to resume a training
    folder.write_json("training.json", prior.record)
