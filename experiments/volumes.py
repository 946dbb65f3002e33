"""Generated volumes kept in a folder: each is written as soon as it is ready, and not made again."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from jaxmicro import pipeline
from jaxmicro.io import read, write
from jaxmicro.pipeline import Prior
from jaxmicro.pipeline.state import fingerprint
from jaxmicro.reconstruct import SamplingConfig
from jaxmicro.types import Microstructure

Fractions = Sequence[float] | Literal["micrograph"] | None


def make_volumes(
    prior: Prior,
    folder: Path,
    *,
    count: int,
    shape: tuple[int, int, int],
    seed: int,
    sampling: SamplingConfig,
    fractions: Fractions = "micrograph",
    scatter: bool = False,
) -> list[Microstructure]:
    """The volumes 0..count-1 of a folder; the missing ones are sampled, and an unfinished one goes on.

    Raises:
        ValueError: the folder holds volumes made another way; delete it, or choose another one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    material = prior.material
    held = [] if material is None else [np.asarray(material.held_covariance), np.asarray(material.held_lineal_path)]
    made_with = {
        "shape": shape, "seed": seed, "fractions": fractions, "scatter": scatter,
        "prior": fingerprint([prior.params, *held]),
    }  # fmt: skip
    _check_same(folder / "made_with.json", made_with, sampling)
    began = time.monotonic()

    def keep(number: int, volume: Microstructure) -> None:
        nonlocal began
        write(_file(folder, number), volume)
        now = time.monotonic()
        with (folder / "seconds.jsonl").open("a") as file:
            file.write(json.dumps({"volume": number, "seconds": now - began}) + "\n")
        print(f"{folder}: volume {number + 1} of {count} in {now - began:.0f} s", flush=True)
        began = now

    done = [number for number in range(count) if _file(folder, number).is_file()]
    if len(done) < count:
        pipeline.reconstruct(
            prior, shape=shape, volumes=count, seed=seed, fractions=fractions, scatter=scatter, sampling=sampling,
            skip=done, on_volume=keep, checkpoint=folder / "unfinished.npz",
        )  # fmt: skip
    return [read(_file(folder, number)) for number in range(count)]


def seconds_per_volume(folder: Path) -> float | None:
    """Median wall time of the volumes of a folder; the first of a run includes compilation. None when not recorded."""
    path = folder / "seconds.jsonl"
    if not path.is_file():
        return None
    times = sorted(json.loads(line)["seconds"] for line in path.read_text().splitlines())
    return times[(len(times) - 1) // 2]


def _file(folder: Path, number: int) -> Path:
    return folder / f"volume_{number:03d}.npz"


def _check_same(path: Path, settings: dict, sampling: SamplingConfig) -> None:
    """Volumes of two settings must not meet in one folder."""
    text = json.dumps(settings | {"sampling": str(sampling)}, indent=1, default=str)
    if path.is_file() and path.read_text() != text:
        raise ValueError(f"{path.parent} holds volumes made with other settings; delete it or choose another folder")
    path.write_text(text)
