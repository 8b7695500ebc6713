"""Fixtures: a home of its own for every test, and small folders of images whose classes can be told
apart."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"

TINY_STUDY: dict[str, Any] = {
    "filters": 4,
    "epochs": 1,
    "batch_size": 8,
    "weights": "random",
    "label_budgets": [],
    "bootstrap_resamples": 50,
    "seeds": 1,
}
"""Settings of the quickest study there is."""

MakeImages = Callable[..., Path]


def draw(kind: int, number: int, size: int = 64) -> np.ndarray:
    """A grey picture: wavy stripes whose direction is the class, with noise of the number.

    The waves are of the number, too: straight stripes of one class could be laid over each other,
    and would be near-duplicates.
    """
    rng = np.random.default_rng([kind, number])
    y, x = np.mgrid[0:size, 0:size]
    angle = np.pi * kind / 5 + rng.normal(0, 0.05)
    bends = Image.fromarray(rng.normal(0, 1, (8, 8)).astype(np.float32)).resize((size, size))
    along = (x * np.cos(angle) + y * np.sin(angle)) * (0.5 + 0.1 * rng.random())
    wave = np.sin(along + np.asarray(bends))
    return np.clip(127 + 90 * wave + rng.normal(0, 12, (size, size)), 0, 255).astype(np.uint8)


def use_home(patch: pytest.MonkeyPatch, folder: Path, home: Path | None = None) -> None:
    """Let MEDFEAT_HOME be ``folder/home`` (or ``home``), with the site key beside it: for homes
    that several tests share."""
    home = home or folder / "home"
    patch.setenv("MEDFEAT_HOME", str(home))
    patch.setenv("DAGSTER_HOME", str(home / "dagster"))
    patch.setenv("MEDFEAT_SITE_KEY", str(folder / "site.key"))
    for name in (
        "MEDFEAT_DROPS",
        "MEDFEAT_DROP_SETTLE_SECONDS",
        "MEDFEAT_KEEP_RUNS_DAYS",
        "MEDFEAT_NIGHTLY",
        "MEDFEAT_TIME_ZONE",
    ):
        patch.delenv(name, raising=False)


def go_offline(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Weights are nowhere to be found and nothing is downloaded."""
    patch.setenv("TORCH_HOME", str(folder / "no_cache"))
    patch.delenv("MEDFEAT_WEIGHTS_DIR", raising=False)
    for scheme in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        patch.setenv(scheme, "http://127.0.0.1:9")
    patch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def make_images(tmp_path: Path) -> MakeImages:
    """``make_images(classes=3, each=8, name="images")`` -> a folder of class folders of PNG
    files."""

    def make(classes: int = 3, each: int = 8, name: str = "images", first: int = 0) -> Path:
        root = tmp_path / name
        for kind in range(classes):
            folder = root / f"class{kind}"
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(first, first + each):
                Image.fromarray(draw(kind, number)).save(folder / f"{number:03d}.png")
        return root

    return make


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh MEDFEAT_HOME with its Dagster instance; weights are nowhere to be found and nothing
    is downloaded."""
    from resources.store.home import prepare_home

    monkeypatch.setenv("MEDFEAT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEDFEAT_SITE_KEY", str(tmp_path / "site.key"))
    monkeypatch.delenv("MEDFEAT_DROPS", raising=False)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    go_offline(monkeypatch, tmp_path)
    yield prepare_home()
    os.environ.pop("DAGSTER_HOME", None)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images and weights; skips where there is none."""
    folder = os.environ.get("MEDFEAT_REAL_DATA")
    if not folder:
        pytest.skip("MEDFEAT_REAL_DATA does not name a folder of real images and weights")
    return Path(folder)
