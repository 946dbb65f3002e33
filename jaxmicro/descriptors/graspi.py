"""The descriptors of GraSPI: how a film of an organic solar cell absorbs light, splits excitons and conducts charges.

A film is a label image whose first axis is the normal of the film (z of z y x, h of h w): index 0 lies at the cathode,
the last index at the anode. GraSPI reads it as a graph: voxels are vertices, those that share a face, an edge or a
corner are joined (8 neighbours in 2D, 26 in 3D), and an edge is 1, sqrt 2 or sqrt 3 voxels long. Distances are lengths
of shortest paths in this graph, within one phase; they are not Euclidean.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Int

from jaxmicro.descriptors.clusters import label_clusters
from jaxmicro.descriptors.voxel_paths import EXCESSES, beside, distances_from, rising_excess
from jaxmicro.errors import UserError
from jaxmicro.types import Labels

Mask = Bool[np.ndarray, "*grid"]
Numbers = Mapping[str, float | int | np.number]

CATHODE, ANODE = 0, -1  # planes of the first axis
ABSORPTION_LENGTH = 100.0  # nm
DIFFUSION_LENGTH = 10.0  # nm, of excitons

GRASPI_TWO_PHASE: Mapping[str, str] = MappingProxyType(
    {
        "STAT_n": "voxels",
        "STAT_e": "faces between donor and acceptor",
        "STAT_n_D": "donor voxels",
        "STAT_n_A": "acceptor voxels",
        "STAT_CC_D": "donor clusters",
        "STAT_CC_A": "acceptor clusters",
        "STAT_CC_D_An": "donor clusters at the anode",
        "STAT_CC_A_Ca": "acceptor clusters at the cathode",
        "ABS_wf_D": "sum over donor voxels of exp(-d / 100 nm), d the depth below the anode, over all voxels",
        "ABS_f_D": "share of donor voxels",
        "DISS_wf10_D": "sum over the voxels of DISS_f10_D of 6.265 exp(-((d + 23 nm) / 17.17 nm)^2), over donor voxels",
        "DISS_f10_D": "share of donor voxels at a distance d < 10 nm through donor from the acceptor",
        "CT_f_e_conn": "CT_e_conn over STAT_e",
        "CT_f_conn_D_An": "share of donor voxels in clusters at the anode",
        "CT_f_conn_A_Ca": "share of acceptor voxels in clusters at the cathode",
        "CT_e_conn": "faces of STAT_e whose donor is connected to the anode, and whose acceptor to the cathode",
        "CT_e_D_An": "donor voxels next to acceptor and connected to the anode",
        "CT_e_A_Ca": "acceptor voxels next to donor and connected to the cathode",
        "CT_n_D_adj_An": "donor voxels at the anode",
        "CT_n_A_adj_Ca": "acceptor voxels at the cathode",
        "CT_f_D_tort1": "share of the donor voxels connected to the anode with a straight path to it through donor",
        "CT_f_A_tort1": "share of the acceptor voxels connected to the cathode with a straight path through acceptor",
    }
)
GRASPI_THREE_PHASE: Mapping[str, str] = MappingProxyType(
    GRASPI_TWO_PHASE
    | {
        "STAT_n_M": "mixed voxels",
        "STAT_CC_M": "mixed clusters",
        "STAT_CC_M_An": "mixed clusters at the anode",
        "STAT_CC_M_Ca": "mixed clusters at the cathode",
        "ABS_f_M": "share of mixed voxels",
        "DISS_wf10_M": "as DISS_wf10_D, of mixed voxels",
        "DISS_f10_M": "share of mixed voxels at a distance < 10 nm through the mixed phase from the acceptor",
        "CT_f_M_tort1_An": "share of the mixed voxels connected to the anode with a straight path through mixed",
        "CT_f_M_tort1_Ca": "share of the mixed voxels connected to the cathode with a straight path through mixed",
    }
)


def graspi_descriptors(
    labels: Labels,
    *,
    donor: int,
    acceptor: int,
    mixed: int | None = None,
    periodic: bool = False,
    pixel: float | int = 1.0,
    names: Sequence[str] | None = None,
) -> dict[str, float]:
    """The descriptors of GraSPI of a film, under GraSPI's names.

    `GRASPI_TWO_PHASE` and `GRASPI_THREE_PHASE` say what each name is. Clusters, neighbours and paths are those of the
    graph above; only STAT_e and CT_e_conn count faces alone. A path is straight when its length is less than 1 + 1/n
    times the height of its end above the electrode, for n voxels across the film: at most two of its steps are
    diagonal. The share therefore depends on n, and films of different thickness in voxels do not compare. In the
    mixed phase GraSPI 59f6a8a also lets paths run along the other electrode (`docs/numbers.md`); here none does.

    Args:
        labels: film in 2D or 3D, first axis from the cathode to the anode.
        donor: label of the donor (black), which conducts holes to the anode.
        acceptor: label of the acceptor (white), which conducts electrons to the cathode.
        mixed: label of the mixed phase (grey), if there is one.
        periodic: whether the film repeats in its plane.
        pixel: edge of a voxel in nm, for ABS_wf_D (depth) and DISS (distance).
        names: which are computed; all by default.
    Returns:
        Counts and shares by name, in the order of `names`. A share of nothing is 0, as in GraSPI's logs.
    Raises:
        UserError: when the image is not a film of these phases, `pixel` is not positive, or a name is unknown.
    Source: Wodo, Tirthapura, Chaudhary, Ganapathysubramanian, Org. Electron. 13 (2012) 1105, and the source of GraSPI
    (github.com/owodolab/graspi, commit 59f6a8a).

    >>> column = np.array([[1, 0, 1], [1, 0, 1], [0, 0, 0]])  # donor at the anode, a column down to the cathode
    >>> graspi_descriptors(column, donor=0, acceptor=1, names=("STAT_e", "CT_f_conn_D_An", "CT_f_D_tort1"))
    {'STAT_e': 6.0, 'CT_f_conn_D_An': 1.0, 'CT_f_D_tort1': 1.0}
    """
    known = GRASPI_TWO_PHASE if mixed is None else GRASPI_THREE_PHASE
    wanted = list(known if names is None else names)
    if unknown := [name for name in wanted if name not in known]:
        only_mixed = "; it needs the label of the mixed phase" if unknown[0] in GRASPI_THREE_PHASE else ""
        raise UserError(f"{unknown[0]} is none of the {len(known)} descriptors {', '.join(known)}{only_mixed}")
    film = _film(np.asarray(labels), donor, acceptor, mixed, periodic, pixel)
    found: dict[str, float | int | np.number] = {}
    for part in _PARTS:  # from the quickest to the longest
        if any(name not in found for name in wanted):
            found.update(part(film))
    return {name: float(found[name]) for name in wanted}


@dataclass(frozen=True)
class _Phase:
    """Voxels of one phase, and the number of the cluster that each belongs to (0 outside the phase)."""

    voxels: Mask
    clusters: Int[np.ndarray, "*grid"]

    def connected(self, electrode: int) -> Mask:
        """Voxels connected to an electrode."""
        return np.isin(self.clusters, self.at(electrode))

    def at(self, electrode: int) -> Int[np.ndarray, " cluster"]:
        """Numbers of the clusters at an electrode."""
        numbers = np.unique(self.clusters[electrode])
        return numbers[numbers > 0]


@dataclass(frozen=True)
class _Film:
    donor: _Phase
    acceptor: _Phase
    mixed: _Phase | None
    periodic: bool
    pixel: float | int  # nm


def _film(
    labels: np.ndarray, donor: int, acceptor: int, mixed: int | None, periodic: bool, pixel: float | int
) -> _Film:
    phases = {"donor": donor, "acceptor": acceptor} | ({} if mixed is None else {"mixed": mixed})
    if labels.ndim not in (2, 3) or labels.size == 0:
        raise UserError(f"a film is an image or a volume, its normal the first axis; found the shape {labels.shape}")
    if len(set(phases.values())) < len(phases):
        raise UserError(f"each phase needs its own label, found {phases}")
    if others := sorted(set(np.unique(labels).tolist()) - set(phases.values())):
        raise UserError(f"the film has the labels {others} besides {phases}: cut electrodes off, name a mixed phase")
    if not 0 < pixel < math.inf:
        raise UserError(f"pixel is {pixel} nm, expected the edge of a voxel, above 0")
    wraps = (False, *[periodic] * (labels.ndim - 1))

    def phase(label: int) -> _Phase:
        voxels = labels == label
        return _Phase(voxels, label_clusters(voxels, corners=True, periodic=wraps))

    return _Film(phase(donor), phase(acceptor), None if mixed is None else phase(mixed), periodic, pixel)


def _counts(film: _Film) -> Numbers:
    donor, acceptor = film.donor.voxels, film.acceptor.voxels
    depth = (len(donor) - np.arange(len(donor))) * film.pixel  # GraSPI: one pixel for the voxels at the anode
    donor_in_plane = np.count_nonzero(donor, axis=tuple(range(1, donor.ndim)))
    counts = {
        "STAT_n": donor.size,
        "STAT_n_D": np.count_nonzero(donor),
        "STAT_n_A": np.count_nonzero(acceptor),
        "ABS_f_D": np.mean(donor),
        "ABS_wf_D": donor_in_plane @ np.exp(-depth / ABSORPTION_LENGTH) / donor.size,
        "CT_n_D_adj_An": np.count_nonzero(donor[ANODE]),
        "CT_n_A_adj_Ca": np.count_nonzero(acceptor[CATHODE]),
    }
    if film.mixed is None:
        return counts
    return counts | {"STAT_n_M": np.count_nonzero(film.mixed.voxels), "ABS_f_M": np.mean(film.mixed.voxels)}


def _clusters(film: _Film) -> Numbers:
    donor, acceptor = film.donor, film.acceptor
    numbers = {
        "STAT_CC_D": donor.clusters.max(),
        "STAT_CC_A": acceptor.clusters.max(),
        "STAT_CC_D_An": donor.at(ANODE).size,
        "STAT_CC_A_Ca": acceptor.at(CATHODE).size,
        "CT_f_conn_D_An": _share(donor.connected(ANODE), donor.voxels),
        "CT_f_conn_A_Ca": _share(acceptor.connected(CATHODE), acceptor.voxels),
    }
    if film.mixed is None:
        return numbers
    at_electrodes = {"STAT_CC_M_An": film.mixed.at(ANODE).size, "STAT_CC_M_Ca": film.mixed.at(CATHODE).size}
    return numbers | {"STAT_CC_M": film.mixed.clusters.max()} | at_electrodes


def _interface(film: _Film) -> Numbers:
    donor, acceptor, periodic = film.donor, film.acceptor, film.periodic
    holes, electrons = donor.connected(ANODE), acceptor.connected(CATHODE)
    faces = _faces_between(donor.voxels, acceptor.voxels, periodic)
    connected = _faces_between(holes, electrons, periodic)
    return {
        "STAT_e": faces,
        "CT_e_conn": connected,
        "CT_f_e_conn": connected / faces if faces else 0.0,
        "CT_e_D_An": np.count_nonzero(holes & np.asarray(beside(acceptor.voxels, periodic=periodic))),
        "CT_e_A_Ca": np.count_nonzero(electrons & np.asarray(beside(donor.voxels, periodic=periodic))),
    }


def _straight_paths(film: _Film) -> Numbers:
    shares = {
        "CT_f_D_tort1": _straight_share(film.donor, ANODE, film.periodic),
        "CT_f_A_tort1": _straight_share(film.acceptor, CATHODE, film.periodic),
    }
    if film.mixed is None:
        return shares
    return shares | {
        "CT_f_M_tort1_An": _straight_share(film.mixed, ANODE, film.periodic),
        "CT_f_M_tort1_Ca": _straight_share(film.mixed, CATHODE, film.periodic),
    }


def _dissociation(film: _Film) -> Numbers:
    return {
        f"DISS_{kind}10_{letter}": value
        for letter, phase in (("D", film.donor), ("M", film.mixed))
        if phase is not None
        for kind, value in _near_acceptor(phase.voxels, film).items()
    }


_PARTS: tuple[Callable[[_Film], Numbers], ...] = (
    _counts,
    _clusters,
    _interface,
    _straight_paths,
    _dissociation,
)


def _near_acceptor(phase: Mask, film: _Film) -> Numbers:
    """Share `f` of a phase within the diffusion length of excitons from the acceptor, and the same weighted, `wf`."""
    reach = DIFFUSION_LENGTH / film.pixel
    distances = np.asarray(distances_from(film.acceptor.voxels, phase, reach, periodic=film.periodic))
    nm = distances[np.isfinite(distances)].astype(float) * film.pixel
    weights = 6.265 * np.exp(-(((nm + 23.0) / 17.17) ** 2))
    voxels = max(np.count_nonzero(phase), 1)
    return {"f": nm.size / voxels, "wf": float(weights.sum()) / voxels}


def _straight_share(phase: _Phase, electrode: int, periodic: bool) -> float:
    """Share of the voxels connected to an electrode whose shortest path to it is straight."""
    from_electrode = phase.voxels[::-1] if electrode == ANODE else phase.voxels
    planes = len(from_electrode)
    excess = EXCESSES[np.asarray(rising_excess(from_electrode, periodic=periodic))]
    height = np.arange(planes, dtype=float).reshape(-1, *[1] * (excess.ndim - 1))
    straight = (excess == 0) | (excess * planes < height)
    return _share(straight, phase.connected(electrode))


def _faces_between(first: Mask, second: Mask, periodic: bool) -> int:
    """Number of faces between voxels of two disjoint masks."""
    faces = 0
    for axis in range(first.ndim):
        a, b = np.moveaxis(first, axis, 0), np.moveaxis(second, axis, 0)
        faces += np.count_nonzero(a[:-1] & b[1:]) + np.count_nonzero(b[:-1] & a[1:])
        if periodic and axis > 0 and len(a) > 2:  # of two voxels the second face is the first one again
            faces += np.count_nonzero(a[-1] & b[0]) + np.count_nonzero(b[-1] & a[0])
    return int(faces)


def _share(part: Mask, whole: Mask) -> float:
    return float(np.count_nonzero(part) / max(np.count_nonzero(whole), 1))
