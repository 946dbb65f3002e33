"""Names of the bundled priors, without loading JAX."""

from importlib.resources import files


def bundled_names(*, of_collections: bool = False) -> list[str]:
    """Stems of jaxmicro/weights/*.safetensors: priors of micrographs, or those of collections, which are in assets/."""
    priors, collections = _stems("weights", ".safetensors"), _stems("assets", ".zarr")
    return [name for name in priors if (name in collections) == of_collections]


def _stems(folder: str, ending: str) -> list[str]:
    there = files("jaxmicro") / folder
    names = [path.name for path in there.iterdir()] if there.is_dir() else []
    return sorted(name.removesuffix(ending) for name in names if name.endswith(ending))
