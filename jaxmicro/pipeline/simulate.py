"""Simulate: a collection of microstructures by phase separation."""

import dataclasses
import functools
import json
import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from jaxmicro.collection import Collection
from jaxmicro.errors import UserError
from jaxmicro.io import CollectionWriter, create_collection, files, is_collection, read_collection
from jaxmicro.io.collection_store import COLLECTION
from jaxmicro.pipeline.progress import Progress, stage_progress
from jaxmicro.pipeline.simulation_config import SimulationConfig, check_room
from jaxmicro.pipeline.simulation_plan import SimulationPlan, energies, plan_simulation, run_name
from jaxmicro.pipeline.state import Resumable, identity_of
from jaxmicro.simulate import CahnHilliardConfig, FreeEnergy, evolve, mixture, three_phases, two_phases

_RECORD, _EVIDENCE, _UNFINISHED = "simulation.json", "evolution.npz", "unfinished"
_POLL_SECONDS = 0.02  # between looks at a running program, which signals cannot interrupt
_DRAWN = 0  # run of which the film is made


class Simulated(NamedTuple):
    """A finished simulation: its collection, and the evidence beside it.

    Attributes:
        collection: sample i is snapshot i % t of run i // t.
        plan: parameters and times of the runs.
        energy: free energy, kT.
        domain: size of the domains, half the mean wavelength of phi, cells.
        steps: of time up to each snapshot, those taken back included.
        film: composition of one run; of a volume in its middle plane normal to z.
        drawn: number of that run.
    """

    collection: Collection
    plan: SimulationPlan
    energy: Float[np.ndarray, "r t"]
    domain: Float[np.ndarray, "r t"]
    steps: np.ndarray
    film: Float[np.ndarray, "t h w"]
    drawn: int


class _Batch(NamedTuple):
    """What a batch of runs gives."""

    labels: UInt8[Array, "b t *grid"]
    energy: Float[Array, "b t"]
    domain: Float[Array, "b t"]
    steps: Array
    finished: Array
    finite: Array
    film: Float[Array, "b t h w"]


