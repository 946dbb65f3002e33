"""Wrong pixels of restored images, beside tuned filters: `python -m experiments.restoration.run`.

Images are corrupted, and restored by the bundled general priors, which saw synthetic media only, and by filters whose
size is tuned on one half of each image; all are judged on the other half. The corruption is known to all of them.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float, UInt8
from scipy import ndimage

from experiments.machine import describe
from experiments.materials import micrograph
from experiments.tables import as_text, markdown_table, write_rows, write_table
from jaxmicro import data, pipeline
from jaxmicro.evaluate import restoration_scores
from jaxmicro.pipeline import Prior

HERE = Path(__file__).parent
MATERIALS = "carbonate", "sofc"
CORRUPTIONS: dict[str, data.Corruption] = {
    **{f"flips {p:g}": data.SaltAndPepper(probability=p) for p in (0.05, 0.15, 0.3)},
    "grid": data.Grid(),
    "rings": data.FrequencyRings(),
    "curtaining": data.Curtaining(),
    "charging": data.ChargingStreaks(),
    "rim": data.Rim(),
    "scale bar": data.ScaleBar(phase=0),
}
EDGE = 512  # of the part of a larger image that is restored
SIZES = 3, 5, 7, 9, 11
DEVIATIONS = 0.5, 0.7, 1.0, 1.4, 2.0, 2.8
STEPS, DRAWS = 16, 4  # of the sampled restorations
COLUMNS = {
    "material": "Material", "corruption": "Corruption", "observed": "Observed", "median": "Median",
    "gaussian": "Gaussian", "prior": "Prior, one evaluation", "sampled": f"Prior, {DRAWS} draws of {STEPS}",
    "fraction": "Fraction", "interface": "Interface", "calibration": "Calibration",
}  # fmt: skip


def main() -> None:
    """Restore, and write the table."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    found = []
    for material in MATERIALS:
        image = micrograph(material)
        labels, phases = image.labels[:EDGE, :EDGE], image.phases
        for row in rows(labels, phases, pipeline.load_prior(f"general_{phases}phase"), CORRUPTIONS):
            found.append({"material": material, **row, **describe()})
            print(", ".join(f"{key} {as_text(row[key])}" for key in row), flush=True)
    write_rows(HERE / "results.csv", found)
    text = [{key: as_text(value) for key, value in row.items()} for row in found]
    write_table(HERE / "README.md", "table", markdown_table(text, COLUMNS))


def rows(
    labels: UInt8[np.ndarray, "h w"], phases: int, prior: Prior, corruptions: dict[str, data.Corruption]
) -> Iterator[dict[str, object]]:
    """Share of wrong pixels of each method and corruption; of the prior's one evaluation also the largest error of a
    fraction, the relative error of the interface, and how far probabilities are from frequencies."""
    middle = labels.shape[1] // 2
    tuning, judged = labels[None, :, :middle], labels[None, :, middle:]
    for number, (name, corruption) in enumerate(corruptions.items()):
        key = jax.random.key(number)
        known, observed = (
            np.asarray(corruption.apply(part, phases=phases, key=jax.random.fold_in(key, i)))
            for i, part in enumerate((tuning, judged))
        )
        evidence_known, evidence = (
            np.asarray(corruption.log_likelihood(part, phases=phases, clean=tuning)) for part in (known, observed)
        )
        restored = pipeline.restore(prior, evidence)
        sampled = pipeline.restore(prior, evidence, steps=STEPS, draws=DRAWS)
        scores = restoration_scores(judged, restored.probabilities)
        yield {
            "corruption": name,
            "observed": wrong(judged, observed),
            "median": tuned(median, SIZES, (tuning, known), (judged, observed)),
            "gaussian": tuned(smoothed, DEVIATIONS, (tuning, evidence_known), (judged, evidence)),
            "prior": scores["wrong"],
            "sampled": wrong(judged, sampled.labels),
            **{key: scores[key] for key in ("fraction", "interface", "calibration")},
        }


def tuned(method: Callable, settings: tuple, tuning: tuple, judged: tuple) -> float:
    """Share of wrong pixels with the setting that is best on other images; each is the truth and what is filtered."""
    best = min(settings, key=lambda setting: wrong(tuning[0], method(tuning[1], setting)))
    return wrong(judged[0], method(judged[1], best))


def median(labels: UInt8[np.ndarray, "n h w"], size: int) -> UInt8[np.ndarray, "n h w"]:
    """Median of a square of pixels."""
    return ndimage.median_filter(labels, size=(1, size, size))


def smoothed(evidence: Float[np.ndarray, "n h w p"], deviation: float) -> UInt8[np.ndarray, "n h w"]:
    """Phase of the largest log likelihood, summed with Gaussian weights: a majority filter where flips are alike."""
    return ndimage.gaussian_filter(evidence, (0, deviation, deviation, 0)).argmax(axis=-1).astype(np.uint8)


def wrong(truth: np.ndarray, found: np.ndarray) -> float:
    """Share of wrong pixels."""
    return float(np.mean(truth != found))


if __name__ == "__main__":
    main()
