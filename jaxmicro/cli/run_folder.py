"""The folder a run writes: config.json (its exact options), log.jsonl, figures/, results, report.html."""

import dataclasses
import hashlib
import json
import os
import platform
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from jaxmicro.errors import UserError

_NOT_PART_OF_THE_RUN = ("out", "quiet", "resume", "minutes")  # options that may differ when a run is continued


@dataclass(frozen=True)
class RunFolder:
    """An open run folder."""

    path: Path

    def file(self, name: str) -> Path:
        """Path of a file in the folder, its parent folder made."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a whole file at once: a reader never sees half of it, and a failure leaves the old one."""
        path = self.file(name)
        partial = path.with_name(path.name + ".partial")
        try:
            partial.write_bytes(content.encode() if isinstance(content, str) else content)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        return path

    def config(self) -> dict[str, Any]:
        """What config.json says."""
        return json.loads((self.path / "config.json").read_text())

    def write_json(self, name: str, value: Any) -> Path:
        """As `write`; NaN and infinity, which JSON lacks, become null."""
        return self.write(name, to_json(value, indent=2) + "\n")

    def write_figures(self, pictures: Mapping[str, bytes]) -> None:
        """Contents of PNG files by name, to the folder figures/."""
        for name, png in pictures.items():
            self.write(f"figures/{name}.png", png)

    def log(self, event: str, **fields: Any) -> None:
        """Append one line to log.jsonl."""
        record = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "event": event, **fields}
        with self.file("log.jsonl").open("a") as file:
            file.write(to_json(record) + "\n")


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Strict JSON of numbers, NumPy arrays, dataclasses and paths.

    >>> to_json({"fractions": (0.25, float("nan")), "out": Path("runs")})
    '{"fractions": [0.25, null], "out": "runs"}'
    """
    return json.dumps(_plain(value), indent=indent, allow_nan=False)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None  # also false for NaN
    return os.fspath(value) if isinstance(value, Path) else value


def open_run_folder(
    verb: str, name: str, options: Any, *, out: Path | None, resume: bool, inputs: Iterable[Path] = (), **resolved: Any
) -> RunFolder:
    """Make the folder of a run, or with `resume` reopen it, and write config.json.

    Args:
        name: names the folder when `out` is None: runs/verb-name, with a number if that is taken.
        options: the dataclass of options the user gave.
        inputs: files read; their checksums are recorded.
        resolved: further configs the run uses, recorded as they are.
    Raises:
        UserError: the folder exists and `resume` is off; or it holds a run with other options.
    """
    path = out or _default_path(verb, name, resume=resume)
    if path.exists() and not path.is_dir():
        raise UserError(f"the output {path} is a file; expected a folder to make: choose another --out")
    used = path.is_dir() and any(path.iterdir())
    if used and not resume:
        raise UserError(
            f"the output folder {path} exists already and is kept as it is; choose another --out, "
            "or add --resume to continue the run in it"
        )
    config = {"verb": verb, "options": options, **resolved, "inputs": {str(p): _checksum(p) for p in inputs}}
    config = json.loads(to_json(config))
    folder = RunFolder(path)
    if used:
        _check_same(path, config)
        folder.log("resumed", **_versions())
    else:
        folder.write_json("config.json", {**config, "versions": _versions()})
        folder.log("started", verb=verb, **_versions())
    return folder


def _default_path(verb: str, name: str, *, resume: bool) -> Path:
    """runs/verb-name, or the first free runs/verb-name-2, -3, ...; the last one that exists when resuming."""
    base = "-".join(part for part in (verb, name) if part)
    path, number = Path("runs") / base, 1
    while True:
        following = Path("runs") / f"{base}-{number + 1}"
        if not (following if resume else path).exists():
            return path
        path, number = following, number + 1


def _check_same(path: Path, config: dict) -> None:
    try:
        before = json.loads((path / "config.json").read_text())
    except (OSError, ValueError):
        raise UserError(f"{path} holds no run to resume (no readable config.json); choose another --out") from None
    if before.get("verb") != config["verb"]:
        raise UserError(
            f"{path} holds a run of {before.get('verb')!r}, not of {config['verb']!r}; choose another --out"
        )
    for key in ("options", "inputs"):
        was, now = before.get(key, {}), config[key]
        for field in sorted(set(was) | set(now)):
            if field not in _NOT_PART_OF_THE_RUN and was.get(field) != now.get(field):
                raise UserError(
                    f"the run in {path} was started with {field} = {was.get(field)}, now it is {now.get(field)}; "
                    "resume with the same options and files, or choose another --out"
                )


def _checksum(path: Path) -> str | None:
    """SHA-256 of a file; None for a folder."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("jaxmicro", "jax", "flax", "optax", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a source tree that is not installed
            found[package] = "unknown"
    return found
