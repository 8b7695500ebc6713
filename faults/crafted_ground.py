"""A dataset for crafted files, with secrets beside it, a canary, and the search for leaks."""

from __future__ import annotations

import hashlib
import io
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from data_contracts.errors import InputError
from data_contracts.records.dataset import DatasetSpec
from data_contracts.records.feature_shard import FeatureSet
from data_contracts.tables.manifest import MANIFEST, ok_rows
from methods.imaging.image_file import inspect_file, prepare_frames
from methods.imaging.preprocessing import PreprocessingSettings
from resources.intake.arrivals import find_arrivals
from resources.intake.dataset_scan import locate, read_image, scan
from resources.intake.outcomes import Outcomes
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureStore
from tests.conftest import draw

NAME = "crafted"
GOOD = 8
"""Number of ordinary images of the dataset."""
PREPARED = FeatureSet(
    kind="prepared_images",
    dtype="uint8",
    row_shape=(227, 227, 3),
    preprocessing={},
    code_version="1",
)
FEATURES = FeatureSet(
    kind="features", dtype="float32", row_shape=(4, 3), preprocessing={}, code_version="1"
)


def png(number: int) -> bytes:
    """Return a picture that no other seed has."""
    out = io.BytesIO()
    Image.fromarray(draw(number % 2, number, 24)).save(out, "PNG")
    return out.getvalue()


def prepared(data: bytes) -> np.ndarray:
    """Return the pixels of a file as they are stored."""
    (pixels,) = prepare_frames(data, [0], PreprocessingSettings())
    return pixels


