"""Gaussian diffusion: noising process, noise schedules, reverse steps, and the interfaces of a 2D prior."""

from jaxmicro.diffusion.noise import (
    alpha,
    diffuse,
    eps_from_x0,
    linear_beta,
    sigma,
    velocity,
    x0_from_eps,
    x0_from_velocity,
)
from jaxmicro.diffusion.planes import Codec, Combine, Evidence, PlaneModel, pixel_codec, put_planes, take_planes
from jaxmicro.diffusion.process import StepInput, ddim_step, dpm_solver_step, renoise
from jaxmicro.diffusion.schedule import ddpm_times, log_snr_times

__all__ = [
    "Codec",
    "Combine",
    "Evidence",
    "PlaneModel",
    "StepInput",
    "alpha",
    "ddim_step",
    "ddpm_times",
    "diffuse",
    "dpm_solver_step",
    "eps_from_x0",
    "linear_beta",
    "log_snr_times",
    "pixel_codec",
    "put_planes",
    "renoise",
    "sigma",
    "take_planes",
    "velocity",
    "x0_from_eps",
    "x0_from_velocity",
]
