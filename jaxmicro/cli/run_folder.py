"""The folder a run writes: config.json (its exact options), log.jsonl, figures/, results, report.html."""

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
        files.write_bytes(path, content.encode() if isinstance(content, str) else content)
        return path

    def config(self) -> dict[str, Any]:
        """What config.json says."""
        return files.read_json(self.path / "config.json")

    def write_json(self, name: str, value: Any) -> Path:
        """As `write`; NaN and infinity, which JSON lacks, become null."""
        return self.write(name, to_json(value, indent=2) + "\n")

    def write_sealed(self, name: str, record: Mapping[str, Any]) -> Path:
        """As `write_json`, with a checksum by which `files.unsealed` notices damage."""
        return self.write_json(name, files.sealed(_plain(record)))

    def write_figures(self, pictures: Mapping[str, bytes]) -> None:
        """Contents of PNG files by name, to the folder figures/."""
        for name, png in pictures.items():
            self.write(f"figures/{name}.png", png)

    def log(self, event: str, **fields: Any) -> None:
        """Append one line to log.jsonl."""
        record = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "event": event, **fields}
        files.append_line(self.file("log.jsonl"), to_json(record))


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
    config = {"verb": verb, "options": options, **resolved, "inputs": {str(p): _checksum(p) for p in inputs}}
    config = json.loads(to_json(config))
    path = out or (_last_path(verb, name) if resume else _claimed_path(verb, name))
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
    """Whether a folder is that of a run, if only of one that was killed before it wrote anything: others stay as they
    are, whatever --out names."""
    return (path / "config.json").is_file() or all(map(files.is_leftover, path.iterdir()))


def _names(verb: str, name: str) -> Iterator[Path]:
    """runs/verb-name, runs/verb-name-2, -3, ..."""
    base = "-".join(part for part in (verb, name) if part)
    yield Path("runs") / base
    yield from (Path("runs") / f"{base}-{number}" for number in itertools.count(2))


def _claimed_path(verb: str, name: str) -> Path:
    """The first free name, made: of processes that start at the same time each gets its own."""
    Path("runs").mkdir(exist_ok=True)
    for path in _names(verb, name):
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            return path
    raise AssertionError("names never end")


def _last_path(verb: str, name: str) -> Path:
    """The last name that is taken; the first if none is."""
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
    found = {"python": platform.python_version()}
    for package in ("jaxmicro", "jax", "flax", "optax", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a source tree that is not installed
            found[package] = "unknown"
    return found
