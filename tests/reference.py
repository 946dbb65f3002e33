"""Descriptors and transport as plain NumPy loops over voxels: slow and obvious, the reference for the fast code."""

import heapq
import itertools
import math

import numpy as np
from scipy import sparse
from scipy.sparse import linalg


def voxels(shape):
    return itertools.product(*(range(n) for n in shape))


def neighbour(x, offset, shape, periodic):
    """The voxel x + offset, or None when it lies outside a grid that does not repeat."""
    y = tuple(a + d for a, d in zip(x, offset, strict=True))
    if periodic:
        return tuple(a % n for a, n in zip(y, shape, strict=True))
    return y if all(0 <= a < n for a, n in zip(y, shape, strict=True)) else None


def unit(ndim, axis, length=1):
    return tuple(length if a == axis else 0 for a in range(ndim))


def pairs(phase, offset, periodic):
    """Sum of I(x) I(x + offset) over all pairs, and their number."""
    total, count = 0.0, 0
    for x in voxels(phase.shape):
        y = neighbour(x, offset, phase.shape, periodic)
        if y is not None:
            total, count = total + phase[x] * phase[y], count + 1
    return total, count


def volume_fraction(fractions):
    total = np.zeros(fractions.shape[-1])
    for x in voxels(fractions.shape[:-1]):
        total += fractions[x]
    return total / math.prod(fractions.shape[:-1])


def two_point_correlation(phase, periodic):
    lags = [range(n) if periodic else [*range(n), *range(1 - n, 0)] for n in phase.shape]
    s2 = np.zeros([len(axis) for axis in lags])
    for index in voxels(s2.shape):
        total, count = pairs(phase, tuple(axis[i] for axis, i in zip(lags, index, strict=True)), periodic)
        s2[index] = total / count
    return s2


def radial_two_point(phase, r_max, periodic):
    total, count = np.zeros(r_max + 1), np.zeros(r_max + 1)
    for offset in itertools.product(range(-r_max, r_max + 1), repeat=phase.ndim):
        r = math.floor(math.hypot(*offset) + 0.5)
        if r <= r_max:
            total_d, count_d = pairs(phase, offset, periodic)
            total[r], count[r] = total[r] + total_d, count[r] + count_d
    return total / count


def directional_two_point(phase, axis, r_max, periodic):
    return np.array([np.divide(*pairs(phase, unit(phase.ndim, axis, r), periodic)) for r in range(r_max + 1)])


def lineal_path(phase, axis, r_max, periodic):
    path = np.zeros(r_max + 1)
    for r in range(r_max + 1):
        segments = []
        for x in voxels(phase.shape):
            ends = [neighbour(x, unit(phase.ndim, axis, k), phase.shape, periodic) for k in range(r + 1)]
            if None not in ends:
                segments.append(math.prod(phase[y] for y in ends))
        path[r] = sum(segments) / len(segments)
    return path


def specific_surface_area(phase, periodic):
    faces = 0.0
    for axis, x in itertools.product(range(phase.ndim), voxels(phase.shape)):
        y = neighbour(x, unit(phase.ndim, axis), phase.shape, periodic)
        faces += abs(phase[x] - phase[y]) if y is not None else 0.0
    return faces / phase.size


def crofton_surface_area(phase, share, periodic):
    """`share` maps the number of axes a direction runs along to its share of all directions."""
    area = 0.0
    for offset in itertools.product((-1, 0, 1), repeat=phase.ndim):
        if offset <= (0,) * phase.ndim:
            continue
        changes = []
        for x in voxels(phase.shape):
            y = neighbour(x, offset, phase.shape, periodic)
            if y is not None:
                changes.append(abs(phase[x] - phase[y]))
        area += share[np.count_nonzero(offset)] * np.mean(changes) / math.hypot(*offset)
    return (2 if phase.ndim == 3 else math.pi / 2) * area


def interface_areas(fractions, periodic):
    *shape, phases = fractions.shape
    area = np.zeros((phases, phases))
    for axis, x in itertools.product(range(len(shape)), voxels(shape)):
        y = neighbour(x, unit(len(shape), axis), shape, periodic)
        for p, q in itertools.permutations(range(phases), 2) if y is not None else ():
            area[p, q] += fractions[x][p] * fractions[y][q] + fractions[x][q] * fractions[y][p]
    return area / math.prod(shape)


