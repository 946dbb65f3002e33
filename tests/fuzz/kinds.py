"""The two sorts of cases: files that users give, and what runs leave in their folders."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxmicro import pipeline
from jaxmicro.cli import design, figures
from jaxmicro.cli.console import Console
from jaxmicro.cli.inputs import read_image
from jaxmicro.cli.options import ImageOptions, Reconstruct
from jaxmicro.cli.resume import drop_damaged_arrays, is_made, is_recorded
from jaxmicro.cli.run_folder import RunFolder, open_run_folder
from jaxmicro.guidance import Target
from jaxmicro.io import files, write
from jaxmicro.io.checkpoint import Checkpoints
from jaxmicro.pipeline import Design, Prior
from jaxmicro.types import Microstructure
from tests.fuzz.samples import SAMPLES, VOLUME
from tests.fuzz.worker import Kind, tree_of


def of_files(folder: Path) -> list[Kind]:
    """A kind for each format."""
    kinds = []
    for number, (name, make) in enumerate(SAMPLES.items()):
        (folder / str(number)).mkdir()
        path = make(folder / str(number))
        read = pipeline.load_prior if name == "prior" else _read
        difference = _other_prior if name == "prior" else _other_structure
        inside = [p for p in path.parent.iterdir() if p != path]
        if inside:  # a header and the file of its numbers: the folder is the case
            kinds.append(Kind(name, "case", tree_of(path.parent), _inside(read, path.name), difference))
        else:
            kinds.append(Kind(name, path.name, tree_of(path), read, difference))
    return kinds


def _read(path: Path) -> Microstructure:
    return read_image(path, ImageOptions(), Console(quiet=True))


def _inside(read: Callable[[Path], Any], name: str) -> Callable[[Path], Any]:
    return lambda folder: read(folder / name)


def _other_structure(found: Microstructure, right: Microstructure) -> str:
    if found.shape != right.shape:
        return f"shape {found.shape} instead of {right.shape}"
    said = [
        f"{name} {getattr(found, name)} instead of {getattr(right, name)}"
        for name in ("values", "voxel_size", "unit", "periodic")
        if getattr(found, name) != getattr(right, name)
    ]
    if (found.labels != right.labels).any():
        said.append(f"{(found.labels != right.labels).sum()} labels")
    return "; ".join(said)


def _other_prior(found: Prior, right: Prior) -> str:
    said = [name for name in ("config", "material", "record") if getattr(found, name) != getattr(right, name)]
    leaves = zip(jax.tree.leaves(found.params), jax.tree.leaves(right.params), strict=True)
    return ", ".join(said + ["params"] * any((np.asarray(a) != np.asarray(b)).any() for a, b in leaves))


OPTIONS = Reconstruct(source="electrode", volumes=1, formats=("tif", "vti", "npz", "zarr"))
IDENTITY = "work"


def of_state(folder: Path) -> list[Kind]:
    """Each part of a run folder by itself, as a resumed run reads it, and training checkpoints."""
    whole = _run(folder / "run")
    kinds = [
        Kind("config.json", "run", _part(whole, "config.json"), _reopened, _other),
        Kind("log.jsonl", "run", _part(whole, "log.jsonl"), _curve, _other),
        Kind("design_000.json", "run", _part(whole, "design_000.json"), _designed, _other),
        Kind("unfinished.npz", "run", _part(whole, "unfinished.npz"), _unfinished, _other),
        Kind("weights.safetensors", "run", _part(whole, "weights.safetensors"), pipeline.load_prior, _other_prior),
        Kind("checkpoints", "checkpoints", _checkpoints(folder / "checkpoints"), _restored, _other),
        *(
            Kind(f"volume_000.{ending}", "run", _part(whole, f"volume_000.{ending}"), _volumes(ending), _other)
            for ending in OPTIONS.formats
        ),
    ]
    return kinds


def _part(whole: dict[str, bytes], name: str) -> dict[str, bytes]:
    return {path: content for path, content in whole.items() if path.split("/")[0] == name}


def _run(path: Path) -> dict[str, bytes]:
    """A run folder with everything that runs leave."""
    folder = open_run_folder("reconstruct", "electrode", OPTIONS, out=path, resume=False)
    for ending in OPTIONS.formats:
        write(path / f"volume_000.{ending}", VOLUME)
    for step in range(1, 6):
        folder.log("training", step=step, loss=1 / step, learning_rate=0.01)
    target = Target("diffusivity", 0, 0.2, 0)
    made = Design(VOLUME, VOLUME, (target,), (0.15,), (0.199,), 2)
    folder.write_sealed("design_000.json", design._record(made, ("pore", "grey", "white")))
    files.save_arrays(path / "unfinished.npz", IDENTITY, done=3, x_t=np.ones((4, 4), np.float32))
    from tests.cli.conftest import tiny_prior

    pipeline.save_prior(path / "weights.safetensors", tiny_prior())
    return tree_of(path)


def _other(found: Any, right: Any) -> str:
    return "" if found == right else f"{str(found)[:200]} instead of {str(right)[:200]}"


def _quiet() -> Console:
    return Console(quiet=True)


def _reopened(path: Path) -> Any:
    return open_run_folder("reconstruct", "electrode", OPTIONS, out=path, resume=True).config()["options"]


def _curve(path: Path) -> Any:
    records, damaged = files.read_lines(path / "log.jsonl")
    figures.viz.training_curves([record for record in records if figures._is_of_training(record)])
    RunFolder(path).log("resumed")
    if damaged:
        raise files.UserError(f"{damaged} lines passed over")
    return records


def _designed(path: Path) -> Any:
    if not is_recorded(path / "design_000.json", _quiet()):
        raise files.UserError("made again")
    record = files.unsealed(path / "design_000.json")
    return [record, design._table([record]), design._title([record]), design._line(0, record)]


def _unfinished(path: Path) -> Any:
    drop_damaged_arrays([path / "unfinished.npz"], _quiet())
    found = files.load_arrays(path / "unfinished.npz", IDENTITY)
    if found is None:
        raise files.UserError("begun again")
    return {name: array.tolist() for name, array in found.items()}


def _volumes(ending: str) -> Callable[[Path], Any]:
    def read(path: Path) -> Any:
        other = "npz" if ending == "tif" else "tif"
        write(path / f"volume_000.{other}", VOLUME)
        paths = [path / f"volume_000.{each}" for each in (ending, other)]
        if not is_made(paths, shape=VOLUME.shape, phases=VOLUME.phases, console=_quiet()):
            raise files.UserError("made again")
        return "made"

    return read


STATE = {"weights": np.arange(12.0, dtype=np.float32).reshape(3, 4), "step": np.int32(7)}


def _checkpoints(path: Path) -> dict[str, bytes]:
    with Checkpoints(path, config={"steps": 3}) as checkpoints:
        checkpoints.save(7, jax.tree.map(jax.numpy.asarray, STATE), {"next": 3})
    return tree_of(path)


def _restored(path: Path) -> Any:
    with Checkpoints(path, config={"steps": 3}) as checkpoints:
        found = checkpoints.restore(jax.tree.map(jax.numpy.asarray, STATE))
    if found is None:
        raise files.UserError("none: begun again")
    return json.dumps([jax.tree.map(lambda leaf: np.asarray(leaf).tolist(), found[0]), found[1]])
