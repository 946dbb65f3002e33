"""Generated samples beside the collection that their prior was trained on: copies, and diversity."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxmicro import evaluate
from jaxmicro.collection import Collection
from jaxmicro.data import SampleConfig, sample_symmetries
from jaxmicro.descriptors import crofton_surface_area
from jaxmicro.errors import UserError
from jaxmicro.pipeline.conditions import conditions_of
from jaxmicro.pipeline.draws import sample_config
from jaxmicro.pipeline.generated import Generated
from jaxmicro.pipeline.prior import Prior
from jaxmicro.types import Microstructure

_MOST = 24  # held-out samples that the distances to the training samples are compared with
_SIMILAR = 16  # held-out samples, and generated ones, whose diversity is compared


def training_parts(prior: Prior, collection: Collection) -> tuple[Collection, Collection]:
    """The samples of a collection that a prior was trained on, and those that were held out.

    Raises:
        UserError: the prior was trained on another collection, or this one has been changed since.
    """
    assert prior.conditions is not None
    where, names = collection.source or "the collection", prior.conditions.names
    of_model = (prior.config.phases, prior.config.sample_shape)
    if (collection.phases, collection.grid) != of_model:
        raise UserError(f"{where} has other samples than those that the model was trained on")
    selected = collection.select(names)
    held = np.isin(selected.origin, prior.record.get("held_out_origins", []))
    if held.all() or not held.any() or (~held).sum() != prior.record.get("samples"):
        raise UserError(f"{where} has other runs than those that the model was trained on")
    training, held_out = (selected.subset(np.flatnonzero(which)) for which in (~held, held))
    exchanged = _config(prior, training).symmetric_axes
    kept = conditions_of(training, exchanged=exchanged).samples
    if kept.shape != prior.conditions.samples.shape or not np.allclose(kept, prior.conditions.samples, atol=1e-3):
        raise UserError(f"{where} has other features than those that the model was trained on")
    return training, held_out


def compared_with_training(prior: Prior, found: Generated, collection: Collection) -> dict[str, Any]:
    """Whether generated samples are copies of training samples, and how much they vary, beside held-out samples.

    Returns:
        {"collection", "copies": as `evaluate.copies`, "diversity": {"generated", "held_out": {"samples",
        "pair_distance", "two_point_spread"}, "features": {name: {"generated", "held_out"}}}}: of the features that were
        not asked the standard deviations among the samples that have one, None with fewer than two.
    Raises:
        UserError: as `training_parts`, or a sample is damaged.
    """
    training, held_out = training_parts(prior, collection)
    moves = sample_symmetries(training, _config(prior, training))
    symmetry = evaluate.Symmetry(
        tuple(collection.periodic), moves.shifted, moves.mirrored, tuple(map(tuple, moves.orders))
    )
    labels = np.stack([volume.labels for volume in found.volumes]).astype(np.uint8)
    drawn = labels if found.exact is None else found.exact.sampled  # a copy that was then changed is one, too
    phases, near = prior.config.phases, _nearest_to(prior, found.targets, held_out)
    reference = held_out.samples(near[:_MOST])
    copies = evaluate.copies(drawn, training.labels, reference, phases=phases, symmetry=symmetry)
    similar = near[:_SIMILAR]
    of_similar = evaluate.diversity(
        held_out.samples(similar), phases=phases, symmetry=symmetry, origin=held_out.origin[similar]
    )
    return {
        "collection": collection.source,
        "copies": copies,
        "diversity": {
            "generated": {
                "samples": len(labels[:_SIMILAR]),
                **evaluate.diversity(labels[:_SIMILAR], phases=phases, symmetry=symmetry),
            },
            "held_out": {"samples": len(similar), **of_similar},
            "features": _spreads(found, held_out, similar),
        },
    }


def _config(prior: Prior, training: Collection) -> SampleConfig:
    return sample_config(training, prior.record.get("symmetry", "isotropic"), batch=1, seed=0)


def _nearest_to(prior: Prior, targets: Mapping[str, float], held_out: Collection) -> np.ndarray:
    """Numbers of the held-out samples, those nearest to the targets first, in random order where they are alike."""
    assert prior.conditions is not None
    asked = prior.conditions.standardised(prior.conditions.row(targets)[None])[0]
    given = np.isfinite(asked)
    own = prior.conditions.standardised(held_out.table)
    distance = np.sum((own[:, given] - asked[given]) ** 2, axis=1)
    mixed = np.random.default_rng(0).permutation(len(held_out))
    return mixed[np.argsort(distance[mixed], kind="stable")]


def _spreads(found: Generated, held_out: Collection, similar: Sequence[int] | np.ndarray) -> dict[str, dict[str, Any]]:
    """Standard deviations of the features that were not asked."""

    def spread(values: Any) -> float | None:
        finite = [value for value in values if np.isfinite(value)]
        return float(np.std(finite, ddof=1)) if len(finite) > 1 else None

    free = [name for name in found.measured[0] if name not in found.targets]
    return {
        name: {
            "generated": spread([sample[name] for sample in found.measured]),
            "held_out": spread(held_out.column(name)[similar]),
        }
        for name in free
    }


def changed_statistics(before: np.ndarray, after: Microstructure, periodic: Sequence[bool]) -> dict[str, float]:
    """How a change of labels changed a sample: "surface_area_change", relative, of the interfaces of all phases
    (Crofton), and "two_point_change", the largest change of S2, summed over the phases, along the axes."""
    phases = after.phases
    areas = [sum(float(crofton_surface_area(labels == p)) for p in range(phases)) for labels in (before, after.labels)]
    curves = [evaluate.two_point_along(labels, phases, periodic) for labels in (before, after.labels)]
    return {
        "surface_area_change": areas[1] / areas[0] - 1 if areas[0] else 0.0,
        "two_point_change": float(np.nanmax(np.abs(curves[1] - curves[0]))),
    }
