"""The device mesh; no other module creates one.

Data parallel: parameters are replicated, the batch is split along its first axis over all devices of all processes.
With several hosts call `jax.distributed.initialize()` first; each process then passes its own share of the batch.
"""

from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxmicro.errors import UserError

DATA_AXIS = "data"


def make_mesh() -> Mesh:
    """A mesh of all devices along one axis, "data"; also for a single device."""
    return jax.make_mesh((jax.device_count(),), (DATA_AXIS,), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Sharding with the whole array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharded(mesh: Mesh) -> NamedSharding:
    """Sharding with the first axis split over the devices."""
    return NamedSharding(mesh, PartitionSpec(DATA_AXIS))


def replicate(tree: Any, mesh: Mesh) -> Any:
    """The tree with every array on every device; all processes must pass equal values."""
    return jax.device_put(tree, replicated(mesh))


def shard_batch(batch: Any, mesh: Mesh) -> Any:
    """The global batch, split along axis "n", from the share of this process.

    Args:
        batch: a tree of host arrays "n ...", n = global batch / processes.
    Raises:
        UserError: n is no multiple of the number of devices of this process.
    """
    sharding = batch_sharded(mesh)
    devices = len(mesh.local_devices)
    for array in jax.tree.leaves(batch):
        if array.shape[0] % devices:
            raise UserError(
                f"a batch of {array.shape[0]} cannot be split over {devices} devices; "
                f"use a batch that is a multiple of {devices}"
            )
    return jax.tree.map(lambda array: jax.make_array_from_process_local_data(sharding, array), batch)


def is_lead_process() -> bool:
    """Whether this process is the one that writes logs and figures."""
    return jax.process_index() == 0
