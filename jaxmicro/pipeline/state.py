"""Resumable state: the arrays of unfinished work in one file.

The file is written atomically and has a checksum and an identity, a text of all that the work depends on. What is
damaged, or belongs to other work, is not read: that work begins anew. (Training keeps its state with Orbax,
`io.checkpoint.Checkpoints`, under an identity, too.)
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxmicro.io.files import load_arrays, save_arrays


@dataclass(frozen=True)
class Resumable:
    """Where the state of some work is kept.

    Attributes:
        path: of the file (.npz); None: nothing is kept.
        identity: of the work (`identity_of`).
    """

    path: Path | None
    identity: str

    def load(self) -> dict[str, np.ndarray] | None:
        """The arrays kept for this work; None if there are none that are whole."""
        return load_arrays(self.path, self.identity)

    def save(self, **arrays: Any) -> None:
        """Keep arrays in place of those before."""
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            save_arrays(self.path, self.identity, **arrays)


def identity_of(*settings: Any, arrays: Any) -> str:
    """A text that differs wherever settings (plain data) or arrays (any tree) do."""
    return json.dumps([*settings, fingerprint(arrays)])


def fingerprint(tree: Any) -> str:
    """SHA-256 of the types, shapes and values of all arrays of a tree."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        array = np.asarray(leaf)
        digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()