def simulate(config: SimulationConfig, out: str | Path, *, progress: Progress | None = None) -> Simulated:
    """Simulate phase separation from mixtures of many parameters, and write every snapshot into a collection.

    `out/collection.zarr` receives the labels as soon as a batch of runs is ready; `out/unfinished` what else is known
    of it, so that a call with the same settings goes on where an interrupted one ended, with the same result to the
    bit. An interruption waits for the runs in work. Run i depends on (seed, i) and its parameters; the number of runs
    computed `together` changes its rounding, which moves single voxels of interfaces, and more where two outcomes were
    equally near.

    Args:
        out: folder, made if it does not exist.
    Raises:
        UserError: nothing would separate, the folder holds a simulation with other settings, memory or disk would not
            suffice, or a run did not reach its end.
    """
    out = Path(out)
    check_room(config, out)
    plan = plan_simulation(config)
    identity = identity_of("cahn-hilliard/1", dataclasses.asdict(config), arrays=(plan.parameters, plan.times))
    _claim(out, identity)
    path, runs, count = out / COLLECTION, *plan.times.shape
    writer = None if _is_finished(path) else _writer(config, path, runs * count)
    report = stage_progress(progress, "simulating runs")
    batches = [np.arange(first, first + config.together) for first in range(0, runs, config.together)]
    records: list[dict[str, np.ndarray]] = []
    evidence = Resumable(out / _EVIDENCE, identity)
    if writer is None and (whole := evidence.load()) is not None:
        return _simulated(path, plan, whole)
    for number, batch in enumerate(batches):
        state = Resumable(out / _UNFINISHED / f"batch_{number:05d}.npz", identity)
        records.append(
            _recorded(state, writer, batch[batch < runs], count) or _compute(config, plan, batch, writer, state)
        )
        report(min(int(batch[-1]) + 1, runs), runs)
    found = {name: np.concatenate([record[name] for record in records]) for name in ("energy", "domain", "steps")}
    found |= {"film": records[_DRAWN // config.together]["film"], "parameters": plan.parameters, "times": plan.times}
    evidence.save(**found)
    if writer is not None:
        table = np.concatenate([np.repeat(plan.parameters, count, axis=0), plan.times.reshape(-1, 1)], axis=1)
        writer.finish(origin=np.repeat(np.arange(runs), count), features=plan.features, table=table)
    shutil.rmtree(out / _UNFINISHED, ignore_errors=True)
    return _simulated(path, plan, found)


def _simulated(path: Path, plan: SimulationPlan, found: dict[str, np.ndarray]) -> Simulated:
    shown = {name: found[name] for name in ("energy", "domain", "steps", "film")}
    return Simulated(read_collection(path), plan, drawn=_DRAWN, **shown)


def _claim(out: Path, identity: str) -> None:
    """Write down whose folder this is.

    Raises:
        UserError: it is that of a simulation with other settings.
    """
    record = out / _RECORD
    if record.exists():
        if files.unsealed(record).get("identity") != identity:
            raise UserError(
                f"{out} holds a simulation with other settings; continue it with those that it was begun with, or "
                "choose another folder"
            )
        return
    if (out / COLLECTION).exists():
        raise UserError(f"{out} holds a collection that was not simulated here; choose another folder")
    out.mkdir(parents=True, exist_ok=True)
    files.write_bytes(record, json.dumps(files.sealed({"identity": identity})).encode())


def _is_finished(path: Path) -> bool:
    return is_collection(path) and files.read_json(path / "zarr.json")["attributes"]["finished"] is True


def _writer(config: SimulationConfig, path: Path, samples: int) -> CollectionWriter:
    return create_collection(
        path,
        samples=samples,
        grid=config.shape,
        values=(0.0, 255.0) if config.phases == 2 else (0.0, 127.0, 255.0),
        voxel_size=config.voxel_size,
        unit=config.unit,
        periodic=[axis not in config.walls for axis in range(len(config.shape))],
    )


def _recorded(
    state: Resumable, writer: CollectionWriter | None, runs: np.ndarray, count: int
) -> dict[str, np.ndarray] | None:
    """The record of a batch, if it is there, and all of its samples are."""
    record = state.load()
    if record is None or writer is None:
        return record
    return record if writer.stored().reshape(-1, count)[runs].all() else None


def _compute(
    config: SimulationConfig, plan: SimulationPlan, batch: np.ndarray, writer: CollectionWriter | None, state: Resumable
) -> dict[str, np.ndarray]:
    """Simulate a batch of runs, store their samples, then their record."""
    runs, count = plan.times.shape
    filled = np.minimum(batch, runs - 1)  # the last batch has the size of the others, so that it is the same program
    found = _simulate_batch(
        jnp.asarray(plan.parameters[filled, 0], jnp.float32),
        energies(config, plan.parameters[filled, -1], len(batch)),
        jnp.asarray(plan.times[filled], jnp.float32),
        jnp.asarray(filled),
        jnp.asarray([plan.kappa, config.noise, config.amplitude, *config.between], jnp.float32),
        jax.random.key(config.seed),
        solver=config.solver(),
    )
    interruption = _wait(found)
    batch = batch[batch < runs]
    result = jax.tree.map(lambda leaf: np.asarray(leaf)[: len(batch)], found)
    _check(config, plan, batch, result)
    if writer is not None:
        for run, snapshots in zip(batch, result.labels, strict=True):
            for number, labels in enumerate(snapshots):
                writer.store(run * count + number, np.asarray(labels))
    record: dict[str, Any] = {"energy": result.energy, "domain": result.domain, "steps": result.steps}
    if _DRAWN in batch:
        record["film"] = result.film[list(batch).index(_DRAWN)]
    if state.path is not None:
        state.path.parent.mkdir(exist_ok=True)
    state.save(**record)
    if interruption is not None:
        raise interruption
    return {name: np.asarray(array) for name, array in record.items()}


def _wait(program: Any) -> KeyboardInterrupt | None:
    """Wait until a program has ended, and return the interruption that came meanwhile.

    Its runs end first, and are kept: a process that exits while a program runs crashes.
    """
    try:
        while not all(leaf.is_ready() for leaf in jax.tree.leaves(program)):
            time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt as interruption:
        jax.block_until_ready(program)
        return interruption
    return None


@functools.partial(jax.jit, static_argnames="solver")
def _simulate_batch(
    phi: Float[Array, " b"],
    energy: FreeEnergy,
    times: Float[Array, "b t"],
    numbers: Array,
    scalars: Float[Array, " s"],
    key: Array,
    *,
    solver: CahnHilliardConfig,
) -> _Batch:
    """Snapshots of several runs. `scalars`: kappa, temperature, amplitude, compositions between the phases."""
    kappa, temperature, amplitude, *between = scalars
    box = solver.box
    k = jnp.sqrt(box.squared_wave_number(jnp.float32))

    def domain(field: Float[Array, "*grid"], mean: Float[Array, ""]) -> Float[Array, ""]:
        modes = box.modes(field - mean) * (k > 0)
        return jnp.pi * box.squared_sum(modes) / box.squared_sum(jnp.sqrt(k) * modes)

    def run(mean: Float[Array, ""], energy: FreeEnergy, times: Float[Array, " t"], number: Array) -> _Batch:
        start, noise = jax.random.split(jax.random.fold_in(key, number))
        initial = mixture(mean, amplitude=amplitude, key=start, shape=solver.shape)
        found = evolve(initial, times, energy, kappa=kappa, temperature=temperature, key=noise, config=solver)
        fields = found.fields
        labels = two_phases(fields, *between) if len(between) == 1 else three_phases(fields, *between)
        film = fields if fields.ndim == 3 else fields[:, solver.shape[0] // 2]
        finite = jnp.isfinite(fields).all(axis=tuple(range(1, fields.ndim)))
        domains = jax.vmap(domain, in_axes=(0, None))(fields, mean)
        return _Batch(labels, found.energy, domains, found.accepted + found.rejected, found.finished, finite, film)

    return jax.vmap(run)(phi, energy, times, numbers)


def _check(config: SimulationConfig, plan: SimulationPlan, batch: np.ndarray, found: _Batch) -> None:
    """Check that every snapshot is what was asked for.

    Raises:
        UserError: names the first run that is not.
    """
    good = np.asarray(found.finished) & np.asarray(found.finite)
    if good.all():
        return
    place, snapshot = np.argwhere(~good)[0]
    run = int(batch[place])
    name, when = run_name(config, plan.parameters, run), f"{plan.times[run, snapshot]:g}"
    if not found.finite[place, snapshot]:
        raise UserError(
            f"{name} is not finite at time {when}; take a larger kappa (now {plan.kappa:g}), less noise, or parameters "
            "further from the ends of their ranges"
        )
    raise UserError(
        f"{name} did not reach time {when} within {config.max_steps} steps; allow more steps, or end earlier"
    )
