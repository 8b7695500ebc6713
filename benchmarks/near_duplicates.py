"""Recall and false alarms of the search for near-duplicates on real images.

    MEDFEAT_REAL_DATA=... .venv/bin/python -m benchmarks.near_duplicates

writes the tables of ``docs/near_duplicates.md``. The folder has ``datasets/<name>/manifest.csv``
(columns path, label, group_id and, where a file is known to repeat another, duplicate_of). It takes
about half an hour on one core.
"""

from __future__ import annotations

import csv
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from methods.curation.near_duplicates import (
    Pair,
    Side,
    find_near_duplicates,
)
from methods.imaging.perceptual_hash import perceptual_hash
from methods.imaging.preprocessing import PreprocessingSettings, to_square

DATASETS = ("modality", "chest_xray_pneumonia", "mammography_roi", "ham10000", "mednist")
COPIED = 40
"""Number of images of each dataset that are copied and changed."""
COMPARED = 3000
"""Maximum number of images of each dataset that are compared with all of other groups."""
EXAMPLES = 8
"""Maximum number of pairs of different groups that are printed for each dataset."""
SEED = 0
PAGE = Path(__file__).parents[1] / "docs" / "near_duplicates.md"
MARKS = ("<!-- table -->\n", "<!-- end of table -->\n")

Copy = Callable[[Image.Image], Image.Image]


@dataclass(frozen=True)
class Images:
    """The images of a dataset as they are prepared for a network.

    Attributes:
        paths: of the files.
        groups: (n,) group of each.
        labels: label of each.
        side: as the search sees them.
    """

    paths: list[Path]
    groups: NDArray[np.int64]
    labels: list[str]
    side: Side


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


def _rotated(degrees: float) -> Copy:
    return lambda image: image.rotate(degrees, Image.Resampling.BILINEAR)


def _moved(part: float) -> Copy:
    """Move to the right and up by ``part`` of the width and height; what comes in is black."""
    return lambda image: image.transform(
        image.size,
        Image.Transform.AFFINE,
        (1, 0, -round(part * image.width), 0, 1, round(part * image.height)),
    )


def _framed(part: float, level: int) -> Copy:
    """Add a border of ``part`` of the longer side all around, of one grey level."""
    return lambda image: ImageOps.expand(image, round(part * max(image.size)), (level,) * 3)


def _written_on(image: Image.Image) -> Image.Image:
    """Burn a label in: black letters on a white box over 3 % of the image."""
    image = image.copy()
    x, y = image.size
    pen = ImageDraw.Draw(image)
    pen.rectangle((0.02 * x, 0.02 * y, 0.3 * x, 0.12 * y), fill="white")
    pen.text((0.04 * x, 0.04 * y), "L 12:34", fill="black", font_size=max(8, round(0.06 * y)))
    return image


def _noisy(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image)
    noise = np.random.default_rng(SEED).normal(0, 5, pixels.shape[:2])[..., None]
    return Image.fromarray(np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8))


def _transposed(how: Image.Transpose) -> Copy:
    return lambda image: image.transpose(how)


CHANGES: dict[str, Copy] = {
    "rotated by 3 degrees": _rotated(3),
    "rotated by 5 degrees": _rotated(5),
    "rotated by 5 degrees back": _rotated(-5),
    "rotated by 8 degrees": _rotated(8),
    "cropped by 3 %": _cropped(0.03),
    "cropped by 5 %": _cropped(0.05),
    "cropped by 8 %": _cropped(0.08),
    "cropped by 15 %": _cropped(0.15),
    "moved by 2 %": _moved(0.02),
    "moved by 4 %": _moved(0.04),
    "inverted": ImageOps.invert,
    "quarter turn": _transposed(Image.Transpose.ROTATE_90),
    "quarter turn back": _transposed(Image.Transpose.ROTATE_270),
    "half a turn": _transposed(Image.Transpose.ROTATE_180),
    "mirrored": _transposed(Image.Transpose.FLIP_LEFT_RIGHT),
    "black border of 5 %": _framed(0.05, 0),
    "white border of 10 %": _framed(0.10, 255),
    "burned-in label": _written_on,
    "JPEG of quality 50": _jpeg(50),
    "resized to 50 %": _resized(0.5),
    "brightness +15 %, contrast +20 %": lambda image: ImageEnhance.Contrast(
        ImageEnhance.Brightness(image).enhance(1.15)
    ).enhance(1.2),
    "noise, sigma 5": _noisy,
    "mirrored, cropped by 5 %": lambda image: _cropped(0.05)(ImageOps.mirror(image)),
    "inverted, rotated by 3 degrees": lambda image: _rotated(3)(ImageOps.invert(image)),
}


