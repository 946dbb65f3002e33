"""Evaluation: how close generated volumes are to the micrograph, and to the true volume where there is one."""

from jaxmicro.evaluate.compare import check_comparable, compare
from jaxmicro.evaluate.findings import summarise, warnings
from jaxmicro.evaluate.memorisation import memorisation
from jaxmicro.evaluate.metrics import error_rate, normalised_two_point, relative_area_error, shape_error
from jaxmicro.evaluate.report import report_html
from jaxmicro.evaluate.representativity import integral_range, representativity, standard_error
from jaxmicro.evaluate.scatter import fraction_covariance, phase_covariance
from jaxmicro.evaluate.statistics import slice_statistics

__all__ = [
    "check_comparable",
    "compare",
    "error_rate",
    "fraction_covariance",
    "integral_range",
    "memorisation",
    "normalised_two_point",
    "phase_covariance",
    "relative_area_error",
    "report_html",
    "representativity",
    "shape_error",
    "slice_statistics",
    "standard_error",
    "summarise",
    "warnings",
]
