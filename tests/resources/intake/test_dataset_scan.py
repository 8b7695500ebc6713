"""Scanning a folder into a manifest, and reading its images back."""

from __future__ import annotations

import hashlib
import hmac
import io
import os
import re
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MultiFrameGrayscaleByteSecondaryCaptureImageStorage

from data_contracts.errors import InputError
from data_contracts.records.dataset import DatasetSpec
from data_contracts.tables.manifest import MANIFEST, MANIFEST_SCHEMA, frame_id
from methods.curation.leakage import find_leaks
from methods.curation.manifest_rows import CONSTANT
from methods.imaging.image_file import inspect_file
from methods.imaging.image_format import FileFacts, Frame
from methods.imaging.readers import format_names
from resources.intake import dataset_scan as scan_module
from resources.intake import image_sources, limited_decoder
from resources.intake.arrivals import find_arrivals
from resources.intake.confined_open import LEAVES
from resources.intake.dataset_scan import (
    BURNED_IN,
    LABEL_IS_IDENTIFIER,
    NO_SUCH_IMAGE,
    Progress,
    locate,
    read_image,
    scan,
)
from resources.intake.drops import Drop
from resources.intake.image_sources import Intake
from resources.intake.limited_decoder import LimitedDecoder
from resources.intake.outcomes import Outcomes, StoredOutcomes
from resources.intake.system_entries import SYSTEM_ENTRY
from resources.store.dataset_store import DatasetStore
from tests.resources.intake.test_confined_open import in_time

KEY = bytes(range(32))
PSEUDONYM = r"[0-9a-f]{16}"


def png(value: int, size: tuple[int, int] = (3, 2)) -> bytes:
    """A grey PNG with one other pixel; other values are other bytes."""
    buffer = io.BytesIO()
    picture = Image.new("L", size, value)
    picture.putpixel((0, 0), 255 - value)
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def dicom(value: int, frames: int = 1, **elements: object) -> bytes:
    """A grey DICOM file of 4 x 4 pixels; each frame has grey values of its own."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = (
        MultiFrameGrayscaleByteSecondaryCaptureImageStorage
    )
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = f"1.2.3.{value}"
    data.Rows = data.Columns = 4
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    if frames > 1:
        data.NumberOfFrames = frames
    data.PixelData = (
        np.random.default_rng(value).integers(0, 256, (frames, 4, 4), np.uint8).tobytes()
    )
    for keyword, element in elements.items():
        setattr(data, keyword, element)
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def put(root: Path, path: str, data: bytes) -> Path:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(data)
    return root / path


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home, and a site key, that lie in no dataset."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "site.key").write_text(KEY.hex())
    monkeypatch.setenv("MEDFEAT_HOME", str(folder))
    monkeypatch.setenv("MEDFEAT_SITE_KEY", str(folder / "site.key"))
    monkeypatch.delenv("MEDFEAT_DROPS", raising=False)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of four images each."""
    folder = tmp_path / "scans"
    for value in range(8):
        put(folder, f"{'AB'[value % 2]}/{value}.png", png(value))
    return folder


def intake(root: Path, show_names: bool = True, **settings: Any) -> Intake:
    return find_arrivals(
        DatasetStore(), DatasetSpec(name="scans", root=root, show_names=show_names, **settings)
    ).intake


def scanned(
    root: Path,
    outcomes: Outcomes | None = None,
    progress: Progress = iter,
    allow_constant: bool = False,
    **settings: Any,
) -> pa.Table:
    return scan(intake(root, **settings), outcomes, allow_constant, progress)


def rows(table: pa.Table) -> dict[str, dict[str, Any]]:
    return {row["path"]: row for row in table.to_pylist()}


def reasons(table: pa.Table) -> dict[str, str]:
    """Reason by path of the rows that are not ok."""
    return {row["path"]: row["reason"] for row in table.to_pylist() if row["status"] != "ok"}


def keyed(kind: str, value: str) -> str:
    """What the site key makes of a name."""
    return hmac.new(KEY, f"{kind}\0scans\0{value}".encode(), hashlib.sha256).hexdigest()[:16]


def error_of(root: Path, **settings: Any) -> InputError:
    with pytest.raises(InputError) as error:
        scanned(root, **settings)
    assert "\n" not in str(error.value)
    return error.value


