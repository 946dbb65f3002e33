"""Isometric pictures of a volume: a box with its three visible faces, and shaded surfaces of chosen phases.

Surfaces are found by ray casting: parallel rays are sampled in the Gaussian-smoothed phase until it exceeds one half;
the gradient there gives the normal. It is the surface that marching cubes would triangulate, without triangles to sort:
occlusion is exact, and a picture of 64^3 takes about a second on one core.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter, map_coordinates

from jaxmicro.phases import phase_names
from jaxmicro.viz.style import INK, STYLE, length_text, length_unit, new_figure, paint, phase_legend

# Isometric projection: on the page z points down as in a stack of images, y to the lower left, x to the lower right.
# Rows: displacement (right, down) on the page for one voxel along z, y, x.
_ON_PAGE = np.array([[0.0, 1.0], [-np.sqrt(0.75), 0.5], [np.sqrt(0.75), 0.5]])
# displacement (z y x) in the volume for one unit to the right and for one unit down on the page
_RIGHT = np.array([0.0, -1.0, 1.0]) / np.sqrt(3)
_DOWN = np.array([2.0, 1.0, 1.0]) / 3
_EYE = np.array([-1.0, 1.0, 1.0], np.float32) / np.float32(np.sqrt(3))  # towards the viewer
_FACE_NORMAL = np.array([[-1, 0, 0], [0, 1, 0], [0, 0, 1]]).T
_FACE_LIGHT = np.array([1.0, 0.86, 0.72])  # brightness of the faces normal to z (top), y (left) and x (right)
_LIGHT = np.array([-0.75, 0.60, 0.28]) / np.linalg.norm([-0.75, 0.60, 0.28])  # towards the light source
_STEP = np.float32(0.7)  # voxels between samples along a ray
_SMOOTHING = 0.8  # standard deviation, voxels: below it steps of voxels are visible, above it thin necks vanish
_OCCLUSION_WIDTH = 3.0  # standard deviation in voxels of the Gaussian that estimates ambient occlusion
_SAMPLES = 2  # rays per pixel and direction
_WIDTH = 440  # of a picture, pixels


@rc_context(STYLE)
def volume_rendering(
    volume: Integer[np.ndarray, "z y x"],
    *,
    phases: int | None = None,
    show: Sequence[Sequence[int]] | None = None,
    voxel_size: float | int | None = None,
    unit: str | None = None,
    names: Sequence[str] | None = None,
    width: int = _WIDTH,
) -> Figure:
    """The volume as a box with all phases, and beside it the surfaces of single phases.

    Args:
        volume: phase labels.
        phases: number of phases; by default the largest label + 1.
        show: the phases drawn in each further picture, the others being transparent; by default each phase alone, the
            three most abundant ones when there are more. Empty: the box only.
        voxel_size: edge of a voxel in `unit`; None: edges are labelled in voxels.
        unit: "nm", "um", ...
        names: names of the phases for the legend.
        width: of each picture in pixels.
    Returns:
        a figure with 1 + len(show) pictures side by side.
    """
    phases = phases or 1 + int(volume.max())
    share = np.bincount(volume.ravel(), minlength=phases) / volume.size
    if show is None:
        show = [(int(p),) for p in sorted(np.argsort(-share)[:3]) if share[p] > 0]
    called = phase_names(phases, names)
    columns = 1 + len(show)
    aspect = np.ptp(_corners(volume.shape)[:, 1]) / np.ptp(_corners(volume.shape)[:, 0])
    figure = new_figure(3.7 * columns, 3.7 * aspect + 0.45)
    first, *others = figure.subplots(1, columns, squeeze=False)[0]
    _draw(first, cube_image(volume, phases, width=width), volume.shape, voxel_size, unit, labelled=True)
    first.set_title("all phases")
    for ax, chosen in zip(others, show, strict=True):
        image = surface_image(volume, phases, show=chosen, width=width)
        _draw(ax, image, volume.shape, voxel_size, unit, labelled=False)
        ax.set_title(" and ".join(called[p] for p in chosen) + ", others transparent")
    phase_legend(figure, phases, [f"{name} ({100 * s:.1f} %)" for name, s in zip(called, share, strict=True)])
    return figure


def cube_image(volume: Integer[np.ndarray, "z y x"], phases: int, *, width: int = _WIDTH) -> Float[np.ndarray, "h w 4"]:
    """Isometric picture (red, green, blue, alpha) of a box with the phases of its outermost voxels on three faces."""
    rays = _rays(volume.shape, width)
    voxel = [np.clip(c.astype(int), 0, n - 1) for c, n in zip(rays.start, volume.shape, strict=True)]
    return _picture(rays, rays.pixel, paint(volume[tuple(voxel)], phases) * _FACE_LIGHT[rays.face, None])


def surface_image(
    volume: Integer[np.ndarray, "z y x"], phases: int, *, show: Sequence[int], width: int = _WIDTH
) -> Float[np.ndarray, "h w 4"]:
    """Isometric picture (red, green, blue, alpha) of chosen phases, cut by the faces of the box, the others
    transparent."""
    rays = _rays(volume.shape, width)
    fields = [gaussian_filter((volume == p).astype(np.float32), _SMOOTHING, mode="nearest") for p in show]
    solid = np.sum(fields, axis=0)
    depth = _depth_of_surface(solid, rays)
    hit = np.flatnonzero(depth >= 0)
    face, cut = rays.face[hit], depth[hit] == 0  # cut: the ray met the phase on a face of the box
    point = rays.start[:, hit] - depth[hit] * _EYE[:, None]
    normal = np.where(cut, _FACE_NORMAL[:, face], _normals(solid, point))
    light = _brightness(normal, solid, point)
    of_phase = np.argmax([_interpolated(field, point) for field in fields], axis=0)
    colour = paint(np.array(show), phases)[of_phase]
    lit = colour * light[0][:, None] + light[1][:, None]
    flat = (0.82 * colour + 0.18) * _FACE_LIGHT[face, None]  # paler, to tell cuts from surfaces
    return _picture(rays, rays.pixel[hit], np.clip(np.where(cut[:, None], flat, lit), 0, 1))


class _Rays(NamedTuple):
    """The rays of a picture that intersect the box, directed away from the viewer."""

    pixel: np.ndarray  # index of the pixel in the flattened picture, " n"
    start: np.ndarray  # point of entry into the box, z y x, "3 n"
    length: np.ndarray  # length inside the box, voxels, " n"
    face: np.ndarray  # face of entry: 0 normal to z, 1 to y, 2 to x, " n"
    shape: tuple[int, int]  # rows and columns of the picture in rays


@lru_cache(maxsize=1)  # the pictures of one figure share their rays
def _rays(box: tuple[int, ...], width: int) -> _Rays:
    (left, top), (right, bottom) = _corners(box).min(0), _corners(box).max(0)
    pitch = (right - left) / (width * _SAMPLES)
    rows = _SAMPLES * round((bottom - top) / pitch / _SAMPLES)
    across = (left + pitch * (np.arange(width * _SAMPLES) + 0.5)).astype(np.float32)
    down = (top + (bottom - top) * (np.arange(rows) + 0.5) / rows).astype(np.float32)
    base = [(across * _RIGHT[a] + down[:, None] * _DOWN[a]).ravel() for a in range(3)]
    front, back = (0, box[1], box[2]), (box[0], 0, 0)  # the planes z = 0, y = ny, x = nx face the viewer
    t_in = [(front[a] - base[a]) / _EYE[a] for a in range(3)]  # a ray is base + t _EYE with decreasing t
    t_out = [(back[a] - base[a]) / _EYE[a] for a in range(3)]
    enter, leave = np.minimum.reduce(t_in), np.maximum.reduce(t_out)
    pixel = np.flatnonzero(enter > leave)
    start = np.stack([base[a][pixel] + enter[pixel] * _EYE[a] for a in range(3)])
    face = np.argmin([t[pixel] for t in t_in], axis=0)
    return _Rays(pixel, start, (enter - leave)[pixel], face, (rows, width * _SAMPLES))


def _depth_of_surface(solid: np.ndarray, rays: _Rays) -> np.ndarray:
    """Depth along each ray, in voxels, at which the field first exceeds one half: 0 on the face of the box, -1 where it
    never does."""
    before = _interpolated(solid, rays.start)
    depth = np.where(before > 0.5, np.float32(0), np.float32(-1))
    active = np.flatnonzero(depth < 0)
    before, start, length = before[active], rays.start[:, active], rays.length[active]
    for last in np.arange(0, rays.length.max(), _STEP, dtype=np.float32):
        here = np.minimum(last + _STEP, length)  # of a ray that leaves the box before, where it does
        value = _interpolated(solid, start - here * _EYE[:, None])
        hit = value > 0.5
        back = (value[hit] - 0.5) / (value[hit] - before[hit])  # linear interpolation between the two samples
        depth[active[hit]] = here[hit] - back * (here[hit] - last)
        inside = ~hit & (length > here)
        active, before, start, length = active[inside], value[inside], start[:, inside], length[inside]
        if not active.size:
            break
    return depth


def _brightness(normal: np.ndarray, solid: np.ndarray, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Diffuse and specular light of a surface (Blinn-Phong), both reduced by ambient occlusion."""
    half_way = (_LIGHT + _EYE) / np.linalg.norm(_LIGHT + _EYE)
    lamp, shine = np.clip(_LIGHT @ normal, 0, 1), np.clip(half_way @ normal, 0, 1) ** 24
    surrounded = _interpolated(gaussian_filter(solid, _OCCLUSION_WIDTH, mode="constant"), point + 1.5 * normal)
    open_sky = np.clip(1.35 - 1.1 * surrounded, 0.3, 1)
    return (0.28 + 0.72 * lamp) * open_sky, 0.18 * shine * open_sky


