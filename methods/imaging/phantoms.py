"""Synthetic pictures that look like medical modalities, for the demonstration and for tests.

None of them is a medical image.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Float64 = NDArray[np.float64]
Picture = NDArray[np.uint8]


def _grid(size: int) -> tuple[Float64, Float64]:
    """Return coordinates -1 .. 1, (size, size) each: x to the right, y down."""
    axis = np.linspace(-1, 1, size)
    x, y = np.meshgrid(axis, axis)
    return x, y


def _ellipse(
    x: Float64,
    y: Float64,
    cx: float,
    cy: float,
    rx: float,
    ry: float,
    angle: float = 0.0,
    soft: float = 0.04,
) -> Float64:
    """Return 1 inside and 0 outside of an ellipse, with an edge about ``soft`` wide."""
    u = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
    v = -(x - cx) * np.sin(angle) + (y - cy) * np.cos(angle)
    radius = np.hypot(u / rx, v / ry)
    inside: Float64 = 1 / (1 + np.exp(np.clip((radius - 1) / soft * 2, -50, 50)))
    return inside


def _near(x: Float64, y: Float64, cx: float, cy: float, reach: float) -> tuple[slice, slice]:
    """Return the rows and columns of the grid within ``reach`` of a centre.

    Drawing a small shape in this area only is 15 times faster.
    """
    rows, columns = (
        np.searchsorted(y[:, 0], (cy - reach, cy + reach)),
        np.searchsorted(x[0], (cx - reach, cx + reach)),
    )
    return slice(*rows), slice(*columns)


def to_byte(picture: Float64) -> Picture:
    """Scale 0 .. 1 to 0 .. 255 uint8, in the same shape."""
    rounded: Picture = np.clip(picture * 255, 0, 255).round().astype(np.uint8)
    return rounded


def _xray(rng: np.random.Generator, size: int) -> Picture:
    """Draw a chest-like projection: body, two lungs, ribs, spine, heart, photon noise."""
    x, y = _grid(size)
    x, y = x + rng.normal(0, 0.05), y + rng.normal(0, 0.05)
    wide = rng.uniform(0.85, 1.05)
    body = _ellipse(x, y, 0, 0.25, 0.9 * wide, 1.2, soft=0.08)
    lungs = _ellipse(x, y, -0.4 * wide, 0, 0.3, rng.uniform(0.6, 0.75), 0.12) + _ellipse(
        x, y, 0.4 * wide, 0, 0.3, rng.uniform(0.6, 0.75), -0.12
    )
    ribs = (
        np.maximum(0, np.sin((y + 0.35 * x**2) * rng.uniform(20, 26) + rng.uniform(0, 6))) ** 4
        * body
    )
    spine = np.exp(-((x / 0.09) ** 2)) * (1 + 0.2 * np.sin(y * 30))
    heart = _ellipse(x, y, 0.15, 0.35, rng.uniform(0.26, 0.36), 0.32, 0.5)
    picture = (
        0.62 * body - 0.42 * lungs * (1 - heart) + 0.13 * ribs + 0.2 * spine * body + 0.15 * heart
    )
    return to_byte(
        gaussian_filter(picture, size / 150) * rng.uniform(0.85, 1.1)
        + rng.normal(0, 0.025, x.shape)
    )


def _ct(rng: np.random.Generator, size: int) -> Picture:
    """Draw an axial slice of a trunk: skin, fat, organs, spine, bowel gas, noise with streaks."""
    x, y = _grid(size)
    rx, ry = rng.uniform(0.75, 0.9), rng.uniform(0.55, 0.68)
    body, inner = (
        _ellipse(x, y, 0, 0, rx, ry, soft=0.02),
        _ellipse(x, y, 0, 0.02, rx - 0.1, ry - 0.1, soft=0.03),
    )
    picture = 0.3 * body + 0.18 * inner
    liver = _ellipse(x, y, -0.35, -0.08, 0.33, 0.27, rng.normal(0.3, 0.1))
    picture += 0.14 * liver * inner
    for side in (-1, 1):
        picture += 0.2 * _ellipse(x, y, side * 0.36, 0.24, 0.11, 0.14, side * 0.4) * inner
    for _ in range(rng.integers(2, 6)):
        radius = rng.uniform(0.03, 0.09)
        picture -= (
            0.4
            * _ellipse(
                x, y, rng.uniform(0, 0.5), rng.uniform(-0.3, 0.05), radius, radius * 0.8, soft=0.1
            )
            * inner
        )
    spine = _ellipse(x, y, 0, ry - 0.22, 0.12, 0.11, soft=0.05)
    picture += 0.5 * spine + 0.25 * _ellipse(x, y, rng.normal(0.02, 0.02), ry - 0.42, 0.05, 0.05)
    streaks = gaussian_filter(rng.normal(0, 1, x.shape), (0, size / 20)) * 0.15
    return to_byte(picture + body * streaks + rng.normal(0, 0.03, x.shape))


def _mr(rng: np.random.Generator, size: int) -> Picture:
    """Draw an axial head: scalp, folded grey and white matter, ventricles, bias, Rician noise."""
    x, y = _grid(size)
    rx, ry = rng.uniform(0.6, 0.72), rng.uniform(0.74, 0.86)
    head, skull, brain = (
        _ellipse(x, y, 0, 0, rx - d, ry - d, soft=0.02) for d in (0.0, 0.07, 0.12)
    )
    folds = np.sin(gaussian_filter(rng.normal(0, 1, x.shape), size / 40) * size / 6)
    depth = _ellipse(x, y, 0, 0, rx - 0.26, ry - 0.26, soft=0.12)
    picture = 0.75 * (head - skull) + brain * (0.42 + 0.25 * depth + 0.1 * folds * (1 - depth))
    spread = rng.uniform(0.07, 0.13)
    for side in (-1, 1):
        picture -= 0.45 * _ellipse(
            x, y, side * spread, -0.02, 0.06, rng.uniform(0.18, 0.28), side * 0.25
        )
    picture -= 0.3 * np.exp(-((x / 0.012) ** 2)) * brain
    bias = 1 + 0.3 * (x * np.cos(t := rng.uniform(0, 6.3)) + y * np.sin(t))
    noisy = np.hypot(picture * bias + rng.normal(0, 0.03, x.shape), rng.normal(0, 0.03, x.shape))
    return to_byte(noisy * rng.uniform(0.8, 1.15))


def _ultrasound(rng: np.random.Generator, size: int) -> Picture:
    """Draw a sector scan: speckle, cysts, bright layers, an acoustic shadow, attenuation."""
    x, y = _grid(size)
    depth, angle = np.hypot(x, y + 1.15), np.arctan2(x, y + 1.15)
    half = rng.uniform(0.5, 0.7)
    sector = (np.abs(angle) < half) & (depth > 0.3) & (depth < 2.05)
    echo = 0.5 + 0.25 * np.sin(
        depth * rng.uniform(9, 14) + gaussian_filter(rng.normal(0, 1, x.shape), size / 12) * 20
    )
    for _ in range(rng.integers(1, 4)):
        radius = rng.uniform(0.1, 0.24)
        echo *= 1 - 0.92 * _ellipse(
            x,
            y,
            rng.uniform(-0.4, 0.4),
            rng.uniform(-0.3, 0.6),
            radius,
            radius * rng.uniform(0.7, 1),
            soft=0.06,
        )
    where = rng.uniform(-half, half) * 0.8
    echo *= 1 - 0.8 * (np.exp(-(((angle - where) / 0.06) ** 2)) * (depth > rng.uniform(0.8, 1.3)))
    speckle = np.hypot(
        *(gaussian_filter(rng.normal(0, 1, x.shape), (size / 220, size / 130)) for _ in range(2))
    )
    picture = echo * speckle / speckle.mean() * np.exp(-0.5 * (depth - 0.3)) * sector
    return to_byte(0.75 * np.power(np.clip(picture, 0, None), 0.6))


def draw_nuclei(
    picture: Float64,
    x: Float64,
    y: Float64,
    rng: np.random.Generator,
    count: int,
    radius: tuple[float, float],
    roundness: tuple[float, float],
) -> None:
    """Draw purple nuclei at random places over stained tissue.

    Args:
        picture: (size, size, 3) of 0 .. 1, changed in place.
        x: (size, size) coordinates -1 .. 1 to the right.
        y: (size, size) coordinates -1 .. 1 down.
        rng: source of the random numbers.
        count: number of nuclei.
        radius: smallest and largest radius, in the unit of the coordinates.
        roundness: smallest and largest ratio of the smaller diameter to the larger one.
    """
    for _ in range(count):
        half, cx, cy = rng.uniform(*radius), rng.uniform(-1, 1), rng.uniform(-1, 1)
        area = _near(x, y, cx, cy, 2.5 * half)  # outside it is 2e-9 of the nucleus
        flat, angle = rng.uniform(*roundness), rng.uniform(0, 3.1)
        spot = 0.9 * _ellipse(x[area], y[area], cx, cy, half, half * flat, angle, soft=0.15)
        colour = np.array([0.36, 0.2, 0.55]) * rng.uniform(0.8, 1.2)
        picture[area] = picture[area] * (1 - spot[..., None]) + spot[..., None] * colour


def _histology(rng: np.random.Generator, size: int) -> Picture:
    """Draw stained tissue: pink stroma with fibres, purple nuclei, white gaps."""
    x, y = _grid(size)
    texture = gaussian_filter(rng.normal(0, 1, x.shape), (size / 200, size / 40)) * 6
    fibres = np.clip(0.5 + texture * 0.3, 0, 1)[..., None]
    picture = (1 - fibres) * np.array([0.96, 0.78, 0.88]) + fibres * np.array([0.87, 0.52, 0.72])
    for _ in range(rng.integers(1, 4)):
        gap = _ellipse(
            x,
            y,
            rng.uniform(-0.9, 0.9),
            rng.uniform(-0.9, 0.9),
            rng.uniform(0.08, 0.22),
            rng.uniform(0.08, 0.22),
            soft=0.08,
        )[..., None]
        picture = picture * (1 - gap) + 0.97 * gap
    draw_nuclei(picture, x, y, rng, int(rng.integers(50, 110)), (0.03, 0.06), (0.5, 1))
    stain = rng.normal(1, 0.04, 3)
    return to_byte(picture * stain + rng.normal(0, 0.015, picture.shape))


def _fundus(rng: np.random.Generator, size: int) -> Picture:
    """Draw an eye ground: orange disc on black, optic disc, branching vessels, dark macula."""
    x, y = _grid(size)
    field = _ellipse(x, y, 0, 0, 0.93, 0.93, soft=0.015)[..., None]
    shade = (1 - 0.35 * (x**2 + y**2))[..., None]
    picture = shade * np.array([0.82, 0.42, 0.16]) * rng.uniform(0.8, 1.1)
    side = rng.choice([-1.0, 1.0])
    dx, dy = side * rng.uniform(0.35, 0.5), rng.normal(0, 0.06)
    vessels = np.zeros_like(x)
    for number in range(rng.integers(6, 10)):
        direction = (1 if number % 2 else -1) * rng.uniform(0.5, 1.4) + (
            np.pi if rng.random() < 0.7 and side > 0 else 0
        )
        px, py, width = dx, dy, rng.uniform(0.016, 0.028)
        for _ in range(38):
            area = _near(x, y, px, py, 4.5 * width)  # outside it is 2e-9 of the vessel
            drop = np.exp(-(((x[area] - px) ** 2 + (y[area] - py) ** 2) / width**2))
            vessels[area] = np.maximum(vessels[area], drop)
            direction += rng.normal(0, 0.12)
            px, py, width = (
                px + 0.035 * np.cos(direction),
                py + 0.035 * np.sin(direction),
                width * 0.975,
            )
    picture *= 1 - 0.55 * vessels[..., None] * np.array([0.6, 1.0, 0.9])
    disc = _ellipse(x, y, dx, dy, 0.13, 0.15, soft=0.12)[..., None]
    picture = picture * (1 - 0.8 * disc) + 0.8 * disc * np.array([1.0, 0.85, 0.55])
    picture *= 1 - 0.4 * np.exp(-(((x + 0.15 * side) ** 2 + y**2) / 0.03))[..., None]
    return to_byte(picture * field + rng.normal(0, 0.012, picture.shape))


def _chart(rng: np.random.Generator, size: int) -> Picture:
    """Draw a figure: axes with ticks on white, bars or curves."""
    picture = np.ones((size, size, 3))
    left, bottom, thick = (
        int(size * rng.uniform(0.1, 0.18)),
        int(size * rng.uniform(0.82, 0.9)),
        max(size // 128, 1),
    )
    colours = [
        np.array(c)
        for c in ((0.12, 0.47, 0.71), (1.0, 0.5, 0.05), (0.17, 0.63, 0.17), (0.84, 0.15, 0.16))
    ]
    top, right = int(size * 0.08), int(size * 0.94)
    if rng.random() < 0.5:
        count = int(rng.integers(3, 10))
        step = (right - left) / count
        for i in range(count):
            start = int(left + (i + 0.15) * step)
            picture[
                int(bottom - rng.uniform(0.1, 0.95) * (bottom - top)) : bottom,
                start : int(start + 0.7 * step),
            ] = colours[i % rng.integers(1, 5)]
    else:
        columns = np.arange(left, right)
        for i in range(rng.integers(1, 5)):
            curve = np.cumsum(rng.normal(0, 1, len(columns)))
            curve = gaussian_filter(curve, size / 60)
            level = (curve - curve.min()) / max(float(np.ptp(curve)), 1e-9)
            rows = (bottom - (0.05 + 0.85 * level * rng.uniform(0.4, 1)) * (bottom - top)).astype(
                int
            )
            for offset in range(2 * thick):
                picture[np.clip(rows + offset, 0, size - 1), columns] = colours[i]
    picture[bottom : bottom + thick, left:right] = 0
    picture[top:bottom, left : left + thick] = 0
    for tick in np.linspace(0, 1, int(rng.integers(4, 8))):
        row, column = int(bottom - tick * (bottom - top)), int(left + tick * (right - left - thick))
        picture[row : row + thick, left - size // 40 : left] = 0
        picture[bottom : bottom + size // 40, column : column + thick] = 0
    return to_byte(picture)


_DRAW = {
    "chart": _chart,
    "ct": _ct,
    "fundus": _fundus,
    "histology": _histology,
    "mr": _mr,
    "ultrasound": _ultrasound,
    "xray": _xray,
}
KINDS: tuple[str, ...] = tuple(_DRAW)


def phantom(kind: str, seed: int, size: int = 256) -> Picture:
    """Draw one phantom.

    Args:
        kind: one of ``KINDS``.
        seed: seed of the random numbers; the same seed gives the same bytes.
        size: side in pixels.

    Returns:
        (size, size) uint8 grey, or (size, size, 3) uint8 RGB for chart, fundus and histology.

    Raises:
        ValueError: unknown kind.
    """
    if kind not in _DRAW:
        raise ValueError(f"there is no phantom {kind!r}; the kinds are {', '.join(KINDS)}")
    return _DRAW[kind](np.random.default_rng([KINDS.index(kind), seed]), size)
