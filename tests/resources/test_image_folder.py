"""Scanning a folder into a manifest, and reading its images back."""

import hashlib
import io
import os
import threading
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from data_contracts.dataset import DatasetSpec
from data_contracts.errors import InputError
from data_contracts.manifest import MANIFEST, MANIFEST_SCHEMA
from resources import image_folder
from resources.image_folder import read_image, scan


def png(value: int, size: tuple[int, int] = (3, 2)) -> bytes:
    """A grey PNG; other values are other bytes."""
    buffer = io.BytesIO()
    Image.new("L", size, value).save(buffer, "PNG")
    return buffer.getvalue()


def put(root: Path, path: str, data: bytes) -> Path:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(data)
    return root / path


@pytest.fixture
def root(tmp_path) -> Path:
    """Two classes of four images each."""
    folder = tmp_path / "scans"
    for value in range(8):
        put(folder, f"{'AB'[value % 2]}/{value}.png", png(value))
    return folder


def spec(root: Path, **settings) -> DatasetSpec:
    return DatasetSpec(name="scans", root=root, **settings)


def rows(table: pa.Table) -> dict[str, dict]:
    return {row["path"]: row for row in table.to_pylist()}


def reasons(table: pa.Table) -> dict[str, str]:
    """Reason by path of the rows that are not ok."""
    return {row["path"]: row["reason"] for row in table.to_pylist() if row["status"] != "ok"}


def error_of(root: Path, **settings) -> InputError:
    with pytest.raises(InputError) as error:
        scan(spec(root, **settings))
    assert "\n" not in str(error.value)
    return error.value