def chord_lengths(phase, axis, border):
    lengths = []
    for line in np.moveaxis(phase, axis, -1).reshape(-1, phase.shape[axis]):
        start = 0
        for inside, run in itertools.groupby(line):
            end = start + len(list(run))
            if inside and (border or (start > 0 and end < len(line))):
                lengths.append(end - start)
            start = end
    return lengths


def clusters(phase):
    """The sets of voxels that are connected through faces, found by flooding."""
    left, found = {x for x in voxels(phase.shape) if phase[x]}, []
    while left:
        front = [left.pop()]
        cluster = set(front)
        while front:
            x = front.pop()
            for axis, sense in itertools.product(range(phase.ndim), (-1, 1)):
                y = neighbour(x, unit(phase.ndim, axis, sense), phase.shape, periodic=False)
                if y in left:
                    left.remove(y)
                    cluster.add(y)
                    front.append(y)
        found.append(cluster)
    return found


def lifted_clusters(mask, corners, periodic):
    """Cluster number of each voxel of a grid that repeats along some axes, and the axes each cluster winds along: found
    by flooding the endless medium until a voxel is met again in another period."""
    steps = [s for s in itertools.product((-1, 0, 1), repeat=mask.ndim) if any(s) and (corners or sum(map(abs, s)) < 2)]
    number, period, winds = np.zeros(mask.shape, int), {}, [np.zeros(mask.ndim, bool)]
    for start in zip(*np.nonzero(mask), strict=True):
        if number[start]:
            continue
        winds.append(np.zeros(mask.ndim, bool))
        number[start], period[start], front = len(winds) - 1, np.zeros(mask.ndim, int), [start]
        while front:
            x = front.pop()
            for step in steps:
                beyond, y = np.divmod(np.add(x, step), mask.shape)
                y = tuple(y)
                if np.any(beyond[~np.array(periodic)]) or not mask[y]:
                    continue
                if not number[y]:
                    number[y], period[y] = number[x], period[x] + beyond
                    front.append(y)
                winds[-1] |= period[y] != period[x] + beyond
    return number, np.array(winds)


def percolating_fraction(phase, axis):
    sides = {0, phase.shape[axis] - 1}
    spanning = [c for c in clusters(phase) if sides <= {x[axis] for x in c}]
    return sum(map(len, spanning)) / np.count_nonzero(phase)


def euler_characteristic(phase, periodic):
    chi = 0.0
    for extent in itertools.product((0, 1), repeat=phase.ndim):
        for x in voxels(phase.shape):
            offsets = itertools.product(*(range(e + 1) for e in extent))
            corners = [neighbour(x, offset, phase.shape, periodic) for offset in offsets]
            if None not in corners:
                chi += (-1) ** sum(extent) * math.prod(phase[y] for y in corners)
    return chi


def finite_volume_diffusivity(
    kappa: np.ndarray, axis: int, *, periodic_ends: bool = False, periodic_sides: bool = False
) -> float:
    """D_eff along `axis` by two-point fluxes, assembled voxel by voxel and solved directly; blocked voxels left out."""
    edge, index = kappa.shape[axis], {voxel: i for i, voxel in enumerate(zip(*np.nonzero(kappa > 0), strict=True))}
    matrix, b, energy = sparse.lil_matrix((len(index), len(index))), np.zeros(len(index)), 0.0
    for voxel, i in index.items():
        for along in range(kappa.ndim):
            beyond, ahead = np.divmod(voxel[along] + 1, kappa.shape[along])
            neighbour = tuple(ahead if a == along else at for a, at in enumerate(voxel))
            closed = periodic_ends if along == axis else periodic_sides
            if neighbour in index and (closed or not beyond):
                j = index[neighbour]
                conductance = 2 / (1 / kappa[voxel] + 1 / kappa[neighbour])
                drop = float(beyond * (along == axis))  # of u over a period
                matrix[i, i] += conductance
                matrix[j, j] += conductance
                matrix[i, j] -= conductance
                matrix[j, i] -= conductance
                b[i] -= conductance * drop
                b[j] += conductance * drop
                energy += conductance * drop**2
        for face in (0, edge - 1):
            if voxel[axis] == face and not periodic_ends:
                matrix[i, i] += 2 * kappa[voxel]
                b[i] += 2 * kappa[voxel] if face == 0 else 0
                energy += 2 * kappa[voxel] if face == 0 else 0
    matrix.setdiag(matrix.diagonal() + 1e-13)  # holds clusters in place that nothing fixes
    u = linalg.spsolve(matrix.tocsc(), b)
    return float((energy - b @ u) * edge**2 / kappa.size)  # of the minimum, u.K u = b.u


