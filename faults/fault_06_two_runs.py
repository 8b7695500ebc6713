"""Two runs of one dataset at once."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from faults.harness import Fault, Outcome
from faults.study import DATASET, digest, home_in, put_images, register
from faults.zygote import Zygote, unharmed, zygote
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureStore


def inject(seeds: Sequence[int], folder: Path) -> Iterator[Outcome]:
    images = put_images(folder / "images")
    with zygote(folder / "log") as one, zygote(folder / "other log") as other:
        longest, whole = unharmed(folder / "unharmed", images, one)
        for seed in seeds:
            with home_in(folder / str(seed)) as store:
                register(store, images)
                yield _both(seed, longest, store, (one, other), whole)
            shutil.rmtree(folder / str(seed))


def doubled_rows(store: DatasetStore) -> int:
    """Return the rows that more than one shard of a feature set holds."""
    number = 0
    for asset in store.assets_of(DATASET):
        record = store.need_record(DATASET, asset)
        if record.feature_set is not None:
            held = Counter(
                image_id
                for entry in FeatureStore(store, DATASET, record.feature_set).index()
                for image_id in entry.image_ids
            )
            number += sum(times > 1 for times in held.values())
    return number


def _both(
    seed: int, longest: float, store: DatasetStore, zygotes: tuple[Zygote, Zygote], whole: str
) -> Outcome:
    later = float(np.random.default_rng(seed).uniform(0, longest / 2)) if seed % 2 else 0.0
    first = zygotes[0].begin("run_study")
    time.sleep(later)
    second = zygotes[1].begin("run_study")
    ended = [zygotes[0].end(first), zygotes[1].end(second)]
    same = digest(store) == whole
    doubled = doubled_rows(store)
    survived = ended == [0, 0] and same and not doubled
    said = "" if survived else f"{zygotes[0].said()} {zygotes[1].said()}"
    return Outcome(
        seed,
        survived,
        f"second {later:.2f} s later: ended with {ended}, {doubled} rows doubled {said}",
    )


FAULT = Fault(
    number=6,
    name="two runs of one dataset at once, the second at the same moment or a little later",
    goal="both end well with the same digest; no row doubled",
    full=50,
    sample=3,
    inject=inject,
    kinds=2,
)