class TestTable:
    def test_a_row_says_what_was_found(self, root):
        table = scan(spec(root))
        assert table.schema.equals(MANIFEST_SCHEMA)
        row = rows(table)["B/3.png"]
        assert row.pop("split") in ("train", "test")
        assert row == {
            "image_id": hashlib.sha256(png(3)).hexdigest(),
            "path": "B/3.png",
            "status": "ok",
            "reason": None,
            "label": "B",
            "group_id": None,
            "bytes": len(png(3)),
            "width": 3,
            "height": 2,
            "mode": "L",
            "format": "PNG",
        }

    def test_sorted_by_path_and_the_same_whatever_the_threads(self, root, monkeypatch):
        for value in range(8, 60):
            put(root, f"{'AB'[value % 2]}/{value}.png", png(value))
        first = scan(spec(root))
        assert first["path"].to_pylist() == sorted(first["path"].to_pylist())
        for cores in (1, 7, None):
            monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
            assert scan(spec(root)).equals(first)

    def test_ids_do_not_depend_on_where_the_folder_lies(self, root, tmp_path):
        first = scan(spec(root))
        assert scan(spec(root.rename(tmp_path / "elsewhere"))).equals(first)

    def test_root_may_be_a_link(self, root, tmp_path):
        (tmp_path / "link").symlink_to(root)
        assert scan(spec(tmp_path / "link")).equals(scan(spec(root)))

    def test_progress_sees_every_file_and_how_many(self, root):
        seen = []

        def progress(files):
            seen.append(len(files))
            for file in files:
                seen.append(file)
                yield file

        scan(spec(root), progress=progress)
        assert seen[0] == 8
        assert len(seen) == 9

    def test_split_folders(self, tmp_path):
        for i, path in enumerate(["train/A/1.png", "train/B/1.png", "val/A/2.png", "test/A/3.png", "test/B/3.png"]):
            put(tmp_path, path, png(i))
        table = rows(scan(spec(tmp_path)))
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
            ".DS_Store",
            "A/._0.png",
            ".git/objects/aa",
            "__MACOSX/A/0.png",
            "A/Thumbs.db",
            "desktop.ini",
            "README",
            "readme.html",
            "A/labels.csv",
            "notes.TXT",
            "A/meta.json",
            "A/x.md",
        ],
    )
    def test_known_ones_are_not_decoded(self, path, root, monkeypatch):
        put(root, path, b"not an image")
        known = scan(spec(root))
        row = rows(known)[path]
        assert (row["status"], row["reason"], row["label"], row["split"]) == ("rejected", "not an image file", None, None)
        assert (row["image_id"], row["bytes"]) == (hashlib.sha256(b"not an image").hexdigest(), 12)
        monkeypatch.setattr(image_folder, "inspect_image", lambda data: pytest.fail("decoded"))
        assert scan(spec(root), known).equals(known)

    def test_they_make_no_class_and_no_layout(self, tmp_path):
        for i, path in enumerate(["train/A/1.png", "train/B/1.png", "test/A/3.png", "test/B/3.png"]):
            put(tmp_path, path, png(i))
        put(tmp_path, "docs/notes.txt", b"text")
        put(tmp_path, "__MACOSX/train/._1.png", b"fork")
        assert rows(scan(spec(tmp_path)))["test/A/3.png"]["split"] == "test"

    def test_broken_ones_are_rejected_with_the_reason_of_the_decoder(self, root):
        put(root, "A/empty.png", b"")
        put(root, "A/page.png", b"<html>")
        put(root, "A/cut.png", png(99, (64, 64))[:-40])
        assert reasons(scan(spec(root))) == {
            "A/empty.png": "cannot be decoded: the file is empty",
            "A/page.png": "cannot be decoded: not a readable JPEG, PNG, TIFF, BMP or WEBP image",
            "A/cut.png": "cannot be decoded: the file is truncated",
        }

    def test_content_decides_not_the_suffix(self, root):
        put(root, "A/scan.jpg", png(50))
        put(root, "A/scan", png(51))
        table = rows(scan(spec(root)))
        assert table["A/scan.jpg"]["format"] == table["A/scan"]["format"] == "PNG"

    def test_special_files_are_not_opened(self, root):
        os.mkfifo(root / "A" / "pipe.png")
        assert reasons(scan(spec(root))) == {"A/pipe.png": "not a regular file"}

    def test_huge_file_is_not_read_into_memory(self, root, monkeypatch):
        monkeypatch.setattr(image_folder, "MAX_BYTES", 2**20)
        data = png(1) + bytes(2**20)
        put(root, "A/huge.png", data)
        row = rows(scan(spec(root)))["A/huge.png"]
        assert (row["reason"], row["bytes"], row["image_id"]) == (
            "larger than 1 MiB",
            len(data),
            hashlib.sha256(data).hexdigest(),
        )

    def test_unreadable_file(self, root, monkeypatch):
        def deny(path, *args):
            if str(path).endswith("A/0.png"):
                raise PermissionError(13, "Permission denied", str(path))
            return open(path, *args)

        monkeypatch.setattr(image_folder, "open", deny, raising=False)
        row = rows(scan(spec(root)))["A/0.png"]
        assert (row["reason"], row["image_id"], row["bytes"]) == ("cannot be read: Permission denied", None, 0)

    def test_name_that_is_not_utf8(self, root):
        try:
            put(root, os.fsdecode(b"A/caf\xe9.png"), png(70))
        except OSError:
            pytest.skip("this file system takes UTF-8 names only")
        assert reasons(scan(spec(root))) == {"A/caf\\udce9.png": "name is not valid UTF-8"}

    def test_names_with_spaces_and_accents_are_fine(self, root):
        put(root, "A/é ü\n,'\".png", png(70))
        assert rows(scan(spec(root)))["A/é ü\n,'\".png"]["status"] == "ok"


