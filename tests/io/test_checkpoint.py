import json
import resource

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from jaxmicro.errors import UserError
from jaxmicro.io.checkpoint import Checkpoints, check_weights, load_weights, save_weights


def state(scale=1.0):
    return {"w": scale * jnp.arange(6.0).reshape(2, 3), "step": jnp.int32(7), "moments": ({"w": jnp.ones(3)}, None)}


def params():
    return {"conv": {"kernel": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4), "bias": np.zeros(4, np.float32)}}


def same(a, b) -> bool:
    return jax.tree.structure(a) == jax.tree.structure(b) and jax.tree.all(
        jax.tree.map(lambda x, y: x.dtype == y.dtype and np.array_equal(x, y), a, b)
    )


# Training checkpoints


def test_the_last_checkpoint_comes_back_to_the_bit_with_the_position_of_the_data(tmp_path):
    with Checkpoints(tmp_path / "run") as checkpoints:
        checkpoints.save(5, state(), {"next_index": 40})
        checkpoints.save(9, state(1 / 3), {"next_index": 72})
    with Checkpoints(tmp_path / "run") as checkpoints:
        restored, position = checkpoints.restore(state(0.0))
    assert same(restored, state(1 / 3)) and position == {"next_index": 72}


@pytest.mark.parametrize("position", [None, b"\x00\xff", {"a": [1, {"b": "c"}]}])
def test_a_position_is_any_json_or_bytes(tmp_path, position):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state(), position)
        checkpoints.wait()
        assert checkpoints.restore(state())[1] == position


def test_a_new_folder_has_nothing_to_restore(tmp_path):
    with Checkpoints(tmp_path / "new") as checkpoints:
        assert checkpoints.restore(state()) is None


def test_only_the_last_few_are_kept(tmp_path):
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        for step in (1, 2, 3, 4):
            checkpoints.save(step, state())
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps == (3, 4)


def test_a_save_cannot_be_changed_by_what_happens_to_the_arrays_afterwards(tmp_path):
    double = jax.jit(lambda tree: jax.tree.map(lambda x: 2 * x, tree), donate_argnums=0)
    live = {"w": jnp.arange(100_000.0)}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, live)
        for _ in range(20):
            live = double(live)
        checkpoints.wait()
        assert same(checkpoints.restore(live)[0], {"w": jnp.arange(100_000.0)})


def test_saving_and_restoring_print_nothing(tmp_path, capfd):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state())
        checkpoints.wait()
        checkpoints.restore(state())
    assert capfd.readouterr() == ("", "")


def test_a_checkpoint_of_another_configuration_is_refused_by_the_field(tmp_path):
    with Checkpoints(tmp_path, config={"unet": {"width": 64}, "phases": 3}) as checkpoints:
        checkpoints.save(1, state())
    with Checkpoints(tmp_path, config={"unet": {"width": 32}, "phases": 3}) as checkpoints:
        with pytest.raises(UserError, match="unet/width 64 instead of 32"):
            checkpoints.restore(state())


@pytest.mark.parametrize("other", [{"w": jnp.ones((4, 4))}, {"v": jnp.ones(3)}])
def test_a_checkpoint_of_another_model_is_refused(tmp_path, other):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"w": jnp.ones((2, 3))})
        checkpoints.wait()
        with pytest.raises(UserError, match="does not fit this model"):
            checkpoints.restore(other)


def test_a_full_disk_is_an_os_error_and_the_earlier_checkpoint_stays(tmp_path):
    noise = {"w": jnp.asarray(np.random.default_rng(0).normal(size=300_000))}  # cannot be compressed: a megabyte
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, noise)
        checkpoints.wait()
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))  # no file may grow beyond 100 kB
        try:
            with pytest.raises(OSError, match=r"File too large: .*"):
                checkpoints.save(2, noise)
                checkpoints.wait()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps == (1,) and same(checkpoints.restore(noise)[0], noise)


@pytest.mark.parametrize("damaged", [{"custom_metadata": []}, {"item_handlers": 3}, {"commit_timestamp_nsecs": "x"}])
def test_damaged_metadata_of_a_checkpoint_are_refused_in_one_line(tmp_path, damaged):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(7, state())
    notes = tmp_path / "7" / "_CHECKPOINT_METADATA"
    notes.write_text(json.dumps(json.loads(notes.read_text()) | damaged))
    with pytest.raises(UserError, match="holds a damaged checkpoint") as refused:
        Checkpoints(tmp_path)
    assert "\n" not in str(refused.value)


# Published weights


