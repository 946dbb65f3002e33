"""Training checkpoints (Orbax) and published weights (safetensors); the only module that imports either.

No function here unpickles anything.
"""

import base64
import contextlib
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import safetensors
import safetensors.numpy
from orbax.checkpoint import v1 as ocp

from jaxmicro.errors import UserError
from jaxmicro.io.files import digest_of_arrays, write_bytes

# Orbax logs every save, and tracebacks of errors that it also raises
logging.getLogger("absl").setLevel(logging.CRITICAL)
logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # asyncio logs tasks that Orbax leaves pending when it raises

FORMAT = "jaxmicro-weights-1"
_SCALE = ":scale"  # end of the name of the scales of a kernel in bytes


class Checkpoints:
    """A folder of training checkpoints, one per saved step, of which the last `keep` are kept.

    Saves run in the background, one at a time, and an incomplete one is never listed: if the process is killed, earlier
    checkpoints stay valid. Use as a context manager, or call `close`, so that the last save is completed.
    """

    def __init__(self, directory: str | Path, *, keep: int = 3, config: Mapping[str, Any] | None = None):
        """`config` is stored with each checkpoint; `restore` raises if it differs.

        Raises:
            UserError: the metadata of a checkpoint are damaged.
            OSError: the folder cannot be used.
        """
        self._directory = Path(directory).absolute()
        self._config = None if config is None else json.loads(json.dumps(config))
        latest: Any = ocp.training.preservation_policies.LatestN(keep)  # the annotations of Orbax are inconsistent here
        try:
            self._manager = ocp.training.Checkpointer(
                str(self._directory),
                preservation_policy=latest,
                cleanup_tmp_directories=True,
            )
        except OSError:
            raise
        except Exception as error:  # Orbax raises exceptions of any type on damaged metadata
            raise UserError(
                f"{self._directory} holds a damaged checkpoint ({_first_line(error)}); delete the one with the highest "
                "number to resume from the one before, or the whole folder to train from the beginning"
            ) from error

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps of the complete checkpoints, ascending."""
        return tuple(checkpoint.step for checkpoint in self._manager.checkpoints)

    def save(self, step: int, state: Any, position: Any = None) -> None:
        """Store `state` (a tree of arrays, copied before this returns) and the position of the data (JSON or bytes).

        Raises:
            OSError: this save or the one before it could not be written (disk full); `wait` and `close` raise it, too.
        """
        beside = {"position": _to_json(position), "config": self._config}
        with _disk_errors(self._directory):
            self._manager.save_checkpointables_async(step, {"state": state, "beside": beside}, force=True)

    def restore(self, like: Any) -> tuple[Any, Any] | None:
        """The last checkpoint as (state, position), or None when there is none.

        Args:
            like: a state of the same structure, shapes and sharding; its values are not used.
        Raises:
            UserError: the checkpoint is of another model or config, or it cannot be read.
        """
        if not self.steps:
            return None
        step = self.steps[-1]
        where = self._directory / str(step)
        try:
            beside = self._manager.load_checkpointables(step, {"beside": None})["beside"]
        except Exception as error:
            problem = _first_line(error)
            raise UserError(f"{where} cannot be read ({problem}); delete it to resume from the one before") from error
        _compare(where, beside["config"], self._config)
        abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like)
        try:
            state = self._manager.load_checkpointables(step, {"state": abstract})["state"]
        except Exception as error:
            raise UserError(
                f"{where} does not fit this model ({_first_line(error)}); "
                "resume with the configuration it was made with, or start in a new folder"
            ) from error
        return state, _from_json(beside["position"])

    def wait(self) -> None:
        """Return when every save is complete."""
        with _disk_errors(self._directory):
            self._manager.wait()

    def close(self) -> None:
        """Wait for all saves and release the folder."""
        with _disk_errors(self._directory):
            self._manager.close()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        # not on Ctrl-C: an error of the save must then be raised
        failed = kind is not None and issubclass(kind, Exception)
        with contextlib.suppress(Exception) if failed else contextlib.nullcontext():
            self.close()


def save_weights(
    path: str | Path, params: Mapping[str, Any], config: Mapping[str, Any], *, bits: Literal[32, 16, 8] = 32
) -> None:
    """Write a nested dict of arrays and the JSON-able config that belongs to it as one safetensors file, atomically.

    Args:
        bits: how float32 is stored; loaded back as float32. 16: as float16 (relative error up to 2^-11). 8: kernels as
            int8, with a scale for each index of the last axis, the channels that they give (error up to 1/254 of the
            largest weight there), and all else as with 16.
    Raises:
        UserError: a weight is not finite, before or after the conversion.
    """
    path = Path(path)
    arrays = {name: np.asarray(jax.device_get(value)) for name, value in _flatten(params).items()}
    if bits == 8:
        arrays = {name: part for pair in arrays.items() for name, part in _in_bytes(*pair).items()}
    if bits < 32:
        with np.errstate(over="ignore"):
            arrays = {name: a.astype(np.float16) if a.dtype == np.float32 else a for name, a in arrays.items()}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise UserError(f"weight {name} is not finite in {array.dtype}; {path} is not written")
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    text = json.dumps(config, sort_keys=True)
    metadata = {"format": FORMAT, "config": text, "sha256": digest_of_arrays(text, arrays)}
    write_bytes(path, safetensors.numpy.save(arrays, metadata=metadata))


def load_weights(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Weights and config from a file of `save_weights`: (nested dict of float32 NumPy arrays, config).

    Raises:
        UserError: the file is missing, damaged, not written by `save_weights`, or a weight is not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist; expected a weights file (.safetensors)")
    try:
        with safetensors.safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except Exception as error:  # also on types that NumPy lacks
        raise UserError(f"{path} is not a readable safetensors file ({_first_line(error)}); get it again") from error
    if metadata.get("format") != FORMAT:
        raise UserError(f"{path} holds no jaxmicro configuration; expected weights written by jaxmicro")
    if metadata.get("sha256") not in (None, digest_of_arrays(metadata.get("config", ""), arrays)):
        raise UserError(f"{path} is damaged: it is not what was written; get it again")
    try:
        config = json.loads(metadata["config"])
        whole = _from_bytes(arrays)
        widened = {name: a.astype(np.float32) if a.dtype == np.float16 else a for name, a in whole.items()}
        params = _nest(widened)
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({_first_line(error)}); get it again") from None
    if not isinstance(config, dict):
        raise UserError(f"{path} is damaged: its configuration is no JSON object; get it again")
    for name, array in widened.items():
        if not np.isfinite(array).all():
            raise UserError(f"{path} is damaged: weight {name} is not finite; get it again")
    return params, config


def _in_bytes(name: str, array: np.ndarray) -> dict[str, np.ndarray]:
    """A kernel as int8 and scales, by their names; anything else as it is."""
    if array.dtype != np.float32 or array.ndim < 2 or not name.endswith("kernel") or not np.isfinite(array).all():
        return {name: array}
    largest = np.abs(array).max(axis=tuple(range(array.ndim - 1)))
    scale = np.maximum(largest, np.finfo(np.float32).tiny * 127) / 127
    return {name: np.rint(array / scale).astype(np.int8), name + _SCALE: scale.astype(np.float64)}


def _from_bytes(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Inverse of `_in_bytes`, for all arrays of a file."""
    plain = {name: array for name, array in arrays.items() if not name.endswith(_SCALE)}
    for name in arrays.keys() - plain.keys():
        kernel = name.removesuffix(_SCALE)
        if plain[kernel].dtype != np.int8 or arrays[name].shape != plain[kernel].shape[-1:]:
            raise ValueError(f"the scales of {kernel} are not those of a kernel in bytes")
        with np.errstate(over="ignore"):  # of a damaged file; what is not finite is refused
            plain[kernel] = (plain[kernel] * arrays[name]).astype(np.float32)
    return plain