class TestLinks:
    def test_that_leave_the_folder_are_not_followed(self, root, tmp_path):
        put(tmp_path, "outside/1.png", png(90))
        (root / "A" / "file.png").symlink_to(tmp_path / "outside" / "1.png")
        (root / "C").symlink_to(tmp_path / "outside")
        (root / "up").symlink_to("..")
        (root / "gone.png").symlink_to("/nowhere/at/all.png")
        table = scan(spec(root))
        assert reasons(table) == dict.fromkeys(["A/file.png", "C", "up", "gone.png"], "link leaves the dataset's folder")
        assert rows(table)["A/file.png"]["image_id"] is None

    def test_inside_the_folder(self, root):
        (root / "A" / "again.png").symlink_to("0.png")
        (root / "A" / "broken.png").symlink_to("nothing.png")
        (root / "C").symlink_to("A")
        assert reasons(scan(spec(root))) == {
            "A/again.png": "same bytes as A/0.png",
            "A/broken.png": "broken link",
            "C": "link to a folder: its files count where they lie",
        }

    def test_loops_end(self, root):
        (root / "A" / "loop").symlink_to(".")
        (root / "B" / "root").symlink_to("..")
        (root / "A" / "self.png").symlink_to("self.png")
        assert reasons(scan(spec(root))) == {
            "A/loop": "link to a folder: its files count where they lie",
            "B/root": "link to a folder: its files count where they lie",
            "A/self.png": "broken link",
        }


class TestListing:
    def test_manifest_csv_wins_over_the_folders(self, root):
        lines = [
            f"{'AB'[v % 2]}/{v}.png,{'left' if v < 4 else 'right'},{'test' if v in (0, 4) else 'train'},p{v}" for v in range(8)
        ]
        put(root, "manifest.csv", "\n".join(["path,label,split,group_id", *lines]).encode())
        table = rows(scan(spec(root)))
        assert len(table) == 8
        assert [table["A/4.png"][name] for name in ("label", "split", "group_id")] == ["right", "test", "p4"]

    def test_what_it_leaves_out_or_lists_in_vain_is_rejected(self, root, tmp_path):
        put(tmp_path, "outside.png", png(90))
        (root / "out").symlink_to(tmp_path)
        put(root, "passwd", png(91))
        put(root, "notes.txt", b"text")
        listed = [f"{'AB'[v % 2]}/{v}.png,{v % 2}" for v in range(7)]
        strays = ["A/missing.png,0", "/etc/passwd,0", "../passwd,1", "out/outside.png,0", "notes.txt,1", "A,1", ".,1"]
        put(root, "manifest.csv", "\n".join(["path,label", *listed, *strays]).encode())
        table = scan(spec(root))
        assert reasons(table) == {
            "B/7.png": "not listed in manifest.csv",
            "passwd": "not listed in manifest.csv",
            "out": "link leaves the dataset's folder",
            "out/outside.png": "link leaves the dataset's folder",
            "notes.txt": "not an image file",
            "A/missing.png": "listed in manifest.csv but not there",
            "A": "listed in manifest.csv but not there",
            "unnamed": "listed in manifest.csv but not there",
            "etc/passwd": "path leaves the dataset's folder",
            "passwd (2)": "path leaves the dataset's folder",
        }
        assert rows(table)["A/missing.png"]["label"] == "0"
        assert MANIFEST.violations(table) == []

    def test_errors_of_the_listing_come_through(self, root):
        put(root, "manifest.csv", b"file,label\n")
        assert str(error_of(root)) == (
            f"{root}/manifest.csv has no column 'path' (found: file, label). "
            "Begin it with the line path,label,split,group_id, separated by commas."
        )


