"""Recall and false alarms of the search for near-duplicates on real images.

The thresholds of :mod:`methods.curation.near_duplicates` were chosen from these figures.

    MEDFEAT_REAL_DATA=... MEDFEAT_WEIGHTS_DIR=... .venv/bin/python -m benchmarks.near_duplicates

The first names a folder with ``datasets/<name>/manifest.csv`` (columns path, label, group_id and,
where a file is known to repeat another, duplicate_of), the second one with
``alexnet_features.safetensors``. Takes about two minutes on two cores.
"""

from __future__ import annotations

import csv
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from safetensors.torch import load_file

from methods.curation.near_duplicates import (
    MAX_HAMMING,
    Candidates,
    candidates,
    cosine_confirms,
    required_cosine,
)
from methods.features.frozen_network import (
    CONV5_SHAPE,
    Conv5Extractor,
    alexnet_convolutions,
    extract,
)
from methods.imaging.perceptual_hash import (
    HALF_A_TURN,
    LEFT_RIGHT,
    STRAIGHT,
    TURNS,
    UPSIDE_DOWN,
    mirrored_hashes,
    perceptual_hash,
)
from methods.imaging.preprocessing import PreprocessingSettings, to_square

DATASETS = ("modality", "chest_xray_pneumonia", "mammography_roi", "mednist")
COPIED_PER_DATASET = 100
DISTANCES = (2, 4, 6, 8, 10, 12, 14)
COSINES = (0.0, 0.75, 0.8, 0.83, 0.85, 0.88, 0.9, 0.93, 0.95)
SEED = 0

Copy = Callable[[Image.Image], Image.Image]


@dataclass(frozen=True)
class Described:
    """Images as the search sees them.

    Attributes:
        hashes: (n,) uint64.
        features: (n, 256, 6, 6) float16; float32 would not leave a small machine much memory.
    """

    hashes: NDArray[np.uint64]
    features: NDArray[np.float16]

    def take(self, positions: NDArray[np.int64]) -> NDArray[np.float16]:
        """Return features by position."""
        return self.features[positions]


def _jpeg(quality: int) -> Copy:
    def copy(image: Image.Image) -> Image.Image:
        encoded = BytesIO()
        image.save(encoded, "JPEG", quality=quality)
        return Image.open(encoded).convert("RGB")

    return copy


def _resized(scale: float) -> Copy:
    return lambda image: image.resize(
        (round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC
    )


def _cropped(part: float) -> Copy:
    """Crop ``part`` of the width and of the height, off-centre."""

    def copy(image: Image.Image) -> Image.Image:
        x, y = image.width * part, image.height * part
        return image.crop(
            (
                round(0.7 * x),
                round(0.3 * y),
                image.width - round(0.3 * x),
                image.height - round(0.7 * y),
            )
        )

    return copy


def _gamma(exponent: float) -> Copy:
    table = [round(255 * (level / 255) ** exponent) for level in range(256)]
    return lambda image: image.point(table * 3)


def _noisy(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image)
    noise = np.random.default_rng(SEED).normal(0, 5, pixels.shape[:2])[..., None]
    return Image.fromarray(np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8))


