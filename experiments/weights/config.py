"""Every model: its data, what it starts from, how long it trains."""

from dataclasses import dataclass, replace

from jaxmicro.models import PriorConfig, UNetConfig, latent_small
from jaxmicro.train import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One model."""

    data: str  # key of `media.sources`
    phases: int
    start: str | None  # recipe to fine-tune; None: from scratch
    steps: int  # updates
    batch: int = 32  # crops per update
    seed: int = 0  # of the crops, the noise and (from scratch) the initial parameters
    space: str = "pixel"  # or "latent": an autoencoder and the diffusion of its code
    publish_as: str | None = None  # name among the weights that come with jaxmicro; None: not bundled


# Steps, in one place. One update of 32 crops takes 0.4 s on two CPU cores.
PRIOR3, PRIOR2, LONG, MIDDLE, SHORT = 1500, 1200, 800, 500, 400

RECIPES: dict[str, Recipe] = {
    # General priors. They see none of the five evaluated materials: see README.md.
    "prior2": Recipe(data="general2", phases=2, start=None, steps=PRIOR2, publish_as="general_2phase"),
    "prior3": Recipe(data="general3", phases=3, start=None, steps=PRIOR3, publish_as="general_3phase"),
    "latent2": Recipe(data="general2", phases=2, start=None, steps=PRIOR2, space="latent"),
    "latent3": Recipe(data="general3", phases=3, start=None, steps=PRIOR3, space="latent"),
    # One micrograph each.
    "sofc": Recipe(data="sofc", phases=3, start="prior3", steps=LONG, publish_as="sofc"),
    "nmc": Recipe(data="nmc", phases=3, start="prior3", steps=LONG),
    "composite": Recipe(data="composite", phases=3, start="prior3", steps=LONG),
    "carbonate": Recipe(data="carbonate", phases=2, start="prior2", steps=MIDDLE, publish_as="carbonate"),
    "berea": Recipe(data="berea", phases=2, start="prior2", steps=MIDDLE),
    # Planes along three axes of the first part of a true volume; the last 128 planes along z are never seen.
    "berea3d": Recipe(data="berea3d", phases=2, start="prior2", steps=SHORT),
    "nmc3d": Recipe(data="nmc3d", phases=3, start="prior3", steps=MIDDLE),
    # P-Micro3Diff cases I and II.
    "spheres": Recipe(data="spheres", phases=2, start="prior2", steps=SHORT),
    "grains": Recipe(data="grains", phases=2, start="prior2", steps=SHORT),
}


@dataclass(frozen=True, kw_only=True)
class WeightsConfig:
    """What all recipes share."""

    from_scratch: TrainConfig = TrainConfig(
        learning_rate=1e-3, warmup=100, ema_decay=0.99, save_every=250, evaluate_every=250
    )
    fine_tuning: TrainConfig = TrainConfig(
        optimiser="muon", learning_rate=0.02, warmup=30, ema_decay=0.99, save_every=250, evaluate_every=250
    )
    unet: UNetConfig = UNetConfig()
    patch: int = 64  # edge of the crops, pixels
    validation: float = 0.2  # share of each source that is held out
    media_count: int = 400  # synthetic images in the data of a general prior
    media_size: int = 128  # their edge, pixels
    grain_images: int = 300  # of P-Micro3Diff case II
    synthetic_share: float = 0.6  # of the crops of a general prior; the rest is real, each file as often as another

    def training(self, recipe: Recipe) -> TrainConfig:
        """Pace of one recipe."""
        base = self.from_scratch if recipe.start is None else self.fine_tuning
        return replace(base, steps=recipe.steps, batch=recipe.batch, seed=recipe.seed)

    def network(self, recipe: Recipe) -> PriorConfig:
        """Network of a recipe that starts from scratch."""
        if recipe.space == "latent":
            return latent_small(recipe.phases, patch=self.patch)
        return PriorConfig(phases=recipe.phases, patch=self.patch, unet=self.unet)


def smoke() -> tuple[WeightsConfig, dict[str, Recipe]]:
    """A tiny network and two updates, to run all of the code in seconds."""
    config = WeightsConfig(
        from_scratch=TrainConfig(steps=2, warmup=1),
        fine_tuning=TrainConfig(steps=2, warmup=1),
        unet=UNetConfig(widths=(8, 8), embedding=16),
        patch=32,
        media_count=2,
        grain_images=5,
    )
    recipes = {name: replace(recipe, steps=2, batch=4) for name, recipe in RECIPES.items()}
    return config, recipes
