"""Registration of two pictures: whether one is the other, moved, stretched, cropped or inverted.

Square patches of the first are sought in the second by normalised cross-correlation, and an affine
map is fitted to where they are found. On small pictures that gives the map roughly; on larger ones
the second is warped by it, the patches are sought again nearby, and the map is fitted again. What
counts is how well the patches correlate in the end: two pictures of the same part of different
patients can be laid over each other, but their details differ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, gaussian_filter

from methods.curation.gradient_grids import Float32, Grey, resized, turned

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class _Scale:
    """Sizes of a search for patches, all in pixels of its pictures.

    Attributes:
        side: of a picture.
        patch: side of a patch.
        starts: first row (and column) of each patch.
        reach: how far from its own place a patch is sought along each axis.
        share: of the patches whose correlation counts, the others being less alike, 0 to 1.
        contrast: standard deviation in grey levels from which on a patch says something; in a
            faint picture half of what a quarter of its patches have, but at least a quarter of
            this.
    """

    side: int
    patch: int
    starts: NDArray[np.int64]
    reach: int
    share: float
    contrast: float = 2.0

    @property
    def centres(self) -> Float64:
        """(p, 2) centres of the patches, counted from that of the picture in halves of a side."""
        middles = (self.starts + (self.patch - self.side) / 2) / (self.side / 2)
        return np.stack(np.meshgrid(middles, middles, indexing="ij"), -1).reshape(-1, 2)


_COARSE = _Scale(64, 16, np.arange(0, 49, 12), 9, 0.75)
_FINE = _Scale(128, 20, np.arange(4, 105, 18), 3, 0.75)
_LAST = _Scale(128, 20, np.arange(4, 105, 18), 1, 0.75)
_OVERALL = _Scale(64, 16, np.arange(8, 41, 8), 1, 0.6)
_DETAIL = 4.0, 4.0
"""Standard deviations of the blur that is taken away, in pixels of the coarse and fine picture."""
_GRAIN = 0.7
"""Standard deviation of the blur against noise, in pixels of the fine picture."""

MIN_AGREEMENT = 0.3
"""Minimum of the correlations of the patches that lie where the map says, as a mean over all."""
MIN_DETAIL = 0.75
"""Minimum correlation of three quarters of the patches before the map is fitted again."""
MIN_PATCHES = 5
"""Minimum number of patches with contrast in both pictures."""
MAX_STRETCH = 1.4
"""Largest factor by which one picture is stretched or shrunk along any direction."""


@dataclass(frozen=True)
class Views:
    """Pictures as the registration sees them: without what changes slowly over a picture.

    Attributes:
        coarse: (n, 64, 64) float32 grey levels.
        fine: (n, 128, 128) float32 grey levels.
    """

    coarse: Float32
    fine: Float32

    def one(self, place: int, turn: int = 0) -> Views:
        """The views of one of the pictures, in one of ``gradient_grids.TURNS``."""
        one = slice(place, place + 1)
        return Views(turned(self.coarse[one], turn), turned(self.fine[one], turn))


def views_of(pictures: list[Grey]) -> Views:
    """Return the views of pictures (h, w) uint8 of any sizes."""
    coarse = np.stack([resized(picture, _COARSE.side) for picture in pictures])
    fine = np.stack([resized(picture, _FINE.side) for picture in pictures])
    coarse -= _blurred(coarse, _DETAIL[0])
    return Views(coarse, _blurred(fine, _GRAIN) - _blurred(fine, _DETAIL[1]))


def _blurred(pictures: Float32, sigma: float) -> Float32:
    blurred: Float32 = gaussian_filter(pictures, (0, sigma, sigma), mode="nearest")
    return blurred


@dataclass(frozen=True)
class Maps:
    """Where the places of several pictures are in one other.

    Attributes:
        moves: (n, 3, 2) float64. A place (y, x), 1 being half a side from the centre, is moved by
            (y, x, 1) @ moves, in sides of the picture.
        signs: (n,) 1, or -1 where the other picture is inverted.
        agreement: (n,) float64, 0 to 1: mean correlation of the patches, with 0 for each that is
            not found where the map says.
    """

    moves: Float64
    signs: NDArray[np.int64]
    agreement: Float64


def rough_maps(firsts: Float32, second: Float32) -> Maps:
    """Fit a map of each of several coarse pictures to one other.

    Args:
        firsts: (n, 64, 64) coarse views.
        second: (64, 64) coarse view.
    """
    patches, contrast = _patches(firsts, _COARSE)
    windows = _unit(_windows(second, _COARSE.patch), _COARSE)[0]
    found = np.zeros((2, len(firsts), patches.shape[1]))
    moved = np.zeros((*found.shape, 2))
    rows = np.arange(len(firsts))
    last = len(windows) - 1
    for number, start in enumerate(np.stack(np.meshgrid(*[_COARSE.starts] * 2), -1).reshape(-1, 2)):
        column, row = start
        low, high = (
            np.maximum(start - _COARSE.reach, 0),
            np.minimum(start + _COARSE.reach, last) + 1,
        )
        near = windows[low[1] : high[1], low[0] : high[0]]
        scores = patches[:, number] @ near.reshape(-1, near.shape[-1]).T
        for sign, best in enumerate((scores.argmax(1), scores.argmin(1))):
            found[sign, :, number] = np.abs(scores[rows, best])
            y, x = np.divmod(best, near.shape[1])
            moved[sign, :, number] = np.stack([y + low[1] - row, x + low[0] - column], 1)
    found *= contrast
    inverted = (found[1].sum(1) > found[0].sum(1)).astype(np.int64)
    found, moved = found[inverted, rows], moved[inverted, rows] / _COARSE.side
    moves, misses = _fitted(_COARSE.centres, moved, found**2)
    agreeing = np.where((misses < 1.5 / _COARSE.side) & (found > 0.5), found, 0)
    agreement = agreeing.sum(1) / np.maximum(contrast.sum(1), 1)
    return Maps(moves, 1 - 2 * inverted, np.where(_is_plausible(moves), agreement, 0))


def likeness(first: Views, second: Views, moves: Float64, sign: int) -> float:
    """Return how well two pictures agree, in their details and overall, -1 to 1.

    It is the correlation that three quarters of the patches of the fine picture have at least, or
    three fifths of those of the coarse one, whichever is less; 0 where too few patches have
    contrast. The details of smooth pictures are edges that fit anywhere; the coarse picture tells
    those apart. There, a corner that a rotation made black reaches far, hence fewer.

    Args:
        first: views of one picture.
        second: views of one picture.
        moves: (3, 2) of :class:`Maps`.
        sign: 1, or -1 where the second is inverted.
    """
    found = _matched(first.fine[0], second.fine[0], moves, sign, _FINE)
    if found is None or found[0] < MIN_DETAIL:
        return found[0] if found is not None else 0.0
    details = _matched(first.fine[0], second.fine[0], found[1], sign, _LAST)
    overall = _matched(first.coarse[0], second.coarse[0], found[1], sign, _OVERALL)
    return min(details[0] if details else 0.0, overall[0] if overall else 0.0)


def _matched(
    first: Float32, second: Float32, moves: Float64, sign: int, scale: _Scale
) -> tuple[float, Float64] | None:
    """Return the correlation of the patches near where a map says, and the map fitted to them.

    None where too few patches have contrast and lie within the second picture.
    """
    stretch = np.eye(2) + 2 * moves[:2].T
    middle = (scale.side - 1) / 2
    offset = middle + scale.side * moves[2] - stretch @ (middle, middle)
    warped = affine_transform(second, stretch, offset, order=1, mode="nearest") * sign
    patches, contrast = _patches(first[None], scale)
    kept = np.flatnonzero(contrast[0] & _is_inside(moves, scale))
    if len(kept) < MIN_PATCHES:
        return None
    wide = _windows(np.pad(warped, scale.reach, "edge"), scale.patch + 2 * scale.reach)
    near = wide[np.ix_(scale.starts, scale.starts)].reshape(
        -1, *[scale.patch + 2 * scale.reach] * 2
    )
    places = 2 * scale.reach + 1
    candidates = sliding_window_view(near[kept], (scale.patch, scale.patch), (1, 2))
    windows = _unit(candidates.reshape(len(kept), places**2, -1), scale)[0]
    scores = (windows @ patches[0, kept][:, :, None])[:, :, 0]
    best = scores.argmax(1)
    found = scores[np.arange(len(kept)), best]
    here = np.stack(np.divmod(best, places), 1) - scale.reach
    centres = scale.centres[kept]
    already = np.concatenate([centres, np.ones((len(kept), 1))], 1) @ moves
    moved = already + (here @ stretch.T) / scale.side
    fitted = _fitted(centres, moved[None], np.clip(found, 0, None)[None] ** 2)[0][0]
    return float(np.quantile(found, 1 - scale.share)), fitted


def _is_inside(moves: Float64, scale: _Scale) -> NDArray[np.bool_]:
    """Return which patches lie within the second picture, all four corners, (p,) bool."""
    half = scale.patch / scale.side
    corners = scale.centres[:, None] + half * np.array([(y, x) for y in (-1, 1) for x in (-1, 1)])
    there = corners + 2 * (corners @ moves[:2] + moves[2])
    inside: NDArray[np.bool_] = (np.abs(there) <= 1.02).all((1, 2))
    return inside


def _is_plausible(moves: Float64) -> NDArray[np.bool_]:
    """Return which maps neither stretch nor shrink too much, (n,) bool."""
    stretches = np.linalg.svd(np.eye(2) + 2 * moves[:, :2], compute_uv=False)
    return np.asarray((stretches < MAX_STRETCH).all(1) & (stretches > 1 / MAX_STRETCH).all(1))


def _windows(picture: Float32, side: int) -> Float32:
    """Return all squares of a picture, (h, w) -> (h', w', side, side)."""
    return np.asarray(sliding_window_view(picture, (side, side)))


def _patches(pictures: Float32, scale: _Scale) -> tuple[Float32, NDArray[np.bool_]]:
    """Return the patches (n, p, d) of pictures, of unit length, and which have contrast (n, p)."""
    squares = sliding_window_view(pictures, (scale.patch, scale.patch), (1, 2))
    chosen = squares[:, scale.starts][:, :, scale.starts]
    count = len(scale.starts) ** 2
    unit, lengths = _unit(chosen.reshape(len(pictures), count, -1), scale)
    usual = scale.contrast * scale.patch
    enough = np.clip(np.quantile(lengths, 0.75, axis=1) / 2, usual / 4, usual)
    return unit, lengths >= enough[:, None]


def _unit(squares: Float32, scale: _Scale) -> tuple[Float32, Float32]:
    """Return squares without their mean and of unit length, (..., d), and their lengths (...).

    A square with less than an eighth of the usual contrast is not raised to unit length.
    """
    flat = squares.reshape(*squares.shape[:2], -1)
    centred = flat - flat.mean(-1, keepdims=True)
    lengths = np.sqrt(np.einsum("...d,...d->...", centred, centred))
    centred /= np.maximum(lengths, scale.contrast * scale.patch / 8)[..., None]
    return centred, lengths


def _fitted(centres: Float64, moved: Float64, weights: Float64) -> tuple[Float64, Float64]:
    """Fit affine maps to moved patches, each with less weight the further it misses.

    Args:
        centres: (p, 2) of the patches.
        moved: (n, p, 2) how far each is moved, in sides.
        weights: (n, p) not negative.

    Returns:
        (n, 3, 2) moves of :class:`Maps`, and (n, p) how far each patch misses, in sides.
    """
    terms = np.concatenate([centres, np.ones((len(centres), 1))], 1)
    # a map that the patches leave open is a shift
    prior = np.diag([0.01, 0.01, 1e-4])
    start = weights + 1e-6
    current = start
    for width in (6, 6, 3, 1.5, 1, 1):  # pixels of the coarse picture
        normal = np.einsum("np,pa,pb->nab", current, terms, terms)
        normal += prior * current.sum(1)[:, None, None]
        moves = np.linalg.solve(normal, np.einsum("np,pa,npd->nad", current, terms, moved))
        misses = np.linalg.norm(moved - terms @ moves, axis=2)
        current = start / (1 + (misses * _COARSE.side / width) ** 2) ** 2
    return moves, misses
