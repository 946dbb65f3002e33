"""Slices as points in the latent space of an autoencoder: distances of neighbours, and a map (P-MicroLad 5.3, D)."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxmicro.errors import UserError

METHODS = ("pca", "umap")


def code_summary(codes: Float[Array, "n i j c"]) -> Float[Array, "n d"]:
    """Spatial mean and standard deviation of each channel of each slice's mean code, d = 2 c (P-MicroLad eq. 53)."""
    return jnp.concatenate([codes.mean(axis=(1, 2)), codes.std(axis=(1, 2))], axis=-1)


def consecutive_distance(points: Float[Array, "n d"] | Float[np.ndarray, "n d"]) -> float:
    """Mean Euclidean distance between consecutive points: d_u of summaries, d_UMAP of their UMAP (P-MicroLad Table 3).

    >>> consecutive_distance(np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]]))
    3.0
    """
    return float(np.mean(np.linalg.norm(np.diff(np.asarray(points), axis=0), axis=-1)))


def flat_map(
    points: Float[Array, "n d"] | Float[np.ndarray, "n d"], *, method: str = "pca", seed: int = 0
) -> Float[np.ndarray, "n 2"]:
    """Projection of points onto a plane.

    Args:
        method: "pca", the two directions of largest variance; or "umap" (McInnes et al. 2018; eqs. 54 and 55).
        seed: of UMAP.
    Raises:
        UserError: when the method is another one, or UMAP is not installed.
    """
    points = np.asarray(points)
    if method == "pca":
        centred = points - points.mean(axis=0)
        _, _, directions = np.linalg.svd(centred, full_matrices=False)
        # the sign of a singular vector is arbitrary
        signs = np.sign(directions[np.arange(2), np.abs(directions[:2]).argmax(axis=1)])
        return centred @ (signs[:, None] * directions[:2]).T
    if method != "umap":
        raise UserError(f"no map {method!r}; there are {', '.join(METHODS)}")
    try:
        from umap import UMAP  # pyright: ignore[reportMissingImports]  # an optional extra, slow to import
    except ImportError:
        raise UserError("UMAP needs umap-learn: pip install 'jaxmicro[umap]', or use the default, pca") from None
    return np.asarray(UMAP(random_state=seed, n_jobs=1).fit_transform(points))
