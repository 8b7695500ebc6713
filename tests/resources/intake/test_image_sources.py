"""From a root and its drops to trees of files, each with a place and, where it cannot be used, the
reason."""

from __future__ import annotations

import os
import shutil
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_contracts.errors import InputError
from data_contracts.records.dataset import DatasetSpec
from resources.intake import image_sources
from resources.intake.archives import RefusedArchiveError
from resources.intake.confined_open import RefusedFileError
from resources.intake.drops import MARKER, Drop, file_stamps
from resources.intake.image_sources import (
    NOT_AN_IMAGE,
    Intake,
    SourceFile,
    SourceTree,
    source_trees,
)
from resources.intake.site_key import Names
from resources.intake.system_entries import SYSTEM_ENTRY
from resources.intake.user_manifest import FileAnnotation
from tests.resources.intake.test_confined_open import in_time

LEAVES = "link leaves the dataset's folder (--follow-links FOLDER allows links into a folder)"
NESTED = "an archive within an archive is not unpacked"
DAMAGED = "archive refused: the archive is damaged or cut off"

Look = Callable[..., list[SourceTree]]


def put(root: Path, path: str, data: bytes = b"data") -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


def pack(file: Path, *names: str, **texts: str) -> Path:
    """A zip file of members with bytes of their own, and a manifest.csv where ``manifest`` says
    what it holds."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, f"bytes of {name}")
        if "manifest" in texts:
            archive.writestr("manifest.csv", texts["manifest"])
    return file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of two classes."""
    for path in ("A/1.png", "A/2.png", "B/3.png"):
        put(tmp_path / "images", path)
    return tmp_path / "images"


@pytest.fixture
def drops(tmp_path: Path) -> Path:
    """The drop folder, empty."""
    folder = tmp_path / "drops" / "scans"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """``look(root, *drops, show=True)`` -> trees of a root (None: of drops alone), and of drops
    with all that lies in them."""

    def trees_of(
        root: Path | None,
        *paths: Path,
        show: bool = True,
        first_load: bool = False,
        links: Path | None = None,
    ) -> list[SourceTree]:
        arrived = tuple(
            Drop(path.name, path, first_load, 0.0, frozenset(file_stamps(path, links)))
            for path in paths
        )
        spec = DatasetSpec(
            name="scans", root=root or tmp_path / "drops" / "scans", follow_links=links
        )
        return source_trees(
            Intake(
                spec, Names("scans", show, bytes(32)), tmp_path / "unpacked", arrived, root is None
            )
        )

    return trees_of


def files(found: list[SourceTree]) -> list[SourceFile]:
    return [file for tree in found for file in tree.files]


def faults(found: list[SourceTree]) -> dict[str, str | None]:
    return {file.path: file.fault for file in files(found)}


def labels(found: list[SourceTree]) -> dict[str, str | None]:
    """Label of the files without a fault."""
    return {
        file.path: tree.annotations[file.place].label
        for tree in found
        for file in tree.files
        if file.fault is None
    }


