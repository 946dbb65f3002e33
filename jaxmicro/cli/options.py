"""The options of every verb, as frozen dataclasses; --help prints their docstrings.

Plain types only and no import of JAX, which would delay the help. Verb `train` is run by `jaxmicro.cli.train.run`.

One file: most of it is help text, and verbs share groups of options.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg
from tyro.constructors import PrimitiveConstructorSpec

from jaxmicro.errors import UserError

# Options that may be left out; their help texts state the default.
MaybeInt = Annotated[int | None, arg(metavar="N", help_behavior_hint="")]
MaybeFloat = Annotated[float | None, arg(metavar="X", help_behavior_hint="")]
MaybeStr = Annotated[str | None, arg(metavar="TEXT", help_behavior_hint="")]
MaybePath = Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="")]
# On by default; --help shows --no-NAME, and the help text describes the effect of that.
Switch = Annotated[bool, arg(help_behavior_hint="")]


def share(text: str) -> float:
    """A share of 1, from a number or a percentage.

    >>> share("0.4"), share("40%")
    (0.4, 0.4)
    """
    return float(text.strip().removesuffix("%")) / (100 if text.strip().endswith("%") else 1)


Share = Annotated[
    float,
    PrimitiveConstructorSpec(
        1, "F", lambda words: share(words[0]), lambda it: isinstance(it, float), lambda it: [str(it)]
    ),
]

# Ranges of integers that are not checked elsewhere. JAX takes seeds modulo 2^32: larger ones would repeat smaller ones.
BOUNDS = {"seed": (0, 2**31 - 3), "volumes": (1, 10_000), "together": (1, 10_000), "rounds": (1, 1000)}
BOUNDS |= {"r_max": (-(2**31), 2**31), "runs": (1, 100_000), "times": (1, 10_000), "max_steps": (1, 2**31 - 1)}
BOUNDS |= {"count": (1, 100_000)}


def check_bounds(options: Any) -> None:
    """Check integer options against BOUNDS.

    Raises:
        UserError: an option is out of its range.
    """
    for name, (least, most) in BOUNDS.items():
        value = getattr(options, name, None)
        if isinstance(value, int) and not least <= value <= most:
            raise UserError(f"--{name.replace('_', '-')} is {value}; expected {least} to {most}")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Of every verb that writes a run folder."""

    out: MaybePath = None
    """Folder to write; it must not exist yet, or be empty. Default: runs/VERB-NAME, with a number if that is taken."""
    seed: int = 0
    """Number, zero or more, that fixes all random choices: the same seed gives the same result."""
    quiet: bool = False
    """Print errors only."""
    resume: bool = False
    """Continue the interrupted run in the output folder."""


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """How to read an image or a volume.

    Phases are numbered from the darkest, as a viewer shows the image: 0 is black, whatever the file stores.
    """

    segment: MaybeInt = None
    """Split a grey image into this many phases by its histogram (multi-Otsu). Leave out for a segmented image."""
    merge_rare: Annotated[str | None, arg(metavar="SHARE", help_behavior_hint="")] = None
    """Give voxels of values rarer than this share (0.001 or 0.1%) to the phases around them: stray pixels, edges of a
    mask that was resampled."""
    ignore: Annotated[str | None, arg(metavar="VALUE", help_behavior_hint="")] = None
    """Value of voxels outside of the sample (several: 0,255; also nan, or #rrggbb in a colour image). A large box
    without them is read, because curves and diffusivities of other regions are not supported."""
    crop: Annotated[str | None, arg(metavar="A:B,A:B", help_behavior_hint="")] = None
    """Part to read, rows and columns (of a volume planes, rows, columns) from the first to before the second number, as
    in NumPy; 0:400,: is the first 400 rows, without a data bar below. Negative numbers count from the end; a number
    alone is one plane: 0,:,: is the first plane of a volume, as an image."""
    stack: Annotated[Literal["images", "volume"] | None, arg(metavar="{images,volume}", help_behavior_hint="")] = None
    """What the planes of a stack, or several files, are: separate images of one material (train and measure), or the
    slices of a volume. Default: a stack is a volume, files are images; a stack of unrelated planes is refused."""
    voxel_size: MaybeFloat = None
    """Edge of a pixel in --unit. Default: what the file says."""
    unit: MaybeStr = None
    """Unit of the voxel size: nm, um, mm ... Default: what the file says."""
    dataset: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None
    """Array to read of a file that holds several: HDF5, VTI, VTK, NPZ, a Zarr group."""
    shape: Annotated[tuple[int, ...], arg(metavar="Z Y X", help_behavior_hint="")] = ()
    """Edges of a .raw file, which has no header."""
    dtype: Annotated[str | None, arg(metavar="TYPE", help_behavior_hint="")] = None
    """Type of the numbers in a .raw file: uint8, uint16, float32 ...; >u2 for big-endian."""


