"""Films as animated GIF, which browsers, slides and README files show."""

import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from jaxmicro.errors import UserError

_COLOURS = 256


def film(frames: UInt8[np.ndarray, "t h w 3"], *, seconds: float | int = 6.0, hold: float | int = 1.5) -> bytes:
    """An endless film as the content of a GIF file, with one palette for all frames.

    Args:
        frames: red, green, blue of each.
        seconds: length without the last frame.
        hold: time that the last frame stays.
    Raises:
        UserError: there is no frame.
    """
    if not len(frames):
        raise UserError("a film needs at least one frame")
    few = frames[np.unique(np.linspace(0, len(frames) - 1, 8).astype(int))]
    palette = Image.fromarray(few.reshape(-1, *few.shape[2:])).quantize(_COLOURS, dither=Image.Dither.NONE)
    images = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    each = max(20, round(1000 * seconds / max(len(frames) - 1, 1) / 10) * 10)  # ms; GIF counts hundredths of a second
    durations = [each] * (len(images) - 1) + [round(1000 * hold)]
    content = io.BytesIO()
    images[0].save(
        content, format="GIF", save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=False
    )
    return content.getvalue()
