"""The figures that the verbs write, each as the content of a PNG file."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxmicro import viz
from jaxmicro.io import files
from jaxmicro.io.films import film
from jaxmicro.pipeline import (
    CURVES,
    QUANTITIES,
    Design,
    Generated,
    LengthUnit,
    Prior,
    Simulated,
    SimulationConfig,
    Target,
)
from jaxmicro.types import Microstructure, in_phases_of
from jaxmicro.units import with_unit

CONNECTED = 1e3  # tortuosity factors below; above, a reciprocal of 0 was rounded


def of_input(structure: Microstructure, grey: np.ndarray | None) -> dict[str, bytes]:
    """Figures of the phases as they were read, and of the segmentation if the file was a grey image."""
    figures = {"phases": phases(structure)}
    if grey is not None:
        figures["segmentation"] = segmentation(grey, structure)
    return figures


def phases(structure: Microstructure) -> bytes:
    """Figure of a segmented image, or of planes of a volume."""
    if structure.labels.ndim == 3:
        return viz.png(_planes(structure))
    image = structure.labels[None]
    return viz.png(
        viz.sample_grid(
            image,
            structure.phases,
            width=6.0,
            title=structure.source or None,
            voxel_size=structure.voxel_size,
            unit=structure.unit,
        )
    )


def segmentation(grey: np.ndarray, structure: Microstructure) -> bytes:
    """Grey image, histogram with thresholds, and the resulting phases; of a volume the middle plane."""
    labels = structure.labels
    if grey.ndim == 3:
        grey, labels = grey[len(grey) // 2], labels[len(labels) // 2]
    figure = viz.segmentation_check(
        grey, labels, structure.thresholds, voxel_size=structure.voxel_size, unit=structure.unit
    )
    return viz.png(figure)


def concentration(structure: Microstructure, label: int, fields: Mapping[str, np.ndarray]) -> bytes:
    """Concentration field in one phase, for each axis along which it percolates."""
    figure = viz.concentration_panel(
        fields, structure.labels == label, voxel_size=structure.voxel_size, unit=structure.unit
    )
    return viz.png(figure)


def samples(images: np.ndarray, phases: int, *, voxel_size: float | None = None, unit: str | None = None) -> bytes:
    """Images "n h w" drawn from a prior."""
    return viz.png(viz.sample_grid(images, phases, voxel_size=voxel_size, unit=unit))


def generated(found: Generated, prior: Prior) -> dict[str, bytes]:
    """Sections and a rendering of generated samples, asked against measured, and the process that would make them."""
    assert prior.conditions is not None
    scale, phases = {"voxel_size": found.volumes[0].voxel_size, "unit": found.volumes[0].unit}, found.volumes[0].phases
    shown = [volume.labels for volume in found.volumes[:16]]
    sections = np.stack([labels if labels.ndim == 2 else labels[..., labels.shape[-1] // 2] for labels in shown])
    pictures = {"generated": viz.png(viz.sample_grid(sections, phases, **scale, whole=np.stack(shown)))}
    if shown[0].ndim == 3:
        pictures["rendering"] = viz.png(viz.volume_rendering(shown[0], phases=phases, **scale))
    measured = {name: np.array([sample[name] for sample in found.measured]) for name in found.measured[0]}
    trained_on = prior.conditions.natural(prior.conditions.samples)
    ranges = {
        name: (float(ends[0]), float(ends[1]))
        for entry, column in zip(prior.conditions.entries, trained_on.T, strict=True)
        for name, known in [(entry.name, column[column < (CONNECTED if entry.scale == "reciprocal" else np.inf)])]
        if known.size
        for ends in [np.quantile(known, (0.01, 0.99))]
    }
    units = prior.conditions.units

    def labelled(numbers: Mapping[str, Any]) -> dict[str, Any]:
        return {with_unit(name, units.get(name, "")): of for name, of in numbers.items()}

    targets = labelled(found.targets)
    if measured:
        pictures["asked_and_measured"] = viz.png(viz.asked_and_measured(labelled(measured), targets, labelled(ranges)))
    if found.process:
        scales = labelled({entry.name: entry.scale for entry in prior.conditions.entries})
        draws = labelled({name: of.ravel() for name, of in found.process.items()})
        pictures["process"] = viz.png(viz.process_distribution(draws, scales, targets))
    return pictures


def training(log: Path) -> bytes:
    """Loss against step, from a log.jsonl; truncated or damaged lines are skipped."""
    records, _ = files.read_lines(log)
    return viz.png(viz.training_curves([record for record in records if _is_of_training(record)]))


def _is_of_training(record: dict[str, Any]) -> bool:
    numbers = [number for name in ("step", "loss", "validation_loss") if (number := record.get(name)) is not None]
    finite = (isinstance(number, int | float) and abs(number) < sys.float_info.max for number in numbers)
    return record.get("event") == "training" and all(finite)


def of_volumes(
    volumes: Sequence[Microstructure], reference: Microstructure | None = None, *, names: Sequence[str] = ()
) -> dict[str, bytes]:
    """Planes and a 3D rendering of the first volume."""
    first = volumes[0] if reference is None else in_phases_of(reference, volumes[0])
    rendering = viz.volume_rendering(
        first.labels, phases=first.phases, voxel_size=first.voxel_size, unit=first.unit, names=names
    )
    return {"slices": viz.png(_planes(first, reference, names)), "rendering": viz.png(rendering)}


def design(found: Design, names: Sequence[str] = ()) -> bytes:
    """Sections of the reconstruction and of the designed volume, and the values of both against the targets."""
    numbers = zip(found.targets, found.before, found.achieved, strict=True)
    length = LengthUnit(found.volume.voxel_size, found.volume.unit)

    def row(target: Target, *values: float) -> tuple[str, float, float, float]:
        curve = target.quantity in CURVES
        unit = "error, %" if curve else length.unit_of(target.quantity) or QUANTITIES[target.quantity].unit
        before, target_value, achieved = (value * length.factor(target.quantity) for value in values)
        return f"{target.name_with(names)}\n({unit})", before, target_value, achieved

    figure = viz.design_panel(
        found.reconstruction.labels,
        found.volume.labels,
        [row(target, before, target.value, achieved) for target, before, achieved in numbers],
        phases=found.volume.phases,
        voxel_size=found.volume.voxel_size,
        unit=found.volume.unit,
        names=names or None,
    )
    return viz.png(figure)


def of_evaluation(report: dict[str, Any], *, names: Sequence[str] = ()) -> dict[str, bytes]:
    """The figures of an evaluation report; those of the true volume and of memorisation where it has them."""
    figures = {
        "correlations": viz.correlation_curves(report, names=names),
        "directions": viz.direction_curves(report, names=names),
        "errors": viz.error_summary(report, names=names),
    }
    if report["true_volume"] is not None:
        figures["true_volume"] = viz.true_volume_curves(report, names=names)
    if report["memorisation"] is not None:
        figures["memorisation"] = viz.memorisation_figure(report)
    return {name: viz.png(figure) for name, figure in figures.items()}


def evolution(config: SimulationConfig, found: Simulated) -> bytes:
    """Snapshots of one simulated run, its free energy and the size of its domains over time."""
    run = found.drawn
    figure = viz.evolution_panel(
        found.film, found.plan.times[run], found.energy[run], found.domain[run], title=_run_title(found),
        voxel_size=config.voxel_size, unit=config.unit,
    )  # fmt: skip
    return viz.png(figure)


def evolution_film(config: SimulationConfig, found: Simulated) -> bytes:
    """A film of one simulated run as GIF."""
    run = found.drawn
    frames = viz.film_frames(
        found.film, found.plan.times[run], found.energy[run], title=_run_title(found),
        voxel_size=config.voxel_size, unit=config.unit,
    )  # fmt: skip
    return film(frames)


def parameters(config: SimulationConfig, found: Simulated) -> bytes:
    """The parameters of all simulated runs, and the times of their snapshots."""
    names = [feature.name for feature in found.plan.features[:-1]]
    spinodal = None
    if "chi" in names:
        phi = np.linspace(0.02, 0.98, 193)
        n1, n2 = config.chain_lengths
        spinodal = phi, (1 / (n1 * phi) + 1 / (n2 * (1 - phi))) / 2
    figure = viz.parameter_panel(names, found.plan.parameters, found.plan.times, drawn=found.drawn, spinodal=spinodal)
    return viz.png(figure)


def _run_title(found: Simulated) -> str:
    pairs = zip(found.plan.features, found.plan.parameters[found.drawn], strict=False)
    return f"run {found.drawn}: " + ", ".join(f"{feature.name} {value:.3g}" for feature, value in pairs)


def _planes(volume: Microstructure, reference: Microstructure | None = None, names: Sequence[str] = ()):
    beside = reference.labels if reference is not None and reference.labels.ndim == 2 else None
    return viz.slice_panel(
        volume.labels,
        micrograph=beside,
        phases=volume.phases,
        voxel_size=volume.voxel_size,
        unit=volume.unit,
        names=names,
    )