def _normals(solid: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Outward unit normals "3 n", opposite to the gradient of the field (central differences)."""
    steps = 0.5 * np.eye(3, dtype=np.float32)[:, :, None]
    gradient = np.stack([_interpolated(solid, point + e) - _interpolated(solid, point - e) for e in steps])
    return -gradient / np.maximum(np.linalg.norm(gradient, axis=0), 1e-6)


def _interpolated(field: np.ndarray, point: np.ndarray) -> np.ndarray:
    """The field, linearly interpolated between voxel centres at half-integer coordinates and continued by its border
    values."""
    return map_coordinates(field, point - np.float32(0.5), order=1, mode="nearest", output=np.float32)


def _picture(rays: _Rays, pixel: np.ndarray, colour: np.ndarray) -> Float[np.ndarray, "h w 4"]:
    picture = np.zeros((rays.shape[0] * rays.shape[1], 4))
    picture[pixel, :3], picture[pixel, 3] = colour, 1
    return _downsample(picture.reshape(*rays.shape, 4))


def _downsample(picture: Float[np.ndarray, "rows columns 4"]) -> Float[np.ndarray, "h w 4"]:
    """Mean over the rays of each pixel; colours weighted by their opacity."""
    h, w = (n // _SAMPLES for n in picture.shape[:2])
    rays = picture.reshape(h, _SAMPLES, w, _SAMPLES, 4)
    alpha = rays[..., 3:].mean(axis=(1, 3))
    colour = (rays[..., :3] * rays[..., 3:]).mean(axis=(1, 3)) / np.maximum(alpha, 1e-6)
    return np.concatenate([colour, alpha], axis=-1)


def _corners(box: tuple[int, ...]) -> Float[np.ndarray, "8 2"]:
    """Positions (right, down) of the corners of the box on the page."""
    return np.array([np.array(c) * box @ _ON_PAGE for c in np.ndindex(2, 2, 2)])


def _draw(
    ax: Axes,
    picture: np.ndarray,
    box: tuple[int, ...],
    voxel_size: float | int | None,
    unit: str | None,
    *,
    labelled: bool,
) -> None:
    """Draws a picture with the edges of its box, and with `labelled` their lengths."""
    (left, top), (right, bottom) = _corners(box).min(0), _corners(box).max(0)
    for ends, hidden in _edges():
        line = np.array(ends) * box @ _ON_PAGE
        ax.plot(*line.T, color="0.7" if hidden else INK, linewidth=0.8, zorder=1 if hidden else 3)
    ax.imshow(picture, extent=(left, right, bottom, top), interpolation="antialiased", zorder=2)
    margin = 0.09 * (right - left)
    ax.set(xlim=(left - margin, right + margin), ylim=(bottom + margin, top - margin / 3))
    ax.set_axis_off()
    if not labelled:
        return
    edge, name = length_unit(voxel_size, unit)
    z, y, x = (length_text(n * edge, name) for n in box)
    for text, ends, turn in (
        (f"x   {x}", ((1, 1, 0), (1, 1, 1)), -30),
        (f"y   {y}", ((1, 1, 1), (1, 0, 1)), 30),
        (f"z   {z}", ((0, 1, 0), (1, 1, 0)), 90),
    ):
        right, down = np.mean(np.array(ends) * box, axis=0) @ _ON_PAGE
        out = {-30: (-0.5, 0.87), 30: (0.5, 0.87), 90: (-1.0, 0.0)}[turn]
        place = right + 0.6 * margin * out[0], down + 0.6 * margin * out[1]
        ax.text(place[0], place[1], text, rotation=turn, ha="center", va="center", fontsize=9)


def _edges() -> list[tuple[tuple[tuple[int, ...], tuple[int, ...]], bool]]:
    """The 12 edges of the unit box as pairs of corners, and whether each is hidden, as those at the farthest corner
    are."""
    corners = list(np.ndindex(2, 2, 2))
    far = (1, 0, 0)
    pairs = [(a, b) for a in corners for b in corners if a < b and sum(i != j for i, j in zip(a, b, strict=True)) == 1]
    return [((a, b), far in (a, b)) for a, b in pairs]
