"""The only train loop.

Order of one iteration: update; then, if due, log, validate, sample, save; then the next batch is fetched while the
device still computes the update. A checkpoint after `step` updates holds the position of the data after `step`
batches, so that a restart continues with batch `step + 1`. All effects (files, screen, clock) are functions of the
caller.
"""

import collections
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxmicro.devices import batch_sharded, is_lead_process, jit_network, make_mesh, replicate, replicated, shard_batch
from jaxmicro.errors import UserError
from jaxmicro.train.state import Batch, Loss, Params, TrainConfig, TrainState, init_state, learning_rate, make_update

IN_FLIGHT = 2  # updates queued on the device ahead of the host: enough to keep it busy, few enough to stop quickly
PROGRESS_SECONDS = 1.0  # between calls of `progress`, at least
VALIDATION_SEED = 20_000  # the same noise in every run, so that validation losses of runs are comparable


class NonFiniteLoss(UserError):
    """The loss or its gradient became infinite or NaN; `step` names the update."""

    def __init__(self, step: int):
        super().__init__(
            f"the loss or its gradient is not finite at step {step}; "
            "train again in a new folder with a lower learning rate"
        )
        self.step = step


class Progress(NamedTuple):
    """Progress of a run."""

    step: int  # updates done
    steps: int  # updates in all
    loss: float  # of a recent update; NaN before the first
    seconds_left: float  # estimate, to the last update or to the time limit; NaN before the first update


