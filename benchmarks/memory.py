"""Benchmark of peak memory with 1,000, 10,000 and 100,000 images, for the stages that read them.

    .venv/bin/python -m benchmarks.memory

Each stage runs in a process of its own: the manifest and the preparation on generated files and the
network on prepared shards, up to 10,000 images; the auto-encoder's training, its codes and the
streaming SVM on synthetic shards of conv5, up to 100,000. Filters are few: what could grow with the
images does so whatever the filters. A row is the largest peak over the smallest. Twenty minutes, 10
GB of disk.
"""

from __future__ import annotations

import hashlib
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from assets.core.originals import Originals
from assets.core.shards import READ_ROWS, in_blocks
from benchmarks.measure import Row, at_most, main
from data_contracts.records.dataset import DatasetSpec
from data_contracts.records.feature_shard import FeatureSet
from data_contracts.tables.manifest import ok_rows
from methods.arrays import l2_normalise
from methods.classifiers.linear_svm import fit_primal
from methods.features.frozen_network import CONV5_SHAPE, Conv5Extractor, extract, random_alexnet
from methods.imaging.phantoms import KINDS, phantom
from methods.imaging.preprocessing import PreprocessingSettings
from methods.settings import CaeSettings
from methods.training import cae
from resources.compute import give_large_blocks_back
from resources.intake.arrivals import find_arrivals
from resources.intake.dataset_scan import scan
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureReader, FeatureStore

GOAL = 1.2
CPU = torch.device("cpu")
SETTINGS = CaeSettings(filters=16, epochs=1)
PREPARED = FeatureSet(
    kind="prepared", dtype="uint8", row_shape=(227, 227, 3), preprocessing={}, code_version="1"
)
CONV5 = FeatureSet(
    kind="conv5", dtype="float32", row_shape=CONV5_SHAPE, preprocessing={}, code_version="1"
)
CODES = FeatureSet(
    kind="codes", dtype="float16", row_shape=(16, 3, 3), preprocessing={}, code_version="1"
)


def ids_of(number: int) -> list[str]:
    """Return the identifiers of ``n`` images, sorted."""
    return sorted(hashlib.sha256(str(i).encode()).hexdigest() for i in range(number))


def shards(folder: Path, feature_set: FeatureSet) -> FeatureStore:
    """Return the feature store of a home in ``folder``."""
    return FeatureStore(DatasetStore(home=str(folder / "home")), "many", feature_set)


def stored(folder: Path, feature_set: FeatureSet, number: int) -> FeatureReader:
    """Return synthetic rows that are stored once, a few of them again and again."""
    rng, ids = np.random.default_rng(0), ids_of(number)
    few = np.maximum(rng.normal(-0.5, 1, (64, *feature_set.row_shape)), 0).astype(feature_set.dtype)
    shards(folder, feature_set).fill(ids, lambda wanted: few[np.arange(len(wanted)) % len(few)], {})
    return shards(folder, feature_set).reader(ids)


def prepare(folder: Path, number: int) -> None:
    """Make the manifest and prepare the images."""
    from PIL import Image

    for i in range(number):
        path = folder / "images" / ("train", "test")[i % 8 < 2] / KINDS[i % 2] / f"{i:06}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = phantom(KINDS[i % 2], seed=i % 50).copy()
        picture.flat[:4] = np.frombuffer(i.to_bytes(4, "little"), np.uint8)  # no two the same
        Image.fromarray(picture).save(path, compress_level=1)
    store = DatasetStore(home=str(folder / "home"))
    store.save_spec(DatasetSpec(name="many", root=folder / "images", show_names=True))
    rows = ok_rows(scan(find_arrivals(store, store.spec("many")).intake)).to_pylist()
    originals = Originals(store, "many", rows)
    ids = [row["image_id"] for row in rows]
    shards(folder, PREPARED).fill(
        ids, lambda wanted: originals.squares(wanted, PreprocessingSettings()), {}
    )


def featurise(folder: Path, number: int) -> None:
    """Compute AlexNet conv5 of prepared images."""
    network, ids = Conv5Extractor(random_alexnet()), ids_of(number)
    images = stored(folder, PREPARED, number)
    produce = in_blocks(
        lambda pixels: extract(network, pixels, CPU, 64), images, CONV5, READ_ROWS, "conv5"
    )
    shards(folder, CONV5).fill(ids, produce, {})


def train(folder: Path, number: int) -> None:
    """Train the auto-encoder for one epoch."""
    for _ in cae.train_cae(stored(folder, CONV5, number).take, number, SETTINGS, CPU):
        pass


def encode(folder: Path, number: int) -> None:
    """Compute the codes."""
    features, ids = stored(folder, CONV5, number), ids_of(number)
    model = cae.new_cae(CONV5_SHAPE[0], SETTINGS, features.rows(0, 64), CPU)
    produce = in_blocks(
        lambda maps: cae.encode(model, maps, CPU), features, CODES, READ_ROWS, "codes"
    )
    shards(folder, CODES).fill(ids, produce, {})


def classify(folder: Path, number: int) -> None:
    """Fit the streaming SVM, which is used where a Gram matrix would be too large."""
    features = stored(folder, CONV5, number)
    starts = range(0, number, READ_ROWS)
    labels = np.array(["a", "b"])[np.arange(number) % 2]
    fit_primal(
        lambda: (l2_normalise(features.rows(start, start + READ_ROWS)) for start in starts),
        labels,
        int(np.prod(CONV5_SHAPE)),
        max_iterations=2,
    )


STAGES: dict[str, tuple[Callable[[Path, int], None], tuple[int, ...]]] = {
    "manifest and preparation": (prepare, (1_000, 10_000)),
    "AlexNet conv5": (featurise, (1_000, 10_000)),
    "training of the auto-encoder": (train, (1_000, 10_000, 100_000)),
    "codes": (encode, (1_000, 10_000, 100_000)),
    "streaming SVM": (classify, (1_000, 10_000, 100_000)),
}


def peak(stage: str, number: int) -> float:
    """Return the peak resident memory of a process that runs one stage on ``n`` images, in MB."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "benchmarks.memory", "--stage", stage, str(number), folder]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def rows() -> list[Row]:
    """Return one row for each stage."""
    found = []
    for stage, (_, sizes) in STAGES.items():
        peaks = [peak(stage, number) for number in sizes]
        note = ", ".join(
            f"{number:,}: {value:,.0f} MB" for number, value in zip(sizes, peaks, strict=True)
        )
        growth = max(peaks) / min(peaks)
        found.append(
            at_most(
                f"peak memory, {stage}",
                f"that of {sizes[0]:,} images",
                [growth],
                "x",
                GOAL,
                note=note,
            )
        )
    return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["--stage"]:
        give_large_blocks_back()
        STAGES[sys.argv[2]][0](Path(sys.argv[4]), int(sys.argv[3]))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    else:
        main(rows)
