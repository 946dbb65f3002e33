"""The terms of the Cahn-Hilliard equation in the modes of a box, and the free energy.

du/dt = -M k^2 kappa k^2 u + E(u) + noise
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxmicro.simulate.config import CahnHilliardConfig
from jaxmicro.simulate.free_energy import FreeEnergy
from jaxmicro.simulate.spectral import Modes, total

Source = Callable[[Float[Array, ""]], Float[Array, "*grid"]]


class Model(NamedTuple):
    """The equation: what is static, and its numbers, which may be traced.

    Attributes:
        config, source: as in `evolve`.
        energy, kappa, mobility, temperature: as in `evolve`.
        mean: mean of phi, which the modes leave out.
        curvature: of f at the coexisting compositions.
    """

    config: CahnHilliardConfig
    source: Source | None
    energy: FreeEnergy
    kappa: Float[Array, ""]
    mobility: Float[Array, ""]
    temperature: Float[Array, ""]
    mean: Float[Array, ""]
    curvature: Float[Array, ""]

    @property
    def squared_wave_number(self) -> Float[Array, "*mode"]:
        """k^2 of each mode."""
        return self.config.box.squared_wave_number(self.mean.dtype)

    @property
    def largest_mobility(self) -> Float[Array, ""]:
        """M of the linear part: M0, or its largest share of phi (1 - phi)."""
        return self.mobility if self.config.mobility == "constant" else self.mobility / 4

    def field(self, modes: Modes) -> Float[Array, "*grid"]:
        """phi."""
        return self.mean + self.config.box.field(modes)

    def decay_rate(self, splitting: Float[Array, ""]) -> Float[Array, "*mode"]:
        """L = M k^2 (kappa k^2 + S)."""
        k2 = self.squared_wave_number
        return self.largest_mobility * k2 * (self.kappa * k2 + splitting)

    def splitting_rate(self, splitting: Float[Array, ""]) -> Float[Array, "*mode"]:
        """M k^2 S, which N has of u: N = E + M k^2 S u."""
        return self.largest_mobility * splitting * self.squared_wave_number


class Rate(NamedTuple):
    """What a field says about its evolution.

    Attributes:
        explicit: E, the rate of the modes but for -M k^2 kappa k^2 u.
        energy: free energy F.
        squares: sum of u^2 over the cells.
        top: largest M f'' in the field, over the largest M; f'' is largest at one of the extremes of phi.
    """

    explicit: Modes
    energy: Float[Array, ""]
    squares: Float[Array, ""]
    top: Float[Array, ""]


def rate_of(model: Model, modes: Modes, time: Float[Array, ""]) -> Rate:
    """E = div(M grad mu) + source + M k^2 kappa k^2 u, with the free energy."""
    box, k2 = model.config.box, model.squared_wave_number
    deviation = box.field(modes)
    field = model.mean + deviation
    slope = model.energy.slope(field)
    if model.config.mobility == "constant":
        explicit = -model.mobility * k2 * box.modes(slope)
        top = jnp.max(model.energy.curvature(jnp.stack([jnp.min(field), jnp.max(field)])))
    else:
        potential = slope + box.field(model.kappa * k2 * modes)
        # beyond 0 and 1, where a field that its grid does not resolve may overshoot, a negative M would drive it on
        local = jnp.maximum(model.mobility * field * (1 - field), 0)
        rates = [box.divergence(local * box.gradient(potential, axis), axis) for axis in range(field.ndim)]
        implicit = model.largest_mobility * model.kappa * k2**2 * modes
        explicit = box.differentiable(k2.dtype) * box.modes(sum(rates[1:], rates[0])) + implicit
        top = jnp.max(local * model.energy.curvature(field)) / model.largest_mobility
    if model.source is not None:
        explicit = explicit + box.modes(model.source(time)) * (k2 > 0)
    return Rate(explicit, free_energy_of(model, field, modes), total(deviation, deviation), top)


def free_energy_of(model: Model, field: Float[Array, "*grid"], modes: Modes) -> Float[Array, ""]:
    """F = sum of (f + kappa / 2 |grad phi|^2) dV, of a field and its modes."""
    gradients = model.config.box.squared_sum(jnp.sqrt(model.squared_wave_number) * modes)
    wells = total(model.energy.value(field), jnp.ones_like(field))
    return model.config.box.cell_volume * (wells + model.kappa / 2 * gradients)


def noise_of(model: Model, modes: Modes, h: Float[Array, ""], splitting: Float[Array, ""], key: Array) -> Modes:
    """What a random flux of variance 2 M kT / (dt dV) adds to the modes in a step h, damped by L meanwhile."""
    box, k2 = model.config.box, model.squared_wave_number
    x = h * model.decay_rate(splitting)
    damped = jnp.where(x > 1e-6, -jnp.expm1(-2 * x) / (2 * jnp.maximum(x, 1e-6)), 1)
    strength = jnp.sqrt(2 * h * model.temperature / box.cell_volume * damped)
    if model.config.mobility == "constant":
        white = box.modes(jax.random.normal(key, box.shape, h.dtype))
        return strength * jnp.sqrt(model.mobility * k2) * white
    field = model.field(modes)
    local = jnp.sqrt(jnp.maximum(model.mobility * field * (1 - field), 0))
    fluxes = local * jax.random.normal(key, (field.ndim, *box.shape), h.dtype)
    rates = [box.divergence(flux, axis) for axis, flux in enumerate(fluxes)]
    return strength * box.differentiable(h.dtype) * box.modes(sum(rates[1:], rates[0]))