def fit(
    loss: Loss,
    params: Params,
    batches: Iterator[Batch],
    config: TrainConfig,
    *,
    mesh: jax.sharding.Mesh | None = None,
    save: Callable[[int, TrainState, Any], None] | None = None,
    restore: Callable[[TrainState], tuple[TrainState, Any] | None] | None = None,
    log: Callable[[dict[str, Any]], None] | None = None,
    progress: Callable[[Progress], None] | None = None,
    on_sample: Callable[[int, Params], None] | None = None,
    validation: Sequence[Batch] = (),
    validation_loss: Loss | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> TrainState:
    """The last state of a training of `params`; its `ema` are the parameters to use.

    Args:
        loss: (params, batch, key) -> (scalar, dict of scalar metrics), the mean over the batch.
        params: initial parameters, not modified; unused when `restore` finds a checkpoint.
        batches: endless iterator of trees of host arrays "n ..." with n = config.batch / processes. If it has
            `get_state` and `set_state` (Grain), its position is saved and restored, so that a restart is bit-exact.
        save: (step, state, position) stores a checkpoint; called every `save_every` updates, at the end, and on Ctrl-C.
        restore: state of the right shapes -> (state, position) of the last checkpoint, or None when there is none.
        log: receives a flat record of plain numbers with "step", the means over the updates since the last record.
        on_sample: (step, ema parameters), every `sample_every` updates and at the end.
        validation: fixed batches; the EMA parameters are scored on them with fixed keys, as "validation_...".
        validation_loss: as `loss`, to score them with; None: `loss`.
        clock: seconds.
    Raises:
        NonFiniteLoss: a loss or gradient is not finite; raised at the next log or save. Such a state is never saved.
        KeyboardInterrupt: Ctrl-C or SIGTERM; raised between two updates, after saving.

    All of several processes must reach the same step: do not set `minutes`, and interrupt all together.
    """
    mesh = mesh or make_mesh()
    whole, split = replicated(mesh), batch_sharded(mesh)
    update = jit_network(make_update(loss, config), in_shardings=(whole, split), out_shardings=whole, donate_argnums=0)
    validate = _validator(validation_loss or loss, validation, mesh)
    state, position, saved_step = _start(params, config, mesh, batches, restore)
    step, last = int(state.step), False
    meter = _Meter(config, step, clock)

    def due(every: int) -> bool:
        return last or (every > 0 and step % every == 0)

    def checkpoint() -> None:
        nonlocal saved_step
        _raise_if_not_finite(state)
        if save is not None and step != saved_step:
            save(step, state, position)
            saved_step = step

    with _deferred_interrupt() as interrupted:
        try:
            upcoming = _take(batches, config, mesh) if step < config.steps else None
            if upcoming is not None:
                # before the first update compiles
                _lead_only(progress, Progress(step, config.steps, math.nan, math.nan))
            while upcoming is not None:
                batch, position_after = upcoming
                state, metrics = update(state, batch)
                step, position = step + 1, position_after
                last = step == config.steps or meter.time_is_up()
                meter.add(step, metrics)
                if any(map(due, (config.log_every, config.evaluate_every, config.sample_every))):
                    _raise_if_not_finite(state)
                if due(config.log_every):
                    _lead_only(log, meter.record())
                if validation and due(config.evaluate_every):
                    _lead_only(log, {"step": step} | validate(state.ema))
                if meter.progress_is_due() or last:
                    _lead_only(progress, meter.progress())
                if due(config.sample_every):
                    _lead_only(on_sample, step, state.ema)
                if due(config.save_every):
                    checkpoint()
                interrupted()
                upcoming = None if last else _take(batches, config, mesh)
        except KeyboardInterrupt:
            checkpoint()
            raise
    return state


def validation_scores(loss: Loss, params: Params, validation: Sequence[Batch]) -> dict[str, float]:
    """The scores "validation_..." of parameters, as `fit` logs them."""
    return _validator(loss, validation, make_mesh())(params)


def _start(params, config, mesh, batches, restore) -> tuple[TrainState, Any, int]:
    """The state on the devices, the position of the data, and the step of the checkpoint they are from (or -1)."""
    state = replicate(init_state(params, config), mesh)
    found = restore(state) if restore is not None else None
    if found is None:
        return state, _position(batches), -1
    state, position = found
    if position is not None and hasattr(batches, "set_state"):
        batches.set_state(position)
    return state, position, int(state.step)


def _position(batches) -> Any:
    return batches.get_state() if hasattr(batches, "get_state") else None


def _take(batches, config: TrainConfig, mesh) -> tuple[Batch, Any]:
    """The next batch, on the devices, and the position of the data after it."""
    batch = next(batches)
    size, expected = jax.tree.leaves(batch)[0].shape[0], config.batch // jax.process_count()
    if size != expected:
        raise UserError(f"the data gives batches of {size}, the training config asks for {expected}; make them equal")
    return shard_batch(batch, mesh), _position(batches)


def _raise_if_not_finite(state: TrainState) -> None:
    """Wait for the device and check the flag that each update sets."""
    first_bad = int(state.first_bad)
    if first_bad >= 0:
        raise NonFiniteLoss(first_bad)


def _lead_only(effect: Callable[..., None] | None, *arguments) -> None:
    if effect is not None and is_lead_process():
        effect(*arguments)


def _validator(loss: Loss, validation: Sequence[Batch], mesh) -> Callable[[Params], dict]:
    """EMA parameters -> mean loss and metrics over the fixed batches, with a fixed key for each."""
    batches = [shard_batch(batch, mesh) for batch in validation]

    def score_one(ema: Params, batch: Batch, index):
        return loss(ema, batch, jax.random.fold_in(jax.random.key(VALIDATION_SEED), index))

    score = jit_network(score_one, out_shardings=replicated(mesh))

    def validate(ema: Params) -> dict[str, float]:
        scores = [score(ema, batch, np.int32(index)) for index, batch in enumerate(batches)]
        records = jax.device_get([metrics | {"loss": value} for value, metrics in scores])
        return {f"validation_{name}": float(np.mean([r[name] for r in records])) for name in records[0]}

    return validate


class _Meter:
    """Mean metrics, speed and time left; metrics stay on the device until they are read."""

    def __init__(self, config: TrainConfig, step: int, clock: Callable[[], float]):
        self._config, self._clock, self._rate = config, clock, learning_rate(config)
        self._begin, self._first = clock(), step
        self._step, self._kept = step, []
        self._queue = collections.deque(maxlen=IN_FLIGHT + 1)  # losses of the last updates, the oldest one computed
        self._warm: tuple[int, float] | None = None  # after the first update, which includes compilation
        self._mark = (step, self._begin)  # of the last record
        self._shown = self._begin  # time of the last progress

    def add(self, step: int, metrics: dict[str, jax.Array]) -> None:
        """Add the metrics of an update; wait until at most IN_FLIGHT updates are unfinished."""
        self._step = step
        self._kept.append(metrics)
        self._queue.append(metrics["loss"])
        jax.block_until_ready(self._queue[0])
        if self._warm is None:
            self._warm = self._mark = (step, self._clock())

    def time_is_up(self) -> bool:
        minutes = self._config.minutes
        return minutes is not None and self._clock() - self._begin >= 60 * minutes

    def seconds_left(self) -> float:
        step, moment = self._warm or (self._first, self._begin)
        if self._step - step <= IN_FLIGHT:  # too few updates: the time of compilation is included
            step, moment = self._first, self._begin
        now = self._clock()
        left = (self._config.steps - self._step) * (now - moment) / max(self._step - step, 1)
        if self._config.minutes is None:
            return left
        return max(0.0, min(left, self._begin + 60 * self._config.minutes - now))

    def progress_is_due(self) -> bool:
        return self._clock() - self._shown >= PROGRESS_SECONDS

    def progress(self) -> Progress:
        self._shown = self._clock()
        return Progress(self._step, self._config.steps, float(self._queue[0]), self.seconds_left())

    def record(self) -> dict[str, Any]:
        """Means since the last record, the learning rate of the last update, updates per second, seconds left."""
        kept = jax.device_get(self._kept)
        now = self._clock()
        step, moment = self._mark
        speed = (self._step - step) / max(now - moment, 1e-9)
        self._kept, self._mark = [], (self._step, now)
        return (
            {"step": self._step, "loss": 0.0}
            | {name: float(np.mean([k[name] for k in kept])) for name in kept[0]}
            | {"learning_rate": float(self._rate(self._step - 1))}
            | {"steps_per_second": speed, "seconds_left": self.seconds_left()}
        )


@contextmanager
def _deferred_interrupt():
    """Context in which the first Ctrl-C or SIGTERM takes effect when the yielded function is called; a second at once.

    An interrupt during an update would lose the state, whose buffers the update may donate. The deferred signal calls
    the handler that was installed before, and raises KeyboardInterrupt if there is none or it returns.
    """
    received: list[signal.Signals] = []

    def raise_if_received():
        if received:
            handler = before[received[0]]
            if callable(handler):
                handler(received[0], None)
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield raise_if_received
        return

    def receive(number, frame):
        received.append(signal.Signals(number))
        for name, handler in before.items():
            signal.signal(name, handler)

    found = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}
    before = {name: handler for name, handler in found.items() if handler is not None}
    for name in before:
        signal.signal(name, receive)
    try:
        yield raise_if_received
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
