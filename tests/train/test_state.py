import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from train import toy

from jaxmicro.errors import UserError
from jaxmicro.train import TrainConfig, init_state, learning_rate, make_update
from jaxmicro.train.state import ema_decay_at


def run(config, updates):
    update = jax.jit(make_update(toy.loss, config))
    states, batches = [init_state(toy.params(), config)], toy.Points()
    for _ in range(updates):
        states.append(update(states[-1], next(batches))[0])
    return states


def test_the_learning_rate_rises_linearly_to_its_peak_and_falls_to_its_last_value():
    config = TrainConfig(steps=1000, warmup=100, learning_rate=1e-3, final_fraction=0.1)
    rates = np.array([float(learning_rate(config)(step)) for step in (0, 49, 99, 100, 550, 1000)])
    # At 550 half the cosine is done: the mean of the peak and of the last value.
    np.testing.assert_allclose(rates, [1e-5, 5e-4, 1e-3, 1e-3, 5.5e-4, 1e-4], rtol=1e-5)


def test_a_constant_learning_rate_stays_at_its_peak():
    config = TrainConfig(steps=10, warmup=0, learning_rate=1e-3, decay="constant")
    assert [float(learning_rate(config)(step)) for step in (0, 5, 10, 100)] == pytest.approx([1e-3] * 4)


def test_the_average_is_the_weighted_sum_of_all_parameters_with_a_warmed_up_decay():
    config = toy.config(ema_decay=0.5)
    states = run(config, 12)
    average = np.asarray(states[0].params["line"]["w"])
    for k, state in enumerate(states[1:]):
        decay = min(0.5, (1 + k) / (10 + k))
        average = decay * average + (1 - decay) * np.asarray(state.params["line"]["w"])
    np.testing.assert_allclose(states[-1].ema["line"]["w"], average, rtol=1e-5)
    assert float(ema_decay_at(jnp.int32(0), 0.999)) == pytest.approx(0.1)
    assert float(ema_decay_at(jnp.int32(10**6), 0.999)) == pytest.approx(0.999)


def test_a_long_gradient_is_scaled_to_the_clip_before_adam():
    config = toy.config(clip=1e-3)
    state = run(config, 1)[-1]
    (adam,) = [s for s in jax.tree.leaves(state.opt_state, is_leaf=is_adam) if is_adam(s)]
    # After one update Adam's first moment is (1 - b1) g with b1 = 0.9.
    assert float(optax.tree.norm(adam.mu)) == pytest.approx(0.1 * 1e-3, rel=1e-4)


def test_muon_turns_the_gradient_of_a_kernel_into_a_near_rotation_whatever_its_length():
    kernel = jax.random.normal(jax.random.key(0), (3, 3, 4, 8))
    config = TrainConfig(optimiser="muon", learning_rate=0.5, vector_learning_rate=0.1, warmup=0, decay="constant")

    def change(length):
        def loss(params, batch, key):
            return length * (jnp.vdot(params["kernel"], kernel) + jnp.vdot(params["bias"], jnp.arange(1.0, 4.0))), {}

        before = init_state({"kernel": jnp.zeros_like(kernel), "bias": jnp.zeros(3)}, config)
        return make_update(loss, config)(before, None)[0].params

    change_of_short, change_of_long = change(1e-2), change(1e-4)
    singular = jnp.linalg.svd(change_of_short["kernel"].reshape(36, 8), compute_uv=False)
    # five Newton-Schulz steps with Jordan's coefficients leave singular values between 0.7 and 1.2
    assert 0.5 * 0.65 < float(singular.min()) <= float(singular.max()) < 0.5 * 1.25
    np.testing.assert_allclose(change_of_long["kernel"], change_of_short["kernel"], rtol=1e-2, atol=1e-3)
    # first step of Adam with Nesterov momentum, b1 = 0.9: 0.9 * 0.1 / (1 - 0.81) + 1 learning rates
    np.testing.assert_allclose(change_of_short["bias"], -0.14737, rtol=1e-3)


def is_adam(node) -> bool:
    return isinstance(node, optax.ScaleByAdamState)


def test_each_update_draws_new_noise_and_the_same_step_the_same_noise():
    config = toy.config()
    batch = next(toy.Points())
    update = jax.jit(make_update(toy.loss, config))
    state = init_state(toy.params(), config)
    first, again = update(state, batch)[1], update(state, batch)[1]
    later = update(state._replace(step=jnp.int32(1)), batch)[1]
    assert first["loss"] == again["loss"] != later["loss"]


def test_the_first_update_that_is_not_finite_is_remembered():
    config = toy.config()
    update = jax.jit(make_update(toy.loss, config))
    good = next(toy.Points())
    bad = good | {"y": good["y"] * np.float32(np.nan)}
    state = init_state(toy.params(), config)
    marks = []
    for batch in (good, good, bad, bad, good):
        state, _ = update(state, batch)
        marks.append(int(state.first_bad))
    assert marks == [-1, -1, 3, 3, 3]


@pytest.mark.parametrize(
    "wrong", [dict(steps=0), dict(decay="linear"), dict(ema_decay=1.0), dict(warmup=-1), dict(minutes=0.0)]
)
def test_a_config_out_of_range_is_refused_by_name(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        TrainConfig(**wrong)
