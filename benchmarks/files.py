"""Benchmark of the way from JPEG files to conv5 in HDF5 against thingsvision with its defaults.

    make peers && .venv/bin/python -m benchmarks.files

Ours is what `prepared_images` and `alexnet_conv5` do: read, hash and decode the files, resize,
store; read back, compute, store. thingsvision runs in a process of its own, with AlexNet loaded
beforehand, its own transforms (a crop of 224 pixels), one loading process as by default, and plain
HDF5 without compression. Both have random weights. The row below each says how near ours comes to
the slower of decoding alone and the forward pass alone, had the other cost nothing. On a CPU it
cannot: both are arithmetic of the same cores; the note has the sum of the two. `image_manifest`,
which a dataset also goes through, is not part of it (the note says what it takes): thingsvision
checks nothing. Pictures are smooth shapes with grain, quality 90. Some minutes.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import IO

import numpy as np
import torch
from PIL import Image

from assets.core.originals import Originals
from assets.core.shards import READ_ROWS, in_blocks
from benchmarks.measure import ROUNDS, Row, at_most, from_pairs, main, seconds
from data_contracts.records.dataset import DatasetSpec
from data_contracts.records.feature_shard import FeatureSet
from data_contracts.tables.manifest import ok_rows
from methods.features.frozen_network import CONV5_SHAPE, Conv5Extractor, extract, random_alexnet
from methods.imaging.preprocessing import PreprocessingSettings, to_square
from methods.imaging.readers import open_image
from resources.intake.arrivals import find_arrivals
from resources.intake.dataset_scan import scan
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureStore

PEERS = Path(__file__).parent / ".venv" / "bin" / "python"
WORKER = Path(__file__).parent / "peers" / "thingsvision_worker.py"
SETTINGS = PreprocessingSettings(decode="scaled")
CASES = {512: (256, 3.0), 2000: (96, 5.0)}
"""Number of files and minimum ratio to reach, by side of the pictures in pixels."""
LIMIT = 1 / 0.85


def make_pictures(folder: Path, side: int, number: int) -> None:
    """Write JPEGs into class folders."""
    rng = np.random.default_rng(side)
    for split in ("train", "test"):
        for label in "ab":
            (folder / split / label).mkdir(parents=True)
    for i in range(number):
        coarse = Image.fromarray(
            rng.integers(0, 256, (side // 60 + 2, side // 60 + 2, 3), np.uint8)
        )
        smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)).astype(np.int16)
        grain = rng.integers(-6, 7, (side, side, 1), np.int16)
        picture = Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8))
        picture.save(
            folder / ("train", "test")[i % 8 < 2] / "ab"[i % 2] / f"{i:04}.jpg", quality=90
        )


class Ours:
    """The two stages on one folder."""

    def __init__(self, home: Path, images: Path) -> None:
        store = DatasetStore(home=str(home))
        store.save_spec(DatasetSpec(name="files", root=images, show_names=True))
        intake = find_arrivals(store, store.spec("files")).intake
        self.manifest_seconds = seconds(lambda: scan(intake))
        rows = ok_rows(scan(intake)).to_pylist()
        self.ids = sorted(row["image_id"] for row in rows)
        self.originals = Originals(store, "files", rows)
        self.network = Conv5Extractor(random_alexnet())
        prepared = FeatureSet(
            kind="prepared",
            dtype="uint8",
            row_shape=(227, 227, 3),
            preprocessing={},
            code_version="1",
        )
        conv5 = FeatureSet(
            kind="conv5", dtype="float32", row_shape=CONV5_SHAPE, preprocessing={}, code_version="1"
        )
        self.prepared, self.conv5 = (
            FeatureStore(store, "files", made) for made in (prepared, conv5)
        )

    def run(self) -> None:
        """Go from the files to conv5."""
        self.prepared.fill(
            self.ids, lambda wanted: self.originals.squares(wanted, SETTINGS), {}, force=True
        )
        images = self.prepared.reader(self.ids)
        produce = in_blocks(self.forward, images, self.conv5.feature_set, READ_ROWS, "conv5")
        self.conv5.fill(self.ids, produce, {}, force=True)
        images.close()

    def forward(self, pixels: np.ndarray) -> np.ndarray:
        """Run the network alone."""
        return extract(self.network, pixels, torch.device("cpu"), 64)

    def decode(self) -> np.ndarray:
        """Read, decode and resize alone."""
        return self.originals.squares(self.ids, SETTINGS)


def pixel_difference(images: Path) -> str:
    """Say how far scaled decoding moves the prepared pixels."""
    apart = []
    for path in sorted(images.rglob("*.jpg"))[:16]:
        opened = open_image(path.read_bytes())
        exact = to_square(opened.decode(0), PreprocessingSettings()).astype(np.int64)
        apart.append(np.abs(to_square(opened.decode(0, SETTINGS), SETTINGS) - exact))
    return (
        f"pixels differ from exact decoding by {np.mean(apart):.2f} of 255 on average, "
        f"{np.max(apart)} at most"
    )


def case(side: int, number: int, goal: float, peer: IO[str], answers: IO[str]) -> list[Row]:
    """Return the rows of one size: against thingsvision, and against the limit."""
    with tempfile.TemporaryDirectory() as folder:
        images, home = Path(folder) / "images", Path(folder) / "home"
        make_pictures(images, side, number)
        ours = Ours(home, images)

        def theirs() -> float:
            with tempfile.TemporaryDirectory() as temporary:
                peer.write(f"{images} {temporary}\n")
                peer.flush()
                return float(answers.readline())

        ours.run(), theirs()
        pairs = [(seconds(ours.run), theirs()) for _ in range(ROUNDS)]
        pixels = ours.decode()
        alone = [
            (seconds(ours.decode), seconds(lambda: ours.forward(pixels))) for _ in range(ROUNDS)
        ]
        decode, forward = (float(np.median(times)) for times in zip(*alone, strict=True))
        what = f"{number} JPEGs of {side} px -> conv5 in HDF5"
        rate = number / float(np.median([own for own, _ in pairs]))
        note = (
            f"{rate:.0f} images/s; {pixel_difference(images)}; image_manifest "
            f"{ours.manifest_seconds:.1f} s"
        )
        shares = [own / max(decode, forward) for own, _ in pairs]
        limit = (
            f"the slower of decoding ({decode:.2f} s) and forward ({forward:.2f} s) alone, on all "
            "cores"
        )
        total = float(np.median([own for own, _ in pairs])) / (decode + forward)
        return [
            from_pairs(what, "thingsvision, alexnet features.12, defaults", pairs, goal, note=note),
            at_most(
                f"{what}, over the limit",
                limit,
                shares,
                "x",
                LIMIT,
                note=f"{total:.2f} times the sum of the two",
            ),
        ]


def rows() -> list[Row]:
    """Return the rows of both sizes."""
    if not PEERS.exists():
        raise SystemExit("error: the peers are not installed. Run: make peers")
    with subprocess.Popen(
        [PEERS, WORKER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise SystemExit("error: thingsvision did not start")
        measured = [
            row
            for side, (number, goal) in CASES.items()
            for row in case(side, number, goal, process.stdin, process.stdout)
        ]
        process.stdin.close()
    return measured


if __name__ == "__main__":
    main(rows)
