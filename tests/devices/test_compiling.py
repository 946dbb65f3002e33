import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmicro.devices import compiling, jit_network
from jaxmicro.models.layers import conv

NARROW = conv(32, 2)
X = jax.random.normal(jax.random.key(0), (16, 32, 32, 32))


@pytest.fixture(scope="module")
def params():
    return NARROW.init(jax.random.key(1), X)


def test_no_convolution_is_left_to_a_library_that_uses_one_core(params):
    plain, ours = (f(NARROW.apply).lower(params, X).compile().as_text() for f in (jax.jit, jit_network))
    assert "ynn" not in ours
    assert "ynn" in plain, "this XLA keeps such convolutions by itself: jit_network can go"


def test_the_result_is_that_of_jit_and_the_function_is_traced_once(params):
    traced = []

    def apply(params, x, *, power: int):
        traced.append(power)
        return NARROW.apply(params, x) ** power

    program = jit_network(apply, static_argnames="power")
    for _ in range(2):
        found = program(params, X, power=2)
    np.testing.assert_allclose(found, jax.jit(NARROW.apply)(params, X) ** 2, rtol=1e-4, atol=1e-4)
    assert traced == [2]


def test_buffers_stay_where_donating_them_gives_wrong_results():
    """The update of a network of three phases at 32^3 voxels: too large to run here, see `jit_network`."""
    x = jnp.arange(4.0)
    twice = jit_network(lambda x: 2 * x, donate_argnums=0)
    np.testing.assert_array_equal(twice(x), [0, 2, 4, 6])
    assert x.is_deleted() != bool(compiling._options())


def test_an_xla_that_does_not_know_the_option_compiles_without(params, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compiling, "_WITHOUT_CONVOLUTIONS", {"xla_cpu_no_such_option": "1"})
    compiling._options.cache_clear()
    try:
        assert compiling._options() == {}
        assert jnp.isfinite(jit_network(NARROW.apply)(params, X)).all()
    finally:
        compiling._options.cache_clear()
