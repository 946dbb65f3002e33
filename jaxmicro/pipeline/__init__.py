"""The stages joined: what the command line does, as Python functions.

    micrograph = read("electrode.png", voxel_size=65.0, unit="nm")
    prior = train(micrograph, out="runs/electrode")
    volumes = reconstruct(prior, shape=(64, 64, 64), volumes=2)
    report = evaluate(volumes, micrograph)
    write("electrode.vti", volumes[0])

Progress goes to a function `progress(stage, done, total, note)`; without one, nothing is printed.
"""

from jaxmicro.guidance import Target
from jaxmicro.io import read, read_images, write
from jaxmicro.pipeline.design import Design, Effect, design, held_in_design
from jaxmicro.pipeline.feasibility import check_feasible
from jaxmicro.pipeline.numbers import check_r_max, evaluate, measure
from jaxmicro.pipeline.pooling import pooled, pooled_numbers
from jaxmicro.pipeline.prior import (
    Material,
    Prior,
    Progress,
    bundled,
    bundled_micrograph,
    general_prior,
    load_prior,
    prior_path,
    remember_statistics,
    save_prior,
)
from jaxmicro.pipeline.targets import crop_numbers, miss, read_targets, scale_of
from jaxmicro.pipeline.training import (
    AUTOENCODER,
    AUTOENCODER_FINE_TUNING,
    FINE_TUNING,
    FROM_SCRATCH,
    check_training,
    directions,
    sample_images,
    train,
    train_on,
)
from jaxmicro.pipeline.transport import TransportField, diffusivities, transport
from jaxmicro.pipeline.tuning import tune_correlation
from jaxmicro.pipeline.volumes import (
    default_sampling,
    held_fractions,
    held_statistics,
    reconstruct,
    sampling_config,
    scattered_fractions,
)

__all__ = [
    "AUTOENCODER",
    "AUTOENCODER_FINE_TUNING",
    "FINE_TUNING",
    "FROM_SCRATCH",
    "Design",
    "Effect",
    "Material",
    "Prior",
    "Progress",
    "Target",
    "TransportField",
    "bundled",
    "bundled_micrograph",
    "check_feasible",
    "check_r_max",
    "check_training",
    "crop_numbers",
    "default_sampling",
    "design",
    "diffusivities",
    "directions",
    "evaluate",
    "general_prior",
    "held_fractions",
    "held_in_design",
    "held_statistics",
    "load_prior",
    "measure",
    "miss",
    "pooled",
    "pooled_numbers",
    "prior_path",
    "read",
    "read_images",
    "read_targets",
    "reconstruct",
    "remember_statistics",
    "sample_images",
    "sampling_config",
    "save_prior",
    "scale_of",
    "scattered_fractions",
    "train",
    "train_on",
    "transport",
    "tune_correlation",
    "write",
]
