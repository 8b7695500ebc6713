"""Crafted files do harm where nothing guards, so a table of files that did none means something."""

from __future__ import annotations

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from faults import crafted_archives, crafted_datasets, crafted_hdf5, crafted_pickles
from faults.crafted_ground import Ground
from faults.fault_11_crafted_files import FAULT


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    for name in ("MEDFEAT_SITE_KEY", "MEDFEAT_DROPS"):
        monkeypatch.setenv(name, "")  # set by the ground, and put back afterwards
    return Ground(tmp_path)


def test_every_crafted_file_has_a_seed() -> None:
    crafted = [
        set(module.CRAFTED)
        for module in (crafted_hdf5, crafted_pickles, crafted_archives, crafted_datasets)
    ]
    assert len(set().union(*crafted)) == sum(map(len, crafted)) == FAULT.full == FAULT.sample


def test_nothing_came_through_where_nothing_happened(ground: Ground) -> None:
    assert len(ground.take_in()) == len(list(ground.root.rglob("*.png")))
    assert ground.came_through() == []


def test_the_pickle_is_executed_by_whoever_loads_it(ground: Ground) -> None:
    pickle.loads(pickle.dumps(ground.payload))
    assert ground.came_through() == ["something was executed"]


@pytest.mark.parametrize(
    "name",
    ["external storage", "external link", "soft link to an external link", "virtual dataset"],
)
def test_a_plain_reader_hands_out_numbers_from_outside(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def plain(ground: Ground, shards: crafted_hdf5.FeatureStore) -> None:
        with h5py.File(next(shards.folder.glob("*.h5"))) as file:
            ground.read.append(np.asarray(file["features"]).tobytes())

    monkeypatch.setattr(crafted_hdf5, "read_back", plain)
    crafted_hdf5.CRAFTED[f"HDF5: {name}"](ground)
    assert "bytes from outside are in array 0" in ground.came_through()


@pytest.mark.parametrize("leak", ["text", "png", "digest", "pixels"])
def test_what_leaks_is_found(ground: Ground, leak: str) -> None:
    ground.take_in()
    stolen = ground.store.root / "store" / "stolen"
    if leak == "text":
        stolen.write_bytes(b"x" + ground.secret_text.read_bytes())
    elif leak == "png":
        stolen.write_bytes(ground.secret_png.read_bytes())
    else:
        ground.put("A/stolen.png", ground.secret_png.read_bytes())
        ground.take_in()
        if leak == "digest":
            ground.read.clear()
    assert ground.came_through() != []


def test_what_is_written_outside_is_found(ground: Ground) -> None:
    (ground.folder / "evil.png").write_bytes(b"x")
    assert ground.came_through() == ["something was written outside of the home"]
