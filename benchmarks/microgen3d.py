"""MicroGen3D's networks for `benchmarks.generation`: run by a Python that has PyTorch, without jaxmicro.

    python benchmarks/microgen3d.py CHECKOUT CASE THREADS

CHECKOUT is a copy of github.com/baskargroup/MicroGen3D, needing torch, pytorch-lightning and einops; its own sampling
loop and decoder run with random weights, in the sizes of its configuration for 128 x 128 x 64. Writes a line of JSON
with its sizes, and one of times for each line that it reads.
"""

import importlib
import importlib.machinery
import importlib.util
import json
import resource
import sys
import time
import types

SHAPE = (1, 128, 128, 64)
STEPS = {1: 3, 8: 2}  # volumes at once -> evaluations of its sampling loop that are timed in one call


def main(checkout: str, case: str, threads: str) -> None:
    """Prepare the case, then run it once for each line of the standard input."""
    torch = importlib.import_module("torch")
    importlib.import_module("pytorch_lightning")
    if importlib.util.find_spec("torchvision") is None:  # of which two functions are imported there, and never called
        sys.modules["torchvision"] = types.ModuleType("torchvision")
        utilities = types.ModuleType("torchvision.utils")
        vars(utilities).update(save_image=None, make_grid=None)
        sys.modules["torchvision.utils"] = utilities
    sys.path.insert(0, checkout)
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    printed, sys.stdout = sys.stdout, sys.stderr  # it prints its settings
    ddpm, vae = networks()
    answer = {
        "parameters": count(vae.decoder if case == "decode" else ddpm.nn_model),
        "evaluations": ddpm.n_T - 2,  # of its sampling loop
    }
    with torch.no_grad():
        code = vae.encoder(torch.zeros(1, *SHAPE))[0]
        answer["code"] = " x ".join(map(str, code.shape[1:]))
        once = prepared(torch, ddpm, vae, code, case)
        once()  # its first call is slower
        print(json.dumps(answer), file=printed, flush=True)
        for _ in sys.stdin:
            began = time.perf_counter(), time.process_time()
            times = once()
            seconds = {"s": (time.perf_counter() - began[0]) / times, "cpu_s": (time.process_time() - began[1]) / times}
            print(json.dumps({**seconds, "peak_mb": peak_mb()}), file=printed, flush=True)


def networks():
    """Its denoiser in its sampler, and its autoencoder: configuration "CH 3-Phase" of its README."""
    vae = importlib.import_module("models.VAE").VAE(
        in_shape=SHAPE, latent_dim=4, max_channels=512, first_layer_downsample=False
    )
    ddpm = importlib.import_module("models.DDPM").LatentDDPM(
        None, None, n_T=1000, n_feat=512, context_indices=[0, 1, 2, 3], input_output_channels=4
    )
    return ddpm.eval(), vae.eval()


def prepared(torch, ddpm, vae, code, case: str):
    """A call that does the work of a case, and returns how many times it is in it."""

    def decoded() -> int:
        fractions = vae.decoder(torch.randn_like(code))
        assert fractions.shape[1:] == SHAPE and bool(torch.isfinite(fractions).all())
        return 1

    def sampled() -> int:
        like, steps = code.repeat(together, 1, 1, 1, 1), STEPS[together]
        ddpm.n_T = steps + 2  # its loop visits n_T - 2 times
        codes, _ = ddpm.sample_loop(like, torch.rand(together, 4))
        assert codes.shape == like.shape and bool(torch.isfinite(codes).all())
        return steps

    if case == "decode":
        return decoded
    together = int(case.removeprefix("evaluate-"))
    return sampled


def count(module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def peak_mb() -> float:
    """Largest resident set of this process so far."""
    scale = 1 if sys.platform == "darwin" else 1024  # kilobytes on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6


if __name__ == "__main__":
    main(*sys.argv[1:])