@dataclass(frozen=True, kw_only=True)
class Train(RunOptions, ImageOptions):
    """Teach a network the look of a micrograph, or what a collection of samples says of their features.

    By default the bundled general prior for the same number of phases is fine-tuned, which takes minutes;
    --from-scratch starts from nothing and needs several times as long. One fifth of the image is held out to measure
    the loss on. Ctrl-C keeps what has been learned; --resume goes on with it. Bundled priors: BUNDLED.
    Of a collection (see 'simulate' and 'measure'; a folder of images or volumes with features.csv is one) the network
    learns the samples conditioned on their features, from scratch or from the prior of a collection (--start); whole
    runs are held out. 'generate' then makes samples that have given features.
    """

    micrograph: Annotated[Positional[tuple[Path, ...]], arg(metavar="MICROGRAPH ...", help_behavior_hint="(required)")]
    """Segmented image (PNG, TIFF ...), or a collection; several images of one material at one voxel size (one set of
    phases and thresholds for all), or a volume whose planes are used. Grey images need --segment.
    Phases are numbered from the darkest, as a viewer shows it."""
    features: Annotated[tuple[str, ...], arg(metavar="NAME ...", help_behavior_hint="")] = ()
    """Features of a collection to condition on, by name or the beginning of it (tortuosity, tortuosity.1). Default: all
    of its table."""
    phases: MaybeInt = None
    """Number of phases you expect; another number in the image is an error. Default: as many as the image has."""
    space: Annotated[Literal["pixel", "latent"] | None, arg(metavar="{pixel,latent}", help_behavior_hint="")] = None
    """Where the prior diffuses: the pixels themselves, or the code of an autoencoder that is trained first (MicroLad).
    Default: that of --start, else pixel."""
    steps: MaybeInt = None
    """Training steps. Default: 600 when fine-tuning, 1500 from scratch; of a collection 1500 and 4000."""
    vae_steps: MaybeInt = None
    """Training steps of the autoencoder of a latent prior. Default: 400 when fine-tuning, 1200 from scratch, 2000 of a
    collection."""
    predictor_steps: MaybeInt = None
    """Training steps of the predictor of the process parameters of a collection. Default: 1500."""
    latent_size: Literal[4, 8, 16] = 16
    """Edge of the code of a crop of 64 pixels, for a new latent prior."""
    paper: bool = False
    """Give a new latent prior the size of MicroLad's networks: for a GPU."""
    batch: MaybeInt = None
    """Crops of the image per step, of a collection samples. Default: 32; 8 samples (16 for the predictor)."""
    learning_rate: MaybeFloat = None
    """Peak step size of the optimiser (Muon). Default: 0.02 (0.01 for the predictor of a collection, and to fine-tune
    on one)."""
    minutes: MaybeFloat = None
    """Stop after this many minutes, wherever the training is (each of the two of a latent prior). Default: no limit."""
    start: MaybeStr = None
    """Fine-tune from this prior (name, run folder or .safetensors file) instead of the bundled general one, of which
    there is none in latent space. Of a collection one with the same features, phases and shape of samples."""
    from_scratch: bool = False
    """Start from random weights."""
    patch: int = 64
    """Edge in pixels of the training crops, when starting from scratch."""
    widths: Annotated[tuple[int, ...], arg(metavar="N N ...", help_behavior_hint="")] = ()
    """Channels of the network at each resolution, when starting from scratch. Default: the usual network."""
    symmetry: Literal["isotropic", "flips", "none"] = "isotropic"
    """Crops are turned and mirrored (isotropic), only mirrored (flips), or left as they are (none)."""
    tune: Switch = True
    """Leave two-point correlation, lineal path and interface of volumes to the network. Without this, three small
    pilot volumes are sampled after the training to tune constraints: a minute or two, in pixel space."""
    sample_every: int = 200
    """Steps between pictures of what has been learned; 0: only at the end."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a volume is sampled; None leaves the measured default."""

    steps: MaybeInt = None
    """Time steps of the reverse diffusion; more is slower and finer. Default: 40. Of a latent prior of the
    paper's size: 1000. Progress counts each round of a step, of which --harmonise adds some."""
    harmonise: MaybeInt = None
    """Extra rounds at each step that bring the predictions of the three directions into agreement. Default: 1. Of a
    latent prior of the paper's size: 0."""
    refine: MaybeInt = None
    """Rounds in which a decoded latent volume is encoded and decoded again along all axes. Default: 5."""
    periodic: Switch = True
    """Cut volumes from larger ones: any size, slower. Without this, volumes continue at their opposite faces."""
    sampler: Annotated[Literal["ddim", "dpm"] | None, arg(metavar="{ddim,dpm}", help_behavior_hint="")] = None
    """Step rule: ddim (ancestral), or dpm (second order). Default: ddim."""
    mode: Annotated[
        Literal["alternate", "average"] | None, arg(metavar="{alternate,average}", help_behavior_hint="")
    ] = None
    """One direction per step, or the mean of all three. Default: alternate."""
    together: int = 1
    """Volumes sampled at once: faster on a GPU, and takes more memory."""


