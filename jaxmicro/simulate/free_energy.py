"""Free energies of mixing per volume: value, first and second derivative, and the two compositions that coexist.

The parameters are leaves of a pytree and may be traced, so that one compiled program serves every chi.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Real

Number = Real[Array, ""] | float | int
CONTINUED_BELOW = 1e-4  # composition below which the logarithm of Flory-Huggins is continued as a parabola


class FloryHuggins(NamedTuple):
    """f / kT = phi ln(phi) / n1 + (1 - phi) ln(1 - phi) / n2 + chi phi (1 - phi), per cell of unit volume.

    The logarithms exist within (0, 1) only. Beyond `CONTINUED_BELOW` of either end x ln x is continued by the parabola
    with the same value, slope and curvature, so that f is twice continuously differentiable and convex there for every
    real phi. The slope at that end is steep enough that no field reaches it as long as the coexisting compositions
    are inside, which they are for chi up to about 9 with chains of length 1.

    Attributes:
        chi: interaction parameter, dimensionless; chains of length 1 separate above 2.
        n1, n2: chain lengths of the component that phi counts, and of the other.
    """

    chi: Number
    n1: Number = 1.0
    n2: Number = 1.0

    def value(self, phi: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
        """f(phi), in kT per cell."""
        return _x_log_x(phi) / self.n1 + _x_log_x(1 - phi) / self.n2 + self.chi * phi * (1 - phi)

    def slope(self, phi: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
        """f'(phi), in kT per cell."""
        return _x_log_x_slope(phi) / self.n1 - _x_log_x_slope(1 - phi) / self.n2 + self.chi * (1 - 2 * phi)

    def curvature(self, phi: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
        """f''(phi), in kT per cell."""
        inside, other = (jnp.maximum(x, CONTINUED_BELOW) for x in (phi, 1 - phi))
        return 1 / (self.n1 * inside) + 1 / (self.n2 * other) - 2 * self.chi

    def compositions(self, count: int) -> Float[Array, " i"]:
        """`count` compositions within (0, 1), close to each other at both ends."""
        return jax.nn.sigmoid(jnp.linspace(-9.0, 9.0, count))


class Polynomial(NamedTuple):
    """f = rho (phi - low)^2 (high - phi)^2: two wells of equal depth.

    Attributes:
        rho: height, energy per volume.
        low, high: compositions of the wells. The defaults are those of PFHub's first benchmark.
    """

    rho: Number = 5.0
    low: Number = 0.3
    high: Number = 0.7

    def value(self, phi: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
        """f(phi)."""
        return self.rho * ((phi - self.low) * (self.high - phi)) ** 2

    def slope(self, phi: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
        """f'(phi)."""
        return 2 * self.rho * (phi - self.low) * (self.high - phi) * (self.low + self.high - 2 * phi)

    def curvature(self, phi: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
        """f''(phi)."""
        return 2 * self.rho * ((self.low + self.high - 2 * phi) ** 2 - 2 * (phi - self.low) * (self.high - phi))

    def compositions(self, count: int) -> Float[Array, " i"]:
        """`count` compositions from a little below one well to a little above the other."""
        share = jnp.linspace(-0.1, 1.1, count)
        return self.low + (self.high - self.low) * share


FreeEnergy = FloryHuggins | Polynomial


def coexisting(energy: FreeEnergy, mean: Number, *, count: int = 401) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The two compositions into which a mixture of composition `mean` separates: its common tangent.

    Of all pairs of a table of `count` compositions on either side of the mean, the one whose chord is lowest at the
    mean; both are the mean's neighbours where the mixture is stable. Exact to the spacing of the table, a few per cent
    of the distance to 0 or 1.

    >>> poor, rich = coexisting(FloryHuggins(chi=2.6), 0.5)
    >>> round(float(poor), 1), round(float(rich), 1)
    (0.1, 0.9)
    """
    phi = energy.compositions(count)
    f = energy.value(phi)
    poor, rich = phi[:, None], phi[None, :]
    chord = (f[:, None] * (rich - mean) + f[None, :] * (mean - poor)) / jnp.maximum(rich - poor, 1e-12)
    at = jnp.argmin(jnp.where((poor <= mean) & (rich > mean), chord, jnp.inf))
    return phi[at // count], phi[at % count]


def _x_log_x(x: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
    d = CONTINUED_BELOW
    inside = jnp.maximum(x, d)
    beyond = jnp.minimum(x, d) - d  # 0 inside
    return inside * jnp.log(inside) + beyond * (1 + jnp.log(d)) + beyond**2 / (2 * d)


def _x_log_x_slope(x: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
    d = CONTINUED_BELOW
    return 1 + jnp.log(jnp.maximum(x, d)) + (jnp.minimum(x, d) - d) / d