class TestErrors:
    def test_missing(self, tmp_path):
        error = error_of(tmp_path / "nothing")
        assert error.what == f"the folder {tmp_path}/nothing does not exist"
        assert error.remedy == "Check the path, or mount the disk it is on"

    def test_a_file(self, tmp_path):
        error = error_of(put(tmp_path, "scans.zip", b"PK"))
        assert error.what == f"{tmp_path}/scans.zip is a file, not a folder"
        assert error.remedy == "Give the folder that holds the images"

    def test_empty(self, tmp_path):
        (tmp_path / "A" / "B").mkdir(parents=True)
        error = error_of(tmp_path)
        assert error.what == f"the folder {tmp_path} is empty"
        assert error.remedy == "Give the folder that holds the images"

    @pytest.mark.parametrize("folder", ["", "B"])
    def test_unreadable_folder(self, folder, root, monkeypatch):
        def deny(path):
            if Path(path) == root / folder:
                raise PermissionError(13, "Permission denied", str(path))
            return scandir(path)

        scandir = os.scandir
        monkeypatch.setattr(os, "scandir", deny)
        error = error_of(root)
        assert error.what == f"the folder {root / folder} cannot be read (Permission denied)"
        assert error.remedy.startswith("Give this user permission to read it")

    def test_nothing_valid(self, tmp_path):
        put(tmp_path, "A/1.png", b"<html>")
        put(tmp_path, "A/2.png", b"")
        put(tmp_path, "B/3.png", b"")
        put(tmp_path, "B/README.md", b"text")
        assert str(error_of(tmp_path)) == (
            f"{tmp_path} has no usable image among 4 files (2 x cannot be decoded: the file is empty; "
            "1 x cannot be decoded: not a readable JPEG, PNG, TIFF, BMP or WEBP image; 1 x not an image file). "
            "Give a folder with whole JPEG, PNG, TIFF, BMP or WebP images."
        )

    def test_images_without_a_label(self, root):
        put(root, "loose.png", png(60))
        error = error_of(root)
        assert error.what == f"1 of 9 images in {root} have no label (first: loose.png)"
        assert "--unlabelled" in error.remedy
        assert rows(scan(spec(root, unlabelled=True)))["loose.png"]["split"] == "unlabelled"

    def test_one_class(self, tmp_path):
        for value in range(3):
            put(tmp_path, f"A/{value}.png", png(value))
        assert str(error_of(tmp_path)).startswith(
            f"all 3 labelled images in {tmp_path} have one class, 'A'. Add images of a second"
        )

    def test_two_splits_share_an_image(self, tmp_path):
        for i, path in enumerate(["train/A/1.png", "train/B/1.png", "test/A/3.png", "test/B/3.png"]):
            put(tmp_path, path, png(i))
        put(tmp_path, "test/A/copy.png", png(0))
        assert error_of(tmp_path).what == (
            f"two splits share 1 image in {tmp_path}: train/A/1.png (train) and test/A/copy.png (test) have the same bytes"
        )

    def test_no_reason_names_an_absolute_path(self, root):
        put(root, "A/bad.png", b"\x89PNG\r\n\x1a\nrubbish")
        put(root, "A/copy.png", png(0))
        assert all(str(root) not in reason for reason in reasons(scan(spec(root))).values())


class TestKnown:
    @pytest.fixture
    def decoded(self, monkeypatch) -> list[bytes]:
        """The bytes that were decoded, in any order."""
        calls: list[bytes] = []
        lock = threading.Lock()

        def count(data):
            with lock:
                calls.append(data)
            return inspect(data)

        inspect = image_folder.inspect_image
        monkeypatch.setattr(image_folder, "inspect_image", count)
        return calls

    def test_nothing_new_is_not_decoded_again(self, root, decoded):
        put(root, "A/bad.png", b"rubbish")
        put(root, "A/copy.png", png(0))
        first = scan(spec(root))
        assert len(decoded) == 10
        decoded.clear()
        assert scan(spec(root), first).equals(first)
        assert decoded == []

    def test_only_new_bytes_are_decoded(self, root, decoded):
        put(root, "B/bad.png", b"rubbish")
        first = scan(spec(root))
        decoded.clear()
        put(root, "A/new.png", png(200))
        put(root, "A/bad.png", b"other rubbish")
        (root / "A" / "0.png").rename(root / "A" / "moved.png")
        (root / "B" / "1.png").write_bytes(png(201))
        second = scan(spec(root), first)
        assert sorted(decoded) == sorted([png(200), b"other rubbish", png(201)])
        assert second.equals(scan(spec(root)))

    def test_bytes_that_were_rejected_unseen_are_decoded(self, root, decoded):
        listed = "\n".join(["path,label", *(f"{'AB'[v % 2]}/{v}.png,{v % 2}" for v in range(7))])
        put(root, "manifest.csv", listed.encode())
        first = scan(spec(root))
        decoded.clear()
        (root / "manifest.csv").unlink()
        assert rows(scan(spec(root), first))["B/7.png"]["status"] == "ok"
        assert decoded == [png(7)]

    def test_bytes_of_contradicting_labels_are_known_to_be_whole(self, root, decoded):
        put(root, "B/same.png", png(0))
        first = scan(spec(root))
        assert reasons(first)["A/0.png"] == "same bytes under labels A and B"
        decoded.clear()
        (root / "B" / "same.png").unlink()
        assert rows(scan(spec(root), first))["A/0.png"]["status"] == "ok"
        assert decoded == []

    def test_quick_look_opens_headers_only(self, root, decoded):
        put(root, "A/cut.png", png(99, (64, 64))[:-40])
        put(root, "A/page.png", b"<html>")
        table = rows(scan(spec(root), decode=False))
        assert decoded == []
        assert (table["A/cut.png"]["status"], table["A/cut.png"]["width"]) == ("ok", 64)
        assert table["A/page.png"]["status"] == "rejected"


