"""Gaussian diffusion: noise schedules, the process and its reverse steps."""

from jaxmicro.diffusion.process import (
    StepInput,
    ddim_step,
    diffuse,
    dpm_solver_step,
    eps_from_x0,
    renoise,
    x0_from_eps,
)
from jaxmicro.diffusion.schedule import alpha, ddpm_times, linear_beta, log_snr_times, sigma

__all__ = [
    "StepInput",
    "alpha",
    "ddim_step",
    "ddpm_times",
    "diffuse",
    "dpm_solver_step",
    "eps_from_x0",
    "linear_beta",
    "log_snr_times",
    "renoise",
    "sigma",
    "x0_from_eps",
]