class TestFolder:
    def test_every_file_is_found_once_and_placed_by_its_folders(
        self, root: Path, look: Look
    ) -> None:
        put(root, "B/deep/er/4.png")
        found = look(root)
        assert labels(found) == {
            "A/1.png": "A",
            "A/2.png": "A",
            "B/3.png": "B",
            "B/deep/er/4.png": "B",
        }
        assert all(
            file.place == file.path and file.file == root / file.path and file.root == root
            for file in files(found)
        )
        assert [tree.drop for tree in found] == [None]

    @pytest.mark.parametrize("path", ["README", "labels.csv", "A/x.TXT", "DICOMDIR"])
    def test_known_junk_is_no_image_and_makes_no_class(
        self, path: str, root: Path, look: Look
    ) -> None:
        put(root, path)
        found = look(root)
        assert [file.path for file in files(found)] == ["A/1.png", "A/2.png", "B/3.png", path]
        assert (faults(found)[path], set(labels(found).values())) == (NOT_AN_IMAGE, {"A", "B"})
        assert files(found)[-1].readable

    def test_a_name_that_is_not_utf8_is_rejected_unread_by_name(
        self, root: Path, look: Look
    ) -> None:
        odd = os.fsdecode(b"A/caf\xe9.png")
        put(root, odd)
        assert faults(look(root))[odd] == "name is not valid UTF-8"

    def test_special_files_are_not_read(self, root: Path, look: Look) -> None:
        os.mkfifo(root / "A" / "pipe.png")
        (last,) = [file for file in files(look(root)) if file.fault]
        assert (last.path, last.fault, last.readable) == ("A/pipe.png", "not a regular file", False)

    def test_links(self, root: Path, look: Look, tmp_path: Path) -> None:
        put(tmp_path, "outside/1.png")
        for name, target in {
            "file.png": tmp_path / "outside" / "1.png",
            "folder": tmp_path / "outside",
            "up": Path(".."),
            "nowhere.png": Path("/nowhere/at/all"),
            "broken.png": Path("gone.png"),
            "itself.png": Path("itself.png"),
            "inner": Path("../B"),
            "good.png": Path("../B/3.png"),
            "chain.png": Path("good.png"),
        }.items():
            (root / "A" / name).symlink_to(target)
        found = look(root)
        judged = {path.removeprefix("A/"): fault for path, fault in faults(found).items() if fault}
        assert judged == {
            "file.png": LEAVES,
            "folder": LEAVES,
            "nowhere.png": LEAVES,
            "inner": "link to a folder: its files count where they lie",
            "up": "link to a folder: its files count where they lie",
            "broken.png": "broken link",
            "itself.png": "broken link",
        }
        assert {file.path for file in files(found) if not file.readable} == {
            f"A/{name}" for name in judged
        }
        assert labels(found)["A/good.png"] == labels(found)["A/chain.png"] == "A"

    def test_a_root_that_is_a_link_is_followed(
        self, root: Path, look: Look, tmp_path: Path
    ) -> None:
        (tmp_path / "link").symlink_to(root)
        assert labels(look(tmp_path / "link")) == labels(look(root))

    def test_a_manifest_decides_and_what_it_lists_in_vain_is_rejected(
        self, root: Path, look: Look, tmp_path: Path
    ) -> None:
        put(tmp_path, "outside/1.png")
        (root / "link").symlink_to(tmp_path / "outside")
        lines = [
            "path,label,split,group_id",
            "A/1.png,X,test,P1",
            "gone.png,X",
            "link/1.png,X",
            "../up.png,X",
            "/etc/passwd,X",
        ]
        put(root, "manifest.csv", "\n".join(lines).encode())
        found = look(root)
        assert found[0].annotations["A/1.png"] == FileAnnotation("X", "test", "P1")
        assert faults(found) == {
            "A/1.png": None,
            "A/2.png": "not listed in manifest.csv",
            "B/3.png": "not listed in manifest.csv",
            "link": LEAVES,
            "gone.png": "listed in manifest.csv but not there",
            "link/1.png": LEAVES,
            "../up.png": "path leaves the dataset's folder",
            "/etc/passwd": "path leaves the dataset's folder",
        }
        assert {file.path for file in files(found) if file.readable} == {
            "A/1.png",
            "A/2.png",
            "B/3.png",
        }

    def test_a_folder_that_cannot_be_read_is_named_by_its_pseudonym(
        self, root: Path, look: Look, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(root, "Doe^John/1.png")
        scandir = os.scandir

        def deny(path: Path) -> object:
            if Path(path).name == "Doe^John":
                raise PermissionError(13, "Permission denied", str(path))
            return scandir(path)

        with monkeypatch.context() as patch:
            patch.setattr(os, "scandir", deny)
            with pytest.raises(
                InputError,
                match=r"the folder [0-9a-f]{16} of scans cannot be read \(Permission denied\)",
            ):
                look(root, show=False)

    @pytest.mark.parametrize(
        ("name", "message"), [("gone", "does not exist"), ("one.png", "is a file, not a folder")]
    )
    def test_a_root_that_cannot_be_one(
        self, name: str, message: str, look: Look, tmp_path: Path
    ) -> None:
        put(tmp_path, "one.png")
        with pytest.raises(InputError, match=message):
            look(tmp_path / name)


SYSTEM_FOLDERS = (
    *("@eaDir", "@EADIR", "#recycle", "#snapshot", "@Recycle", "@Recently-Snapshot", "@tmp"),
    *("~snapshot", ".snapshot", "$RECYCLE.BIN", "$Recycle.Bin", "System Volume Information"),
    *("lost+found", ".Trash-1000", ".Trashes", ".Spotlight-V100", ".fseventsd", ".AppleDouble"),
    *("__MACOSX", ".ipynb_checkpoints", "__pycache__", ".git", ".dvc", ".hidden"),
)
SYSTEM_FILES = (
    *(".DS_Store", "._1.png", "Thumbs.db", "THUMBS.DB", "ehthumbs.db", "desktop.ini", "Icon\r"),
    *("SYNOINDEX_MEDIA_INFO", "SYNOPHOTO_THUMB_M.jpg", "~$notes.png", ".1.png.Xy12Ab"),
)


class TestSystemEntries:
    """They are counted, once for each folder, and never make a class, a split or a group."""

    @pytest.fixture(params=["folder", "archive", "archive in a folder", "drop"])
    def seen(
        self, request: pytest.FixtureRequest, look: Look, tmp_path: Path, drops: Path
    ) -> Callable[..., tuple[dict[str, str | None], set[str]]]:
        """``seen(*paths)`` -> labels of the files without a fault by their last two parts, and the
        places of what is left out as being of a system, of a tree that is given in each way."""

        def of(*paths: str) -> tuple[dict[str, str | None], set[str]]:
            if request.param in ("folder", "drop"):
                folder = drops / "monday" if request.param == "drop" else tmp_path / "given"
                for path in paths:
                    put(folder, path)
                found = look(None, folder) if request.param == "drop" else look(folder)
            else:
                archive = pack(tmp_path / "given" / "x.zip", *paths)
                found = look(archive if request.param == "archive" else archive.parent)
            left_out = {file.place for file in files(found) if file.fault == SYSTEM_ENTRY}
            assert not any(file.readable for file in files(found) if file.place in left_out)
            return {
                "/".join(Path(path).parts[-2:]): label for path, label in labels(found).items()
            }, left_out

        return of

    @pytest.mark.parametrize("name", SYSTEM_FOLDERS)
    @pytest.mark.parametrize("where", ["", "A/", "A/deep/"])
    def test_folders(self, name: str, where: str, seen: Any) -> None:
        found, left_out = seen(
            "A/1.png", "B/2.png", f"{where}{name}/1.png/thumb.jpg", f"{where}{name}/x/y/2.png"
        )
        assert found == {"A/1.png": "A", "B/2.png": "B"}
        assert left_out == {f"{where}{name}"}

    @pytest.mark.parametrize("name", SYSTEM_FILES)
    @pytest.mark.parametrize("where", ["", "A/"])
    def test_files(self, name: str, where: str, seen: Any) -> None:
        found, left_out = seen("A/1.png", "B/2.png", f"{where}{name}")
        assert (found, left_out) == ({"A/1.png": "A", "B/2.png": "B"}, {f"{where}{name}"})

    @pytest.mark.parametrize("name", ["lost+found", "@eaDir", "$RECYCLE.BIN"])
    @pytest.mark.parametrize("layout", ["split", "wrapped", "wrapped split"])
    def test_the_layout_is_recognised_beside_them(self, name: str, layout: str, seen: Any) -> None:
        around = "export/" if "wrapped" in layout else ""
        sides = ("train/", "test/") if "split" in layout else ("",)
        images = [f"{around}{side}{label}/1.png" for side in sides for label in ("A", "B")]
        places = [f"{name}", f"{around}{name}"] if around else [name]
        found, left_out = seen(*images, *(f"{place}/9.png" for place in places))
        assert found == {"A/1.png": "A", "B/1.png": "B"}
        assert left_out <= {name, f"{around}{name}"}
        assert left_out

    @pytest.mark.parametrize("name", ["@eaDirs", "recycle", "snapshot", "lost", "found", "icons"])
    def test_names_that_are_only_similar_are_classes(self, name: str, seen: Any) -> None:
        found, left_out = seen("A/1.png", f"{name}/2.png")
        assert (set(found.values()), left_out) == ({"A", name}, set())


class TestSurroundingFolders:
    def test_parts_of_a_download_share_their_folder(self, look: Look, tmp_path: Path) -> None:
        pack(tmp_path / "parts" / "data-001.zip", "export/A/1.png", "__MACOSX/export/A/._1.png")
        pack(tmp_path / "parts" / "data-002.zip", "export/A/2.png", "export/B/3.png")
        assert set(labels(look(tmp_path / "parts")).values()) == {"A", "B"}

    def test_a_manifest_in_one_part_of_a_download_that_lists_the_others(
        self, look: Look, tmp_path: Path, drops: Path
    ) -> None:
        text = "path,label,group_id\nx/1.png,A,p1\nx/2.png,B,p1\n"
        for folder in (tmp_path / "parts", drops / "monday"):
            pack(folder / "data-001.zip", "x/1.png", manifest=text)
            pack(folder / "data-002.zip", "x/2.png")
        with pytest.raises(InputError, match=r"files that lie outside of .* \(1 of them"):
            look(tmp_path / "parts")
        (tree,) = look(None, drops / "monday")
        assert [file.fault is None for file in tree.files] == [False, False]
        (tmp_path / "parts" / "data-002.zip").unlink()
        first, archive = look(tmp_path / "parts")
        assert not first.files
        assert {file.place: file.fault for file in archive.files} == {
            "x/1.png": None,
            "x/2.png": "listed in manifest.csv but not there",
        }

    @pytest.mark.parametrize("form", ["folder", "drop"])
    def test_a_manifest_below_them_decides(
        self, form: str, look: Look, tmp_path: Path, drops: Path
    ) -> None:
        folder = drops / "monday" if form == "drop" else tmp_path / "given"
        put(folder, "a/b/manifest.csv", b"path,label,split\nx/1.png,X,test\nx/gone.png,X,test\n")
        for path in ("a/b/x/1.png", "a/b/x/2.png", "LICENSE", "a/@eaDir/x/1.png"):
            put(folder, path)
        (tree,) = look(None, folder) if form == "drop" else look(folder)
        prefix = "drops/monday/" if form == "drop" else ""
        assert {file.path.removeprefix(prefix): file.fault for file in tree.files} == {
            "a/b/x/1.png": None,
            "a/b/x/2.png": "not listed in manifest.csv",
            "LICENSE": "not listed in manifest.csv",
            "a/@eaDir": SYSTEM_ENTRY,
            "a/b/x/gone.png": "listed in manifest.csv but not there",
        }
        assert tree.annotations["x/1.png"] == FileAnnotation("X", "test")

    def test_classes_of_the_first_load_decide_in_a_drop(
        self, root: Path, drops: Path, look: Look
    ) -> None:
        for path in ("one/A/p1/1.png", "one/A/p2/2.png", "two/x/B/1.png", "three/C/p/1.png"):
            put(drops, path)
        found = look(root, drops / "one", drops / "two", drops / "three")
        assert {
            path: label for path, label in labels(found).items() if path.startswith("drops")
        } == {
            "drops/one/A/p1/1.png": "A",
            "drops/one/A/p2/2.png": "A",
            "drops/two/x/B/1.png": "B",
            "drops/three/C/p/1.png": "C",
        }


class TestLinksIntoAStore:
    """git-annex, DVC and Hugging Face keep files in a store beside the folder of links."""

    @pytest.fixture(params=["dataset", "drop"])
    def read(
        self, request: pytest.FixtureRequest, look: Look, tmp_path: Path, drops: Path
    ) -> Callable[..., dict[str, str | None]]:
        """``read(folder of links, store)`` -> what each file holds, or why it is not read."""

        def of(folder: Path, store: Path | None) -> dict[str, str | None]:
            if request.param == "drop":
                folder = folder.rename(drops / "monday")
                found = look(None, folder, links=store)
            else:
                found = look(folder, links=store)
            held: dict[str, str | None] = {}
            for file in files(found):
                held[file.place] = file.fault
                if file.fault is None:
                    with open(file.file, opener=file.opener) as stream:
                        held[file.place] = stream.read()
            return held

        return of

    @pytest.mark.parametrize(
        "place", [".git/annex/objects/a1/K/K.png", ".dvc/cache/files/md5/a1/b2", "blobs/0f3c"]
    )
    def test_files(self, place: str, read: Any, tmp_path: Path) -> None:
        store, folder = tmp_path / "store", tmp_path / "given"
        target = put(store, place, b"pixels")
        put(folder, "B/2.png", b"own")
        (folder / "A").mkdir()
        (folder / "A" / "1.png").symlink_to(target)
        put(tmp_path, "elsewhere/9.png")
        (folder / "A" / "9.png").symlink_to(tmp_path / "elsewhere" / "9.png")
        (folder / "A" / "gone.png").symlink_to(store / "gone")
        assert read(folder, store) == {
            "A/1.png": "pixels",
            "B/2.png": "own",
            "A/9.png": LEAVES,
            "A/gone.png": "broken link",
        }

    def test_without_the_option_the_refusal_names_it(self, read: Any, tmp_path: Path) -> None:
        put(tmp_path / "given", "B/2.png", b"own")
        (tmp_path / "given" / "1.png").symlink_to(put(tmp_path, "store/1.png"))
        assert read(tmp_path / "given", None) == {"B/2.png": "own", "1.png": LEAVES}

    def test_folders_and_loops(self, read: Any, tmp_path: Path) -> None:
        store, folder = tmp_path / "store", tmp_path / "given"
        put(store, "a/1.png", b"1")
        put(store, "a/deep/2.png", b"2")
        put(store, "b/3.png", b"3")
        (store / "a" / "loop").symlink_to(store / "a")
        (store / "a" / "up").symlink_to(store)
        (store / "a" / "out").symlink_to(put(tmp_path, "elsewhere/9.png").parent)
        put(folder, "C/4.png", b"4")
        for name, target in {"A": "a", "B": "b", "Z": "a"}.items():
            (folder / name).symlink_to(store / target)
        again = "link to a folder: its files count where they lie"
        assert read(folder, store) == {
            "C/4.png": "4",
            "A/1.png": "1",
            "A/deep/2.png": "2",
            "B/3.png": "3",
            "Z": again,
            "A/loop": again,
            "A/up": again,
            "A/out": LEAVES,
        }

    def test_a_relative_link(self, look: Look, tmp_path: Path) -> None:
        put(tmp_path, "hub/blobs/0f3c")
        put(tmp_path, "hub/snapshots/r1/B/2.png")
        (tmp_path / "hub/snapshots/r1/A").mkdir()
        (tmp_path / "hub/snapshots/r1/A/1.png").symlink_to("../../../blobs/0f3c")
        found = look(tmp_path / "hub/snapshots/r1", links=tmp_path / "hub")
        assert labels(found) == {"A/1.png": "A", "B/2.png": "B"}

    def test_one_that_leads_elsewhere_by_the_time_it_is_opened(
        self, look: Look, tmp_path: Path
    ) -> None:
        store, folder = tmp_path / "store", tmp_path / "given"
        put(folder, "B/2.png")
        (folder / "1.png").symlink_to(put(store, "1.png"))
        (file,) = [file for file in files(look(folder, links=store)) if file.place == "1.png"]
        (folder / "1.png").unlink()
        (folder / "1.png").symlink_to(put(tmp_path, "secret.png"))
        with (
            pytest.raises(RefusedFileError, match="link leaves"),
            open(file.file, opener=file.opener),
        ):
            pass

    def test_a_manifest_and_an_archive(self, look: Look, tmp_path: Path) -> None:
        store, folder = tmp_path / "store", tmp_path / "given"
        put(folder, "A/1.png")
        (folder / "manifest.csv").symlink_to(put(store, "x", b"path,label\nA/1.png,X\nA/2.png,Y\n"))
        (folder / "A" / "more.zip").symlink_to(pack(store / "y.zip", "2.png"))
        assert labels(look(folder, links=store)) == {"A/1.png": "X", "A/more.zip/2.png": "Y"}


class TestUnicode:
    @pytest.mark.parametrize(
        ("listed", "on_disk"), [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")]
    )
    def test_a_manifest_lists_files_in_either_form(
        self, listed: Any, on_disk: Any, look: Look, tmp_path: Path
    ) -> None:
        name, folder = "Ünïcode/é 1.png", tmp_path / "given"
        file = unicodedata.normalize(on_disk, name)
        put(folder, file)
        put(folder, "plain.png")
        text = f"path,label\n{unicodedata.normalize(listed, name)},X\nplain.png,Y\n"
        put(folder, "manifest.csv", text.encode())
        assert labels(look(folder)) == {file: "X", "plain.png": "Y"}

    def test_two_files_whose_names_differ_by_form_alone_are_told_apart(
        self, look: Look, tmp_path: Path
    ) -> None:
        names = [unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD")]  # type: ignore[arg-type]
        for name in names:
            put(tmp_path / "given", name)
        text = f"path,label\n{names[0]},X\n{names[1]},Y\n"
        put(tmp_path / "given", "manifest.csv", text.encode())
        assert labels(look(tmp_path / "given")) == {names[0]: "X", names[1]: "Y"}


class TestArchives:
    def test_content_counts_as_lying_where_the_archive_lies(self, root: Path, look: Look) -> None:
        pack(root / "B" / "more.zip", "4.png", "deep/5.png")
        pack(root / "classes.zip", "A/6.png", "C/7.png", "C/notes.txt")
        found = look(root)
        assert labels(found) == {
            "A/1.png": "A",
            "A/2.png": "A",
            "B/3.png": "B",
            "B/more.zip/4.png": "B",
            "B/more.zip/deep/5.png": "B",
            "classes.zip/A/6.png": "A",
            "classes.zip/C/7.png": "C",
        }
        assert faults(found)["classes.zip/C/notes.txt"] == NOT_AN_IMAGE
        member = next(file for file in files(found) if file.path == "classes.zip/C/7.png")
        assert member.file.read_bytes() == b"bytes of C/7.png"
        assert member.file.is_relative_to(member.root)

    def test_the_users_folder_is_left_as_it_is(self, root: Path, look: Look) -> None:
        pack(root / "more.zip", "C/1.png")
        before = file_stamps(root)
        look(root)
        assert file_stamps(root) == before

    def test_each_is_unpacked_once_whatever_it_is_called(
        self, root: Path, look: Look, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        unpacked = []
        unpack = image_sources.unpack
        monkeypatch.setattr(
            image_sources,
            "unpack",
            lambda archive, *how, **more: (
                unpacked.append(archive.name),
                unpack(archive, *how, **more),
            ),
        )
        pack(root / "x.zip", "C/1.png")
        first = look(root)
        (root / "x.zip").rename(root / "y.zip")
        second = look(root)
        assert unpacked == ["x.zip"]
        assert [file.file for file in files(second)] == [file.file for file in files(first)]
        pack(root / "y.zip", "C/2.png")
        assert "y.zip/C/2.png" in faults(look(root))
        assert unpacked == ["x.zip", "y.zip"]

    @pytest.mark.parametrize("step", ["file_sha256", "unpack"])
    @pytest.mark.parametrize(("kind", "reason"), [("link", LEAVES), ("pipe", "not a regular file")])
    def test_one_that_is_replaced_before_it_is_read(
        self,
        step: str,
        kind: str,
        reason: str,
        root: Path,
        look: Look,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        archive, secret = (
            pack(root / "x.zip", "C/1.png"),
            pack(tmp_path / "secret.zip", "secret.png"),
        )

        def replaced(*given: Any, **named: Any) -> Any:
            archive.unlink()
            archive.symlink_to(secret) if kind == "link" else os.mkfifo(archive)
            return unhindered(*given, **named)

        unhindered = getattr(image_sources, step)
        monkeypatch.setattr(image_sources, step, replaced)
        with in_time():
            found = look(root)
        assert faults(found) == {
            **dict.fromkeys(["A/1.png", "A/2.png", "B/3.png"]),
            "x.zip": reason,
        }

    def test_one_with_a_manifest_of_its_own_is_a_tree_of_its_own(
        self, root: Path, look: Look
    ) -> None:
        pack(
            root / "A" / "own.zip",
            "x/4.png",
            "x/5.png",
            manifest="path,label,split\nx/4.png,Z,test\nx/6.png,Z,test\n",
        )
        base, own = look(root)
        assert labels([base]) == {"A/1.png": "A", "A/2.png": "A", "B/3.png": "B"}
        assert own.annotations == {
            "x/4.png": FileAnnotation("Z", "test"),
            "x/6.png": FileAnnotation("Z", "test"),
        }
        assert {file.path: (file.place, file.fault) for file in own.files} == {
            "A/own.zip/x/4.png": ("x/4.png", None),
            "A/own.zip/x/5.png": ("x/5.png", "not listed in manifest.csv"),
            "A/own.zip/x/6.png": ("x/6.png", "listed in manifest.csv but not there"),
        }

    def test_a_manifest_beside_an_archive_lists_its_members_as_lying_there(
        self, root: Path, look: Look
    ) -> None:
        pack(root / "B" / "more.zip", "4.png", "5.png")
        put(root, "manifest.csv", b"path,label\nA/1.png,X\nB/4.png,Y\n")
        (tree,) = look(root)
        assert labels([tree]) == {"A/1.png": "X", "B/more.zip/4.png": "Y"}

    def test_a_refused_one_is_one_rejected_file(
        self, root: Path, look: Look, tmp_path: Path
    ) -> None:
        put(root, "A/bad.zip", b"no archive")
        put(root, "A/bad.npz", b"no archive")
        pack(root / "evil.zip", "../../evil.png")
        judged = {path: fault for path, fault in faults(look(root)).items() if fault}
        assert judged == {
            "A/bad.zip": DAMAGED,
            "A/bad.npz": DAMAGED,
            "evil.zip": "archive refused: a member's name is absolute or contains ..",
        }
        assert not list((tmp_path / "unpacked").iterdir())
        assert not list(tmp_path.rglob("evil.png"))

    def test_one_within_another_is_rejected_and_not_unpacked(
        self, root: Path, look: Look, tmp_path: Path
    ) -> None:
        inner = pack(tmp_path / "inner.zip", "C/1.png")
        with zipfile.ZipFile(root / "outer.zip", "w") as archive:
            for name in ("B/inner.zip", "B/inner.npz", "inner.TAR.GZ"):
                archive.write(inner, name)
        found = faults(look(root))
        assert {path: fault for path, fault in found.items() if path.startswith("outer")} == {
            "outer.zip/B/inner.zip": NESTED,
            "outer.zip/B/inner.npz": NESTED,
            "outer.zip/inner.TAR.GZ": NESTED,
        }
        assert len(list((tmp_path / "unpacked").iterdir())) == 1

    def test_links_to_archives_that_leave_are_not_followed(
        self, root: Path, look: Look, tmp_path: Path
    ) -> None:
        (root / "A" / "x.zip").symlink_to(pack(tmp_path / "outside.zip", "1.png"))
        assert faults(look(root))["A/x.zip"] == LEAVES
        assert not (tmp_path / "unpacked").exists()

    def test_the_cache_is_for_its_owner_alone(self, root: Path, look: Look, tmp_path: Path) -> None:
        pack(root / "x.zip", "C/1.png")
        look(root)
        assert (tmp_path / "unpacked").stat().st_mode & 0o777 == 0o700


class TestRootThatIsAnArchive:
    def test_is_laid_out_like_a_folder(self, look: Look, tmp_path: Path) -> None:
        assert labels(look(pack(tmp_path / "x.zip", "A/1.png", "B/2.png"))) == {
            "A/1.png": "A",
            "B/2.png": "B",
        }

    @pytest.mark.parametrize("top", ["", "data set/", "a/b/c/"])
    def test_folders_around_split_folders_or_a_manifest_are_looked_through(
        self, top: str, look: Look, tmp_path: Path
    ) -> None:
        (tree,) = look(
            pack(
                tmp_path / "x.zip",
                f"{top}Train/A/1.png",
                f"{top}test/B/2.png",
                "__MACOSX/._x",
                ".DS_Store",
            )
        )
        assert tree.annotations[f"{top}test/B/2.png"] == FileAnnotation("B", "test")
        with zipfile.ZipFile(tmp_path / "y.zip", "w") as archive:
            archive.writestr(f"{top}manifest.csv", "path,label\n1.png,A\n")
            archive.writestr(f"{top}1.png", "x")
            archive.writestr("LICENSE", "x")
        found = look(tmp_path / "y.zip")
        assert labels(found) == {f"{top}1.png": "A"}
        assert faults(found)["LICENSE"] == "not listed in manifest.csv"

    def test_a_single_class_folder_is_no_such_folder(self, look: Look, tmp_path: Path) -> None:
        assert labels(look(pack(tmp_path / "x.zip", "A/1.png", "A/sub/2.png"))) == {
            "A/1.png": "A",
            "A/sub/2.png": "A",
        }
        assert look(pack(tmp_path / "y.zip", "train/test/1.png"))[0].annotations == {
            "train/test/1.png": FileAnnotation("test", "train")
        }

    def test_an_npz_has_its_labels_and_splits(self, look: Look, tmp_path: Path) -> None:
        images = np.arange(2 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4)
        np.savez(
            tmp_path / "x.npz",
            train_images=images,
            train_labels=np.array([[1], [0]]),
            test_images=images[:1],
        )
        (tree,) = look(tmp_path / "x.npz")
        assert tree.annotations == {
            "train/0000000.bmp": FileAnnotation("1", "train"),
            "train/0000001.bmp": FileAnnotation("0", "train"),
            "test/0000000.bmp": FileAnnotation(None, "test"),
        }
        assert sorted(tree.annotations) == [file.path for file in tree.files]

    def test_one_within_it_is_not_unpacked(self, look: Look, tmp_path: Path) -> None:
        inner = pack(tmp_path / "inner.zip", "C/1.png")
        pack(tmp_path / "x.zip", "A/1.png")
        with zipfile.ZipFile(tmp_path / "x.zip", "a") as archive:
            archive.write(inner, "A/inner.zip")
        assert faults(look(tmp_path / "x.zip")) == {"A/1.png": None, "A/inner.zip": NESTED}

    def test_refused_is_no_dataset(self, look: Look, tmp_path: Path) -> None:
        archive = pack(tmp_path / "x.zip", "1.png")
        data = bytearray(archive.read_bytes())
        data[6] |= 1
        archive.write_bytes(data)
        with pytest.raises(RefusedArchiveError, match="it is encrypted"):
            look(archive)


class TestDrops:
    def test_follow_the_root_each_a_tree_of_its_own(
        self, root: Path, drops: Path, look: Look
    ) -> None:
        put(drops, "monday/C/1.png")
        put(drops, "tuesday/train/A/1.png")
        put(drops, "tuesday/test/A/2.png")
        base, monday, tuesday = look(root, drops / "monday", drops / "tuesday")
        assert [tree.drop for tree in (base, monday, tuesday)] == [None, "monday", "tuesday"]
        assert labels([monday, tuesday]) == {
            "drops/monday/C/1.png": "C",
            "drops/tuesday/train/A/1.png": "A",
            "drops/tuesday/test/A/2.png": "A",
        }
        assert tuesday.annotations["test/A/2.png"].split == "test"
        assert monday.files[0].file == drops / "monday" / "C" / "1.png"

    def test_of_the_first_load_belong_to_no_drop(self, drops: Path, look: Look) -> None:
        put(drops, "monday/C/1.png")
        assert [tree.drop for tree in look(None, drops / "monday", first_load=True)] == [None]

    def test_only_files_that_count_are_found(self, drops: Path, tmp_path: Path) -> None:
        for path in ("C/1.png", "C/2.png", MARKER):
            put(drops / "monday", path)
        put(drops / "monday", "manifest.csv", b"path,label\nC/2.png,Z\n")
        arrived = Drop("monday", drops / "monday", False, 0.0, frozenset({"C/1.png", MARKER}))
        spec = DatasetSpec(name="scans", root=drops)
        found = source_trees(
            Intake(spec, Names("scans", True, bytes(32)), tmp_path / "unpacked", (arrived,), True)
        )
        assert labels(found) == {"drops/monday/C/1.png": "C"}  # the manifest has not settled either

    @pytest.mark.parametrize("name", ["one.png", "manifest.png"])
    def test_a_single_image_has_no_label_and_no_manifest_of_its_neighbours(
        self, name: str, drops: Path, look: Look
    ) -> None:
        put(drops, name)
        put(drops, "manifest.csv", b"path,label\none.png,Z\n")
        (tree,) = look(None, drops / name)
        (file,) = tree.files
        assert (file.path, file.fault, file.file, tree.annotations[file.place]) == (
            f"drops/{name}",
            None,
            drops / name,
            FileAnnotation(),
        )

    @pytest.mark.parametrize(("name", "fault"), [("notes.txt", NOT_AN_IMAGE), ("bad.zip", DAMAGED)])
    def test_a_single_file_that_cannot_be_used_is_rejected(
        self, name: str, fault: str, drops: Path, look: Look
    ) -> None:
        put(drops, name)
        assert faults(look(None, drops / name)) == {f"drops/{name}": fault}

    def test_a_single_archive_is_laid_out_like_a_folder(self, drops: Path, look: Look) -> None:
        pack(drops / "x.zip", "A/1.png", "B/2.png")
        assert labels(look(None, drops / "x.zip")) == {
            "drops/x.zip/A/1.png": "A",
            "drops/x.zip/B/2.png": "B",
        }
        pack(drops / "y.zip", "a/1.png", "b/2.png", manifest="path,label\na/1.png,Z\n")
        found = look(None, drops / "y.zip")
        assert labels(found) == {"drops/y.zip/a/1.png": "Z"}
        assert {tree.drop for tree in found} == {"y.zip"}

    def test_a_link_to_a_folder_is_one_rejected_file(
        self, drops: Path, look: Look, root: Path
    ) -> None:
        (drops / "monday").symlink_to(root)
        assert faults(look(None, drops / "monday")) == {"drops/monday": LEAVES}

    def test_a_file_that_took_the_place_of_a_folder_waits(
        self, drops: Path, tmp_path: Path, look: Look
    ) -> None:
        arrived = Drop("monday", put(drops, "monday"), False, 0.0, frozenset())
        spec = DatasetSpec(name="scans", root=drops)
        found = source_trees(
            Intake(spec, Names("scans", True, bytes(32)), tmp_path / "unpacked", (arrived,), True)
        )
        assert files(found) == []

    @pytest.mark.parametrize("form", ["folder", "archive in a folder", "archive"])
    @pytest.mark.parametrize("trouble", ["manifest", "layout"])
    def test_one_whose_manifest_or_layout_cannot_be_used_is_rejected_file_by_file(
        self, form: str, trouble: str, root: Path, drops: Path, look: Look
    ) -> None:
        names = (
            ["1.png", "2.png"]
            if trouble == "manifest"
            else ["train/A/1.png", "test/A/2.png", "Doe^John/3.png"]
        )
        texts = {"manifest": "name,label\n1.png,A\n"} if trouble == "manifest" else {}
        archive = pack(drops / "x.zip", *names, **texts)
        drop = archive
        if form != "archive":
            drop = drops / "monday"
            drop.mkdir()
            if form == "folder":
                with zipfile.ZipFile(archive) as packed:
                    packed.extractall(drop)
            else:
                archive.rename(drop / "x.zip")
        put(drops, "good/C/1.png")
        found = look(root, drop, drops / "good", show=False)
        rejected = [tree for tree in found if tree.drop == drop.name]
        assert len(rejected) == 1
        assert rejected[0].files
        reason = (
            "no column 'path'"
            if trouble == "manifest"
            else "has split folders (test, train) beside 1 other folder"
        )
        for file in rejected[0].files:
            assert file.fault is not None
            assert file.fault == NOT_AN_IMAGE or file.fault.startswith(
                "the drop cannot be used: the drop "
            )
            assert "Doe" not in file.fault
            assert "monday" not in file.fault
        assert any(reason in str(file.fault) for file in rejected[0].files)
        assert labels(found)["drops/good/C/1.png"] == "C"
        assert labels(found)["A/1.png"] == "A"

    def test_a_full_disk_is_no_fault_of_a_drop(
        self, drops: Path, look: Look, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pack(drops / "monday" / "x.zip", "A/1.png")

        def full(archive: Path, target: Path, opener: object) -> None:
            raise InputError("the disk is full", "Free space")

        monkeypatch.setattr(image_sources, "unpack", full)
        with pytest.raises(InputError, match="the disk is full"):
            look(None, drops / "monday")

    def test_the_unpacked_content_may_be_deleted_and_comes_back(
        self, drops: Path, look: Look, tmp_path: Path
    ) -> None:
        pack(drops / "x.zip", "A/1.png")
        first = look(None, drops / "x.zip")
        shutil.rmtree(tmp_path / "unpacked")
        assert look(None, drops / "x.zip") == first
        assert first[0].files[0].file.is_file()
