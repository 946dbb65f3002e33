"""Resumable state: the arrays of unfinished work in one file.

The file is written atomically, with a checksum and an identity, a text of all that the work depends on. A damaged
file, or that of other work, is ignored, and the work starts from the beginning. (Training stores its state with Orbax,
`io.checkpoint.Checkpoints`, also under an identity.)
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
    """A file for the state of some work.

    Attributes:
        path: of the file (.npz); None: nothing is stored.
        identity: of the work (`identity_of`).
    """

    path: Path | None
    identity: str

    def load(self) -> dict[str, np.ndarray] | None:
        """The arrays stored for this work; None if there are none, or the file is damaged."""
        return load_arrays(self.path, self.identity)

    def save(self, **arrays: Any) -> None:
        """Store arrays in place of the previous ones."""
        if self.path is not None:
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
