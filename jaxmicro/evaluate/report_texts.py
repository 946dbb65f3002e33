"""Fixed parts of the report page: captions of figures, meaning of the terms, style sheet."""

CAPTIONS = {
    "generated": (
        "Generated samples",
        "The middle plane normal to x of each sample, z downwards (of images the image); in the legend the fractions "
        "of the whole samples.",
    ),
    "asked_and_measured": (
        "Asked and measured",
        "Each dot is a sample, the dashed line what was asked; grey is the range of 98 of 100 training samples.",
    ),
    "process": (
        "Process parameters",
        "Distribution of the parameters that would make the samples: each by itself, and in pairs. A ridge means that "
        "one parameter can be traded for the other.",
    ),
    "slices": (
        "Planes of the first volume",
        "Planes normal to the three axes, beside crops of the micrograph at the same scale. They should look alike: "
        "same "
        "shapes, no specks, stripes or seams.",
    ),
    "rendering": ("The first volume in 3D", "All phases on the faces of the box, then the surface of single phases."),
    "correlations": (
        "Correlation functions",
        "Two-point correlation (both ends of a distance in the phase) and lineal path (the whole segment in the "
        "phase), "
        "averaged over the planes normal to the three axes. Coloured band: one standard deviation over the volumes. "
        "Grey "
        "band: scatter of small crops of the micrograph.",
    ),
    "errors": (
        "Errors against the micrograph",
        "Bars: mean of the volumes. Dots: each volume. Dashed: how well the micrograph knows its material (nine of ten "
        "micrographs of this size are closer to it): errors below say nothing about the material.",
    ),
    "directions": ("Directions", "The same functions along each direction; in an isotropic medium the lines coincide."),
    "true_volume": ("Against the true volume, in 3D", "Grey band: range of parts of the true volume of the same size."),
    "memorisation": (
        "Nearest part of the micrograph",
        "Distance of generated planes to the most similar part of the micrograph, over all shifts, turns and "
        "reflections, "
        "beside the same for the micrograph's own separate parts. Patches with hardly any structure count as 1. The "
        "dashed limit is a quantile: of 100 volumes that copy nothing, at most one has a patch closer than that.",
    ),
    "design": (
        "A volume designed from the first",
        "Middle planes of the reconstruction and of the design, and the targets.",
    ),
    "training": ("Training", "Loss against training step."),
}
GLOSSARY = (
    (
        "two-point correlation S2(r)",
        "probability that both ends of a line of length r lie in the phase; S2(0) is its fraction",
    ),
    ("lineal path L(r)", "probability that the whole line lies in the phase: how far it extends without interruption"),
    ("error rate", "area between two curves over the area under the curve of the micrograph, in percent"),
    (
        "shape error",
        "mean difference of the normalised two-point correlations (S2 - phi^2) / (phi - phi^2), without unit",
    ),
    ("surface area ratio", "boundary of the phase per area in the planes of the volumes, over that in the micrograph"),
    (
        "percolating",
        "share of the phase in clusters that connect two opposite faces of the volume, mean of three directions",
    ),
    (
        "slice to slice",
        "change of the fraction from one slice to the next, over that of a material that has the S2 of the planes "
        "and looks alike in all directions: about 1, with a scatter of a sixth between volumes of 32 x 32 x 32 voxels "
        "and less between larger ones. Far from 1 planes do not fit together; that they do, 1 alone does not prove",
    ),
    (
        "Euler density",
        "in planes clusters less holes, in 3D clusters less tunnels plus cavities, over the area or volume (voxels are "
        "connected that share an edge, in 3D a face); the two-point correlation does not fix it",
    ),
    (
        "clusters and specks",
        "connected parts of a phase in square windows of planes; a speck has fewer pixels than a square of a quarter "
        "of the mean chord, at least four, and does not touch the border of its window",
    ),
    (
        "chord lengths, distance",
        "how much the pieces of straight lines inside the phase differ in length on average, the shortest beside the "
        "shortest and the longest beside the longest",
    ),
    (
        "what scatter explains",
        "what crops of the micrograph (at the volume fractions of the volumes) and the independent planes of the "
        "volumes would differ by, if both were one material: exceeded by any of these numbers in one of twenty reports",
    ),
    (
        "D_eff / D_0, tortuosity factor",
        "effective diffusivity of the phase with all others blocked, by finite volumes, and volume fraction over it: "
        "between opposite faces with tight sides or, where it says periodic, of the periodic medium, which "
        "does not depend on where it is cut; infinite where a volume does not conduct, and then so is the mean",
    ),
    (
        "95 % range",
        "two standard errors of the micrograph's volume fraction, from the integral of its correlation up to the first "
        "zero (integral range)",
    ),
    (
        "known within",
        "error of the micrograph's number against that of its material which nine micrographs of this size in ten do "
        "not exceed, estimated from the micrograph's own differences between its parts",
    ),
)
TWO_YARDSTICKS = (
    "The 95 % range and what the fraction is known within are two estimates of the same error. The 95 % range is two "
    "standard errors from the integral of the correlation up to its first zero; it leaves negative correlations out "
    "and so errs on the safe side. Known within is the 90 % quantile from differences between parts of the "
    "micrograph, as for the other statistics. Of the same standard error it would be 0.93 of the range (1.86, "
    "Student's t with 8 degrees of freedom, over 2); it fixes that only within 25 %, and where correlations are "
    "negative it is smaller, so that half of the range occurs. Plan the size of an image by the first, judge errors "
    "of volumes by the second."
)
STYLE = """
:root { color-scheme: light dark; --ink: #1c2126; --soft: #5b6570; --page: #ffffff; --card: #f4f6f8; --line: #d5dbe1;
  --warn: #fff4dc; --warnline: #ddaa33; --good: #e8f3ec; --goodline: #228833; --out: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaee; --soft: #a3adb8; --page: #15191d; --card: #1f252b;
  --line: #39424b; --warn: #3a2f14; --good: #16301e; --out: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 70rem; padding: 2rem 1.2rem 4rem; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; padding-top: .4rem; border-top: 1px solid var(--line); }
p.lead { color: var(--soft); margin: 0 0 1.2rem; }
ul { padding-left: 1.2rem; } li { margin: .3rem 0; }
.box { padding: .6rem 1.1rem; border-left: 4px solid var(--line); background: var(--card); border-radius: 4px;
  margin: 1rem 0; }
.warn { background: var(--warn); border-color: var(--warnline); } .good { background: var(--good);
  border-color: var(--goodline); }
figure { margin: 1.2rem 0; } figcaption { color: var(--soft); font-size: .92rem; margin-top: .4rem; }
figure img { width: 100%; height: auto; background: #fff; border: 1px solid var(--line); border-radius: 6px;
  padding: .5rem; }
.pair { display: flex; flex-wrap: wrap; gap: 0 2.5rem; align-items: flex-start; }
.pair h2 { border: 0; margin: 1rem 0 .3rem; font-size: 1.05rem; } .pair + p { margin-top: .4rem; font-size: .92rem; }
.pair table { font-size: .82rem; } .pair th, .pair td { padding: .3rem .45rem; }
.pair td:first-child { white-space: normal; max-width: 11rem; } .pair td[colspan] { text-align: center; }
td.out { color: var(--out); font-weight: 700; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .93rem; }
th, td { padding: .35rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; } th:first-child, td:first-child { text-align: left; }
dt { font-weight: 600; } dd { margin: 0 0 .5rem; color: var(--soft); }
details { margin: 1rem 0; } summary { cursor: pointer; font-weight: 600; }
pre { background: var(--card); padding: .8rem; border-radius: 6px; overflow-x: auto; font-size: .85rem; }
@media print { body { max-width: none; padding: 0; } figure, table { break-inside: avoid; } }
"""
