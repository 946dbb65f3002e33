#!/bin/sh
# py-graspi 0.3.0 joins a voxel of a volume with 20 of its 26 neighbours, so that a mirrored volume has other descriptors.
#
# GraSPI's graph of a volume joins each voxel with its 26 neighbours, by 13 pairs of opposite steps. The list of steps in
# py_graspi/graph.py has 10: (0, 1, -1), (1, 1, -1) and (-1, 1, -1) in x y z are missing. A staircase of voxels that meet
# at edges is one donor cluster when it rises along +y, and as many clusters as steps when it rises along -y; of a random
# volume, distances to the interface and shares of straight paths change when y is mirrored, but not when x is.
# Images are not affected: the two steps of a plane that lead to neighbours over a corner are there.
#
# Prints descriptors of volumes and of their mirror images; exits 1 if they are no longer as below.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  py-graspi==0.3.0 igraph==1.0.0 numpy==2.4.6 matplotlib==3.11.2 psutil==7.2.2 fpdf==1.7.2
cd "$folder"  # it writes files where it runs
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import importlib.metadata
import sys

import numpy as np
from py_graspi import descriptors, graph

NAMES = ("STAT_CC_D", "CT_f_conn_D_An", "DISS_wf10_D", "CT_f_D_tort1")


def described(volume):
    """Descriptors of a volume z y x of 0 (donor) and 1 (acceptor), through the text file that the package reads."""
    z, y, x = volume.shape
    with open("volume.txt", "w") as file:
        file.write(f"{x} {y} {z}\n")
        np.savetxt(file, volume.reshape(z * y, x), fmt="%d")
    found = descriptors.compute_descriptors(graph.generateGraph("volume.txt"), "volume.txt", 1, 2)
    return tuple(round(float(found[name]), 4) for name in NAMES)


stairs = np.ones((4, 4, 3), int)
stairs[range(4), range(4), 1] = 0
random = (np.random.default_rng(0).random((8, 8, 8)) < 0.5).astype(int)
found = {
    "stairs along +y": described(stairs),
    "stairs along -y": described(stairs[:, ::-1]),
    "random": described(random),
    "random, x mirrored": described(random[:, :, ::-1]),
    "random, y mirrored": described(random[:, ::-1]),
}
print("py-graspi", importlib.metadata.version("py-graspi"), "igraph", importlib.metadata.version("igraph"))
print(", ".join(NAMES))
for name, values in found.items():
    print(f"  {name}: {', '.join(map(str, values))}")
expected = [
    (1.0, 1.0, 0.9625, 0.25),
    (4.0, 0.25, 0.9625, 1.0),
    (1.0, 1.0, 0.9607, 0.4225),
    (1.0, 1.0, 0.9607, 0.4225),
    (1.0, 1.0, 0.9611, 0.4366),
]
sys.exit(list(found.values()) != expected)
PYTHON
# Output:
# py-graspi 0.3.0 igraph 1.0.0
# STAT_CC_D, CT_f_conn_D_An, DISS_wf10_D, CT_f_D_tort1
#   stairs along +y: 1.0, 1.0, 0.9625, 0.25
#   stairs along -y: 4.0, 0.25, 0.9625, 1.0
#   random: 1.0, 1.0, 0.9607, 0.4225
#   random, x mirrored: 1.0, 1.0, 0.9607, 0.4225
#   random, y mirrored: 1.0, 1.0, 0.9611, 0.4366
