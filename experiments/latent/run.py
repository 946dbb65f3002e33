"""Latent priors of micrographs and their volumes: `python -m experiments.latent.run [MATERIAL...] [--only STAGE]`.

Stages: "reconstruction" (autoencoders on held-out crops), "volumes" (S2 of volumes, beside the pixel path at equal wall
time), "slices" (distances of neighbouring slices, and a map). What is trained or made already is not made again.
"""

import argparse
import dataclasses
import importlib.util
import json
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from experiments.latent.config import TRUE_VOLUMES, LatentConfig, smoke
from experiments.machine import describe
from experiments.materials import cubes, micrograph, whole_volume
from experiments.priors import find_prior, untrained_prior
from experiments.tables import markdown_table, read_rows, replace_rows, write_table
from experiments.volumes import make_volumes, seconds_per_volume
from jaxmicro import evaluate, models, pipeline, viz
from jaxmicro.data import CropConfig, crop_batches, training_sources
from jaxmicro.descriptors import isotropic_slice_steps, slice_steps
from jaxmicro.phases import one_hot
from jaxmicro.pipeline import Prior
from jaxmicro.reconstruct import SamplingConfig
from jaxmicro.types import Microstructure

HERE = Path(__file__).parent
STAGES = ("reconstruction", "volumes", "slices")
# P-MicroLad Table A.1 (MAE, PSNR, SSIM) and the upper half of Table 1 (relative S2 error of each phase, %)
PAPER_RECONSTRUCTION = {
    2: {4: (0.0236, 20.39, 0.9344), 8: (0.0121, 21.66, 0.9824), 16: (0.0085, 25.77, 0.9849)},
    3: {4: (0.0281, 19.27, 0.9182), 8: (0.0242, 21.92, 0.9477), 16: (0.0076, 27.30, 0.9886)},
}
PAPER_S2 = {2: (2.03, 4.62), 3: (10.81, 8.31, 2.80)}
RECONSTRUCTION = {
    "material": "Material", "latent_size": "Code", "mae": "MAE", "psnr": "PSNR (dB)", "ssim": "SSIM",
    "wrong": "Wrong phase (%)", "paper": "P-MicroLad: MAE / PSNR / SSIM", "steps": "Updates",
    "parameters": "Parameters",
}  # fmt: skip
VOLUMES = {
    "material": "Material", "path": "Path", "phase": "Phase", "phi": "phi (micrograph)", "s2": "S2 error (%)",
    "s2_rate": "S2 error rate (%)", "paper": "P-MicroLad, S2 error (%)", "lineal_path": "Lineal path error rate (%)",
    "surface_area": "Surface area (ratio)", "slice_steps": "Slice to slice (ratio)", "seconds": "s / volume",
}  # fmt: skip
SLICES = {
    "material": "Material", "of": "Slices", "d_u": "d_u", "d_u_crops": "d_u of crops", "share": "Ratio",
    "share_pca": "in the plane of PCA", "share_umap": "of UMAP", "fractions": "of volume fractions alone",
    "isotropic": "these, by S2",
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stages asked for, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("materials", nargs="*", metavar="MATERIAL", help="default: sofc, carbonate and berea")
    parser.add_argument("--only", choices=STAGES, help="default: every stage")
    options = parser.parse_args(arguments)
    config = LatentConfig()
    config = dataclasses.replace(config, materials=tuple(options.materials) or config.materials)
    run(config, stages=(options.only,) if options.only else STAGES, results=HERE, figures=HERE / "figures")
    for name, columns in (("reconstruction", RECONSTRUCTION), ("volumes", VOLUMES), ("slices", SLICES)):
        write_table(HERE / "README.md", name, markdown_table(read_rows(HERE / f"{name}.csv"), columns))


def run_smoke(out: Path) -> dict[str, list[dict[str, str]]]:
    """Every stage with tiny networks, in seconds; returns the rows."""
    run(
        smoke(out),
        stages=STAGES,
        results=out,
        figures=out / "figures",
        pixel=lambda name: untrained_prior(micrograph(name)),
    )
    return {stage: read_rows(out / f"{stage}.csv") for stage in STAGES}


def run(config: LatentConfig, *, stages: Sequence[str], results: Path, figures: Path, pixel=find_prior) -> None:
    """The stages, for each material."""
    figures.mkdir(parents=True, exist_ok=True)
    for material in config.materials:
        image = micrograph(material)
        if "reconstruction" in stages:
            for size in config.latent_sizes:
                row = reconstruction_row(config, material, image, size)
                replace_rows(results / "reconstruction.csv", [row], key=["material", "latent_size"])
        prior = trained(config, material, image, config.latent_sizes[0])
        if not {"volumes", "slices"} & set(stages):
            continue
        paths = {"latent": prior, "pixel, equal time": pixel(material)}
        if "volumes" in stages:
            for path, other in paths.items():
                rows = volume_rows(config, material, image, path, other, figures)
                replace_rows(results / "volumes.csv", rows, key=["material", "path", "phase"])
        if "slices" in stages:
            rows = slice_rows(config, material, image, paths, figures)
            replace_rows(results / "slices.csv", rows, key=["material", "of"])


def trained(config: LatentConfig, material: str, image: Microstructure, size: int) -> Prior:
    """The latent prior with codes of `size`, trained now if it is not there. Only that of the first size makes volumes:
    of the others the autoencoder matters, and the network that diffuses is trained for one update."""
    folder = config.out / f"{material}_{size}"
    if (folder / "weights.safetensors").is_file():
        return pipeline.load_prior(folder)
    folder.mkdir(parents=True, exist_ok=True)
    first = size == config.latent_sizes[0]
    return pipeline.train(
        image,
        start=None,
        prior_config=models.latent_small(image.phases, size, patch=config.patch),
        config=config.prior if first else dataclasses.replace(config.prior, steps=1),
        autoencoder=config.autoencoder if first else dataclasses.replace(config.autoencoder, steps=config.coarse_steps),
        tune=first,
        out=folder,
        progress=_printer(f"{material}, {size} x {size}"),
    )


def reconstruction_row(config: LatentConfig, material: str, image: Microstructure, size: int) -> dict[str, object]:
    """MAE, PSNR and SSIM of encoding and decoding held-out crops, means over the crops; grey levels as in the paper."""
    prior = trained(config, material, image, size)
    sources = training_sources(image.labels, patch=config.patch)
    crops = next(crop_batches(sources.validation, CropConfig(patch=config.patch, batch=config.crops, seed=99)))
    fractions = _reproduced(prior, crops)
    real, made = evaluate.grey(one_hot(crops, image.phases)), evaluate.grey(fractions)
    mae, psnr, ssim = (
        float(np.mean(jax.jit(jax.vmap(measure))(made, real)))
        for measure in (evaluate.mean_absolute_error, evaluate.peak_signal_to_noise, evaluate.structural_similarity)
    )
    found = PAPER_RECONSTRUCTION[image.phases].get(size)
    return {
        "material": material,
        "latent_size": size,
        "mae": mae,
        "psnr": psnr,
        "ssim": ssim,
        "wrong": 100 * float(np.mean(np.asarray(fractions.argmax(axis=-1)) != crops)),
        "paper": found and " / ".join(map(str, found)),
        "steps": prior.record["autoencoder_steps"],
        "parameters": models.parameter_count(prior.params["vae"]),
        "seconds": prior.record["autoencoder_seconds"],
        "disjoint": prior.record["disjoint_validation"],
        **describe(),
    }


def _reproduced(prior: Prior, labels: np.ndarray) -> jax.Array:
    codec = models.codec(prior.config, prior.params)
    program = jax.jit(lambda x: codec.decode(codec.encode(x)))
    return jax.lax.map(program, one_hot(labels, prior.config.phases)[:, None])[:, 0]


def _made(
    config: LatentConfig, material: str, path: str, prior: Prior
) -> tuple[list[Microstructure], Path, SamplingConfig]:
    """The volumes of a path, their folder, and how they are sampled."""
    sampling = pipeline.default_sampling(prior.config)
    if path != "latent":
        sampling = dataclasses.replace(sampling, steps=config.pixel_steps)
    folder = config.out / f"{material}_{path.replace(', ', '_').replace(' ', '_')}_volumes"
    volumes = make_volumes(prior, folder, count=config.volumes, shape=config.shape, seed=config.seed, sampling=sampling)
    return volumes, folder, sampling


def volume_rows(
    config: LatentConfig, material: str, image: Microstructure, path: str, prior: Prior, figures: Path
) -> list[dict[str, object]]:
    """Relative S2 error of the mean curve of the volumes, with the fractions of the micrograph held."""
    volumes, folder, sampling = _made(config, material, path, prior)
    report = evaluate.compare(volumes, image, r_max=config.r_max, patches=0)
    (folder / "report.json").write_text(json.dumps(report))
    size = {"voxel_size": image.voxel_size, "unit": image.unit}
    planes = viz.slice_panel(volumes[0].labels, micrograph=image.labels, phases=image.phases, **size)
    name = path.split(",")[0]
    (figures / f"{material}_{name}_planes.png").write_bytes(viz.png(planes, dpi=80))
    (figures / f"{material}_{name}_curves.png").write_bytes(viz.png(viz.correlation_curves(report), dpi=80))
    return [
        {
            "material": material,
            "path": path,
            "phase": phase["phase"],
            "phi": f"{phase['volume_fraction']['mean']:.3f} ({phase['volume_fraction']['reference']:.3f})",
            "s2": phase["two_point"]["relative_area_error"],
            "s2_rate": phase["two_point"]["error_rate"],
            "paper": PAPER_S2[image.phases][phase["phase"]],
            "lineal_path": phase["lineal_path"]["error_rate"],
            "surface_area": phase["surface_area"]["ratio"],
            "slice_steps": phase["slice_steps"]["mean"],
            "seconds": seconds_per_volume(folder),
            "volumes": len(volumes),
            "steps": sampling.steps,
            "harmonise": sampling.harmonise,
            "refine": sampling.refine if path == "latent" else None,
            **describe(),
        }
        for phase in report["phases"]
    ]


def slice_rows(
    config: LatentConfig, material: str, image: Microstructure, paths: dict[str, Prior], figures: Path
) -> list[dict[str, object]]:
    """How close neighbouring slices are, against independent crops of the micrograph: d_u of their codes, in maps, and
    by their volume fractions alone, beside what S2 foretells of those of an isotropic material; also of true cubes,
    where the micrograph is a plane of a known volume. A map of crops and slices of latent volumes, coloured by volume
    fraction."""
    edge = min(config.shape)
    crops = next(crop_batches(image.labels, CropConfig(patch=edge, batch=4 * edge, seed=7)))
    prior = paths["latent"]
    codec = models.codec(prior.config, prior.params)
    summarise = jax.jit(lambda x: evaluate.code_summary(codec.encode(one_hot(x, image.phases))))
    made = {
        f"{config.volumes} volumes, {path}": _made(config, material, path, other)[0] for path, other in paths.items()
    }
    if material in TRUE_VOLUMES:  # no faithful volume has neighbours that are closer than those of a true one
        true = cubes(whole_volume(TRUE_VOLUMES[material]), edge, config.volumes)
        made = {f"{len(true)} true cubes": true} | made
    stacks = {of: [np.moveaxis(v.labels, axis, 0) for v in some for axis in range(3)] for of, some in made.items()}
    codes = {of: [np.asarray(summarise(stack)) for stack in some] for of, some in stacks.items()}
    of_crops = np.asarray(summarise(crops))

    def of_phases(planes: np.ndarray) -> np.ndarray:
        return np.stack([(planes == phase).mean(axis=(1, 2)) for phase in range(image.phases)], axis=-1)

    def against(near: Sequence[np.ndarray], far: np.ndarray) -> tuple[float, float, float]:
        close = float(np.mean([evaluate.consecutive_distance(points) for points in near]))
        apart = evaluate.consecutive_distance(far)
        return close, apart, close / apart

    parts = [of_crops, *(points for some in codes.values() for points in some)]
    maps = {}  # of all points together
    for method in ("pca", "umap"):
        if method == "umap" and importlib.util.find_spec("umap") is None:
            print("no map by UMAP: pip install 'jaxmicro[umap]'", flush=True)
            continue
        flat = evaluate.flat_map(np.concatenate(parts), method=method)
        far, *near = np.split(flat, np.cumsum([len(part) for part in parts])[:-1])
        maps[method] = {of: [near.pop(0) for _ in some] for of, some in codes.items()}, far
    rows, fractions_of_crops = [], of_phases(crops)
    covariance = np.einsum("ppr->pr", evaluate.phase_covariance([image.labels], image.phases))
    near = np.sum(isotropic_slice_steps(covariance, config.shape)[0])
    apart = 2 * np.sum(np.var(fractions_of_crops, axis=0, ddof=1))  # mean square of the difference of two crops
    foretold = float(np.sqrt(near / apart))
    for of in made:
        d_u, d_u_crops, share = against(codes[of], of_crops)
        row = {"material": material, "of": of, "d_u": d_u, "d_u_crops": d_u_crops, "share": share}
        steps = [slice_steps(one_hot(volume.labels, image.phases)).sum(axis=1) for volume in made[of]]
        row["fractions"] = float(np.sqrt(np.mean(steps) / apart))
        row["isotropic"] = foretold
        row |= {"share_pca": None, "share_umap": None}
        row |= {f"share_{method}": against(near[of], far)[2] for method, (near, far) in maps.items()}
        rows.append(row | describe())
    of = f"{config.volumes} volumes, latent"
    near, far = maps["pca"]
    colours = {
        f"fraction of phase {p}": np.concatenate([of_phases(s)[:, p] for s in (crops, *stacks[of])])
        for p in range(image.phases)
    }
    groups = {"crops of the micrograph": slice(0, len(crops)), "slices of the volumes": slice(len(crops), None)}
    figure = viz.slice_map(np.concatenate([far, *near[of]]), groups, colours)
    (figures / f"{material}_map.png").write_bytes(viz.png(figure, dpi=80))
    return rows


def _printer(name: str):
    last = time.monotonic()

    def tell(stage: str, done: int, total: int, note: str) -> None:
        nonlocal last
        if done == total or time.monotonic() - last >= 30:
            last = time.monotonic()
            print(f"{name}: {stage} {done}/{total} {note}", flush=True)

    return tell


if __name__ == "__main__":
    main()