@dataclass(frozen=True, kw_only=True)
class Reconstruct(RunOptions, Sampling):
    """Make 3D volumes whose sections along all three axes look like the micrograph.

    SOURCE is the run folder of 'jaxmicro train', a .safetensors file, or the name of a bundled prior: BUNDLED.
    Volumes are written as calibrated TIFF (opens as a stack in Fiji) and VTI (ParaView), each as soon as it is ready,
    with a report that compares them with the micrograph. Ctrl-C keeps finished volumes and the unfinished one's state.
    """

    source: Annotated[Positional[str], arg(metavar="SOURCE")]
    """Run folder of 'train', .safetensors file, or name of a bundled prior."""
    space: Annotated[Literal["pixel", "latent"] | None, arg(metavar="{pixel,latent}", help_behavior_hint="")] = None
    """Refuse a prior of the other space. Default: whatever SOURCE is."""
    size: Annotated[tuple[int, ...], arg(metavar="N | Z Y X")] = (64,)
    """Edge of a cube, or three edges z y x, in voxels."""
    volumes: int = 1
    """Number of volumes; number i is the same however many you ask for."""
    fractions: Annotated[tuple[Share, ...], arg(metavar="F F ...", help_behavior_hint="")] = ()
    """Volume fraction of each phase as a constraint, 0.4 or 40%. Default: those of the micrograph."""
    no_calibrate: bool = False
    """Leave the volume fractions to the prior instead of constraining them."""
    scatter: bool = False
    """Vary the volume fractions between volumes as they vary between pieces of the material of this size, in pairs of
    opposite deviations: an even number of volumes has the given fractions on average."""
    reference: MaybePath = None
    """Micrograph for the report. Default: the one the prior was trained on, if it is at hand."""
    formats: tuple[Literal["tif", "vti", "npz", "zarr"], ...] = ("tif", "vti")
    """File formats of the volumes."""
    no_report: bool = False
    """Write volumes only."""
    no_diffusivity: bool = False
    """Leave the diffusivities and tortuosity factors out of the report: seconds for 64 voxels a side, minutes and
    gigabytes for 256."""