class TestTable:
    def test_a_row_says_what_was_found(self, root: Path) -> None:
        table = scanned(root)
        assert table.schema.equals(MANIFEST_SCHEMA)
        row = rows(table)["B/3.png"]
        assert row.pop("split") in ("train", "test")
        frame = inspect_file(png(3)).frames[0]
        assert row == {
            "image_id": hashlib.sha256(png(3)).hexdigest(),
            "path": "B/3.png",
            "frame": None,
            "drop": None,
            "status": "ok",
            "reason": None,
            "label": "B",
            "group_id": None,
            "bytes": len(png(3)),
            "group_source": None,
            "patient_id": None,
            "header_patient_id": None,
            "id_notes": None,
            "copy_of": None,
            "center_x": None,
            "center_y": None,
            "width": 3,
            "height": 2,
            "mode": "L",
            "format": "PNG",
            "pixel_sha256": frame.pixel_sha256,
            "pixel_mm": None,
            "slice_axis": None,
            "notice": None,
            "perceptual_hash": frame.perceptual_hash,
        }
        assert frame.pixel_sha256 is not None

    def test_sorted_by_path_and_the_same_whatever_the_threads(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for value in range(8, 60):
            put(root, f"{'AB'[value % 2]}/{value}.png", png(value))
        first = scanned(root)
        assert first["path"].to_pylist() == sorted(first["path"].to_pylist())
        for cores in (1, 7, None):
            monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
            assert scanned(root).equals(first)

    @pytest.mark.parametrize("show_names", [True, False])
    def test_ids_and_names_do_not_depend_on_where_the_folder_lies(
        self, show_names: bool, root: Path, tmp_path: Path
    ) -> None:
        first = scanned(root, show_names=show_names)
        assert scanned(root.rename(tmp_path / "elsewhere"), show_names=show_names).equals(first)

    def test_root_may_be_a_link(self, root: Path, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(root)
        assert scanned(tmp_path / "link").equals(scanned(root))

    def test_progress_sees_every_file_and_how_many(self, root: Path) -> None:
        seen: list[Any] = []

        def progress(files: Any) -> Iterator[Any]:
            seen.append(len(files))
            for file in files:
                seen.append(file)
                yield file

        scanned(root, progress=progress)
        assert seen[0] == 8
        assert len(seen) == 9

    def test_split_folders(self, tmp_path: Path) -> None:
        for i, path in enumerate(
            ["train/A/1.png", "train/B/1.png", "val/A/2.png", "test/A/3.png", "test/B/3.png"]
        ):
            put(tmp_path, path, png(i))
        table = rows(scanned(tmp_path))
        assert [(row["label"], row["split"]) for row in table.values()] == [
            ("A", "test"),
            ("B", "test"),
            ("A", "train"),
            ("B", "train"),
            ("A", "train"),
        ]


class TestFilesThatAreNotImages:
    @pytest.mark.parametrize(
        "path",
        [
            "README",
            "readme.html",
            "A/labels.csv",
            "notes.TXT",
            "A/meta.json",
            "A/x.md",
        ],
    )
    def test_known_ones_are_not_decoded(
        self, path: str, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(root, path, b"not an image")
        known = Outcomes()
        first = scanned(root, known)
        row = rows(first)[path]
        assert (row["status"], row["reason"], row["label"], row["split"]) == (
            "rejected",
            "not an image file",
            None,
            None,
        )
        assert (row["image_id"], row["bytes"]) == (hashlib.sha256(b"not an image").hexdigest(), 12)
        monkeypatch.setattr(LimitedDecoder, "inspect", lambda *_: pytest.fail("decoded"))
        assert scanned(root, known).equals(first)

    def test_those_of_a_system_are_one_row_each_and_never_opened(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = rows(scanned(root))
        for path in ("A/@eaDir/0.png/thumb.png", "A/@eaDir/1.png/thumb.png", ".DS_Store"):
            put(root, path, png(77))
        opened: list[Path] = []
        inspect = scan_module._opened
        monkeypatch.setattr(
            scan_module, "_opened", lambda file: (opened.append(file.file), inspect(file))[1]
        )
        after = rows(scanned(root))
        added = {path: row for path, row in after.items() if path not in before}
        assert {
            path: (row["status"], row["reason"]) for path, row in added.items()
        } == dict.fromkeys(["A/@eaDir", ".DS_Store"], ("rejected", SYSTEM_ENTRY))
        assert {path: after[path] for path in before} == before
        assert not [path for path in opened if path.name in ("thumb.png", ".DS_Store")]

    def test_they_make_no_class_and_no_layout(self, tmp_path: Path) -> None:
        for i, path in enumerate(
            ["train/A/1.png", "train/B/1.png", "test/A/3.png", "test/B/3.png"]
        ):
            put(tmp_path, path, png(i))
        put(tmp_path, "docs/notes.txt", b"text")
        put(tmp_path, "__MACOSX/train/._1.png", b"fork")
        assert rows(scanned(tmp_path))["test/A/3.png"]["split"] == "test"

    def test_broken_ones_are_rejected_with_the_reason_of_the_decoder(self, root: Path) -> None:
        put(root, "A/empty.png", b"")
        put(root, "A/page.png", b"<html>")
        put(root, "A/cut.png", png(99, (64, 64))[:-40])
        assert reasons(scanned(root)) == {
            "A/empty.png": "cannot be decoded: the file is empty",
            "A/page.png": (
                "cannot be decoded: a web page (HTML), perhaps instead of the file that was wanted"
            ),
            "A/cut.png": "cannot be decoded: the file is truncated",
        }

    def test_content_decides_not_the_suffix(self, root: Path) -> None:
        put(root, "A/scan.jpg", png(50))
        put(root, "A/scan", png(51))
        table = rows(scanned(root))
        assert table["A/scan.jpg"]["format"] == table["A/scan"]["format"] == "PNG"

    def test_special_files_are_not_opened(self, root: Path) -> None:
        os.mkfifo(root / "A" / "pipe.png")
        assert reasons(scanned(root)) == {"A/pipe.png": "not a regular file"}

    def test_huge_file_is_not_read_into_memory(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(scan_module, "MAX_BYTES", 2**20)
        data = png(1) + bytes(2**20)
        put(root, "A/huge.png", data)
        row = rows(scanned(root))["A/huge.png"]
        assert (row["reason"], row["bytes"], row["image_id"]) == (
            "larger than 1 MiB",
            len(data),
            hashlib.sha256(data).hexdigest(),
        )

    def test_unreadable_file(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def deny(path: Path, *args: Any, **how: Any) -> Any:
            if str(path).endswith("A/0.png"):
                raise PermissionError(13, "Permission denied", str(path))
            return open(path, *args, **how)

        monkeypatch.setattr(scan_module, "open", deny, raising=False)
        row = rows(scanned(root))["A/0.png"]
        assert (row["reason"], row["image_id"], row["bytes"]) == (
            "cannot be read: Permission denied",
            None,
            0,
        )
        assert row["label"] is None, "it may be DICOM, and its folder named after its patient"

    def test_name_that_is_not_utf8(self, root: Path) -> None:
        try:
            put(root, os.fsdecode(b"A/caf\xe9.png"), png(70))
        except OSError:
            pytest.skip("this file system takes UTF-8 names only")
        assert reasons(scanned(root)) == {"A/caf\\udce9.png": "name is not valid UTF-8"}

    def test_names_with_spaces_and_accents_are_fine(self, root: Path) -> None:
        put(root, "A/é ü\n,'\".png", png(70))
        assert rows(scanned(root))["A/é ü\n,'\".png"]["status"] == "ok"


class TestLinks:
    def test_that_leave_the_folder_are_not_followed(self, root: Path, tmp_path: Path) -> None:
        put(tmp_path, "outside/1.png", png(90))
        (root / "A" / "file.png").symlink_to(tmp_path / "outside" / "1.png")
        (root / "C").symlink_to(tmp_path / "outside")
        (root / "up").symlink_to("..")
        (root / "gone.png").symlink_to("/nowhere/at/all.png")
        table = scanned(root)
        assert reasons(table) == dict.fromkeys(["A/file.png", "C", "up", "gone.png"], LEAVES)
        assert rows(table)["A/file.png"]["image_id"] is None

    def test_inside_the_folder(self, root: Path) -> None:
        (root / "A" / "again.png").symlink_to("0.png")
        (root / "A" / "broken.png").symlink_to("nothing.png")
        (root / "C").symlink_to("A")
        assert reasons(scanned(root)) == {
            "A/again.png": "same bytes as A/0.png",
            "A/broken.png": "broken link",
            "C": "link to a folder: its files count where they lie",
        }

    def test_loops_end(self, root: Path) -> None:
        (root / "A" / "loop").symlink_to(".")
        (root / "B" / "root").symlink_to("..")
        (root / "A" / "self.png").symlink_to("self.png")
        assert reasons(scanned(root)) == {
            "A/loop": "link to a folder: its files count where they lie",
            "B/root": "link to a folder: its files count where they lie",
            "A/self.png": "broken link",
        }

    @pytest.mark.parametrize(
        ("kind", "reason"),
        [("link", LEAVES), ("pipe", "not a regular file")],
    )
    def test_and_pipes_that_take_the_place_of_a_file_during_the_scan(
        self, kind: str, reason: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        secret, file = put(tmp_path, "secret.png", png(90)), root / "A" / "0.png"

        def then_replaced(intake: Intake) -> Any:
            found = trees(intake)
            file.unlink()
            file.symlink_to(secret) if kind == "link" else os.mkfifo(file)
            return found

        trees = image_sources.source_trees
        monkeypatch.setattr(scan_module, "source_trees", then_replaced)
        with in_time(*[file] * (kind == "pipe")):
            row = rows(scanned(root))["A/0.png"]
        assert (row["status"], row["reason"], row["image_id"], row["label"]) == (
            "rejected",
            reason,
            None,
            None,
        )


class TestListing:
    def test_manifest_csv_wins_over_the_folders(self, root: Path) -> None:
        lines = [
            f"{'AB'[v % 2]}/{v}.png,{'left' if v < 4 else 'right'},"
            f"{'test' if v in (0, 4) else 'train'},p{v}"
            for v in range(8)
        ]
        put(root, "manifest.csv", "\n".join(["path,label,split,group_id", *lines]).encode())
        table = rows(scanned(root))
        assert len(table) == 8
        assert [table["A/4.png"][name] for name in ("label", "split", "group_id")] == [
            "right",
            "test",
            keyed("group", "p4"),
        ]

    def test_manifest_parquet_does_as_well(self, root: Path) -> None:
        paths = [f"{'AB'[v % 2]}/{v}.png" for v in range(7)]
        pq.write_table(
            pa.table({"path": paths, "label": [v % 2 for v in range(7)]}), root / "manifest.parquet"
        )
        table = scanned(root)
        assert reasons(table) == {"B/7.png": "not listed in manifest.parquet"}
        assert rows(table)["A/4.png"]["label"] == "0"

    def test_what_it_leaves_out_or_lists_in_vain_is_rejected(
        self, root: Path, tmp_path: Path
    ) -> None:
        put(tmp_path, "outside.png", png(90))
        (root / "out").symlink_to(tmp_path)
        put(root, "passwd", png(91))
        put(root, "notes.txt", b"text")
        listed = [f"{'AB'[v % 2]}/{v}.png,{v % 2}" for v in range(7)]
        strays = [
            "A/missing.png,0",
            "/etc/passwd,0",
            "../passwd,1",
            "out/outside.png,0",
            "notes.txt,1",
            "A,1",
            ".,1",
        ]
        put(root, "manifest.csv", "\n".join(["path,label", *listed, *strays]).encode())
        table = scanned(root)
        assert reasons(table) == {
            "B/7.png": "not listed in manifest.csv",
            "passwd": "not listed in manifest.csv",
            "out": LEAVES,
            "out/outside.png": LEAVES,
            "notes.txt": "not an image file",
            "A/missing.png": "listed in manifest.csv but not there",
            "A": "listed in manifest.csv but not there",
            "unnamed": "listed in manifest.csv but not there",
            "etc/passwd": "path leaves the dataset's folder",
            "passwd (2)": "path leaves the dataset's folder",
        }
        assert rows(table)["A/missing.png"]["label"] == "0"
        assert MANIFEST.violations(table) == []

    def test_errors_of_the_listing_come_through(self, root: Path) -> None:
        put(root, "manifest.csv", b"file,label\n")
        assert str(error_of(root)) == (
            f"{root}/manifest.csv has no column 'path' (2 columns found). Begin it with the "
            "columns path,label,split,group_id, separated by commas in a CSV file."
        )


def deny_folder(denied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(path: Path) -> Any:
        if Path(path) == denied:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", deny)


class TestErrors:
    def test_missing(self, tmp_path: Path) -> None:
        error = error_of(tmp_path / "nothing")
        assert error.what == f"the folder {tmp_path}/nothing does not exist"
        assert error.remedy == "Check the path, or mount the disk it is on"

    def test_a_file(self, tmp_path: Path) -> None:
        error = error_of(put(tmp_path, "scans.rar", b"Rar!"))
        assert error.what == f"{tmp_path}/scans.rar is a file, not a folder"
        assert error.remedy == "Give the folder that holds the images, an archive, or a .npz"

    def test_an_archive_that_is_refused(self, tmp_path: Path) -> None:
        error = error_of(put(tmp_path, "scans.zip", b"PK"))
        assert error.what == f"{tmp_path}/scans.zip is refused: the archive is damaged or cut off"
        assert error.remedy == "Pack it again, or give the folder unpacked"

    def test_empty(self, tmp_path: Path) -> None:
        (tmp_path / "A" / "B").mkdir(parents=True)
        error = error_of(tmp_path)
        assert error.what == f"the folder {tmp_path} is empty"
        assert error.remedy == "Give the folder that holds the images"

    @pytest.mark.parametrize(("folder", "shown"), [("", "{root}"), ("B", "B")])
    def test_unreadable_folder(
        self, folder: str, shown: str, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looked_at = intake(root)
        deny_folder(root / folder, monkeypatch)
        with pytest.raises(InputError) as error:
            scan(looked_at)
        assert (
            error.value.what
            == f"the folder {shown.format(root=root)} of scans cannot be read (Permission denied)"
        )
        assert error.value.remedy.startswith("Give this user permission to read it")
        assert error_of(root).what == "a folder of scans cannot be read (Permission denied)"

    def test_nothing_valid(self, tmp_path: Path) -> None:
        put(tmp_path, "A/1.png", b"<html>")
        put(tmp_path, "A/2.png", b"")
        put(tmp_path, "B/3.png", b"")
        put(tmp_path, "B/README.md", b"text")
        assert str(error_of(tmp_path)) == (
            f"{tmp_path} has no usable image among 4 files (2 x cannot be decoded: the file is "
            "empty; 1 x cannot be decoded: a web page (HTML), perhaps instead of the file that was "
            f"wanted; 1 x not an image file). Give a folder with whole {format_names()} images."
        )

    def test_images_without_a_label(self, root: Path) -> None:
        put(root, "loose.png", png(60))
        error = error_of(root)
        assert error.what == f"1 of 9 images in {root} have no label (first: loose.png)"
        assert "--unlabelled" in error.remedy
        assert rows(scanned(root, unlabelled=True))["loose.png"]["split"] == "unlabelled"

    def test_one_class(self, tmp_path: Path) -> None:
        for value in range(3):
            put(tmp_path, f"A/{value}.png", png(value))
        assert str(error_of(tmp_path)).startswith(
            f"all 3 labelled images in {tmp_path} have one class, 'A'. Add images of a second"
        )

    def test_two_splits_share_an_image_and_the_manifest_shows_it(self, tmp_path: Path) -> None:
        for i, path in enumerate(
            ["train/A/1.png", "train/A/2.png", "train/B/1.png", "test/A/3.png", "test/B/3.png"]
        ):
            put(tmp_path, path, png(i))
        put(tmp_path, "test/A/copy.png", png(0))
        leaks = [str(leak) for leak in find_leaks(scanned(tmp_path).to_pylist())]
        assert leaks == ["train/A/1.png (train) and test/A/copy.png (test) have the same bytes"]

    def test_no_reason_names_an_absolute_path(self, root: Path) -> None:
        put(root, "A/bad.png", b"\x89PNG\r\n\x1a\nrubbish")
        put(root, "A/copy.png", png(0))
        assert all(str(root) not in reason for reason in reasons(scanned(root)).values())


class TestKnown:
    @pytest.fixture
    def decoded(self, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
        """The bytes that were decoded, in any order."""
        calls: list[bytes] = []
        lock = threading.Lock()

        def count(decoder: LimitedDecoder, data: bytes) -> FileFacts:
            with lock:
                calls.append(data)
            return inspect(decoder, data)

        inspect = LimitedDecoder.inspect
        monkeypatch.setattr(LimitedDecoder, "inspect", count)
        return calls

    def test_nothing_new_is_not_decoded_again(self, root: Path, decoded: list[bytes]) -> None:
        put(root, "A/bad.png", b"rubbish")
        put(root, "A/copy.png", png(0))
        first = scanned(root, known := Outcomes())
        assert len(set(decoded)) == 9, "a copy may be decoded beside its twin"
        decoded.clear()
        assert scanned(root, known).equals(first)
        assert decoded == []

    def test_only_new_bytes_are_decoded(self, root: Path, decoded: list[bytes]) -> None:
        put(root, "B/bad.png", b"rubbish")
        scanned(root, known := Outcomes())
        decoded.clear()
        put(root, "A/new.png", png(200))
        put(root, "A/bad.png", b"other rubbish")
        (root / "A" / "0.png").rename(root / "A" / "moved.png")
        (root / "B" / "1.png").write_bytes(png(201))
        second = scanned(root, known)
        assert sorted(decoded) == sorted([png(200), b"other rubbish", png(201)])
        assert second.equals(scanned(root))

    def test_bytes_that_were_rejected_unseen_are_decoded(
        self, root: Path, decoded: list[bytes]
    ) -> None:
        listed = "\n".join(["path,label", *(f"{'AB'[v % 2]}/{v}.png,{v % 2}" for v in range(7))])
        put(root, "manifest.csv", listed.encode())
        scanned(root, known := Outcomes())
        decoded.clear()
        (root / "manifest.csv").unlink()
        assert rows(scanned(root, known))["B/7.png"]["status"] == "ok"
        assert decoded == [png(7)]

    def test_bytes_of_contradicting_labels_are_known_to_be_whole(
        self, root: Path, decoded: list[bytes]
    ) -> None:
        put(root, "B/same.png", png(0))
        first = scanned(root, known := Outcomes())
        assert reasons(first)["A/0.png"] == "same bytes under labels A and B"
        decoded.clear()
        (root / "B" / "same.png").unlink()
        assert rows(scanned(root, known))["A/0.png"]["status"] == "ok"
        assert decoded == []

    def test_an_interrupt_loses_no_whole_part(
        self, root: Path, decoded: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(files: Any) -> Iterator[Any]:
            for number, file in enumerate(files):
                if number == 5:
                    raise KeyboardInterrupt
                yield file

        monkeypatch.setattr(scan_module, "FILES_OF_A_PART", 2)
        with pytest.raises(KeyboardInterrupt):
            scanned(root, StoredOutcomes(tmp_path / "known", "1"), progress=interrupted)
        decoded.clear()
        known = StoredOutcomes(tmp_path / "known", "1")
        n_known = len(known.known)
        assert n_known >= 4
        assert scanned(root, known).equals(scanned(root))
        assert len(decoded) == 8 - n_known + 8, "what was left, and by the scan that knew nothing"

    def test_names_do_not_matter(self, root: Path, decoded: list[bytes]) -> None:
        scanned(root, known := Outcomes())
        decoded.clear()
        assert scanned(root, known, show_names=False).equals(scanned(root, show_names=False))
        assert len(decoded) == 8, "by the scan that knew nothing"

    def test_frames_are_not_decoded_again(self, root: Path, decoded: list[bytes]) -> None:
        put(root, "A/one.dcm", dicom(1, PatientID="Mustermann"))
        put(root, "A/three.dcm", dicom(2, frames=3))
        first = scanned(root, known := Outcomes())
        decoded.clear()
        assert scanned(root, known).equals(first)
        assert decoded == []
        put(root, "B/four.dcm", dicom(3, frames=4))
        assert scanned(root, known).equals(scanned(root))
        assert decoded[0] == dicom(3, frames=4)

    @pytest.mark.parametrize(
        ("ended_by", "is_tried_again"), [(signal.SIGKILL, True), (signal.SIGSEGV, False)]
    )
    def test_a_decoder_that_others_killed_is_not_held_against_the_file(
        self,
        ended_by: signal.Signals,
        is_tried_again: bool,
        root: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def die(decoder: object, data: bytes) -> FileFacts:
            if data == png(3):
                os.kill(decoder._process.pid, ended_by)
            return inspect(decoder, data)

        inspect = limited_decoder._Process.inspect
        with monkeypatch.context() as patch:
            patch.setattr(limited_decoder._Process, "inspect", die)
            first = scanned(root, known := Outcomes())
        assert reasons(first) == {
            "B/3.png": f"cannot be decoded: its decoder died of it 2 times ({ended_by.name})"
        }
        assert scanned(root, known).equals(scanned(root) if is_tried_again else first)


def plain(mode: str, colour: Any, format_: str = "PNG") -> bytes:
    """A picture whose pixels are all of one colour."""
    buffer = io.BytesIO()
    Image.new(mode, (8, 8), colour).save(buffer, format_)
    return buffer.getvalue()


class TestConstantImages:
    @pytest.mark.parametrize(
        "data",
        [
            plain("L", 0),
            plain("L", 128),
            plain("RGB", (9, 8, 7)),
            plain("RGBA", (9, 8, 7, 0)),
            plain("1", 1),
            plain("RGB", (200, 10, 10), "JPEG"),
            plain("I;16", 4000),
            plain("F", 0.5, "TIFF"),
            dicom(1, PixelData=bytes(16)),
            dicom(1, PixelData=bytes([77] * 16), PixelPaddingValue=77),
        ],
    )
    def test_one_is_rejected_unless_it_is_allowed(self, data: bytes, root: Path) -> None:
        put(root, "A/plain", data)
        known = Outcomes()
        assert reasons(scanned(root, known)) == {"A/plain": CONSTANT}
        assert reasons(scanned(root, known, allow_constant=True)) == {}

    def test_transparent_pixels_count_as_what_is_seen(self, root: Path) -> None:
        picture = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(8, 8, 4), "RGBA")
        picture.putalpha(0)
        picture.save(root / "A" / "transparent.png")
        assert reasons(scanned(root)) == {"A/transparent.png": CONSTANT}

    def test_one_pixel_of_another_grey_level_is_no_constant(self, root: Path) -> None:
        picture = Image.new("L", (8, 8), 128)
        picture.putpixel((7, 7), 129)
        picture.save(root / "A" / "nearly.png")
        assert reasons(scanned(root)) == {}

    def test_a_frame_is_rejected_alone(self, root: Path) -> None:
        put(root, "A/two.dcm", dicom(1, frames=2, PixelData=bytes(range(16)) + bytes(16)))
        frames = [row for row in scanned(root).to_pylist() if row["path"] == "A/two.dcm"]
        assert [row["reason"] for row in frames] == [None, CONSTANT]

    def test_contradicting_labels_are_named_first_and_copies_are_constant_too(
        self, root: Path
    ) -> None:
        for number in (1, 2):
            put(root, f"A/plain{number}.png", plain("L", 0))
        assert reasons(scanned(root)) == {"A/plain1.png": CONSTANT, "A/plain2.png": CONSTANT}
        put(root, "B/plain.png", plain("L", 0))
        assert set(reasons(scanned(root)).values()) == {"same bytes under labels A and B"}

    def test_another_setting_decodes_nothing_again(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(root, "A/plain.png", plain("L", 0))
        known = Outcomes()
        scanned(root, known)
        monkeypatch.setattr(LimitedDecoder, "inspect", lambda *_: pytest.fail("decoded"))
        assert rows(scanned(root, known, allow_constant=True))["A/plain.png"]["status"] == "ok"
        assert rows(scanned(root, known))["A/plain.png"]["status"] == "rejected"


class TestFrames:
    def test_each_is_a_row(self, root: Path) -> None:
        data = dicom(1, frames=3)
        put(root, "A/three.dcm", data)
        frames = [row for row in scanned(root).to_pylist() if row["path"] == "A/three.dcm"]
        digest = hashlib.sha256(data).hexdigest()
        assert [row["frame"] for row in frames] == [0, 1, 2]
        assert [row["image_id"] for row in frames] == [
            frame_id(digest, number) for number in range(3)
        ]
        assert len({row["pixel_sha256"] for row in frames}) == 3
        assert {(row["status"], row["label"], row["format"], row["bytes"]) for row in frames} == {
            ("ok", "A", "DICOM", len(data))
        }

    def test_of_one_file_are_one_group(self, root: Path) -> None:
        put(root, "A/three.dcm", dicom(1, frames=3))
        put(root, "A/two.dcm", dicom(2, frames=2))
        for seed in range(5):
            table = scanned(root, split_seed=seed).to_pylist()
            sides = {
                (row["path"], row["group_id"], row["split"])
                for row in table
                if row["frame"] is not None
            }
            assert len(sides) == 2
            assert all(re.fullmatch(PSEUDONYM, group) for _, group, _ in sides)

    def test_one_with_a_fault_is_a_row_beside_the_good_ones(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def with_a_fault(decoder: LimitedDecoder, data: bytes) -> FileFacts:
            facts = inspect(decoder, data)
            if len(facts.frames) == 1:
                return facts
            first, *others = facts.frames
            return replace(facts, frames=(Frame(first.facts, fault="broken"), *others))

        inspect = LimitedDecoder.inspect
        put(root, "A/three.dcm", dicom(1, frames=3))
        known = Outcomes()
        with monkeypatch.context() as patch:
            patch.setattr(LimitedDecoder, "inspect", with_a_fault)
            first = scanned(root, known)
        frames = [row for row in first.to_pylist() if row["path"] == "A/three.dcm"]
        assert [(row["status"], row["reason"]) for row in frames] == [
            ("rejected", "cannot be decoded: broken"),
            ("ok", None),
            ("ok", None),
        ]
        monkeypatch.setattr(LimitedDecoder, "inspect", lambda *_: pytest.fail("decoded"))
        assert scanned(root, known).equals(first)

    def test_a_file_of_one_frame_is_one_image(self, root: Path) -> None:
        put(root, "A/one.dcm", dicom(1))
        row = rows(scanned(root))["A/one.dcm"]
        assert (row["frame"], row["image_id"]) == (None, hashlib.sha256(dicom(1)).hexdigest())


class TestLabelsByContent:
    """A drop whose manifest names images of the dataset by their image_id."""

    @pytest.fixture
    def table(self, root: Path, tmp_path: Path) -> Any:
        """Scans the two classes, an image without a label, and a drop of labels."""
        put(root, "new.png", png(9))

        def scanned_with(listed: dict[str, str], show_names: bool = True, **settings: Any) -> Any:
            lines = ["image_id,label", *(f"{i},{label}" for i, label in listed.items())]
            put(tmp_path / "labels", "manifest.csv", "\r\n".join(lines).encode())
            drop = Drop("labels", tmp_path / "labels", False, 0.0, frozenset({"manifest.csv"}))
            of = intake(root, show_names, unlabelled=True, **settings)
            return rows(scan(replace(of, drops=(drop,))))

        return scanned_with

    def test_an_image_without_a_label_goes_where_labels_of_drops_go(self, table: Any) -> None:
        image_id = hashlib.sha256(png(9)).hexdigest()
        for new_labels, split in (("hold", "held"), ("train", "train")):
            row = table({image_id: "B"}, new_labels=new_labels)["new.png"]
            assert (row["label"], row["split"], row["drop"]) == ("B", split, "labels")

    def test_a_label_of_the_first_load_stands(self, table: Any) -> None:
        row = table({hashlib.sha256(png(0)).hexdigest(): "B"})["A/0.png"]
        assert (row["label"], row["drop"], row["status"]) == ("A", None, "ok")

    def test_an_id_that_no_image_has_is_a_rejected_row(self, table: Any) -> None:
        row = table({"0" * 64: "B"})[f"drops/labels/{'0' * 64}"]
        assert (row["status"], row["reason"], row["drop"]) == ("rejected", NO_SUCH_IMAGE, "labels")

    def test_a_class_that_the_first_load_lacks_is_a_pseudonym(self, table: Any) -> None:
        found = table({hashlib.sha256(png(9)).hexdigest(): "Ada"}, show_names=False)
        assert "Ada" not in str(found)
        assert any(str(row["label"]).startswith("class-") for row in found.values())

    def test_the_dataset_itself_is_listed_by_paths(self, root: Path) -> None:
        put(root, "manifest.csv", f"image_id,label\n{'0' * 64},a\n".encode())
        assert "names images by image_id" in str(error_of(root))


class TestPrivacy:
    def test_names_are_pseudonyms_by_default(self, root: Path) -> None:
        put(root, "Mustermann/Erika 1970-01-01.png", png(90))
        put(root, "Mustermann/Erika 1970-01-02.png", png(91))
        put(root, "A/.Mustermann", b"text")
        put(root, "A/archive.Mustermann", b"rubbish")
        table = scan(find_arrivals(DatasetStore(), DatasetSpec(name="scans", root=root)).intake)
        assert all(
            re.fullmatch(rf"{PSEUDONYM}(\.png)?", path) for path in table["path"].to_pylist()
        )
        assert keyed("path", "A/0.png") + ".png" in table["path"].to_pylist()
        assert len(set(table["path"].to_pylist())) == 12
        labels = {row["label"] for row in table.to_pylist()}
        assert labels == {"A", "B", "Mustermann", None}, "labels are classes, and shown"

    def test_reasons_hold_no_names(self, root: Path) -> None:
        put(root, "A/Mustermann.png", png(0))
        put(
            root,
            "manifest.csv",
            b"path,label\n"
            + b"".join(b"%c/%d.png,%d\n" % (b"AB"[v % 2], v, v % 2) for v in range(8)),
        )
        put(root, "A/Mustermann 2.png", png(1))
        put(root, "Mustermann.zip", b"PK")
        (root / "Mustermann").symlink_to("/")
        table = scanned(root, show_names=False)
        assert len(reasons(table)) == 4
        assert "mustermann" not in str(table.to_pylist()).casefold()

    @pytest.mark.parametrize("show_names", [False, True])
    def test_a_class_that_only_a_drop_has_may_be_a_person(
        self, root: Path, home: Path, show_names: bool
    ) -> None:
        put(home, "drops/set/night/Jane_Doe/x.png", png(50))
        put(home, "drops/set/night/Jane_Doe/y.png", png(51))
        put(home, "drops/set/night/A/z.png", png(52))
        (home / "drops/set/night/_READY").touch()
        intake = find_arrivals(
            DatasetStore(), DatasetSpec(name="set", root=root, show_names=show_names)
        ).intake
        labels = [row["label"] for row in scan(intake).to_pylist() if row["drop"] is not None]
        assert sorted({*labels} - {"A"}) == (
            ["Jane_Doe"] if show_names else [intake.names.label("Jane_Doe")]
        )
        assert len(labels) == 3
        assert show_names or not any("jane" in label.lower() for label in labels)

    def test_a_file_that_is_not_the_only_one_of_its_bytes_is_named_by_a_pseudonym(
        self, root: Path
    ) -> None:
        put(root, "A/Mustermann.png", png(0))
        assert set(reasons(scanned(root, show_names=False)).values()) < {
            f"same bytes as {keyed('path', path)}.png" for path in ("A/0.png", "A/Mustermann.png")
        }

    @pytest.mark.parametrize("show_names", [True, False])
    def test_groups_are_always_pseudonyms(self, show_names: bool, root: Path) -> None:
        put(root, "A/1.dcm", dicom(1, PatientID="Mustermann"))
        put(root, "A/2.dcm", dicom(2, PatientID="Mustermann"))
        put(root, "A/3.dcm", dicom(3, PatientID="Musterfrau"))
        table = scanned(root, show_names=show_names)
        groups = [row["group_id"] for row in table.to_pylist() if row["format"] == "DICOM"]
        assert len(set(groups)) == 2
        assert all(re.fullmatch(PSEUDONYM, group) for group in groups)
        assert "muster" not in str(table.to_pylist()).casefold()

    def test_another_key_makes_other_names(
        self, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = scanned(root, show_names=False)
        (tmp_path / "other.key").write_text("ab" * 32)
        monkeypatch.setenv("MEDFEAT_HOME", str(tmp_path / "other"))
        monkeypatch.setenv("MEDFEAT_SITE_KEY", str(tmp_path / "other.key"))
        second = scanned(root, show_names=False)
        assert not {*first["path"].to_pylist()} & {*second["path"].to_pylist()}
        assert sorted(first["image_id"].to_pylist()) == sorted(second["image_id"].to_pylist())

    def test_a_listed_group_stands_before_the_patient_of_the_file(self, root: Path) -> None:
        put(root, "A/1.dcm", dicom(1, PatientID="Mustermann"))
        listed = [f"{'AB'[v % 2]}/{v}.png,{v % 2}," for v in range(8)]
        put(
            root,
            "manifest.csv",
            "\n".join(["path,label,group_id", *listed, "A/1.dcm,0,p1"]).encode(),
        )
        assert rows(scanned(root))["A/1.dcm"]["group_id"] == keyed("group", "p1")

    @pytest.mark.parametrize("folder", ["Mustermann^Erika", "MUSTERMANN", "Case 1234567"])
    def test_a_label_that_is_an_identifier_of_its_file(self, folder: str, root: Path) -> None:
        put(
            root,
            f"{folder}/1.dcm",
            dicom(1, PatientName="Mustermann^Erika", PatientID="Case 1234567"),
        )
        row = rows(scanned(root))[f"{folder}/1.dcm"]
        assert (row["status"], row["reason"], row["label"]) == (
            "rejected",
            LABEL_IS_IDENTIFIER,
            None,
        )

    def test_one_of_several_labels_that_is_an_identifier_of_its_file(self, root: Path) -> None:
        put(root, "x|Mustermann/1.dcm", dicom(1, PatientName="Mustermann"))
        row = rows(scanned(root, task="multi-label"))["x|Mustermann/1.dcm"]
        assert (row["reason"], row["label"]) == (LABEL_IS_IDENTIFIER, None)

    def test_a_label_is_not_kept_where_whom_the_file_is_of_stays_unknown(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(root, "Mustermann/1.dcm", dicom(1, PatientName="Mustermann", PixelData=b"12"))
        put(root, "Mustermann/2.dcm", dicom(2, PatientName="Mustermann", Rows=4000))
        put(root, "Mustermann/3.dcm", dicom(3, PatientName="Mustermann", PixelData=bytes(2**20)))
        monkeypatch.setattr(scan_module, "MAX_BYTES", 2**20)
        table = scanned(root)
        assert [reason[:10] for reason in reasons(table).values()] == [
            "cannot be ",
            "cannot be ",
            "larger tha",
        ]
        assert "Mustermann" not in table["label"].to_pylist()

    def test_burned_in_annotations(self, root: Path) -> None:
        put(root, "A/1.dcm", dicom(1, BurnedInAnnotation="YES"))
        assert reasons(scanned(root)) == {"A/1.dcm": BURNED_IN}
        assert reasons(scanned(root, allow_burned_in=True)) == {}


class TestReadImage:
    @pytest.mark.parametrize("show_names", [True, False])
    def test_gives_the_bytes_of_the_manifest(self, show_names: bool, root: Path) -> None:
        looked_at = intake(root, show_names=show_names)
        table = rows(scan(looked_at))
        found = locate(looked_at, table)
        assert found.keys() == table.keys()
        for named, row in table.items():
            data = read_image(found[named], named, row["image_id"].__eq__)
            assert hashlib.sha256(data).hexdigest() == row["image_id"]

    def test_only_what_is_asked_for_is_located(self, root: Path) -> None:
        assert [*locate(intake(root), ["A/0.png", "A/gone.png"])] == ["A/0.png"]

    def test_changed(self, root: Path) -> None:
        row = rows(scanned(root))["A/0.png"]
        file = locate(intake(root), ["A/0.png"])["A/0.png"]
        put(root, "A/0.png", png(9))
        with pytest.raises(InputError) as error:
            read_image(file, "A/0.png", row["image_id"].__eq__)
        assert error.value.what == "A/0.png changed since the manifest was made"
        assert error.value.remedy == "Materialise image_manifest again"

    def test_gone(self, root: Path) -> None:
        file = locate(intake(root), ["A/0.png"])["A/0.png"]
        (root / "A/0.png").unlink()
        with pytest.raises(InputError) as error:
            read_image(file, "A/0.png", lambda _: True)
        assert error.value.what == "A/0.png cannot be read any more (No such file or directory)"
        assert error.value.remedy == "Put it back, or materialise image_manifest again"

    @pytest.mark.parametrize("path", ["../secret.png", "/etc/hostname", "A/link.png"])
    def test_outside(self, path: str, root: Path, tmp_path: Path) -> None:
        secret = put(tmp_path, "secret.png", png(1))
        (root / "A" / "link.png").symlink_to(secret)
        file = replace(locate(intake(root), ["A/0.png"])["A/0.png"], file=root / path)
        with pytest.raises(InputError, match="leaves the dataset's folder"):
            read_image(file, path, lambda _: True)

    def test_a_pipe_is_not_waited_for(self, root: Path) -> None:
        file = locate(intake(root), ["A/0.png"])["A/0.png"]
        (root / "A/0.png").unlink()
        os.mkfifo(root / "A/0.png")
        with (
            in_time(),
            pytest.raises(
                InputError, match=r"A/0.png cannot be used any more \(not a regular file\)"
            ),
        ):
            read_image(file, "A/0.png", lambda _: True)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "n_ok", "n_test"), [("modality", 1563, 606), ("mammography_roi", 238, 58)]
)
def test_real_set(name: str, n_ok: int, n_test: int, real_data: Path) -> None:
    table = scanned(real_data / "datasets" / name)
    ok = [row for row in table.to_pylist() if row["status"] == "ok"]
    assert (len(ok), sum(row["split"] == "test" for row in ok)) == (n_ok, n_test)
    assert find_leaks(ok) == [], (
        "a drawn split parts no patient" if name == "mammography_roi" else "nor does a given one"
    )
