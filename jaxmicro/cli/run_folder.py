"""The folder that a run writes: config.json (its exact options), log.jsonl, figures/, results, report.html."""

import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import platform
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from jaxmicro.cli.console import Console
from jaxmicro.errors import UserError
from jaxmicro.io import files

# options that may differ when a run is continued
_NOT_PART_OF_THE_RUN = ("out", "quiet", "resume", "minutes", "collection")


@dataclass(frozen=True)
class RunFolder:
    """An open run folder."""

    path: Path

    def file(self, name: str) -> Path:
        """Path of a file in the folder; its parent folder is created."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file atomically: a reader never sees a part of it, and a failure leaves the old file."""
        path = self.file(name)
        files.write_bytes(path, content.encode() if isinstance(content, str) else content)
        return path

    def config(self) -> dict[str, Any]:
        """The content of config.json."""
        return files.read_json(self.path / "config.json")

    def write_json(self, name: str, value: Any) -> Path:
        """Write a value as JSON; NaN and infinity, which JSON lacks, become null."""
        return self.write(name, to_json(value, indent=2) + "\n")

    def write_sealed(self, name: str, record: Mapping[str, Any]) -> Path:
        """Write a record as JSON with a checksum, by which `files.unsealed` detects damage."""
        return self.write_json(name, files.sealed(_plain(record)))

    def write_figures(self, pictures: Mapping[str, bytes]) -> None:
        """Write PNG files, given by name, to the folder figures/."""
        for name, png in pictures.items():
            self.write(f"figures/{name}.png", png)

    def log(self, event: str, **fields: Any) -> None:
        """Append one line to log.jsonl."""
        record = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "event": event, **fields}
        files.append_line(self.file("log.jsonl"), to_json(record))


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Strict JSON text of numbers, NumPy arrays, dataclasses and paths.

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
    """Create the folder of a run, or reopen it with `resume`, and write config.json.

    Args:
        name: of the folder when `out` is None: runs/verb-name, with a number if that exists.
        options: the dataclass of options that the user gave.
        inputs: files that the run reads; their checksums are recorded.
        resolved: further settings of the run, recorded in config.json.
    Raises:
        UserError: the folder exists and `resume` is False, or it holds a run with other options.
    """
    config = {"verb": verb, "options": options, **resolved, "inputs": {str(p): _checksum(p) for p in inputs}}
    config = json.loads(to_json(config))
    path = out or (_latest_path(verb, name) if resume else _claimed_path(verb, name))
    if path.exists() and not path.is_dir():
        raise UserError(f"the output {path} is a file; expected a folder to make: choose another --out")
    if resume and path.is_dir() and _is_ours(path):
        files.clean(path)
    used = path.is_dir() and any(path.iterdir())
    if used and not resume:
        raise UserError(
            f"the output folder {path} exists already and is kept as it is; choose another --out, "
            "or add --resume to continue the run in it"
        )
    folder = RunFolder(path)
    if used:
        _check_same(path, config)
        folder.log("resumed", **_versions())
    else:
        if resume:
            Console(quiet=options.quiet).remark(f"note: there is no run in {path} to go on with; it begins anew")
        folder.write_json("config.json", {**config, "versions": _versions()})
        folder.log("started", verb=verb, **_versions())
    return folder


def _is_ours(path: Path) -> bool:
    """Whether a folder is that of a run, possibly of one killed before it wrote config.json. Other folders are never
    cleaned, whatever --out names."""
    return (path / "config.json").is_file() or all(map(files.is_leftover, path.iterdir()))


def _names(verb: str, name: str) -> Iterator[Path]:
    """runs/verb-name, runs/verb-name-2, -3, ..."""
    base = "-".join(part for part in (verb, name) if part)
    yield Path("runs") / base
    yield from (Path("runs") / f"{base}-{number}" for number in itertools.count(2))


def _claimed_path(verb: str, name: str) -> Path:
    """A new folder with the first free name. Creation is atomic: processes that start together get different ones."""
    Path("runs").mkdir(exist_ok=True)
    for path in _names(verb, name):
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            return path
    raise AssertionError("names never end")


def _latest_path(verb: str, name: str) -> Path:
    """The last existing folder of these names; the first name if there is none."""
    taken = list(itertools.takewhile(Path.exists, _names(verb, name)))
    return taken[-1] if taken else next(_names(verb, name))


def _check_same(path: Path, config: dict) -> None:
    try:
        before = files.read_json(path / "config.json")
        parts = {key: before[key] for key in ("options", "inputs")}
        if not all(isinstance(part, dict) for part in parts.values()):
            raise ValueError
    except (UserError, KeyError, ValueError):
        raise UserError(f"{path} holds no run to resume (no readable config.json); choose another --out") from None
    if before.get("verb") != config["verb"]:
        raise UserError(
            f"{path} holds a run of {before.get('verb')!r}, not of {config['verb']!r}; choose another --out"
        )
    for key, was in parts.items():
        now = config[key]
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
    versions = {"python": platform.python_version()}
    for package in ("jaxmicro", "jax", "flax", "optax", "numpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # run from a source tree that is not installed
            versions[package] = "unknown"
    return versions
