"""What the training of a collection draws: batches of samples with their symmetries, of runs that are not held out."""

from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from jaxmicro.collection import Collection
from jaxmicro.data import SampleConfig, is_plain, sample_batches
from jaxmicro.models import PriorConfig
from jaxmicro.pipeline.conditions import Conditions
from jaxmicro.pipeline.stages import Mapped
from jaxmicro.pipeline.state import fingerprint

Symmetry = Literal["isotropic", "flips", "none"]
HASHED = 16  # samples whose labels enter the identity of a training; the features of all do


class Draws(NamedTuple):
    """What the batches of a training are drawn from."""

    training: Collection
    held_out: Collection
    conditions: Conditions
    symmetry: Symmetry
    seed: int
    identity: dict[str, Any]

    def batches(self, batch: int, *, held_out: bool = False) -> Any:
        """Endless batches {"labels", "features"}, the features standardised."""
        source = self.held_out if held_out else self.training
        config = sample_config(source, self.symmetry, batch=batch, seed=self.seed + held_out)
        shard = {} if held_out else {"process_index": jax.process_index(), "process_count": jax.process_count()}
        return Mapped(sample_batches(source, config, **shard), self._standardised)

    def _standardised(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return batch | {"features": self.conditions.standardised(batch["features"])}


def sample_config(collection: Collection, symmetry: Symmetry, *, batch: int, seed: int) -> SampleConfig:
    """How samples are drawn: "isotropic" mirrors them along all axes and exchanges those that are alike (of one length
    and periodicity, with the same features), "flips" only mirrors them; both shift them along periodic axes. "none"
    leaves them as they are."""
    if symmetry == "none":
        return SampleConfig(batch=batch, seed=seed, shifted_axes=())
    names = {feature.name for feature in collection.features}
    # properties of other programs may tell the faces of a film, or axes that they do not name, from each other
    plain = all(is_plain(feature) for feature in collection.features if feature.role == "property")
    axes = collection.axes if plain else collection.axes[1:]
    exchanged: list[str] = []
    if symmetry == "isotropic":
        groups: dict[Any, list[str]] = {}
        process = tuple(feature.name for feature in collection.features if feature.role == "process")
        for axis in axes:
            if any(name.endswith(f".{axis}") for name in process):  # a process along this axis
                continue
            number = collection.axes.index(axis)
            named = frozenset(n[: -len(axis)] for n in names if n.endswith(f".{axis}"))
            groups.setdefault((collection.grid[number], collection.periodic[number], named), []).append(axis)
        exchanged = max(groups.values(), key=len, default=[])
    return SampleConfig(
        batch=batch,
        seed=seed,
        mirrored_axes=tuple(axes),
        symmetric_axes=tuple(exchanged) if len(exchanged) > 1 else (),
    )


def identity_of_collection(
    collection: Collection, network: PriorConfig, symmetry: str, validation: float
) -> dict[str, Any]:
    """All that a training depends on besides its settings; of the labels a few samples, because all may be too many."""
    some = np.unique(np.linspace(0, len(collection) - 1, HASHED).astype(int))
    data = fingerprint([collection.table, collection.origin, collection.samples(some)])
    return {"prior": network.to_dict(), "symmetry": symmetry, "validation": validation, "data": data}
