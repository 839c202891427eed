"""Shapes as tables of signed distance, so that drawing any of them is one look-up."""

from __future__ import annotations

import functools

import numpy as np

from .lexicon import SHAPES

REACH = 1.6
_SIDE = 192


def _polygon(x: np.ndarray, y: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Inside a polygon, by counting the edges that a ray to the right crosses."""
    inside = np.zeros(x.shape, bool)
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        crosses = (y1 > y) != (y2 > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            inside ^= crosses & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return inside


def _around(count: int, radius, start: float = -np.pi / 2) -> np.ndarray:
    angles = start + 2 * np.pi * np.arange(count) / count
    return np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1)


def _inside(shape: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which points belong to a shape of radius 1; y runs down."""
    far = np.hypot(x, y)
    match shape:
        case "circle":
            return far < 0.9
        case "ring":
            return (far < 1) & (far > 0.55)
        case "square":
            return np.maximum(abs(x), abs(y)) < 0.8
        case "triangle":
            return _polygon(x, y, np.array([[0, -1.05], [1, 0.75], [-1, 0.75]]))
        case "diamond":
            return abs(x) / 0.65 + abs(y) / 1.1 < 1
        case "star":
            return _polygon(x, y, _around(10, np.where(np.arange(10) % 2, 0.45, 1.15)))
        case "cross":
            return (np.minimum(abs(x), abs(y)) < 0.32) & (np.maximum(abs(x), abs(y)) < 0.98)
        case "crescent":
            return (far < 1) & (np.hypot(x - 0.5, y) > 0.8)
        case "heart":
            lobes = (np.hypot(x - 0.45, y + 0.35) < 0.52) | (np.hypot(x + 0.45, y + 0.35) < 0.52)
            return lobes | _polygon(x, y, np.array([[-0.93, -0.12], [0, -0.4], [0.93, -0.12], [0, 1.05]]))
        case "arrow":
            head = _polygon(x, y, np.array([[0, -1.1], [0.9, -0.1], [-0.9, -0.1]]))
            return head | ((abs(x) < 0.3) & (y > -0.2) & (y < 1))
    raise ValueError(shape)


@functools.cache
def distances() -> np.ndarray:
    """(shapes, side, side) float32: distance to the edge in radii over [-REACH, REACH]^2, negative inside."""
    from scipy.ndimage import distance_transform_edt as distance

    axis = (np.arange(_SIDE) + 0.5) / _SIDE * 2 * REACH - REACH
    x, y = np.meshgrid(axis, axis)
    cell = 2 * REACH / _SIDE
    tables = []
    for shape in SHAPES:
        inside = _inside(shape, x, y)
        tables.append((distance(~inside) - distance(inside)) * cell)
    return np.stack(tables).astype(np.float32)


def look_up(shape: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance in radii. shape: (B,) indices into SHAPES. x, y: (B, H, W) in radii."""
    table = distances()
    scale = np.float32(_SIDE / (2 * REACH))
    column = np.clip((x + np.float32(REACH)) * scale, 0, _SIDE - 1).astype(np.int32)
    row = np.clip((y + np.float32(REACH)) * scale, 0, _SIDE - 1).astype(np.int32)
    start = (shape.astype(np.int32) * (_SIDE * _SIDE))[:, None, None]
    return table.reshape(-1)[start + row * _SIDE + column]


def extents(shape: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """(*, 4) left, top, right and bottom, in radii from the centre, of shapes that are turned by an angle.

    shape: (*,) indices into SHAPES. angle: (*,) radians, clockwise as it is seen.
    """
    x, y = np.moveaxis(_hulls()[shape], -1, 0)
    cos, sin = np.cos(angle)[..., None], np.sin(angle)[..., None]
    across, down = cos * x - sin * y, sin * x + cos * y
    return np.stack([across.min(-1), down.min(-1), across.max(-1), down.max(-1)], axis=-1)


@functools.cache
def _hulls() -> np.ndarray:
    """(shapes, corners, 2): the corners of each shape's convex hull, the last one repeated where others have more."""
    from scipy.spatial import ConvexHull

    axis = np.linspace(-REACH, REACH, 601)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    inside = [grid[_inside(shape, *grid.T)] for shape in SHAPES]
    hulls = [points[ConvexHull(points).vertices] for points in inside]
    most = max(map(len, hulls))
    return np.stack([np.pad(hull, ((0, most - len(hull)), (0, 0)), mode="edge") for hull in hulls])


@functools.cache
def unit_points(count: int = 1024) -> np.ndarray:
    """(shapes, count, 2) points spread evenly inside each shape of radius 1, for clouds."""
    side = int(np.ceil(np.sqrt(count * 9)))
    axis = (np.arange(side) + 0.5) / side * 2.4 - 1.2
    x, y = (grid.ravel() for grid in np.meshgrid(axis, axis))
    found = []
    for shape in SHAPES:
        inside = np.flatnonzero(_inside(shape, x, y))
        chosen = inside[np.linspace(0, len(inside) - 1, count).astype(int)]
        found.append(np.stack([x[chosen], y[chosen]], axis=1))
    return np.stack(found).astype(np.float32)