class Executes:
    """An object whose pickle makes a file when it is loaded."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.canary}",)


@contextmanager
def refused(reason: str) -> Iterator[None]:
    """Expect an error for the user, in one line that contains ``reason``."""
    try:
        yield
    except InputError as error:
        if reason not in str(error):
            raise AssertionError(f"refused for another reason: {error}") from error
    else:
        raise AssertionError("it was not refused")


class Ground:
    """A home with a dataset of good images, and outside of both the files that must stay secret.

    Args:
        folder: empty.
    """

    known: ClassVar[Outcomes | None] = None
    """What was decoded of the good images: the dataset existed before a crafted file came to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root, self.outside, self.drops = (
            folder / "images",
            folder / "outside",
            folder / "drops" / NAME,
        )
        self.store = DatasetStore(home=str(folder / "home"))
        self.canary = folder / "executed"
        self.read: list[bytes] = []
        os.environ["MEDFEAT_SITE_KEY"], os.environ["MEDFEAT_DROPS"] = (
            str(folder / "site.key"),
            str(folder / "drops"),
        )
        for number in range(GOOD):
            self.put(f"{'AB'[number % 2]}/{number}.png", png(number))
        if Ground.known is None:
            Ground.known = Outcomes()
            scan(find_arrivals(self.store, self.spec()).intake, Ground.known)
        self.outside.mkdir()
        token = secrets.token_hex(32)
        self.secret_text = self.outside / "secret.txt"
        self.secret_text.write_text(token)
        self.secret_png = self.outside / "secret.png"
        self.secret_png.write_bytes(png(secrets.randbelow(2**31) + GOOD))
        self.secret_manifest = self.outside / "manifest.csv"
        self.secret_manifest.write_text(f"path,label\nA/0.png,{token}\n")
        self.secret_h5 = self.outside / "secret.h5"
        self.secret_numbers = (
            np.frombuffer(secrets.token_bytes(GOOD * 12 * 2), np.uint16)
            .astype(np.float32)
            .reshape(GOOD, 4, 3)
        )
        with h5py.File(self.secret_h5, "w") as file:
            file["features"] = self.secret_numbers
        self.before = self._outside_of_home()

    def put(self, path: str, data: bytes) -> Path:
        """Write a file of the dataset."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return file

    @cached_property
    def payload(self) -> Executes:
        """Return an object that makes the canary when it is unpickled."""
        return Executes(self.canary)

    def spec(self, root: Path | None = None, **settings: Any) -> DatasetSpec:
        """Specification of the dataset."""
        return DatasetSpec(
            name=NAME,
            root=root or self.root,
            **{"show_names": True, "unlabelled": True, **settings},
        )

    def take_in(self, root: Path | None = None, **spec: Any) -> list[dict[str, Any]]:
        """Scan, prepare, store and read back the dataset; return the rows of its manifest."""
        described = self.spec(root, **spec)
        self.store.save_spec(described)
        intake = find_arrivals(self.store, described).intake
        table = scan(intake, Outcomes(self.known.known if self.known is not None else {}))
        self.store.write_table(NAME, "image_manifest", "manifest.parquet", table, MANIFEST)
        images = {row["image_id"]: row for row in ok_rows(table).to_pylist()}
        found = locate(intake, [row["path"] for row in images.values()])

        def pixels(ids: list[str]) -> np.ndarray:
            rows = [images[image_id] for image_id in ids]
            bytes_of = [
                read_image(found[row["path"]], row["path"], row["image_id"].__eq__) for row in rows
            ]
            return np.stack([prepared(data) for data in bytes_of])

        shards = FeatureStore(self.store, NAME, PREPARED)
        shards.fill(sorted(images), pixels, {})
        reader = shards.reader(sorted(images))
        self.read.append(reader.rows(0, len(images)).tobytes())
        reader.close()
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows

    def refuse(self, what: str, root: Path | None = None, good: int = GOOD, **spec: Any) -> None:
        """Scan the dataset and check that crafted files are rejected and good ones are accepted."""
        rows = self.take_in(root, **spec)
        usable = [row["path"] for row in rows if row["status"] == "ok"]
        assert len(usable) == good, f"{len(usable)} files can be used, not {good}"
        reasons = [row["reason"] or "" for row in rows if row["status"] == "rejected"]
        assert any(what in reason for reason in reasons), (
            f"nothing is rejected for {what!r}, only for {reasons}"
        )

    def came_through(self) -> list[str]:
        """Say what must not have happened and did."""
        found = ["something was executed"] if self.canary.exists() else []
        if self._outside_of_home() != self.before:
            found.append("something was written outside of the home")
        needles = self._needles()
        for where, text in self._texts():
            if any(needle in text for needle in needles):
                found.append(f"bytes from outside are in {where}")
        return found

    def _needles(self) -> list[bytes]:
        png_bytes = self.secret_png.read_bytes()
        digests = [
            hashlib.sha256(file.read_bytes()).hexdigest().encode()
            for file in self.outside.iterdir()
            if file.is_file()
        ]
        (frame,) = inspect_file(png_bytes).frames
        shown = [self.secret_text.read_bytes(), frame.pixel_sha256.encode(), *digests]
        return [
            *shown,
            png_bytes[40:80],
            prepared(png_bytes).tobytes(),
            self.secret_numbers[0].tobytes(),
        ]

    def _outside_of_home(self) -> dict[str, bytes]:
        folders = [
            self.outside,
            *(path for path in self.folder.iterdir() if path.is_file() and path.name != "site.key"),
        ]
        files = [
            file for path in folders for file in (path.rglob("*") if path.is_dir() else [path])
        ]
        return {
            str(file): file.read_bytes() for file in files if file.is_file() and file != self.canary
        }

    def _texts(self) -> Iterator[tuple[str, bytes]]:
        """Return everything in the home, and everything that was read."""
        for number, data in enumerate(self.read):
            yield f"array {number}", data
        for file in self.store.root.rglob("*"):
            name = str(file.relative_to(self.store.root))
            yield f"the name {name}", name.encode()
            assert not file.is_symlink(), f"{name} in the home is a link"
            if file.is_file():
                yield name, file.read_bytes()
            if file.suffix == ".parquet" and pq.ParquetFile(file).schema_arrow.equals(
                MANIFEST.schema
            ):
                yield (
                    f"the cells of {name}",
                    repr(pq.read_table(file, partitioning=None).to_pylist()).encode(),
                )


def parquet_bytes(table: pa.Table) -> bytes:
    """Return a table as the attacker writes it."""
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()
