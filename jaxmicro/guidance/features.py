"""Features of a collection's samples as differentiable functions of phase fractions, for guidance towards them.

The definitions are those by which collections are measured (`pipeline.sample_properties`): diffusivities between two
opposite faces, with periodic sides where a sample is periodic along all other axes, else insulated ones; the tortuosity
factor is volume fraction over diffusivity. Only the blocked phases differ: here they conduct a thousandth (`LEAK`), so
that isolated parts see a gradient towards connections, and diffusivities are a little too high.
"""

import functools
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxmicro.descriptors import crofton_surface_area
from jaxmicro.guidance.quantities import LEAK, SOLVER
from jaxmicro.physics import Sides, SolverConfig, solve
from jaxmicro.types import AXES

_OF_PHASE, _ALONG = ("volume_fraction", "surface_area"), ("diffusivity", "tortuosity")
# Deviations are relative to the asked value, or to this where it is smaller: what a blocked phase conducts here. Areas
# have a unit, and no such floor
_LEAST = LEAK


def is_guidable(name: str, *, phases: int, ndim: int) -> bool:
    """Whether `soft_features` knows a feature of samples with this number of phases and axes.

    >>> is_guidable("tortuosity.1.z", phases=2, ndim=3), is_guidable("tortuosity.1.z", phases=2, ndim=2)
    (True, False)
    """
    quantity, *rest = name.split(".")
    of_phase = bool(rest) and rest[0] in map(str, range(phases))
    if quantity in _ALONG:
        return of_phase and len(rest) == 2 and rest[1] in AXES[-ndim:]
    return quantity in _OF_PHASE and of_phase and len(rest) == 1


def soft_features(
    fractions: Float[Array, "*grid p"],
    names: Sequence[str],
    *,
    periodic: Sequence[bool] = (),
    voxel_size: float = 1.0,
    solver: SolverConfig = SOLVER,
) -> Float[Array, " m"]:
    """Features of one sample by name, differentiable in its phase fractions; map over samples with `jax.vmap`.

    Args:
        fractions: share of each phase in each voxel, of an image "h w p" or a volume "z y x p".
        names: volume_fraction.P, surface_area.P, diffusivity.P.AXIS or tortuosity.P.AXIS (`is_guidable`).
        periodic: whether the sample is, for each of its axes; (): along none.
        voxel_size: edge of a voxel; surface areas are in the inverse of its unit.
        solver: of diffusivities. All of one kind are solved in one batch, which ends with the slowest.
    Returns:
        One number for each name. The tortuosity factor of a phase that does not percolate is large, but finite.
    Raises:
        ValueError: a name is no such feature.

    >>> plain = jnp.stack([jnp.ones((4, 4, 4)), jnp.zeros((4, 4, 4))], axis=-1)
    >>> soft_features(plain, ["volume_fraction.0", "tortuosity.0.z"]).tolist()
    [1.0, 1.0]
    """
    ndim, phases = fractions.ndim - 1, fractions.shape[-1]
    for name in names:
        if not is_guidable(name, phases=phases, ndim=ndim):
            raise ValueError(
                f"{name!r} is no feature of samples with {ndim} axes and {phases} phases that has a gradient"
            )
    asked = [(quantity, int(phase), *axis) for quantity, phase, *axis in (name.split(".") for name in names)]
    along = list(dict.fromkeys((phase, axis[0]) for quantity, phase, *axis in asked if quantity in _ALONG))
    d_eff = _diffusivities(fractions, along, tuple(periodic) or (False,) * ndim, solver)
    values = []
    for quantity, phase, *axis in asked:
        if quantity == "surface_area":
            values.append(crofton_surface_area(fractions[..., phase], voxel_size=voxel_size))
            continue
        volume_fraction = jnp.mean(fractions[..., phase])
        if quantity == "volume_fraction":
            values.append(volume_fraction)
        else:
            diffusivity = d_eff[phase, axis[0]]
            values.append(diffusivity if quantity == "diffusivity" else volume_fraction / diffusivity)
    return jnp.stack(values) if values else jnp.zeros(0, fractions.dtype)


def feature_deviations(
    names: Sequence[str], values: Float[Array, " m"], asked: Float[Array, " m"]
) -> Float[Array, " m"]:
    """Relative deviations of features from asked values; 0 where NaN is asked: nothing.

    Tortuosity factors are compared by their reciprocals, to which a diffusivity is proportional, and which stay finite
    where a phase does not percolate; an infinite one may be asked. Relative to the asked value; of numbers without a
    unit to 0.001 if that is more.

    >>> feature_deviations(["volume_fraction.0", "tortuosity.0.z"], jnp.array([0.3, 4.0]), jnp.array([jnp.nan, 2.0]))
    Array([ 0. , -0.5], dtype=float32)
    """
    inverted = jnp.array([name.startswith("tortuosity") for name in names])
    compared, to = (jnp.where(inverted, 1 / jnp.where(inverted, x, 1), x) for x in (values, asked))
    given = ~jnp.isnan(to)
    to = jnp.where(given, to, 0)
    least = jnp.array([1e-30 if name.startswith("surface_area") else _LEAST for name in names])
    return jnp.where(given, (compared - to) / jnp.maximum(jnp.abs(to), least), 0)


def _diffusivities(
    fractions: Float[Array, "*grid p"],
    along: Sequence[tuple[int, str]],
    periodic: tuple[bool, ...],
    solver: SolverConfig,
) -> dict[tuple[int, str], Float[Array, ""]]:
    """D_eff / D_0 of phases along axes: those of one shape and kind of sides by one batch of solves."""
    ndim = fractions.ndim - 1
    letters = AXES[-ndim:]

    def kind(of: tuple[int, str]) -> tuple[Sides, tuple[int, ...]]:
        number = letters.index(of[1])
        others = [yes for other, yes in enumerate(periodic) if other != number]
        first = (fractions.shape[number], *(n for other, n in enumerate(fractions.shape[:-1]) if other != number))
        return "periodic" if all(others) else "insulated", first

    found = {}
    # Each batch of solves waits for the one before: XLA for CPUs (jaxlib 0.10) runs independent loops at once, and on
    # two cores two such loops may wait for each other for ever.
    before = jnp.zeros((), fractions.dtype)
    for _, group in itertools.groupby(sorted(along, key=kind), kind):
        members = list(group)
        sides = kind(members[0])[0]
        kappa = (
            before
            + LEAK
            + (1 - LEAK)
            * jnp.stack([jnp.moveaxis(fractions[..., phase], letters.index(axis), 0) for phase, axis in members])
        )
        d_eff = jax.vmap(functools.partial(_d_eff, sides=sides, solver=solver))(kappa)
        found |= dict(zip(members, d_eff, strict=True))
        before = 0 * jnp.nan_to_num(jax.lax.stop_gradient(jnp.sum(d_eff)))  # XLA keeps a product with 0: it may be NaN
    return found


def _d_eff(kappa: Float[Array, "*grid"], *, sides: Sides, solver: SolverConfig) -> Float[Array, ""]:
    return solve(kappa, axis=0, sides=sides, config=solver).d_eff
