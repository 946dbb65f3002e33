"""3D microstructures from one 2D micrograph: multi-plane diffusion in JAX. Start with `jaxmicro.pipeline`."""
