"""Names of the bundled priors, without loading JAX."""

from importlib.resources import files


def bundled_names() -> list[str]:
    """Stems of jaxmicro/weights/*.safetensors."""
    folder = files("jaxmicro") / "weights"
    if not folder.is_dir():
        return []
    names = [path.name for path in folder.iterdir()]
    return sorted(name.removesuffix(".safetensors") for name in names if name.endswith(".safetensors"))
