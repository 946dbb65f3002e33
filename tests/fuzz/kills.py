"""Kills runs at random times, resumes them, and compares what they end with: `python -m tests.fuzz.kills --count 50`.

The verbs take turns: training in pixel and in latent space and of a collection, reconstruction (two volumes, so also in
the middle of one), design, generation, simulation and measurement, all tiny. Each run is killed `EACH` times, by
SIGKILL and SIGTERM in turn, and resumed, until it is done; it must then equal the undisturbed run to the bit, and leave
nothing half written. SIGTERM must end with exit code 143.
"""

import argparse
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from jaxmicro import pipeline
from jaxmicro.io import files
from jaxmicro.io.checkpoint import load_weights
from jaxmicro.io.collections import write_collection
from jaxmicro.types import Microstructure
from tests.cli.conftest import blobs, tiny_prior
from tests.test_generate import films, untrained

EACH = 13
LATEST = 15.0  # seconds of work after which a run is killed: it goes on from there
TRAIN = "train image.png --from-scratch --patch 16 --batch 2 --widths 8 --sample-every 0 --no-tune "
VERBS = {
    "train": TRAIN + "--steps 320",
    "train, latent": TRAIN + "--space latent --latent-size 4 --vae-steps 220 --steps 220",
    "reconstruct": "reconstruct prior.safetensors --size 16 --steps 600 --volumes 2 --no-report",
    "design": "design prior.safetensors --size 16 --steps 20 --volumes 2 --rounds 2 --no-report "
    "--target diffusivity.0.z=+30% volume_fraction.1=0.45",
    "train, collection": "train films.zarr --widths 8 8 --batch 2 --steps 320 --predictor-steps 220 --sample-every 0",
    "generate": "generate model.safetensors --target volume_fraction.1=0.5 --count 40 --together 2",
    "measure": "measure crops --features tortuosity surface_area",
    "simulate": "simulate cahn-hilliard --size 24 --runs 12 --times 8 --kappa 2 --no-flux z",
}
ZARR = ".zarr"
KEPT = ("design", "collection.zarr", "generated")  # files whose bytes are compared
DONE = (0, 3)  # 3: a design that is complete and misses a target
ROOT = Path(__file__).parents[2]
QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


class Run(NamedTuple):
    """One process of a run."""

    process: subprocess.Popen
    folder: Path
    said: Path  # what it writes to the standard error stream


def start(verb: str, folder: Path) -> Run:
    said = folder.with_suffix(".err")
    with said.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "jaxmicro", *shlex.split(VERBS[verb]), "--out", folder.name, "--resume"],
            cwd=folder.parent,
            env={"XLA_FLAGS": QUICK, "JAX_PLATFORMS": "cpu"} | os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=stream,
        )
    return Run(process, folder, said)


def work_began(run: Run) -> bool:
    """Waits until the run has opened its folder, which a collection says by its progress; False if it ended before."""
    log = run.folder / "log.jsonl"
    lines = len(files.read_lines(log)[0])
    while run.process.poll() is None:
        if len(files.read_lines(log)[0]) > lines or (run.folder.suffix == ZARR and run.said.stat().st_size):
            return True
        time.sleep(0.005)
    return False


def finish(run: Run) -> None:
    code = run.process.wait()
    assert code in DONE, f"exit code {code}: {run.said.read_text()[-2000:]}"


def outcome(folder: Path) -> dict[str, object]:
    """All that a run ends with, without clock times."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        assert ".part" not in name and "checkpoints" not in name and "unfinished" not in name, f"{name} is left over"
        if path.suffix == ".safetensors":
            params, config = load_weights(path)
            del config["record"]
            found[name] = json.dumps([plain(params), config], sort_keys=True)
        elif path.is_dir():
            continue
        elif path.suffix in (".tif", ".vti", ".npz") or name.startswith(KEPT) or folder.suffix == ZARR:
            found[name] = path.read_bytes()
        elif path.is_file():
            found[name] = None  # it is there
    return found


def crops(folder: Path) -> None:
    """A folder of volumes with their table, which takes a few seconds to measure."""
    folder.mkdir()
    for number in range(120):
        pipeline.write(folder / f"{number}.npz", Microstructure(blobs(20, ndim=3, seed=number), (0.0, 255.0)))
    rows = [f"{number}.npz,{number // 4},{number}" for number in range(120)]
    (folder / "features.csv").write_text("\n".join(["file,origin,process:pressure", *rows]))


def plain(tree: dict) -> dict:
    return {k: plain(v) if isinstance(v, dict) else np.asarray(v).tolist() for k, v in sorted(tree.items())}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.kills", description=__doc__)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbs", nargs="+", choices=VERBS, default=list(VERBS))
    options = parser.parse_args()
    chance, table, began = random.Random(options.seed), {verb: [0, 0, 0, 0] for verb in options.verbs}, time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        Image.fromarray(blobs() * np.uint8(255)).save(home / "image.png")
        pipeline.save_prior(home / "prior.safetensors", tiny_prior())
        write_collection(home / "films.zarr", films())
        crops(home / "crops")
        pipeline.save_prior(home / "model.safetensors", untrained())
        expected, seconds = {}, {}
        for number, verb in enumerate(options.verbs):
            run = start(verb, home / f"whole{number}{ZARR * (verb == 'measure')}")
            assert work_began(run), run.said.read_text()
            opened = time.monotonic()
            finish(run)
            seconds[verb] = time.monotonic() - opened
            expected[verb] = outcome(run.folder)
            print(f"{verb}: {len(expected[verb])} files, {seconds[verb]:.1f} s of work", flush=True)
        kills, turn = 0, 0
        while kills < options.count:
            verb = options.verbs[turn % len(options.verbs)]
            folder, turn = home / f"run{turn}{ZARR * (verb == 'measure')}", turn + 1
            for number in range(EACH):
                run = start(verb, folder)
                if not work_began(run):
                    break  # done before
                time.sleep(chance.uniform(0, min(seconds[verb], LATEST)))
                sent = (signal.SIGKILL, signal.SIGTERM)[(turn + number) % 2]
                run.process.send_signal(sent)
                code = run.process.wait()
                said = run.said.read_text()
                if code in DONE or (code == -signal.SIGTERM and folder.name in said.rstrip().rpartition("\n")[2]):
                    break  # too late: done, or about to end after its last line
                assert code == (-9 if sent == signal.SIGKILL else 143), f"{sent!r}: exit code {code}: {said[-2000:]}"
                assert "Traceback" not in said, said[-2000:]
                table[verb][sent == signal.SIGTERM] += 1
                table[verb][3] += (folder / "unfinished.npz").exists() or (folder / "unfinished").exists()
                kills += 1
            finish(start(verb, folder))
            equal = outcome(folder) == expected[verb]
            table[verb][2] += equal
            print(f"{verb}: run {turn}, {kills} kills so far, {'equal' if equal else 'DIFFERENT'}", flush=True)
            if not equal:
                return 1
    print(f"{'':16}{'SIGKILL':>9}{'SIGTERM':>9}{'equal':>9}{'mid-volume':>12}")
    for verb, (killed, ended, equal, middle) in table.items():
        print(f"{verb:16}{killed:9}{ended:9}{equal:9}{middle:12}")
    print(f"{kills} kills, seed {options.seed}, in {(time.monotonic() - began) / 60:.0f} min: all equal to the bit")
    return 0


if __name__ == "__main__":
    sys.exit(main())