def opened(path: Path) -> Image.Image:
    """Open the image in RGB."""
    with Image.open(path) as image:
        return image.convert("RGB")


def side_of(images: Sequence[Image.Image], groups: NDArray[np.int64]) -> Side:
    """Return images as the search sees them."""
    hashes = np.array([perceptual_hash(np.asarray(image)) for image in images], np.uint64)
    squares = np.stack([to_square(image, PreprocessingSettings()) for image in images])
    return Side(hashes, groups, lambda positions: squares[positions])


def images_of(folder: Path) -> Images:
    """Read a dataset, without the files that repeat another."""
    with (folder / "manifest.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if not row.get("duplicate_of")]
    paths = [folder / row["path"] for row in rows]
    groups = np.unique([row["group_id"] for row in rows], return_inverse=True)[1]
    side = side_of([opened(path) for path in paths], groups)
    return Images(paths, groups, [row["label"] for row in rows], side)


def recalls(images: Images) -> tuple[dict[str, float], float]:
    """Return the share of changed copies whose original is found, and seconds for each copy."""
    count = min(COPIED, len(images.paths))
    chosen = np.sort(np.random.default_rng(SEED).choice(len(images.paths), count, replace=False))
    originals = [opened(images.paths[i]) for i in chosen]
    changed = [change(image) for change in CHANGES.values() for image in originals]
    copies = side_of(changed, np.full(len(changed), -1))
    started = time.monotonic()
    pairs = {(pair.first, pair.second) for pair in find_near_duplicates(images.side, copies)}
    seconds = (time.monotonic() - started) / len(changed)
    hit = np.array([(chosen[i % count], i) in pairs for i in range(len(changed))])
    shares = hit.reshape(len(CHANGES), count).mean(1).tolist()
    return dict(zip(CHANGES, shares, strict=True)), seconds


def strangers(images: Images) -> tuple[list[Pair], int]:
    """Compare some images with all of other groups.

    Returns:
        The pairs that are found, and how many were compared.
    """
    count = min(COMPARED, len(images.paths))
    chosen = np.sort(np.random.default_rng(SEED).choice(len(images.paths), count, replace=False))
    side, groups = images.side, images.groups[chosen]
    some = Side(side.hashes[chosen], groups, lambda positions: side.take(chosen[positions]))
    found = [
        replace(pair, second=int(chosen[pair.second])) for pair in find_near_duplicates(side, some)
    ]
    inside = np.bincount(images.groups)[groups]
    return found, int((len(images.paths) - inside).sum())


def tables(
    recall_of: Mapping[str, Mapping[str, float]],
    strangers_of: Mapping[str, tuple[list[Pair], int]],
    seconds_of: Mapping[str, float],
) -> str:
    """Return both tables in Markdown."""
    lines = [
        f"Share of {COPIED} changed images of each dataset whose original is found among all:",
        "",
        "| change | " + " | ".join(recall_of) + " |",
        "| --- |" + " ---: |" * len(recall_of),
    ]
    for name in CHANGES:
        shares = " | ".join(f"{found[name]:.3f}" for found in recall_of.values())
        lines.append(f"| {name} | {shares} |")
    lines += [
        "",
        "Pairs of different groups that are found, each way round, and the time of the search:",
        "",
        "| dataset | compared | found | seconds for each test image |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, (pairs, total) in strangers_of.items():
        lines.append(f"| {name} | {total:,} | {len(pairs)} | {seconds_of[name]:.3f} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Write the tables into the page, and print the first pairs of different groups."""
    try:
        data = Path(os.environ["MEDFEAT_REAL_DATA"])
    except KeyError:
        sys.exit("set MEDFEAT_REAL_DATA to the folder")
    recall_of, strangers_of, seconds_of = {}, {}, {}
    for name in DATASETS:
        images = images_of(data / "datasets" / name)
        recall_of[name], seconds_of[name] = recalls(images)
        strangers_of[name] = strangers(images)
        for pair in strangers_of[name][0][:EXAMPLES]:
            both = " ".join(str(images.paths[i].name) for i in (pair.first, pair.second))
            print(f"{name}: {pair.likeness:.3f} {both} {images.labels[pair.first]}", flush=True)
    before, rest = PAGE.read_text().split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    made = tables(recall_of, strangers_of, seconds_of)
    PAGE.write_text(before + MARKS[0] + made + MARKS[1] + after)


if __name__ == "__main__":
    main()
