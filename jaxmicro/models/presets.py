"""Usual networks: of crops of a micrograph in latent space, and of the samples of a collection in both spaces."""

import dataclasses

from jaxmicro.models import vae
from jaxmicro.models.prior import PriorConfig
from jaxmicro.models.unet import UNetConfig
from jaxmicro.models.vae import VAEConfig

LARGE = 32  # voxels of the shortest edge from which on voxels are denoised in blocks of 4 a side, else of 2
WIDTHS = (64, 128)  # channels of the U-Net at each resolution, with attention at the last
DETAIL = 32  # channels that correct the voxels of blocks of 4^3
LOG_SNR = (-11.0, 3.0)  # of voxels; at the first not even the volume fraction of 32^3 voxels can be seen


def pixel_collection(
    phases: int, shape: tuple[int, ...], conditions: tuple[str, ...], periodic: tuple[bool, ...] = ()
) -> PriorConfig:
    """A prior of the voxels of samples of this shape, conditioned on the named features.

    Raises:
        ValueError: an edge is no multiple of 8, or below 32 of 4.
    """
    patch = 4 if min(shape) >= LARGE else 2
    detail = DETAIL if patch == 4 and len(shape) == 3 else 0
    unet = dataclasses.replace(_unet(patch, shape, periodic), detail=detail)
    return PriorConfig(phases=phases, shape=shape, conditions=conditions, log_snr_range=LOG_SNR, unet=unet)


def latent_collection(
    phases: int,
    shape: tuple[int, ...],
    conditions: tuple[str, ...],
    periodic: tuple[bool, ...] = (),
    *,
    paper: bool = False,
) -> PriorConfig:
    """A prior of the codes of samples, conditioned on the named features.

    Args:
        paper: with networks of the size of P-CondLDM (for a GPU): codes of 4 channels and 1/16 of the edges (128 x 128
            x 64 becomes 4 channels of 8 x 8 x 4), or below 128 voxels of 1 channel and 1/8 of them (64^3 becomes
            1 of 8^3), 1000 steps of linear beta, no attention. Otherwise codes of 8 channels and 1/8 of the edges.
    Raises:
        ValueError: an edge is no multiple of what the networks need.
    """
    dims = len(shape)
    common = {"phases": phases, "patch": max(shape), "dims": dims, "periodic": periodic}
    if not paper:
        vae = VAEConfig(**common, channels=8, fold=4, encoder=(64, 128), decoder=(64, 128), kl_weight=1e-3)
        unet = _unet(1, shape, periodic)
        prediction, levels, log_snr_range = "velocity", "uniform", (-8.0, 6.0)
    else:
        widths, small = (64, 128, 256, 512), max(shape) < 128
        vae = VAEConfig(
            **common, channels=1 if small else 4, fold=1 if small else 2, encoder=widths, decoder=widths, kl_weight=1e-6
        )
        unet = UNetConfig(dims=dims, patch=1, widths=(512, 1024), periodic=periodic)
        prediction, levels, log_snr_range = "epsilon", "ddpm", (-10.0, 9.0)
    return PriorConfig(
        phases=phases, shape=shape, conditions=conditions, prediction=prediction, levels=levels,
        log_snr_range=log_snr_range, unet=unet, vae=vae,
    )  # fmt: skip


def _unet(patch: int, shape: tuple[int, ...], periodic: tuple[bool, ...]) -> UNetConfig:
    attention = (False,) * (len(WIDTHS) - 1) + (True,)
    return UNetConfig(dims=len(shape), patch=patch, widths=WIDTHS, attention=attention, periodic=periodic)


def latent_small(phases: int, latent_size: int = 16, *, patch: int = 64) -> PriorConfig:
    """A latent prior for a CPU; `latent_size` is the edge of the code of a crop."""
    return PriorConfig(
        phases=phases,
        patch=patch,
        prediction="velocity",
        log_snr_range=(-6.0, 5.0),
        unet=UNetConfig(patch=1, widths=(64, 128)),
        vae=vae.small(phases, latent_size, patch=patch),
    )


def latent_paper(phases: int, latent_size: int = 16, *, patch: int = 64) -> PriorConfig:
    """P-MicroLad Tables A.2 to A.4: 1000 steps of linear beta, base width 128, embedding 64, attention throughout."""
    return PriorConfig(
        phases=phases,
        patch=patch,
        prediction="epsilon",
        levels="ddpm",
        log_snr_range=(-10.0, 9.0),  # range of these levels
        unet=UNetConfig(patch=1, widths=(128, 256, 256), attention=(True,) * 3, embedding=64),
        vae=vae.paper(phases, latent_size, patch=patch),
    )
