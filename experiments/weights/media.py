"""The training data of every recipe."""

import itertools
from typing import NamedTuple

import numpy as np

from experiments import materials
from experiments.weights.config import Recipe, WeightsConfig
from jaxmicro.data import Sources, training_sources, volume_planes
from jaxmicro.data.prior_media import prior_media
from jaxmicro.data.synthetic import laguerre_grain_images, polydisperse_spheres
from jaxmicro.io import read
from jaxmicro.pipeline.prior import Material, material_of
from jaxmicro.types import Microstructure

MEDIA_SEED = 2024  # of the synthetic media; other than the seeds of training, so that these may vary alone
ELECTRODE_ROWS = 8  # first and last rows of the simulated thin films: electrodes, not morphology


class Data(NamedTuple):
    """What a model learns from."""

    sources: Sources
    description: str
    material: Material | None = None  # what the prior remembers; None for a general one


def data_of(recipe: Recipe, config: WeightsConfig) -> Data:
    """The data of a recipe."""
    match recipe.data:
        case "general2" | "general3":
            return general(recipe.phases, config)
        case "spheres":
            planes = spheres_volume()  # P-Micro3Diff slices it along z only
            cut = _of_images([planes.labels], config.validation)
            return Data(cut, "300 planes along z of a packing of spheres", material_of(planes))
        case "grains":
            images = grain_images(config.grain_images)
            cut = _of_images([images.labels], config.validation)
            return Data(cut, f"{len(images.labels)} images of Laguerre grains", material_of(images))
        case "berea3d" | "nmc3d":
            return _of_structure(materials.training_half(materials.whole_volume(recipe.data)), config)
        case name:
            return _of_structure(materials.micrograph(name), config)


def _of_structure(structure: Microstructure, config: WeightsConfig) -> Data:
    """One micrograph or volume, cut as `pipeline.train` cuts it."""
    cut = training_sources(structure.labels, patch=config.patch, validation=config.validation)
    return Data(cut, structure.source, material_of(structure))


def spheres_volume() -> Microstructure:
    """P-Micro3Diff case I: 300 x 64 x 64 voxels of spheres with diameters N(15, 4)."""
    labels = polydisperse_spheres(seed=MEDIA_SEED)
    return Microstructure(labels, (0.0, 1.0), source="polydisperse_spheres")


def grain_images(count: int = 300) -> Microstructure:
    """P-Micro3Diff case II: independent images of grains of 6, 9 and 12 pixels, stacked along the first axis."""
    labels = laguerre_grain_images(count, seed=MEDIA_SEED)
    return Microstructure(labels, (0.0, 1.0), source="laguerre_grain_images")


def general(phases: int, config: WeightsConfig) -> Data:
    """Synthetic media and real ones that are none of the evaluated materials, with their phases renamed in all ways."""
    media = prior_media(phases, config.media_count, config.media_size, MEDIA_SEED)
    train, validation, *_ = _of_images([media], config.validation)
    weights = [config.synthetic_share]
    real = _real_two_phase(config) if phases == 2 else _real_three_phase(config)
    orders = list(itertools.permutations(range(phases)))
    for one in real.values():
        for source, order in itertools.product(range(len(one.train)), orders):
            rename = np.array(order, np.uint8)
            train.append(rename[one.train[source]])
            validation.append(rename[one.validation[source]])
            weights.append((1 - config.synthetic_share) / len(real) / len(one.train) / len(orders))
    share = round(100 * config.synthetic_share)
    description = f"{share} % of {config.media_count} synthetic images; {', '.join(real)}"
    return Data(Sources(train, validation, True, [*train, *validation], weights), description)


def _real_two_phase(config: WeightsConfig) -> dict[str, Sources]:
    images = ("copolymer_binary.png", "alloy_grain_boundary_binary.png", "pmma_silica_binary.png")
    films = materials.label_stack("opv_cahn_hilliard_2d.npz")[:, ELECTRODE_ROWS:-ELECTRODE_ROWS]
    patterns = materials.label_stack("cahn_hilliard_patterns_2d.npz")
    return {
        **{
            name: training_sources(read(materials.DATA / name).labels, patch=config.patch, validation=config.validation)
            for name in images
        },
        "porous_rock_3d.tif": _of_volume("porous_rock_3d.tif", config.validation),
        "battery_separator_3d.tif": _of_volume("battery_separator_3d.tif", config.validation),
        "cahn_hilliard_patterns_2d.npz": _of_images([patterns], config.validation),
        "opv_cahn_hilliard_2d.npz": _of_images([films], config.validation),
    }


def _real_three_phase(config: WeightsConfig) -> dict[str, Sources]:
    return {
        name: _of_images([materials.label_stack(name)], config.validation)
        for name in ("opv_ternary_2d.npz", "superalloy_3phase_2d.npz")
    }


def _of_images(stacks: list[np.ndarray], validation: float) -> Sources:
    """Stacks "n h w" of independent images; the last ones are held out."""
    cuts = [min(max(1, round((1 - validation) * len(stack))), len(stack) - 1) for stack in stacks]
    train = [stack[:cut] for stack, cut in zip(stacks, cuts, strict=True)]
    held_out = [stack[cut:] for stack, cut in zip(stacks, cuts, strict=True)]
    return Sources(train, held_out, True, stacks)


def _of_volume(file: str, validation: float) -> Sources:
    """Planes along the three axes of a volume, cut in two along z."""
    labels = read(materials.DATA / file).labels
    cut = round((1 - validation) * len(labels))
    edge = 64  # planes shorter than this hold no crop
    first = [stack for stack in volume_planes(labels[:cut]) if min(stack.shape[1:]) >= edge]
    last = volume_planes(labels[cut:])[0]
    return Sources(first, [last] * len(first), True, [*first, last])
