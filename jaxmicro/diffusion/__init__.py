"""Gaussian diffusion: noise schedules, the process and its reverse steps."""

from jaxmicro.diffusion.process import StepInput, ddim_step, dpm_solver_step, renoise
from jaxmicro.diffusion.schedule import ddpm_times, linear_beta, log_snr_times
from jaxmicro.noise import alpha, diffuse, eps_from_x0, sigma, x0_from_eps

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
