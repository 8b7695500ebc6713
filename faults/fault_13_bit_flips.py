"""One bit of a committed file is flipped: the doctor names the file and computes it again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from data_contracts.errors import InputError
from faults.harness import Fault, Outcome
from faults.study import digest, home_in, put_images, register, run_study, stored_files
from pipeline.care.doctor import examine
from pipeline.care.store_health import damaged_files
from resources.store.dataset_store import DatasetStore

MENDED = 0.05
"""Share of the seeds, drawn at random, whose file the doctor repairs.

The bytes of the others are put back.
"""


def inject(seeds: Sequence[int], folder: Path) -> Iterator[Outcome]:
    with home_in(folder) as store:
        register(store, put_images(folder / "images"))
        run_study()
        whole = digest(store)
        assert list(damaged_files(store)) == []
        for seed in seeds:
            yield _flipped(store, whole, seed)


def _flipped(store: DatasetStore, whole: str, seed: int) -> Outcome:
    rng = np.random.default_rng(seed)
    files = stored_files(store)
    path = files[rng.integers(len(files))]
    before = path.read_bytes()
    bit = int(rng.integers(8 * len(before)))
    # a specification is not computed
    mend = rng.random() < MENDED and path.parent != store.root / "datasets"
    changed = bytearray(before)
    changed[bit // 8] ^= 1 << bit % 8
    path.write_bytes(bytes(changed))
    where = f"bit {bit} of {path.relative_to(store.root)}"
    try:
        if not any(damage.path == path for damage in damaged_files(store)):
            return Outcome(seed, False, f"{where}: not seen")
        if not mend:
            path.write_bytes(before)
            return Outcome(seed, True)
        said = [finding.text for finding in examine(fix=False) if finding.state == "problem"]
        if not any(str(path) in text and "medfeat doctor --fix" in text for text in said):
            return Outcome(seed, False, f"{where}: {said}")
        list(examine(fix=True))
        left = [str(damage) for damage in damaged_files(store)]
        return Outcome(seed, not left and digest(store) == whole, f"{where}: {left}")
    except InputError as error:
        path.write_bytes(before)
        return Outcome(seed, False, f"{where}: {error}")


FAULT = Fault(
    number=13,
    name="a bit of a committed file is flipped",
    goal=(
        "`medfeat doctor` names the file and the remedy; one in twenty is mended by `doctor --fix` "
        "to the same digest"
    ),
    full=1000,
    sample=50,
    inject=inject,
)