def film_graph(shape, periodic):
    """Voxel -> neighbours over faces, edges and corners -> length of the step; the first axis is never periodic."""
    graph = {x: {} for x in voxels(shape)}
    for x, step in itertools.product(graph, itertools.product((-1, 0, 1), repeat=len(shape))):
        y = tuple(
            (a + d) % n if periodic and i else a + d for i, (a, d, n) in enumerate(zip(x, step, shape, strict=True))
        )
        if y in graph and y != x:
            graph[x][y] = min(math.hypot(*step), graph[x].get(y, math.inf))
    return graph


def shortest_paths(graph, inside, starts):
    """Dijkstra's algorithm: distance of the voxels `inside` that can be reached from `starts` (voxel -> distance)."""
    distance, queue = {}, [(d, x) for x, d in starts.items()]
    heapq.heapify(queue)
    while queue:
        d, x = heapq.heappop(queue)
        if x not in distance:
            distance[x] = d
            for y, step in graph[x].items():
                if y in inside:
                    heapq.heappush(queue, (d + step, y))
    return distance


def graspi(labels, phases, periodic, pixel):
    """GraSPI's descriptors from its graph, with `phases` the labels of D, A and perhaps M."""
    graph, last = film_graph(labels.shape, periodic), len(labels) - 1
    found, to_electrode = {"STAT_n": labels.size, "STAT_e": 0, "CT_e_conn": 0}, {}
    inside = {p: {x for x in graph if labels[x] == label} for p, label in phases.items()}
    for p, part in inside.items():
        found[f"STAT_n_{p}"], clusters = len(part), []
        for x in part:
            if not any(x in cluster for cluster in clusters):
                clusters.append(shortest_paths(graph, part, {x: 0.0}))
        found[f"STAT_CC_{p}"] = len(clusters)
        for electrode, plane in (("An", last), ("Ca", 0)):
            ends = {x: 0.0 for x in part if x[0] == plane}
            to_electrode[p, electrode] = paths = shortest_paths(graph, part, ends)
            straight = [x for x, d in paths.items() if d == 0 or d / abs(x[0] - plane) - 1 < 1 / len(labels)]
            tort1 = f"CT_f_M_tort1_{electrode}" if p == "M" else f"CT_f_{p}_tort1"
            if p == "M" or (p, electrode) in (("D", "An"), ("A", "Ca")):
                found[f"STAT_CC_{p}_{electrode}"] = sum(any(x in ends for x in cluster) for cluster in clusters)
                found[f"CT_n_{p}_adj_{electrode}"] = len(ends)
                found[f"CT_f_conn_{p}_{electrode}"] = len(paths) / len(part)
                found[tort1] = len(straight) / max(len(paths), 1)
        if p != "A":
            starts = {
                x: min(graph[x][y] for y in graph[x] if y in inside["A"]) / 2 for x in part & beside(graph, inside["A"])
            }
            near = [d * pixel for d in shortest_paths(graph, part, starts).values() if d * pixel < 10]
            found[f"DISS_f10_{p}"], found[f"ABS_f_{p}"] = len(near) / len(part), len(part) / labels.size
            found[f"DISS_wf10_{p}"] = sum(6.265 * math.exp(-(((d + 23.0) / 17.17) ** 2)) for d in near) / len(part)
    holes, electrons = to_electrode["D", "An"], to_electrode["A", "Ca"]
    for x, y in itertools.product(inside["D"], inside["A"]):
        if graph[x].get(y) == 1:
            found["STAT_e"] += 1
            found["CT_e_conn"] += x in holes and y in electrons
    found["CT_f_e_conn"] = found["CT_e_conn"] / found["STAT_e"]
    found["CT_e_D_An"] = len(holes.keys() & beside(graph, inside["A"]))
    found["CT_e_A_Ca"] = len(electrons.keys() & beside(graph, inside["D"]))
    found["ABS_wf_D"] = sum(math.exp(-(last + 1 - x[0]) * pixel / 100) for x in inside["D"]) / labels.size
    return found


def beside(graph, part):
    return {y for x in part for y in graph[x]}
