"""One stage of a training: the loop over batches, with checkpoints of one identity and the progress of the stage."""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxmicro.io.checkpoint import Checkpoints
from jaxmicro.pipeline.progress import Progress
from jaxmicro.train import TrainConfig, TrainState, fit, validation_scores

VALIDATION_BATCHES = 4  # of the held-out part: enough to rank steps, few enough to be cheap


def fit_stage(
    loss: Callable[..., Any],
    params: Any,
    config: TrainConfig,
    *,
    stage: str,
    batches: Any,
    held_out: Any,
    identity: dict[str, Any],
    folder: Path | None,
    log: Callable[[dict[str, Any]], None],
    progress: Progress | None,
    on_sample: Callable[[int, Any], None] | None = None,
    validation_loss: Callable[..., Any] | None = None,
) -> TrainState:
    """One run of the training loop, resumed from the checkpoints in `folder` if they are of the same identity.

    Args:
        stage: what is trained, for the progress.
        batches, held_out: endless iterators; the first `VALIDATION_BATCHES` of the latter are validated on.
        log: as in `train.fit`; the scores of the last step are always among its records.
        identity: plain data, all that the result depends on besides `config`.
    """
    validation = [next(held_out) for _ in range(VALIDATION_BATCHES)]
    scored: list[int] = []

    def keep(entry: dict[str, Any]) -> None:
        if any(name.startswith("validation_") for name in entry):
            scored.append(entry["step"])
        log(entry)

    with _checkpoints(folder, config, identity) as checkpoints:
        state = fit(
            loss,
            params,
            batches,
            config,
            save=checkpoints.save if checkpoints else None,
            restore=checkpoints.restore if checkpoints else None,
            log=keep,
            progress=progress and (lambda now: progress(stage, now.step, now.steps, _loss(now.loss))),
            on_sample=on_sample,
            validation=validation,
            validation_loss=validation_loss,
        )
    if scored[-1:] != [int(state.step)]:  # restored at its last step, whose scores an interruption may have lost
        scores = validation_scores(validation_loss or loss, state.ema, validation)
        keep({"step": int(state.step)} | scores)
    return state


class Mapped:
    """Iterator over a function of each batch; its state is the position in the batches."""

    def __init__(self, batches: Any, function: Callable[[Any], Any]):
        self._batches, self._function = batches, function
        self.get_state, self.set_state = batches.get_state, batches.set_state

    def __iter__(self) -> "Mapped":
        return self

    def __next__(self) -> Any:
        return jax.tree.map(np.asarray, self._function(next(self._batches)))


def _loss(value: float) -> str:
    """The loss as a note of progress; empty before the first update, where it is NaN."""
    return "" if math.isnan(value) else f"loss {value:.4f}"


@contextlib.contextmanager
def _checkpoints(folder: Path | None, config: TrainConfig, identity: dict[str, Any]) -> Iterator[Checkpoints | None]:
    """The checkpoints of a training; when it is resumed, only the time limit may differ."""
    if folder is None:
        yield None
        return
    settings = {"train": dataclasses.asdict(dataclasses.replace(config, minutes=None))}
    with Checkpoints(folder, config=identity | settings) as checkpoints:
        yield checkpoints
