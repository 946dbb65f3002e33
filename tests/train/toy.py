"""A minimal model for training: a line through noisy points, with noise drawn in the loss as in diffusion."""

import sys

import jax
import jax.numpy as jnp
import numpy as np

from jaxmicro.train import TrainConfig

WEIGHTS = np.array([1.0, -2.0, 0.5], np.float32)


class Points:
    """Endless batches {"x": "n 3", "y": " n"} with an exact position, as the iterators of `jaxmicro.data`."""

    def __init__(self, batch: int = 8):
        self._batch, self._next = batch, 0

    def __iter__(self):
        return self

    def __next__(self):
        random = np.random.default_rng(self._next)
        self._next += 1
        x = random.normal(size=(self._batch, 3)).astype(np.float32)
        return {"x": x, "y": x @ WEIGHTS}

    def get_state(self) -> dict:
        return {"next": self._next}

    def set_state(self, state: dict) -> None:
        self._next = state["next"]


def params():
    return {"line": {"w": jnp.zeros((3, 1)), "b": jnp.zeros(())}}


def loss(params, batch, key):
    """Mean squared error with a little noise on the answers."""
    noise = 0.1 * jax.random.normal(key, batch["y"].shape)
    error = (batch["x"] @ params["line"]["w"])[:, 0] + params["line"]["b"] - batch["y"] - noise
    return jnp.mean(error**2), {"mean_error": jnp.mean(error)}


def config(**changes) -> TrainConfig:
    start = dict(steps=30, batch=8, learning_rate=0.05, warmup=5, log_every=10, save_every=10, evaluate_every=15)
    return TrainConfig(**start | changes)


def main(folder: str) -> None:
    """Train in `folder`, from its last checkpoint if there is one; says what it does; leaves the last state there."""
    from jaxmicro.io.checkpoint import Checkpoints
    from jaxmicro.train import fit

    def save(step, state, position):
        print("saving", step, flush=True)
        checkpoints.save(step, state, position)
        print("going on", step, flush=True)

    muon = config(steps=240, save_every=10, optimiser="muon", learning_rate=0.01)  # as fine-tuning does
    with Checkpoints(f"{folder}/checkpoints", keep=2) as checkpoints:
        start = checkpoints.steps
        print("from", start[-1] if start else 0, flush=True)
        state = fit(loss, params(), Points(), muon, save=save, restore=checkpoints.restore)
    np.savez(f"{folder}/last.npz", *jax.device_get(jax.tree.leaves(state)))
    print("devices", jax.device_count(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