@dataclass(frozen=True, kw_only=True)
class Generate(RunOptions):
    """Make samples that have given features, from a prior of a collection: volumes of asked fractions and tortuosity.

    MODEL is the run folder of 'jaxmicro train COLLECTION', a .safetensors file, or the name of a bundled prior. A
    target is NAME=VALUE with a name of the collection's table, such as volume_fraction.0=0.3 tortuosity.1.z=2.5 or a
    process parameter, chi=3; any subset may be given. Each sample is measured by the code that measures collections,
    and the distribution of the process parameters that would make it is reported. Targets outside of what the prior
    was trained on are refused with the range (exit code 2), and so are combinations that no training sample is near, or
    that no sample can have.
    Bundled priors: BUNDLED.
    """

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """Run folder of 'train' on a collection, .safetensors file, or name of a bundled prior."""
    target: Annotated[tuple[str, ...] | None, arg(metavar="NAME=VALUE ...", help_behavior_hint="")] = None
    """Features of the samples; all after one --target, or one after each. Default: none, samples as in the
    collection."""
    count: int = 4
    """Number of samples."""
    extrapolate: bool = False
    """Allow targets that the prior was not trained on."""
    steps: MaybeInt = None
    """Evaluations of the network for each sample; more is slower and finer. Default: 32."""
    guidance: MaybeFloat = None
    """Weight of the targets in the network's prediction (classifier-free guidance). Default: 1, as trained; more
    exaggerates them, at twice the time."""
    steer: MaybeInt = None
    """Steps of each prediction of the network towards tortuosity factors and diffusivities that are asked, by their
    slopes (diffusion is solved in each step). 0: the network alone, several times as fast and much farther off.
    Default: 3."""
    candidates: MaybeInt = None
    """Draws of each sample, of which the one is kept whose measured features are nearest to the targets; three more
    rounds draw as many near it. 8 take about 20 times as long as 1. Default: 1."""
    sampler: Annotated[Literal["ddim", "dpm"] | None, arg(metavar="{ddim,dpm}", help_behavior_hint="")] = None
    """Step rule: ddim (ancestral), or dpm (second order). Default: dpm."""
    exact: bool = False
    """Change voxels along interfaces until measured volume fractions, diffusivities, finite tortuosity factors and
    surface areas are what is asked, within 0.2 %. If some of these cannot be met, none is made worse, and the exit code
    is 3. Other targets are not looked at, and may change. The samples before are kept in the folder sampled/."""
    collection: Annotated[Path | None, arg(metavar="COLLECTION", help_behavior_hint="")] = None
    """The collection that MODEL was trained on, with which the samples are compared: are they copies, do they vary as
    much? Default: where the training found it, if it is still there."""
    together: MaybeInt = None
    """Samples in the network at once. Default: as many as have half a million voxels."""
    donor: MaybeInt = None
    """Label of the donor of a solar cell, so that GraSPI's descriptors of the samples are measured, too."""
    acceptor: MaybeInt = None
    """Label of the acceptor."""
    mixed: MaybeInt = None
    """Label of the mixed phase, if there is one."""
    formats: tuple[Literal["tif", "vti", "npz", "zarr"], ...] = ("tif", "vti")
    """File formats of the samples."""


@dataclass(frozen=True, kw_only=True)
class Design(RunOptions, Sampling):
    """Make 3D volumes that meet targets: more diffusivity along an axis, more interface, another phase fraction.

    A target is QUANTITY.PHASE[.AXIS]=VALUE, or with >= or <= (then in quotes). Quantities: diffusivity (D_eff / D_0 in
    3D, along an axis or the mean of all), tortuosity (volume fraction over that), volume_fraction, surface_area (per
    volume, by Crofton's formula), as means over sections relative_surface_area and slice_diffusivity, and the curves
    two_point and lineal_path. Values: a number, as 'measure' prints it (surface_area in 1 / unit of the voxel size, or
    as 0.002/nm, 0.13/voxel; shares also as 40%); a change of what the unguided volume or the micrograph has, +20%; max
    or min over crops of the micrograph; micrograph; a multiple, 2*max. Volume fractions and two-point correlation, and
    with it the interface area, are constrained to those of the micrograph (not with sds) unless a target is about them
    or --release names them. Each volume comes with its reconstruction without targets, and with the effect of the
    design on the other phases and axes. Diffusivity and tortuosity of a periodic volume are those of the medium
    wherever it is cut (the diagonal of its effective tensor); those between two faces are stated beside them. After
    each round the setpoints are corrected by what was missed. Targets that no medium can meet, or that contradict each
    other or a constraint, are refused (exit code 2); where a target is missed, everything is written and the exit code
    is 3. Bundled priors: BUNDLED.
    """

    source: Annotated[Positional[str], arg(metavar="SOURCE")]
    """Run folder of 'train', .safetensors file, or name of a bundled prior."""
    target: Annotated[tuple[str, ...], arg(metavar="TARGET ...")]
    """Targets of the volumes, for example diffusivity.0.z=+20% volume_fraction.1=0.3; all after one --target, or
    one after each."""
    names: Annotated[tuple[str, ...], arg(metavar="NAME ...", help_behavior_hint="")] = ()
    """Names of the phases in the order of their grey levels, to be used in targets: pore grey white."""
    method: Literal["guided", "sds"] = "guided"
    """Optimise interfaces and guide the sampling (guided), or distil a reconstructed volume as MicroLad does (sds)."""
    release: Annotated[tuple[Literal["two_point"], ...], arg(metavar="two_point", help_behavior_hint="")] = ()
    """Constraint to leave out: two_point, and with it the interface area, which the slope of S2 at 0 fixes. Needed to
    change the interface area by more than 10 %."""
    each_slice: bool = False
    """Targets of sections (volume_fraction, relative_surface_area, slice_diffusivity) are those of each section, not
    only of their mean. What is reported as achieved is the mean."""
    tolerance: float = 2.0
    """Deviation from a target at which it is met, in percent of it. A curve is met at an error rate of 1 %, two_point
    alone at 0.3 %. Bounds are kept to within the rounding of voxels (0.2 %)."""
    rounds: int = 4
    """Largest number of volumes to sample and measure for each design. The first may be the reconstruction with its
    interfaces optimised."""
    size: Annotated[tuple[int, ...], arg(metavar="N | Z Y X")] = (64,)
    """Edge of a cube, or three edges z y x, in voxels."""
    volumes: int = 1
    """Number of volumes; number i starts from the same random numbers as in 'reconstruct'."""
    sds_steps: MaybeInt = None
    """Gradient steps of --method sds. Default: 90."""
    sds_rate: MaybeFloat = None
    """Learning rate of --method sds. Default: 0.1."""
    sds_weight: MaybeFloat = None
    """Weight of the prior against the targets in --method sds. Default: 1."""
    reference: MaybePath = None
    """Micrograph for max, min and the report. Default: the one the prior was trained on, if it is at hand."""
    formats: tuple[Literal["tif", "vti", "npz", "zarr"], ...] = ("tif", "vti")
    """File formats of the volumes."""
    no_report: bool = False
    """Write volumes, their table and pictures only."""
    no_diffusivity: bool = False
    """Leave the diffusivities and tortuosity factors out of the report: seconds for 64 voxels a side, minutes and
    gigabytes for 256."""


