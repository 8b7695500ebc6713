"""Measure what a nightly drop costs, and whether its results are those of one load.

The cost is compared with that of computing everything anew.

    MEDFEAT_REAL_DATA=... MEDFEAT_WEIGHTS_DIR=... .venv/bin/python -m benchmarks.drops

The first names a folder with ``datasets/modality`` (class folders below train/ and test/, and a
manifest.csv). One image in a hundred goes into each of ten drops, the others are the first load.
Then three datasets are run from the command line, as a user would:

- ``nightly``: the first load, then drop after drop, labelled images held (the default policy);
- ``oneload``: everything in one folder, the dropped images without a label: the full recompute, and
  the peer of the result;
- ``trained``: as ``nightly``, but drops go where their split says and train all models, in one run
  at the end; its peer is ``complete``: everything in one folder with all labels.

Seconds are those of the stages as their records have them, with the libraries loaded beforehand and
the fits of the classifier and the SVMs left out; and those of the whole command, with everything.
Takes about fifteen minutes on two cores.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import PRELOADED_MEDFEAT
from data_contracts.records.sealed import unsealed_json

N_DROPS = 10
SEED = 0
SETTINGS = ("filters=1024", "epochs=20", "batch_size=128")
FITS = ("classifier", "svm_evaluation_")
SHARDS = ("prepared_images", "alexnet_conv5", "cae_features", "random_cae_features")

NAMES_OF_A_RUN = ["dataset", "data_versions"]

Row = Mapping[str, str]


def medfeat(*words: str) -> float:
    """Run a medfeat command and return the seconds that it took."""
    started = time.monotonic()
    line = [sys.executable, "-c", PRELOADED_MEDFEAT, *words]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"medfeat {' '.join(words)}: {done.stderr or done.stdout}")
    return time.monotonic() - started


def lay_out(
    source: Path, target: Path, rows: Sequence[Row], unlabelled: frozenset[str] = frozenset()
) -> None:
    """Copy the images of ``rows`` below ``target``, with a manifest of their own.

    Those in ``unlabelled`` have neither label nor split in it.
    """
    target.mkdir(parents=True)
    with open(target / "manifest.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "split", "group_id"])
        for row in rows:
            bare = row["path"] in unlabelled
            writer.writerow(
                [
                    row["path"],
                    "" if bare else row["label"],
                    "" if bare else row["split"],
                    row["group_id"],
                ]
            )
            (target / row["path"]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / row["path"], target / row["path"])


def records(home: Path, dataset: str) -> dict[str, dict[str, Any]]:
    """Return the current records of a dataset, by asset."""
    paths = (home / "store" / dataset).glob("*/current.json")
    return {path.parent.name: unsealed_json(path.read_bytes()) for path in sorted(paths)}


def stage_seconds(home: Path, dataset: str, before: Mapping[str, Mapping[str, Any]]) -> float:
    """Return the seconds of the stages that were computed since ``before``, fits left out."""
    now = records(home, dataset)
    return sum(
        float(record["seconds"])
        for asset, record in now.items()
        if not asset.startswith(FITS) and record["run_id"] != before.get(asset, {}).get("run_id")
    )


def shards(home: Path, dataset: str) -> dict[str, tuple[int, int]]:
    """Return size and modification time of every shard."""
    found = (path for asset in SHARDS for path in (home / "store" / dataset / asset).glob("*.h5"))
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


def results(home: Path, dataset: str) -> dict[str, object]:
    """Return every feature by image, every metric and every prediction.

    Names, runs and times are left out, so that two datasets can be compared.
    """
    os.environ["MEDFEAT_HOME"] = str(home)
    from assets.features.frozen_networks import open_features
    from data_contracts.tables.evaluations import METRICS
    from data_contracts.tables.predictions import IMAGE_PREDICTIONS
    from resources.store.dataset_store import DatasetStore

    store = DatasetStore()
    found: dict[str, object] = {}
    for asset in SHARDS:
        reader = open_features(store, dataset, asset)
        found[asset] = {
            image_id: np.asarray(reader.take([i])).tobytes()
            for i, image_id in enumerate(reader.image_ids)
        }
        reader.close()
    for asset in ("svm_evaluation_conv5", "svm_evaluation_random_cae", "svm_evaluation_cae"):
        found[asset] = (
            store.main_table(dataset, asset, METRICS).drop_columns(NAMES_OF_A_RUN).to_pylist()
        )
    lines = store.main_table(dataset, "predictions", IMAGE_PREDICTIONS).to_pylist()
    found["predictions"] = [
        {k: v for k, v in line.items() if k not in ("path", "split", "label")} for line in lines
    ]
    return found


def compare(home: Path, first: str, second: str) -> None:
    """Print whether two datasets have equal results, to the bit."""
    one, other = results(home, first), results(home, second)
    for name in one:
        print(f"  {name}: {'equal' if one[name] == other[name] else 'DIFFERENT'}")


def settings(*more: str) -> list[str]:
    """Return SETTINGS as words of a command line."""
    return [word for setting in (*SETTINGS, *more) for word in ("--set", setting)]


def main() -> None:
    """Measure and print the figures."""
    source = Path(os.environ["MEDFEAT_REAL_DATA"]) / "datasets" / "modality"
    with open(source / "manifest.csv", newline="") as stream:
        rows = sorted(csv.DictReader(stream), key=lambda row: row["path"])
    shuffled = np.random.default_rng(SEED).permutation(len(rows))
    each = max(len(rows) // 100, 1)
    # What is dropped must not be the last training image of its class, nor part a group.
    grouped = {
        row["group_id"] for row in rows if sum(r["group_id"] == row["group_id"] for r in rows) > 1
    }
    single = [
        int(i) for i in shuffled if rows[i]["group_id"] not in grouped or not rows[i]["group_id"]
    ][: N_DROPS * each]
    dropped = [[rows[i] for i in sorted(single[n * each : (n + 1) * each])] for n in range(N_DROPS)]
    late = frozenset(row["path"] for drop in dropped for row in drop)
    first = [row for row in rows if row["path"] not in late]
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), source, rows, first, dropped, late)


def measure(
    folder: Path,
    source: Path,
    rows: Sequence[Row],
    first: Sequence[Row],
    dropped: Sequence[Sequence[Row]],
    late: frozenset[str],
) -> None:
    """Run the four datasets in ``folder`` and print what they cost and whether they agree."""
    home = folder / "home"
    os.environ.update(MEDFEAT_HOME=str(home), MEDFEAT_SITE_KEY=str(folder / "site.key"))
    print(
        f"{len(rows)} images: {len(first)} in the first load, {len(dropped)} drops of "
        f"{len(dropped[0])}; {' '.join(SETTINGS)}"
    )
    for name, images, bare in (
        ("oneload", rows, late),
        ("complete", rows, frozenset[str]()),
        ("first", first, frozenset[str]()),
    ):
        lay_out(source, folder / name, images, bare)

    medfeat("add", "oneload", str(folder / "oneload"), "--unlabelled")
    wall = medfeat("run", "oneload", *settings())
    full = stage_seconds(home, "oneload", {})
    print(f"full recompute: {full:6.1f} s of stages, {wall:6.1f} s of the command")

    medfeat("add", "nightly", str(folder / "first"))
    medfeat("run", "nightly", *settings())
    shares = []
    for number, drop in enumerate(dropped):
        lay_out(source, home / "drops" / "nightly" / f"night{number}", drop)
        (home / "drops" / "nightly" / f"night{number}" / "_READY").touch()
        before, stored = records(home, "nightly"), shards(home, "nightly")
        wall = medfeat("run", "nightly", *settings())
        now = records(home, "nightly")
        kept = all(shards(home, "nightly").get(path) == stamp for path, stamp in stored.items())
        seconds = stage_seconds(home, "nightly", before)
        shares.append(seconds / full)
        computed = [
            now["prepared_images"]["summary"]["newly prepared"],
            now["alexnet_conv5"]["summary"]["newly computed"],
        ]
        print(
            f"drop {number}: {seconds:5.2f} s of stages ({seconds / full:5.1%} of the full run), "
            f"{wall:5.1f} s of the command, {computed[0]} images prepared, {computed[1]} "
            f"featurised; shards {'untouched' if kept else 'CHANGED'}; "
            + " ".join(
                f"{a} {r['seconds']:.2f}"
                for a, r in now.items()
                if r["run_id"] != before.get(a, {}).get("run_id")
            )
        )
    print(f"median drop: {float(np.median(shares)):.1%} of the full run's stages")
    print("nightly against oneload:")
    compare(home, "nightly", "oneload")

    medfeat("add", "complete", str(folder / "complete"))
    medfeat("run", "complete", *settings("fit_on=train+drops"))
    shutil.copytree(home / "drops" / "nightly", home / "drops" / "trained")
    medfeat("add", "trained", str(folder / "first"), "--new-labels", "given")
    medfeat("run", "trained", *settings("fit_on=train+drops"))
    print("trained against complete:")
    compare(home, "trained", "complete")


if __name__ == "__main__":
    main()
