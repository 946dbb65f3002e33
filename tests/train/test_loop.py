import json
import os
import signal

import jax
import numpy as np
import pytest
from train import toy

from jaxmicro.errors import UserError
from jaxmicro.train import NonFiniteLoss, fit


class Shelf:
    """Checkpoints in memory, host copies as Orbax makes them."""

    def __init__(self):
        self.saved = {}

    def save(self, step, state, position):
        self.saved[step] = jax.device_get(state), position

    def restore(self, like):
        if not self.saved:
            return None
        state, position = self.saved[max(self.saved)]
        return jax.device_put(state, jax.tree.map(lambda x: x.sharding, like)), position


def equal(a, b) -> bool:
    return jax.tree.all(jax.tree.map(np.array_equal, jax.device_get(a), jax.device_get(b)))


def interrupt_at(step):
    def log(record):
        if record["step"] == step:
            os.kill(os.getpid(), signal.SIGINT)

    return log


def test_training_fits_the_line_and_does_not_change_its_initial_parameters():
    start = toy.params()
    state = fit(toy.loss, start, toy.Points(), toy.config(steps=400))
    # Noise of 0.1 on 8 points a batch, averaged by a vanishing learning rate.
    np.testing.assert_allclose(state.ema["line"]["w"][:, 0], toy.WEIGHTS, atol=0.02)
    assert not np.any(start["line"]["w"])


def test_effects_happen_at_their_intervals_and_at_the_end():
    records, shelf, samples, shown = [], Shelf(), [], []
    fit(
        toy.loss,
        toy.params(),
        toy.Points(),
        toy.config(steps=25, sample_every=20),
        save=shelf.save,
        log=records.append,
        progress=shown.append,
        on_sample=lambda step, ema: samples.append(step),
        validation=[next(toy.Points())],
    )
    assert [r["step"] for r in records if "loss" in r] == [10, 20, 25]
    assert [r["step"] for r in records if "validation_loss" in r] == [15, 25]
    assert list(shelf.saved) == [10, 20, 25]
    assert samples == [20, 25]
    assert shown[0].step == 0 and np.isnan(shown[0].loss)  # before the first update, which compiles
    assert shown[-1].step == shown[-1].steps == 25 and shown[-1].seconds_left == 0
    assert {"mean_error", "gradient_norm", "learning_rate", "steps_per_second", "seconds_left"} < records[0].keys()
    assert json.loads(json.dumps(records)) == records


def test_a_record_holds_the_means_since_the_last_one():
    records, single = [], []
    fit(toy.loss, toy.params(), toy.Points(), toy.config(steps=20), log=records.append)
    fit(toy.loss, toy.params(), toy.Points(), toy.config(steps=20, log_every=1), log=single.append)
    assert records[1]["loss"] == pytest.approx(np.mean([r["loss"] for r in single[10:]]), rel=1e-6)


def test_validation_scores_the_averaged_parameters_with_noise_that_does_not_change():
    fixed = [next(toy.Points())]
    records = [[], []]
    states = [
        fit(toy.loss, toy.params(), toy.Points(), toy.config(seed=seed), validation=fixed, log=record.append)
        for seed, record in enumerate(records)
    ]
    again = []
    # learning rate almost 0: the validation loss depends on the parameters only, not on the seed
    fit(
        toy.loss,
        states[0].ema,
        toy.Points(),
        toy.config(steps=1, seed=7, learning_rate=1e-12),
        validation=fixed,
        log=again.append,
    )
    assert again[-1]["validation_loss"] == pytest.approx(records[0][-1]["validation_loss"], rel=1e-5)
    assert records[1][-1]["validation_loss"] != records[0][-1]["validation_loss"]


def test_ctrl_c_saves_the_state_between_two_updates_and_the_resumed_run_ends_equal():
    straight = fit(toy.loss, toy.params(), toy.Points(), toy.config())
    shelf = Shelf()
    with pytest.raises(KeyboardInterrupt):
        settings = toy.config(log_every=7, save_every=1000)
        fit(toy.loss, toy.params(), toy.Points(), settings, save=shelf.save, log=interrupt_at(14))
    assert list(shelf.saved) == [14]
    assert shelf.saved[14][1] == {"next": 14}
    resumed = fit(toy.loss, toy.params(), toy.Points(), toy.config(), save=shelf.save, restore=shelf.restore)
    assert equal(resumed, straight)


def test_the_handlers_of_ctrl_c_and_termination_are_restored():
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    fit(toy.loss, toy.params(), toy.Points(), toy.config(steps=2))
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_finished_run_that_is_resumed_changes_nothing():
    shelf = Shelf()
    state = fit(toy.loss, toy.params(), toy.Points(), toy.config(), save=shelf.save)
    data = toy.Points()
    again = fit(toy.loss, toy.params(), data, toy.config(), save=shelf.save, restore=shelf.restore)
    assert equal(state, again) and list(shelf.saved) == [10, 20, 30]


class Spoiled(toy.Points):
    """Batch 13 holds a NaN."""

    def __next__(self):
        batch = super().__next__()
        return batch | {"y": batch["y"] * np.float32(np.nan)} if self._next == 13 else batch


def test_a_loss_that_is_not_finite_stops_the_run_names_the_step_and_is_never_saved():
    shelf = Shelf()
    with pytest.raises(NonFiniteLoss, match="step 13") as stopped:
        fit(toy.loss, toy.params(), Spoiled(), toy.config(log_every=1000), save=shelf.save)
    assert stopped.value.step == 13 and list(shelf.saved) == [10]


def test_ctrl_c_does_not_save_a_state_that_is_not_finite():
    shelf = Shelf()

    class Interrupting(Spoiled):
        def __next__(self):
            if self._next == 16:
                os.kill(os.getpid(), signal.SIGINT)
            return super().__next__()

    with pytest.raises(NonFiniteLoss, match="step 13"):
        fit(toy.loss, toy.params(), Interrupting(), toy.config(log_every=1000, save_every=1000), save=shelf.save)
    assert not shelf.saved


def test_a_signal_reaches_its_previous_handler_after_the_save():
    """The caller can distinguish Ctrl-C from SIGTERM by the exception."""

    class Ended(KeyboardInterrupt):
        pass

    def end(number: int, frame: object) -> None:
        raise Ended

    shelf, before = Shelf(), signal.signal(signal.SIGTERM, end)

    def log(record):
        if record["step"] == 10:
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        with pytest.raises(Ended):
            fit(
                toy.loss,
                toy.params(),
                toy.Points(),
                toy.config(log_every=10, save_every=1000),
                save=shelf.save,
                log=log,
            )
        assert signal.getsignal(signal.SIGTERM) is end
    finally:
        signal.signal(signal.SIGTERM, before)
    assert list(shelf.saved) == [10]


def test_a_time_limit_ends_the_run_early_and_saves_it():
    shelf, seconds = Shelf(), iter(range(10**6))
    state = fit(
        toy.loss,
        toy.params(),
        toy.Points(),
        toy.config(steps=10_000, log_every=10_000, save_every=10_000, minutes=1.0),
        save=shelf.save,
        clock=lambda: float(next(seconds)),  # each reading of the clock advances it by a second
    )
    assert 0 < int(state.step) < 60 and list(shelf.saved) == [int(state.step)]


def test_batches_of_another_size_than_the_config_says_are_refused():
    with pytest.raises(UserError, match="batches of 4.*asks for 8"):
        fit(toy.loss, toy.params(), toy.Points(4), toy.config())