@dataclass(frozen=True, kw_only=True)
class Simulate(RunOptions):
    """Make a collection of microstructures by simulated phase separation (spinodal decomposition).

    Each run starts from a mixture of mean composition phi with small random fluctuations and follows the Cahn-Hilliard
    equation, dphi/dt = div(M grad(f'(phi) - kappa lap phi)) + noise, with M0 = 1 and energies in kT per cell; its
    snapshots become samples with the process features phi, chi and time. By default f is Flory-Huggins', phi and chi
    fill 0.35 to 0.65 and 2.6 to 4 evenly, kappa is the least that resolves every interface (4 cells), and the times of
    a run go from the onset of its separation, by linear theory, to domains of about a third of the box. Times are in
    cell^2 / M0. Writes the collection (collection.zarr), the parameters and the course of one run as pictures, and a
    film of it. Ctrl-C waits for the run in work, and keeps all that are finished.
    """

    equation: Annotated[Positional[Literal["cahn-hilliard"]], arg(metavar="cahn-hilliard")]
    """What is simulated: phase separation by the Cahn-Hilliard equation."""
    size: Annotated[tuple[int, ...], arg(metavar="N | H W | Z Y X")] = (64,)
    """Edge of a cube, two edges of an image, or three of a volume, in cells; one voxel is one cell."""
    runs: MaybeInt = None
    """Number of runs; the parameters of run i are the same however many you ask for. Default: 64, or each combination
    of the given values once."""
    times: int = 50
    """Snapshots of each run, at times in geometric progression."""
    time_range: Annotated[str | None, arg(metavar="A:B", help_behavior_hint="")] = None
    """First and last time of every run. Default: of each run its own, see above."""
    phi: Annotated[tuple[str, ...], arg(metavar="A:B | X X ...", help_behavior_hint="")] = ()
    """Mean composition, between 0 and 1: a range, or values. Default: 0.35:0.65."""
    chi: Annotated[tuple[str, ...], arg(metavar="A:B | X X ...", help_behavior_hint="")] = ()
    """Interaction parameter of Flory-Huggins; a mixture of phi 0.5 separates above 2. Default: 2.6:4."""
    energy: Literal["flory-huggins", "polynomial"] = "flory-huggins"
    """Free energy of mixing: phi ln(phi) / n1 + (1 - phi) ln(1 - phi) / n2 + chi phi (1 - phi), or
    5 (phi - low)^2 (high - phi)^2."""
    chain_lengths: Annotated[tuple[float, float], arg(metavar="N1 N2")] = (1.0, 1.0)
    """n1 and n2 of Flory-Huggins."""
    wells: Annotated[tuple[float, float], arg(metavar="LOW HIGH")] = (0.3, 0.7)
    """Low and high of the polynomial; phi then fills its middle by default."""
    mobility: Literal["constant", "degenerate"] = "constant"
    """M = M0, or M = M0 phi (1 - phi), with which separated domains grow much more slowly."""
    kappa: MaybeFloat = None
    """Gradient coefficient, in kT per cell x cell^2. Default: the least at which all interfaces span 4 cells; 11.5 for
    chi up to 4."""
    noise: float = 0.0
    """Thermal noise: its temperature in units of f x cell. 0: none."""
    no_flux: Annotated[tuple[Literal["z", "y", "x"], ...], arg(metavar="AXIS ...", help_behavior_hint="")] = ()
    """Axes that end at walls which no flux crosses, such as z for a film. Others are periodic."""
    phases: Literal[2, 3] = 2
    """Poor and rich, or three, with the mixed interface between them."""
    threshold: MaybeFloat = None
    """Composition that parts two phases. Default: 0.5, or the middle of the wells."""
    band: Annotated[tuple[float, float] | None, arg(metavar="LOW HIGH", help_behavior_hint="")] = None
    """Compositions between which the middle one of three phases lies. Default: 0.3 0.7, or so between the wells."""
    voxel_size: MaybeFloat = None
    """Edge of a cell in --unit. Default: unknown."""
    unit: MaybeStr = None
    """Unit of the voxel size: nm, um, mm ..."""
    together: int = 1
    """Runs computed at once: faster on a GPU, and takes more memory. Other numbers change the rounding of a run."""
    amplitude: float = 0.01
    """Standard deviation of the fluctuations that a mixture starts with."""
    max_steps: int = 200_000
    """Time steps after which a run is given up with an error."""


