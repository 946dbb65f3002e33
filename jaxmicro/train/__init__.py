"""Training: the loop, its state and its configuration. The model is given as a loss function."""

from jaxmicro.train.loop import NonFiniteLoss, Progress, fit, validation_scores
from jaxmicro.train.state import TrainConfig, TrainState, init_state, learning_rate, make_update

__all__ = [
    "NonFiniteLoss",
    "Progress",
    "TrainConfig",
    "TrainState",
    "fit",
    "init_state",
    "learning_rate",
    "make_update",
    "validation_scores",
]
