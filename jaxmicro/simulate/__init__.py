"""Simulated microstructures: phase separation by the Cahn-Hilliard equation."""

from jaxmicro.simulate.cahn_hilliard import Evolution, evolve, mixture
from jaxmicro.simulate.config import CahnHilliardConfig
from jaxmicro.simulate.free_energy import FloryHuggins, FreeEnergy, Polynomial, coexisting
from jaxmicro.simulate.phase_labels import three_phases, two_phases

__all__ = [
    "CahnHilliardConfig",
    "Evolution",
    "FloryHuggins",
    "FreeEnergy",
    "Polynomial",
    "coexisting",
    "evolve",
    "mixture",
    "three_phases",
    "two_phases",
]
