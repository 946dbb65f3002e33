"""Device-dependent code: the mesh over which batches are split, and compiler options."""

from jaxmicro.devices.compiling import jit_network
from jaxmicro.devices.mesh import (
    DATA_AXIS,
    batch_sharded,
    is_lead_process,
    make_mesh,
    replicate,
    replicated,
    shard_batch,
)

__all__ = [
    "DATA_AXIS",
    "batch_sharded",
    "is_lead_process",
    "jit_network",
    "make_mesh",
    "replicate",
    "replicated",
    "shard_batch",
]
