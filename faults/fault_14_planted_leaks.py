"""Small datasets whose given split has one image or patient on both sides.

A fifth of them have none.

Looked at as a run does before it trains: the manifest, the checks that block, the search for
near-duplicates. The pictures have nothing in common but what is planted: phantoms of different
kinds, and random cells of four sizes. The ways in which files of one patient are written
differently are those of the test of planted leaks.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from data_contracts.tables.manifest import ok_rows
from faults.harness import Fault, Outcome
from faults.scanning import encoded, scanned
from methods.curation.leakage import find_leaks
from methods.curation.near_duplicates import Side, find_near_duplicates
from methods.imaging.image_file import prepare_frames
from methods.imaging.phantoms import KINDS, phantom
from methods.imaging.preprocessing import PreprocessingSettings
from tests.methods.curation.pictures import CHANGES, picture
from tests.resources.intake.test_planted_leaks import WAYS

TRAIN, TEST = 9, 5
CLEAN = "clean"
PATIENT, GROUP = "patient", "group"


def _jpeg(image: Image.Image, rng: np.random.Generator) -> bytes:
    return encoded(image, "JPEG", quality=int(rng.integers(50, 96)))


def _bmp(image: Image.Image, rng: np.random.Generator) -> bytes:
    return encoded(image, "BMP")


def _turned(turn: Image.Transpose) -> Callable[[Image.Image, np.random.Generator], bytes]:
    return lambda image, rng: encoded(image.transpose(turn), "PNG")


def _changed(name: str) -> Callable[[Image.Image, np.random.Generator], bytes]:
    return lambda image, rng: encoded(CHANGES[name](image), "PNG")


def _inverted(image: Image.Image, rng: np.random.Generator) -> bytes:
    return encoded(ImageOps.invert(image), "PNG")


_COPIES: dict[str, Callable[[Image.Image, np.random.Generator], bytes]] = {
    "JPEG": _jpeg,
    "BMP": _bmp,
    "mirrored": _turned(Image.Transpose.FLIP_LEFT_RIGHT),
    "upside down": _turned(Image.Transpose.FLIP_TOP_BOTTOM),
    "half a turn": _turned(Image.Transpose.ROTATE_180),
    "quarter turn": _turned(Image.Transpose.ROTATE_90),
    "inverted": _inverted,
    "moved": _changed("moved"),
    "cropped": _changed("cropped"),
    "rotated": _changed("rotated"),
    "framed": _changed("framed"),
    "written on": _changed("written on"),
}
_CYCLE = (
    PATIENT,
    "JPEG",
    "mirrored",
    "moved",
    CLEAN,
    "BMP",
    GROUP,
    "upside down",
    "half a turn",
    CLEAN,
    "quarter turn",
    "inverted",
    "cropped",
    "rotated",
    CLEAN,
    "framed",
    "written on",
    *WAYS,
)


def _picture(number: int, seed: int, rng: np.random.Generator) -> Image.Image:
    """Draw a phantom of each kind, and then random cells, so that no two datasets share one."""
    side = 150 + seed
    if number < len(KINDS):
        return Image.fromarray(phantom(KINDS[number], seed, side)).convert("RGB")
    return picture(int(rng.integers(1 << 32))).resize((side, side)).convert("RGB")


def _made(root: Path, seed: int, leak: str) -> set[str]:
    """Write the dataset and return the two paths that leak, or none."""
    rng = np.random.default_rng(seed)
    pictures = [_picture(number, seed, rng) for number in range(TRAIN + TEST)]
    rng.shuffle(pictures)  # type: ignore[arg-type]
    rows = []
    for number, drawn in enumerate(pictures):
        side = "train" if number < TRAIN else "test"
        rows.append(
            {
                "path": f"{number:02}.png",
                "label": "ab"[number % 2],
                "split": side,
                "group_id": "",
                "patient_id": "",
            }
        )
        (root / f"{number:02}.png").write_bytes(encoded(drawn, "PNG"))
    source, target = int(rng.integers(TRAIN)), TRAIN + int(rng.integers(TEST))
    if leak in WAYS:
        # copies under two labels are rejected, and are no leak
        rows[target]["label"] = rows[source]["label"]
        for number, planted in zip((source, target), WAYS[leak], strict=True):
            (root / rows[number]["path"]).unlink()
            rows[number] |= {"path": f"{number:02}{planted.suffix}", **planted.ids}
            (root / rows[number]["path"]).write_bytes(planted.data)
    elif leak in (PATIENT, GROUP):
        rows[source][f"{leak}_id"] = rows[target][f"{leak}_id"] = "the same"
    elif leak != CLEAN:
        (root / f"{target:02}.png").write_bytes(_COPIES[leak](pictures[source], rng))
    with (root / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return set() if leak == CLEAN else {rows[source]["path"], rows[target]["path"]}


def _side(root: Path, rows: list[dict[str, Any]], number: int) -> Side:
    squares = np.stack(
        [
            next(prepare_frames((root / row["path"]).read_bytes(), [0], PreprocessingSettings()))
            for row in rows
        ]
    )
    hashes = np.array([row["perceptual_hash"] for row in rows], np.uint64)
    return Side(hashes, np.full(len(rows), number), lambda positions: squares[positions])


def _found(root: Path) -> list[set[str]]:
    """Return pairs of paths, each reported by the first check that finds it."""
    manifest = scanned(root)
    leaks = find_leaks(manifest.to_pylist())
    if leaks:
        return [{leak.train, leak.test} for leak in leaks]
    sides = [
        [row for row in ok_rows(manifest).to_pylist() if row["split"] == side]
        for side in ("train", "test")
    ]
    train, test = (_side(root, side, number) for number, side in enumerate(sides))
    pairs = find_near_duplicates(train, test)
    return [{sides[0][pair.first]["path"], sides[1][pair.second]["path"]} for pair in pairs]


def inject(seeds: Sequence[int], folder: Path) -> Iterator[Outcome]:
    """Check one dataset for each seed."""
    for seed in seeds:
        leak = _CYCLE[(seed + seed // len(_CYCLE)) % len(_CYCLE)]
        root = folder / str(seed)
        root.mkdir()
        planted, found = _made(root, seed, leak), _found(root)
        yield Outcome(seed, found == ([planted] if planted else []), f"{leak}: {len(found)} found")


FAULT = Fault(
    number=14,
    name="a patient or a twin of an image on both sides of the split",
    goal="found or refused; nothing on a clean set",
    full=100,
    sample=20,
    inject=inject,
)