def _mirrored(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def _upside_down(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)


def _half_a_turn(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.ROTATE_180)


CHANGES: dict[str, Copy] = {
    "JPEG quality 90": _jpeg(90),
    "JPEG quality 75": _jpeg(75),
    "JPEG quality 50": _jpeg(50),
    "resized to 80 %": _resized(0.8),
    "resized to 50 %": _resized(0.5),
    "brightness +15 %": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "brightness -15 %": lambda image: ImageEnhance.Brightness(image).enhance(0.85),
    "contrast +20 %": lambda image: ImageEnhance.Contrast(image).enhance(1.2),
    "contrast -20 %": lambda image: ImageEnhance.Contrast(image).enhance(0.8),
    "gamma 0.8": _gamma(0.8),
    "gamma 1.25": _gamma(1.25),
    "noise, sigma 5": _noisy,
    "cropped by 2 %": _cropped(0.02),
    "cropped by 5 %": _cropped(0.05),
    "cropped by 10 %": _cropped(0.10),
    "rotated by 2 deg": lambda image: image.rotate(2, Image.Resampling.BILINEAR),
    "mirrored": _mirrored,
    "mirrored, JPEG 75": lambda image: _jpeg(75)(_mirrored(image)),
    "mirrored, crop 5 %": lambda image: _cropped(0.05)(_mirrored(image)),
    "upside down": _upside_down,
    "upside down, JPEG 75": lambda image: _jpeg(75)(_upside_down(image)),
    "half a turn": _half_a_turn,
    "half a turn, JPEG 75": lambda image: _jpeg(75)(_half_a_turn(image)),
}
TURN_OF = {"mirrored": LEFT_RIGHT, "upside down": UPSIDE_DOWN, "half a turn": HALF_A_TURN}
TURN_NAMES = {STRAIGHT: "straight"} | {turn: name for name, turn in TURN_OF.items()}


def manifest(folder: Path) -> list[dict[str, str]]:
    """Return the rows of a data set, without those that repeat another file."""
    with (folder / "manifest.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if not row.get("duplicate_of")]


def opened(path: Path) -> Image.Image:
    """Open the image in RGB."""
    with Image.open(path) as image:
        return image.convert("RGB")


def described(images: Iterator[Image.Image], count: int, network: Conv5Extractor) -> Described:
    """Return hashes and features of ``count`` images."""
    hashes, features = np.empty(count, np.uint64), np.empty((count, *CONV5_SHAPE), np.float16)
    squares: list[NDArray[np.uint8]] = []
    for i, image in enumerate(images):
        hashes[i] = perceptual_hash(np.asarray(image))
        squares.append(to_square(image, PreprocessingSettings()))
        if len(squares) == 64 or i + 1 == count:
            features[i + 1 - len(squares) : i + 1] = extract(
                network, np.stack(squares), torch.device("cpu"), 64
            )
            squares.clear()
    return Described(hashes, features)


def _in_order(
    originals: Described, copies: Described, turn: int
) -> tuple[Candidates, NDArray[np.float32]]:
    """Return each original with its copy, at any distance, and their cosines (n,)."""
    hashes = mirrored_hashes(originals.hashes, turn)
    distances: NDArray[np.uint8] = np.bitwise_count(hashes ^ copies.hashes)
    order = np.arange(len(hashes))
    pairs = Candidates(order, order, distances, np.full(len(hashes), turn, np.uint8))
    return pairs, cosine_confirms(pairs, originals.take, copies.take)


def flagged(pairs: Candidates, cosines: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which pairs the module's thresholds call copies, (n,) bool."""
    return (pairs.distance <= MAX_HAMMING) & (cosines >= required_cosine(pairs))


def print_recall(name: str, pairs: Candidates, cosines: NDArray[np.float32]) -> None:
    """Print one row of the recall.

    By the hash alone at each distance, quantiles of the cosine, and by both, at several thresholds
    and at the module's.
    """
    by_hash = " ".join(f"{np.mean(pairs.distance <= limit):6.3f}" for limit in DISTANCES)
    quantiles = " ".join(f"{quantile:6.3f}" for quantile in np.quantile(cosines, (0.01, 0.05, 0.5)))
    within = pairs.distance <= MAX_HAMMING
    by_both = " ".join(f"{np.mean(within & (cosines >= limit)):6.3f}" for limit in COSINES[1:])
    print(
        f"{name:<20} {by_hash}   {quantiles}   {by_both}   {np.mean(flagged(pairs, cosines)):6.3f}",
        flush=True,
    )


def recall(rows: list[Path], network: Conv5Extractor) -> None:
    """Print the table of originals against their copies."""
    originals = described(map(opened, rows), len(rows), network)
    print(
        f"{len(rows)} originals: recall by bits; quantiles of the cosine; recall by {MAX_HAMMING} "
        "bits and cosine; the module's"
    )
    bits, both = (
        " ".join(f"{sign}{limit:<4}" for limit in limits)
        for sign, limits in (("<=", DISTANCES), (">=", COSINES[1:]))
    )
    print(f"{'':<20} {bits}      1 %    5 %   50 %   {both}   module")
    for name, change in CHANGES.items():
        turn = TURN_OF.get(name.partition(",")[0], STRAIGHT)
        copies = described((change(opened(path)) for path in rows), len(rows), network)
        print_recall(name, *_in_order(originals, copies, turn))


def strangers(
    images: Described, groups: NDArray[np.str_], max_distance: int
) -> tuple[Candidates, NDArray[np.float32]]:
    """Return candidate pairs of different groups within a data set, and their cosines."""
    found = [
        block.where((block.first < block.second) & (groups[block.first] != groups[block.second]))
        for block in candidates(images.hashes, images.hashes, max_distance)
    ]
    fields = ("first", "second", "distance", "turn")
    pairs = Candidates(
        *(np.concatenate([getattr(block, field) for block in found]) for field in fields)
    )
    return pairs, cosine_confirms(pairs, images.take, images.take)


def print_false_alarms(
    name: str, groups: NDArray[np.str_], pairs: Candidates, cosines: NDArray[np.float32]
) -> None:
    """Print the table of pairs of different groups by turn, distance and cosine."""
    sizes = np.unique(groups, return_counts=True)[1]
    total = (len(groups) ** 2 - int((sizes**2).sum())) // 2
    for turn in TURNS:
        print(
            f"{name}: {total} pairs of different groups, {TURN_NAMES[turn]}; counts by cosine from"
        )
        print("bits    " + " ".join(f"{limit:8.2f}" for limit in COSINES))
        for distance in DISTANCES:
            close = (pairs.distance <= distance) & (pairs.turn == turn)
            print(
                f"<= {distance:<5}"
                + " ".join(f"{np.sum(close & (cosines >= limit)):8}" for limit in COSINES),
                flush=True,
            )


def print_flagged(
    labels: NDArray[np.str_], pairs: Candidates, cosines: NDArray[np.float32]
) -> None:
    """Print how many pairs of different groups the thresholds call copies, by their labels."""
    copies = pairs.where(flagged(pairs, cosines))
    for turn in TURNS:
        kept = copies.where(copies.turn == turn)
        both = Counter(
            " / ".join(sorted({a, b}))
            for a, b in zip(labels[kept.first], labels[kept.second], strict=True)
        )
        counts = ", ".join(f"{label} {count}" for label, count in sorted(both.items()))
        print(f"flagged {TURN_NAMES[turn]}: {len(kept)} {counts}", flush=True)


def main() -> None:
    """Print the tables."""
    try:
        data, weights = (
            Path(os.environ["MEDFEAT_REAL_DATA"]),
            Path(os.environ["MEDFEAT_WEIGHTS_DIR"]),
        )
    except KeyError as error:
        sys.exit(f"set {error.args[0]} to the folder")
    torch.set_num_threads(2)
    network = Conv5Extractor(
        alexnet_convolutions(load_file(weights / "alexnet_features.safetensors"))
    )
    copied: list[Path] = []
    for name in DATASETS:
        rows = manifest(data / "datasets" / name)
        paths = [data / "datasets" / name / row["path"] for row in rows]
        chosen = np.random.default_rng(SEED).choice(len(paths), COPIED_PER_DATASET, replace=False)
        copied += [paths[i] for i in sorted(chosen)]
        images = described(map(opened, paths), len(paths), network)
        groups = np.array([row["group_id"] for row in rows])
        found = strangers(images, groups, max(DISTANCES))
        print_false_alarms(name, groups, *found)
        print_flagged(np.array([row["label"] for row in rows]), *found)
    recall(copied, network)


if __name__ == "__main__":
    main()