def check_weights(params: Any, like: Any, *, source: str | Path) -> None:
    """Check that parameters have the names and shapes of `like` (arrays or shape structs).

    Raises:
        UserError: a parameter is missing, unknown or of another shape.
    """
    found = {name: tuple(value.shape) for name, value in _flatten(params).items()}
    expected = {name: tuple(value.shape) for name, value in _flatten(like).items()}
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            raise UserError(
                f"{source} does not fit the model: {name} is {found.get(name, 'missing')}, "
                f"expected {expected.get(name, 'none')}; use the configuration the weights were made with"
            )


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": x}} -> {"a/b": x}."""
    flat = {}
    for name, value in tree.items():
        flat |= _flatten(value, f"{prefix}{name}/") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Inverse of `_flatten`."""
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *parents, leaf = name.split("/")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[leaf] = value
    return tree


def _compare(where: Path, found: Any, expected: Any) -> None:
    """Raise a UserError that names the first fields in which two configs differ."""
    if found is None or expected is None or found == expected:
        return
    found, expected = _flatten(found), _flatten(expected)
    differing = [k for k in sorted(found.keys() | expected.keys()) if found.get(k) != expected.get(k)]
    differences = ", ".join(f"{k} {found.get(k)!r} instead of {expected.get(k)!r}" for k in differing[:3])
    raise UserError(
        f"{where} was made with another configuration: {differences}; use that one, or start in a new folder"
    )


@contextlib.contextmanager
def _disk_errors(directory: Path) -> Iterator[None]:
    """Convert errors of the file system, which TensorStore raises as ValueError, to OSError."""
    try:
        yield
    except ValueError as error:
        code = re.search(r"os_error_code='(\d+)'", str(error))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(directory)) from error


def _to_json(position: Any) -> Any:
    return {"base64": base64.b64encode(position).decode()} if isinstance(position, bytes) else {"json": position}


def _from_json(stored: Mapping[str, Any]) -> Any:
    return base64.b64decode(stored["base64"]) if "base64" in stored else stored["json"]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
