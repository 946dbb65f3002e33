"""The stages joined: what the command line does, as Python functions.

    micrograph = read("electrode.png", voxel_size=65.0, unit="nm")
    prior = train(micrograph, out="runs/electrode")
    volumes = reconstruct(prior, shape=(64, 64, 64), volumes=2)
    report = evaluate(volumes, micrograph)
    write("electrode.vti", volumes[0])

Progress goes to a function `progress(stage, done, total, note)`; without one, nothing is printed.
"""

from jaxmicro.evaluate import directions
from jaxmicro.generate import GenerationConfig
from jaxmicro.guidance import (
    CURVES,
    PER_LENGTH,
    QUANTITIES,
    DistillationConfig,
    LengthUnit,
    Target,
    TargetSpec,
    exact_value,
    exact_values_of_planes,
    parse_target,
)
from jaxmicro.io import read, read_images, write
from jaxmicro.models import PriorConfig, UNetConfig, latent_paper, latent_small
from jaxmicro.pipeline.conditions import Condition, Conditions, conditions_of, constant_features
from jaxmicro.pipeline.design import Design, Effect, design
from jaxmicro.pipeline.design_constraints import constrained_in_design
from jaxmicro.pipeline.estimators import check_r_max
from jaxmicro.pipeline.evaluate import evaluate
from jaxmicro.pipeline.exact_features import meet_features
from jaxmicro.pipeline.feasibility import check_feasible
from jaxmicro.pipeline.fitting import (
    AUTOENCODER,
    AUTOENCODER_FINE_TUNING,
    FINE_TUNING,
    FROM_SCRATCH,
    check_training,
    train_on,
)
from jaxmicro.pipeline.fitting_collection import (
    AUTOENCODER_3D,
    COLLECTION_FINE_TUNING,
    DENOISER,
    PREDICTOR,
    check_collection,
    collection_network,
)
from jaxmicro.pipeline.generate import generate
from jaxmicro.pipeline.generated import Exact, Generated, exact_targets, example_targets, notes
from jaxmicro.pipeline.generation import default_generation, generate_labels
from jaxmicro.pipeline.measure import measure
from jaxmicro.pipeline.measure_collection import measure_collection
from jaxmicro.pipeline.novelty import changed_statistics, compared_with_training, training_parts
from jaxmicro.pipeline.pooling import pooled, pooled_numbers
from jaxmicro.pipeline.prior import Material, Prior, check_of_planes, with_statistics
from jaxmicro.pipeline.prior_files import (
    bundled,
    bundled_micrograph,
    general_prior,
    load_prior,
    prior_path,
    save_prior,
)
from jaxmicro.pipeline.process_distribution import process_of
from jaxmicro.pipeline.progress import Progress
from jaxmicro.pipeline.reconstruct import reconstruct
from jaxmicro.pipeline.restoration import Restored, restore
from jaxmicro.pipeline.sample_properties import Film, check_film, chosen_features, measurable_features
from jaxmicro.pipeline.sampling import default_sampling, sample_images, sampling_config
from jaxmicro.pipeline.simulate import Simulated, simulate
from jaxmicro.pipeline.simulation_config import Range, SimulationConfig, check_room
from jaxmicro.pipeline.simulation_plan import SimulationPlan, plan_simulation
from jaxmicro.pipeline.target_statistics import constrained_statistics, scattered_fractions, target_fractions
from jaxmicro.pipeline.targets import crop_values, length_unit_of, read_targets, residual
from jaxmicro.pipeline.train import train
from jaxmicro.pipeline.transport import TransportField, diffusivities, transport
from jaxmicro.pipeline.tuning import tune_correlation
from jaxmicro.reconstruct import SamplingConfig
from jaxmicro.train import TrainConfig

__all__ = [
    "AUTOENCODER",
    "AUTOENCODER_3D",
    "AUTOENCODER_FINE_TUNING",
    "COLLECTION_FINE_TUNING",
    "CURVES",
    "DENOISER",
    "FINE_TUNING",
    "FROM_SCRATCH",
    "Film",
    "PER_LENGTH",
    "PREDICTOR",
    "QUANTITIES",
    "Condition",
    "Conditions",
    "Design",
    "DistillationConfig",
    "Effect",
    "Exact",
    "Generated",
    "GenerationConfig",
    "LengthUnit",
    "Material",
    "Prior",
    "Restored",
    "PriorConfig",
    "Progress",
    "Range",
    "SamplingConfig",
    "Simulated",
    "SimulationConfig",
    "SimulationPlan",
    "Target",
    "TargetSpec",
    "TrainConfig",
    "TransportField",
    "UNetConfig",
    "bundled",
    "bundled_micrograph",
    "changed_statistics",
    "check_collection",
    "check_feasible",
    "check_film",
    "chosen_features",
    "check_of_planes",
    "check_r_max",
    "check_room",
    "check_training",
    "collection_network",
    "compared_with_training",
    "conditions_of",
    "constant_features",
    "constrained_in_design",
    "constrained_statistics",
    "crop_values",
    "default_generation",
    "default_sampling",
    "design",
    "diffusivities",
    "directions",
    "evaluate",
    "exact_targets",
    "exact_value",
    "exact_values_of_planes",
    "example_targets",
    "general_prior",
    "generate",
    "generate_labels",
    "latent_paper",
    "latent_small",
    "length_unit_of",
    "load_prior",
    "measurable_features",
    "measure",
    "measure_collection",
    "meet_features",
    "notes",
    "parse_target",
    "plan_simulation",
    "pooled",
    "pooled_numbers",
    "prior_path",
    "process_of",
    "read",
    "read_images",
    "read_targets",
    "reconstruct",
    "restore",
    "residual",
    "sample_images",
    "sampling_config",
    "save_prior",
    "scattered_fractions",
    "simulate",
    "target_fractions",
    "train",
    "train_on",
    "training_parts",
    "transport",
    "tune_correlation",
    "with_statistics",
    "write",
]