@dataclass(frozen=True, kw_only=True)
class Measure(ImageOptions):
    """Measure volume fractions, surface areas, chord lengths, percolation, correlations and diffusivities.

    Prints tables, or with --json one JSON object and nothing else. Mean chord length, two-point correlation S2 and
    lineal path are given along each axis. Lengths are in the unit of the file, or in voxels where it says none;
    correlations are estimated from the window, also of a periodic volume (evaluate takes all of its pairs). Areas per
    volume are by Crofton's formula, within 1 % for spheres where voxel faces (in the JSON) make 50 % more and marching
    cubes 9 %; planes along the grid read 7 %, in images straight edges along it 5 % low. Radial S2 at r is the mean of
    a shell, which at 1 has a mean radius of 1.28 voxels in 3D and 1.21 in 2D: the JSON has the lags, and names the
    estimator and unit of every number.
    Diffusivities are those of one phase with all others blocked, relative to the phase's own, by two discretisations:
    finite volumes (as taufactor's) bound that of the voxels from below, finite elements from above; a wide gap says
    that the voxels are too coarse. Along an axis that a phase does not connect its diffusivity is 0. They are those
    between two opposite faces with tight sides; the effective tensor is that of the medium repeated periodically: of a
    periodic volume, what does not depend on where it is cut, and what designs are judged by.

    Of a collection (many samples of one shape with a table of features, docs/formats.md) every sample is measured, and
    the numbers are added to it as columns: volume_fraction.P, surface_area.P, and along each axis
    percolating_fraction.P.z, diffusivity.P.z and tortuosity.P.z (inf where not connected), by finite volumes between
    two faces; with --donor and --acceptor also GraSPI's descriptors of solar cells. Ctrl-C keeps what was measured; the
    same command goes on with it.
    """

    file: Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE ...", help_behavior_hint="(required)")]
    """Image or volume (PNG, TIFF, VTI, MHA, NRRD, HDF5, Zarr ...), or the folder or 'pattern*.png' of its slices; of
    several a row for each, and all together. Phases are numbered from the darkest, as a viewer shows it (0 is black,
    also where the file stores white as 0). Or a collection."""
    r_max: MaybeInt = None
    """Largest distance of the curves, in voxels. Default: 32, or half the shortest edge if that is less."""
    diffusivity: Literal["volumes", "always", "never"] = "volumes"
    """Solve for diffusivities: of volumes only, of images too, or never (it takes seconds to minutes)."""
    json: bool = False
    """Print one JSON object with all numbers and curves."""
    out: MaybePath = None
    """Also write a folder with measure.json, pictures of the phases and of the concentration, and its fields as VTI.
    Of a collection that is a folder with features.csv, or HDF5: the new Zarr folder to which it is copied."""
    features: Annotated[tuple[str, ...], arg(metavar="NAME ...", help_behavior_hint="")] = ()
    """Of a collection: features to measure, or beginnings of their names: tortuosity, diffusivity.1, CT_f. Default: all
    that it does not have."""
    donor: MaybeInt = None
    """Of a collection: label of the donor of a solar cell, whose film normal is the first axis, the anode last."""
    acceptor: MaybeInt = None
    """Of a collection: label of the acceptor."""
    mixed: MaybeInt = None
    """Of a collection: label of the mixed phase, if there is one."""
    replace: bool = False
    """Of a collection: measure again what it has already."""
    quiet: bool = False
    """Print the result and errors only."""
    resume: bool = False
    """Write into --out although it exists, if it holds the same measurement."""