class TestReadImage:
    def test_gives_the_bytes_of_the_manifest(self, root):
        for row in scan(spec(root)).to_pylist():
            assert hashlib.sha256(read_image(root, row["path"], row["image_id"])).hexdigest() == row["image_id"]

    def test_changed(self, root):
        row = rows(scan(spec(root)))["A/0.png"]
        put(root, "A/0.png", png(9))
        with pytest.raises(InputError) as error:
            read_image(root, "A/0.png", row["image_id"])
        assert error.value.what == f"the file A/0.png in {root} changed since the manifest was made"
        assert error.value.remedy == "Materialise image_manifest again"

    def test_gone(self, root):
        with pytest.raises(InputError) as error:
            read_image(root, "A/gone.png", "0" * 64)
        assert error.value.what == f"A/gone.png in {root} cannot be read any more (No such file or directory)"
        assert error.value.remedy == "Put it back, or materialise image_manifest again"

    @pytest.mark.parametrize("path", ["../secret.png", "/etc/hostname", "A/link.png"])
    def test_outside(self, path, root, tmp_path):
        secret = put(tmp_path, "secret.png", png(1))
        (root / "A" / "link.png").symlink_to(secret)
        with pytest.raises(InputError, match="leaves the dataset's folder"):
            read_image(root, path, hashlib.sha256(png(1)).hexdigest())


@pytest.fixture
def real_datasets() -> Path:
    if "MEDFEAT_REAL_DATA" not in os.environ:
        pytest.skip("MEDFEAT_REAL_DATA does not name the folder of real images")
    return Path(os.environ["MEDFEAT_REAL_DATA"]) / "datasets"


@pytest.mark.real_data
class TestRealData:
    def test_every_file_of_the_hostile_set_is_counted(self, real_datasets):
        folder = real_datasets / "hostile"
        table = scan(spec(folder, unlabelled=True))
        on_disk = {str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file()} - {"manifest.csv"}
        judged = reasons(table)
        not_there = {path for path, reason in judged.items() if reason == "listed in manifest.csv but not there"}
        assert set(table["path"].to_pylist()) == on_disk | not_there
        assert all(judged[path].startswith("cannot be decoded: not a readable") for path in on_disk if path.startswith("dicom_"))
        assert not [path for path in judged if path.startswith("ok_")]
        assert scan(spec(folder, unlabelled=True), table).equals(table)

    def test_contradicting_labels_of_the_hostile_set(self, real_datasets):
        error = error_of(real_datasets / "hostile" / "dup")
        assert "2 x same bytes under labels classA and classB" in error.what

    @pytest.mark.parametrize(("name", "n_ok", "n_test"), [("modality", 1563, 606), ("mammography_roi", 238, 60)])
    def test_real_set(self, name, n_ok, n_test, real_datasets):
        table = scan(spec(real_datasets / name))
        ok = [row for row in table.to_pylist() if row["status"] == "ok"]
        assert (len(ok), sum(row["split"] == "test" for row in ok)) == (n_ok, n_test)
