"""Phase separation by the Cahn-Hilliard equation, in 2D and 3D, with adaptive time steps.

    dphi/dt = div(M(phi) grad mu) + noise,    mu = f'(phi) - kappa lap phi

In the modes of the box (`spectral.py`) this is du/dt = -L u + N(u) with L = M k^2 (kappa k^2 + S), which is stiff and
linear, and the rest N. A step integrates L exactly and extrapolates N by a parabola through its last three values
(exponential Adams-Bashforth; Hochbruck and Ostermann, Acta Numerica 2010, section 2.7): one evaluation of N, which is
two transforms with a constant mobility. Where h L is large, the third value would destabilise interfaces, and its
weight falls as 1 / (1 + (h L / 6)^2): third order in time for small steps, second order for large ones.

S is chosen anew for each step, of all the values that it extrapolates: halfway between f'' at the mean and the largest
f'' in the field for short steps, which leaves the least to N (in a mixture, the whole of linear growth is L's); the
largest for long ones, with which extrapolation is stable for steps of any size.

The value that N really has after the step shows the error: about h / (2 + h L) (N - extrapolated N). Its root mean
square over the cells, relative to that of phi - mean, is kept below the tolerance, but for rounding. A step that raises
the free energy beyond rounding is taken back and halved, too. Output times do not change the steps: the state there is
a shorter step from the last one before, of a step that has been tried. With noise the steps are of first order, end at
output times and are never taken back, for that would select the noise; the error then chooses the next step only.

While the waves that a coarser grid has not are weaker than the tolerance, large fields evolve on that (`grids.py`);
fields and energies at the output times are those of the grid asked for.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float, Int

from jaxmicro.errors import UserError
from jaxmicro.simulate.config import CahnHilliardConfig
from jaxmicro.simulate.free_energy import FreeEnergy, Number, coexisting
from jaxmicro.simulate.grids import grids_of
from jaxmicro.simulate.rates import Model, Source, free_energy_of
from jaxmicro.simulate.stepping import State, advance_to, modes_at, start


class Evolution(NamedTuple):
    """Fields at the output times, with the evidence that they can be trusted.

    Attributes:
        fields: phi at each time.
        time: the time of each field; earlier than asked for if the run was given up.
        energy: free energy F = sum of (f + kappa / 2 |grad phi|^2) dV at each time.
        mean: mean of each field, constant but for rounding.
        accepted, rejected: number of steps taken, and taken back, up to each time.
        finished: whether the field is that of the time asked for; False after `max_steps`.
    """

    fields: Float[Array, " t *grid"]
    time: Float[Array, " t"]
    energy: Float[Array, " t"]
    mean: Float[Array, " t"]
    accepted: Int[Array, " t"]
    rejected: Int[Array, " t"]
    finished: Bool[Array, " t"]


def mixture(mean: Number, *, amplitude: Number, key: Array, shape: tuple[int, ...]) -> Float[Array, "*grid"]:
    """A homogeneous mixture with white Gaussian noise of standard deviation `amplitude`, and exactly this mean.

    >>> field = mixture(0.4, amplitude=0.01, key=jax.random.key(0), shape=(8, 8))
    >>> round(float(field.mean()), 6)
    0.4
    """
    noise = jax.random.normal(key, shape)
    return mean + amplitude * (noise - jnp.mean(noise))


def evolve(
    initial: Float[Array, "*grid"],
    times: Float[Array, " t"],
    energy: FreeEnergy,
    *,
    kappa: Number,
    mobility: Number = 1.0,
    temperature: Number = 0.0,
    key: Array | None = None,
    config: CahnHilliardConfig,
    source: Source | None = None,
) -> Evolution:
    """The field at each of `times`, from `initial` at time 0 on; for `jax.jit` and `jax.vmap`.

    Args:
        initial: phi at time 0, float32 or float64, which all arithmetic keeps.
        times: output times, increasing, from 0 on.
        energy: free energy of mixing; its numbers may be traced, its class is static.
        kappa: gradient coefficient, energy x length^2 per volume of f.
        mobility: M0; length^2 / time per unit of f.
        temperature: kT in units of f x volume, the strength of the noise if `config.noise`: flux of variance
            2 M kT / (dt dV), after which modes have the variance kT / (f'' + kappa k^2) per volume in a stable mixture.
        key: for the noise.
        config: what is static.
        source: rate of phi added to the equation, as a function of time; its mean over the cells is ignored.
    Raises:
        UserError: the field has another shape than `config`, or the noise has no key.
    """
    if initial.shape != config.shape:
        raise UserError(
            f"the initial field has shape {initial.shape}, the configuration {config.shape}; give one shape"
        )
    if config.noise and key is None:
        raise UserError("thermal noise needs a random key; give key, or a configuration without noise")
    dtype, box = initial.dtype, config.box
    mean = jnp.mean(initial)
    curvature = jnp.max(energy.curvature(jnp.stack(coexisting(energy, mean))))
    numbers = (kappa, mobility, temperature, mean, jnp.maximum(curvature, 0))
    model = Model(config, source, energy, *(jnp.asarray(number, dtype) for number in numbers))
    modes = box.modes(initial - mean) * (model.squared_wave_number > 0)
    if config.mobility == "degenerate":
        modes = modes * box.differentiable(dtype)
    models = (model,) if source else tuple(model._replace(config=coarse) for coarse in grids_of(config))
    state = start(models, modes, jax.random.key(0) if key is None else key)
    return lax.scan(lambda state, time: _report(models, state, time), state, jnp.asarray(times, dtype))[1]


def _report(models: tuple[Model, ...], state: State, time: Float[Array, ""]) -> tuple[State, Evolution]:
    """The state from which the next output time is reached, and what is found at this one."""
    model = models[0]
    state, finished = advance_to(models, state, time)
    modes = modes_at(models, state, time)
    field = model.field(modes)
    return state, Evolution(
        field,
        jnp.where(finished, time, state.time),
        free_energy_of(model, field, modes),
        jnp.mean(field),
        state.accepted,
        state.rejected,
        finished,
    )