@dataclass(frozen=True, kw_only=True)
class Evaluate(RunOptions, ImageOptions):
    """Compare volumes with their micrograph, and with a true volume where there is one.

    Statistics that were constraints (volume fractions, two-point correlation, lineal path, interface area) beside those
    that were not (Euler density, clusters, specks, chords, triple points, each with the scatter of the micrograph's
    crops; in 3D diffusivities, tortuosity factors, percolation), a check that the volumes do not copy the micrograph,
    and how representative the micrograph itself is. Constraints are known of volumes in the run folder of 'reconstruct'
    or 'design'.
    S2 is radial in sections (all pairs of periodic volumes, else those in the window); surface areas are edges of
    pixels in sections, of which only the ratio to the micrograph's means something. Writes evaluation.json, figures and
    report.html, one file that opens in any browser.
    """

    volumes: Annotated[Positional[tuple[Path, ...]], arg(metavar="VOLUME ...", help_behavior_hint="(required)")]
    """Volume files, or run folders of 'reconstruct'."""
    reference: Path
    """The micrograph."""
    true_volume: MaybePath = None
    """A measured volume of the same material, to compare with in 3D."""
    r_max: int = 32
    """Largest distance of the curves, in voxels; at most half the shortest edge is used."""
    no_diffusivity: bool = False
    """Leave the diffusivities and tortuosity factors out of the report: seconds for 64 voxels a side, minutes and
    gigabytes for 256."""


@dataclass(frozen=True, kw_only=True)
class Export(ImageOptions):
    """Convert a volume or a micrograph: the ending of TARGET says to what.

    .tif: ImageJ stack, opens in Fiji. .ome.tif: OME-TIFF. .vti: ParaView. .mha, .nrrd: ITK, 3D Slicer. .h5: HDF5. .npz:
    NumPy. .zarr: chunked, for large volumes. .ome.zarr: with coarser levels, for napari. Voxel size and unit travel
    along. .png: an image; .npy: labels only; .stl: the surface of a phase. .safetensors: the trained network of a run
    folder of 'train', in one file. What is read, and what each format carries: docs/formats.md.
    """

    source: Annotated[Positional[Path], arg(metavar="SOURCE")]
    """Image or volume file, folder or pattern of slices, or run folder (then its first volume)."""
    target: Annotated[Positional[Path], arg(metavar="TARGET")]
    """File to write."""
    resample: Annotated[str | None, arg(metavar="SIZE", help_behavior_hint="")] = None
    """Make voxels cubic with this edge: 0.1 in the unit of the file, or 100nm. Each phase is interpolated linearly and
    the largest decides, so that no new values arise; by how much volume fractions and interface areas moved is
    printed."""
    phase: MaybeInt = None
    """Phase whose surface an STL holds. Default: 1, if there are two."""
    overwrite: bool = False
    """Replace TARGET if it exists."""
    quiet: bool = False
    """Print errors only."""


@dataclass(frozen=True, kw_only=True)
class Demo(RunOptions, Sampling):
    """Reconstruct a fuel-cell electrode in 3D, design one whose pores conduct better, and compare with the micrograph.

    With the bundled micrograph and prior. The design is the same volume with 20 % more diffusivity along z. Takes two
    to three minutes on two processor cores and writes a folder with the volumes, pictures and report.html.
    """

    size: Annotated[tuple[int, ...], arg(metavar="N | Z Y X")] = (64,)
    """Edge of a cube, or three edges z y x, in voxels."""
    volumes: int = 1
    """Number of volumes."""
