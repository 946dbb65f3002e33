"""Generation of whole images and volumes, to conditions; `reconstruct` does it from planes."""

from jaxmicro.generate.sampling import Denoiser, GenerationConfig, Renoised, generate, noise_levels

__all__ = ["Denoiser", "GenerationConfig", "Renoised", "generate", "noise_levels"]