def test_weights_and_config_come_back_as_they_were(tmp_path):
    config = {"phases": 3, "unet": {"widths": [64, 128]}, "name": "µ"}
    save_weights(tmp_path / "w.safetensors", params(), config)
    loaded, found = load_weights(tmp_path / "w.safetensors")
    assert same(loaded, params()) and found == json.loads(json.dumps(config))
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_half_weights_take_half_the_space_and_are_rounded_once(tmp_path):
    values = {"w": np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)}
    save_weights(tmp_path / "full", values, {})
    save_weights(tmp_path / "half", values, {}, bits=16)
    loaded, _ = load_weights(tmp_path / "half")
    assert loaded["w"].dtype == np.float32
    np.testing.assert_array_equal(loaded["w"], values["w"].astype(np.float16))
    assert (tmp_path / "half").stat().st_size < 0.52 * (tmp_path / "full").stat().st_size


def test_kernels_in_bytes_take_a_quarter_of_the_space_and_are_off_by_half_a_step(tmp_path):
    """Of the channel's own scale, however small its weights are; vectors are as in half precision."""
    kernel = np.random.default_rng(0).normal(size=(3, 3, 64, 32)).astype(np.float32) * np.logspace(-6, 0, 32)
    values = {"conv": {"kernel": kernel.astype(np.float32), "bias": kernel[0, 0, 0].astype(np.float32)}}
    values["empty"] = {"kernel": np.zeros((4, 4), np.float32)}
    save_weights(tmp_path / "full", values, {})
    save_weights(tmp_path / "bytes", values, {}, bits=8)
    loaded, _ = load_weights(tmp_path / "bytes")
    step = np.abs(kernel).max(axis=(0, 1, 2)) / 127
    assert loaded["conv"]["kernel"].dtype == np.float32
    assert np.all(np.abs(loaded["conv"]["kernel"] - kernel) <= 0.501 * step)
    np.testing.assert_array_equal(loaded["conv"]["bias"], kernel[0, 0, 0].astype(np.float32).astype(np.float16))
    np.testing.assert_array_equal(loaded["empty"]["kernel"], 0)
    assert (tmp_path / "bytes").stat().st_size < 0.3 * (tmp_path / "full").stat().st_size


@pytest.mark.parametrize("shape", [(1, 4), (3,)])
def test_scales_that_are_not_those_of_a_kernel_are_refused(tmp_path, shape):
    """Before they are multiplied: a small file must not ask for much memory."""
    values = {"kernel": np.ones((4, 1), np.int8), "kernel:scale": np.ones(shape)}
    save_weights(tmp_path / "w", values, {})
    with pytest.raises(UserError, match="scales of kernel"):
        load_weights(tmp_path / "w")


@pytest.mark.parametrize(("value", "bits"), [(np.nan, 32), (np.inf, 32), (1e6, 16), (np.nan, 8)])
def test_weights_that_are_not_finite_as_stored_are_not_written(tmp_path, value, bits):
    with pytest.raises(UserError, match="not finite"):
        save_weights(tmp_path / "w", {"w": np.full(3, value, np.float32)}, {}, bits=bits)
    assert not list(tmp_path.iterdir())


def test_weights_that_are_missing_cut_short_or_foreign_get_one_line(tmp_path):
    whole = tmp_path / "whole"
    save_weights(whole, params(), {})
    (tmp_path / "short").write_bytes(whole.read_bytes()[:-7])
    (tmp_path / "text").write_text("not weights")
    (tmp_path / "empty").write_bytes(b"")
    from safetensors.numpy import save_file

    save_file({"w": np.zeros(2)}, tmp_path / "foreign")
    for name in ("missing", "short", "text", "empty", "foreign"):
        with pytest.raises(UserError, match=name) as refused:
            load_weights(tmp_path / name)
        assert "\n" not in str(refused.value)


def test_weights_of_another_model_are_refused_by_name_and_shape():
    like = jax.eval_shape(params)
    check_weights(params(), like, source="w")
    wrong = {"conv": params()["conv"] | {"bias": np.zeros(5, np.float32)}}
    with pytest.raises(UserError, match=r"conv/bias is \(5,\), expected \(4,\)"):
        check_weights(wrong, like, source="w")
    with pytest.raises(UserError, match="conv/bias is missing"):
        check_weights({"conv": {"kernel": params()["conv"]["kernel"]}}, like, source="w")


def test_other_dtypes_are_kept(tmp_path):
    values = {"b": np.ones(3, ml_dtypes.bfloat16), "i": np.arange(3)}
    save_weights(tmp_path / "w", values, {}, bits=16)
    assert same(load_weights(tmp_path / "w")[0], values)
