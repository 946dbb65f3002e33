"""Bounds on the effective diffusivity from volume fractions alone."""

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from jaxmicro.errors import UserError

PerPhase = Float[Array | np.ndarray, " p"]


def wiener_bounds(fractions: PerPhase, diffusivities: PerPhase) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Wiener bounds of D_eff for any medium: harmonic and arithmetic mean, those of layers in series and in parallel.

    Args:
        fractions: volume fraction of each phase, sums to 1.
        diffusivities: of each phase; any unit, 0 for a blocked one.
    Raises:
        UserError: fractions are negative or do not sum to 1, or diffusivities are negative or not finite (inside jit
            values are not checked).
    Source: Wiener (1912); Torquato, Random Heterogeneous Materials (2002), section 21.1.

    >>> [float(bound) for bound in wiener_bounds(jnp.array([0.5, 0.5]), jnp.array([1.0, 3.0]))]
    [1.5, 2.0]
    """
    phi, d = _checked(fractions, diffusivities)
    return _shifted_harmonic_mean(phi, d, jnp.zeros((), d.dtype)), jnp.sum(phi * d)


def hashin_shtrikman_bounds(
    fractions: PerPhase, diffusivities: PerPhase, *, dimensions: int
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Hashin-Shtrikman bounds of D_eff, the tightest for statistically isotropic media; any number of phases.

    A(d*) = (sum_i phi_i / (d_i + (n - 1) d*))^-1 - (n - 1) d*, with d* the smallest and the largest diffusivity.

    Args:
        fractions: volume fraction of each phase, sums to 1.
        diffusivities: of each phase; any unit, 0 for a blocked one.
        dimensions: n, 2 or 3.
    Raises:
        UserError: `dimensions` is not 2 or 3; for fractions and diffusivities as `wiener_bounds`.
    Source: Hashin and Shtrikman, J. Appl. Phys. 33, 3125 (1962); Torquato (2002), eq. 21.23.

    >>> lower, upper = hashin_shtrikman_bounds(jnp.array([0.5, 0.5]), jnp.array([0.0, 1.0]), dimensions=3)
    >>> round(float(lower), 6), round(float(upper), 6)
    (0.0, 0.4)
    """
    if dimensions not in (2, 3):
        raise UserError(f"Hashin-Shtrikman bounds for {dimensions} dimensions; there are those for 2 and 3")
    phi, d = _checked(fractions, diffusivities)
    present = jnp.where(phi > 0, d, jnp.nan)
    shifts = (dimensions - 1) * jnp.stack([jnp.nanmin(present), jnp.nanmax(present)])
    lower, upper = (_shifted_harmonic_mean(phi, d, shift) - shift for shift in shifts)
    return lower, upper


def _checked(fractions: PerPhase, diffusivities: PerPhase) -> tuple[Float[Array, " p"], Float[Array, " p"]]:
    phi, d = jnp.asarray(fractions), jnp.asarray(diffusivities)
    if phi.shape != d.shape:
        raise UserError(f"{phi.size} volume fractions and {d.size} diffusivities; give one of each per phase")
    if not isinstance(phi, Tracer) and not (bool(jnp.all(phi >= 0)) and abs(float(jnp.sum(phi)) - 1) < 1e-4):
        raise UserError(f"volume fractions {phi.tolist()}: expected 0 or more each, and 1 in all")
    if not isinstance(d, Tracer) and not bool(jnp.all((d >= 0) & jnp.isfinite(d))):
        raise UserError(f"diffusivities {d.tolist()}: expected finite numbers, 0 or more")
    return phi, d


def _shifted_harmonic_mean(phi: Float[Array, " p"], d: Float[Array, " p"], shift: Float[Array, ""]) -> Float[Array, ""]:
    """1 / sum(phi / (d + shift)); 0 when a phase that is present has d + shift = 0."""
    total = d + shift
    blocked = jnp.any((phi > 0) & (total <= 0))
    resistance = jnp.sum(jnp.where(total > 0, phi / jnp.where(total > 0, total, 1), 0))
    return jnp.where(blocked, 0, 1 / resistance)
