"""Evaluation: differences between generated volumes and the micrograph, or the true volume where there is one."""

from jaxmicro.evaluate.compare import check_comparable, compare, sub_volumes
from jaxmicro.evaluate.fidelity import grey, mean_absolute_error, peak_signal_to_noise, structural_similarity
from jaxmicro.evaluate.findings import directions, micrograph_directions, summarise, warnings
from jaxmicro.evaluate.generated_report import generated_html
from jaxmicro.evaluate.independent import CONSTRAINABLE, chord_distance, independent
from jaxmicro.evaluate.memorisation import memorisation
from jaxmicro.evaluate.metrics import error_rate, normalised_two_point, relative_area_error, shape_error
from jaxmicro.evaluate.novelty import Symmetry, copies, diversity, nearest_samples, two_point_along
from jaxmicro.evaluate.overview import held_table, independent_table, overview, truth_table, yardstick
from jaxmicro.evaluate.report import report_html
from jaxmicro.evaluate.representativity import integral_range, representativity, standard_error
from jaxmicro.evaluate.restoration import restoration_scores
from jaxmicro.evaluate.scatter import fraction_covariance, phase_covariance
from jaxmicro.evaluate.slice_map import code_summary, consecutive_distance, flat_map
from jaxmicro.evaluate.statistics import mean_lineal_path, slice_statistics

__all__ = [
    "CONSTRAINABLE",
    "Symmetry",
    "check_comparable",
    "chord_distance",
    "code_summary",
    "compare",
    "consecutive_distance",
    "copies",
    "directions",
    "diversity",
    "error_rate",
    "flat_map",
    "fraction_covariance",
    "grey",
    "held_table",
    "independent",
    "independent_table",
    "integral_range",
    "mean_absolute_error",
    "mean_lineal_path",
    "memorisation",
    "micrograph_directions",
    "nearest_samples",
    "normalised_two_point",
    "overview",
    "peak_signal_to_noise",
    "phase_covariance",
    "relative_area_error",
    "generated_html",
    "report_html",
    "representativity",
    "restoration_scores",
    "shape_error",
    "slice_statistics",
    "standard_error",
    "structural_similarity",
    "sub_volumes",
    "summarise",
    "truth_table",
    "two_point_along",
    "warnings",
    "yardstick",
]
