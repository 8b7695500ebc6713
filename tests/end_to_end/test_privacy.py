"""Forty canaries in every place where an identifier can hide; after everything that can happen,
none is found anywhere."""

from __future__ import annotations

import io
import sqlite3
import subprocess
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, PngImagePlugin

from resources.store.dataset_store import DatasetStore
from tests.conftest import draw
from tests.forked_command import forked_command

SETTINGS = [
    "filters=4",
    "epochs=2",
    "batch_size=8",
    "weights=random",
    "label_budgets=[1]",
    "label_repeats=2",
]
N_CANARIES = 40


class Canaries:
    """Hands out distinct strings, and knows where each was planted."""

    def __init__(self) -> None:
        self.planted: dict[str, str] = {}

    def __call__(self, where: str) -> str:
        text = f"Kanarienvogel{len(self.planted):02d}x"
        self.planted[text] = where
        return text


def png(number: int, text: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    chunks = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        chunks.add_text(key, value)
    Image.fromarray(draw(number % 2, number, 48)).save(buffer, "PNG", pnginfo=chunks)
    return buffer.getvalue()


def jpeg(number: int, exif: dict[int, str]) -> bytes:
    buffer = io.BytesIO()
    tags = Image.Exif()
    for tag, value in exif.items():
        tags[tag] = value
    Image.fromarray(draw(number % 2, number, 48)).save(
        buffer, "JPEG", exif=tags, comment=exif[0x9286].encode()
    )
    return buffer.getvalue()


def dicom(number: int, tags: dict[str, str], pixels: bytes | None = None) -> bytes:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    image = draw(number % 2, number, 32)
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = f"1.2.3.{number}"
    data.Rows, data.Columns = image.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.PixelData = image.tobytes() if pixels is None else pixels
    nested = Dataset()
    for keyword, value in tags.items():
        if keyword == "nested":
            nested.PatientName = value
            data.ReferencedPatientSequence = [nested]
        elif keyword == "private":
            data.private_block(0x0099, "MAKER", create=True).add_new(1, "LO", value)
        else:
            setattr(data, keyword, value)
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def write(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def plant(root: Path, drops: Path, canary: Canaries) -> None:
    """A dataset and its drops, every name and every cell that can be free text a canary."""
    lines = [f"path,label,split,group_id,{canary('a column title')}"]

    def listed(path: str, data: bytes, number: int, group: str) -> None:
        write(root / path, data)
        lines.append(f"{path},kind{number % 2},{'test' if number >= 8 else 'train'},{group},{cell}")

    cell = canary("a cell of another column")
    folder, deeper = canary("a folder"), canary("a folder below")
    for number in range(12):
        group = (
            canary("a group in the manifest")
            if number < 2
            else f"{canary.__class__.__name__}{number}"
        )
        if number == 3:
            keys = {
                "Title": canary("PNG Title"),
                "Comment": canary("PNG Comment"),
                canary("PNG key"): "value",
            }
            listed(f"{folder}/{deeper}/{number}.png", png(number, keys), number, group)
        elif number in (4, 5):
            exif = {
                0x010E: canary("EXIF ImageDescription"),
                0x013B: canary("EXIF Artist"),
                0x9286: canary("EXIF comment"),
            }
            listed(f"{folder}/{canary('a file name')}.jpg", jpeg(number, exif), number, group)
        elif number in (6, 9):
            tags = {
                "PatientName": f"{canary('PatientName')}^{canary('given name')}",
                "PatientID": canary("PatientID"),
                "InstitutionName": canary("InstitutionName"),
                "nested": canary("a name in a sequence"),
                "private": canary("a private tag"),
            }
            listed(f"{folder}/{number}.dcm", dicom(number, tags), number, "")
        else:
            listed(f"{folder}/{number}.png", png(number), number, group)
    broken = {
        "PatientName": canary("PatientName of a broken file"),
        "StudyDescription": canary("StudyDescription"),
    }
    listed(
        f"{folder}/{canary('name of a broken file')}.dcm",
        dicom(20, broken, pixels=b"\0" * 10),
        2,
        "",
    )
    listed(f"{folder}/{canary('name of a cut file')}.png", png(21)[:-40], 2, "")
    lines.append(f"../{canary('a path that leaves')}.png,kind0,train,,")
    lines.append(f"{canary('a path that is not there')}.png,kind0,train,,")
    write(root / "manifest.csv", "\n".join(lines) + "\n")
    write(root / f"{canary('a file that is not listed')}.png", png(22))

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(f"kind0/{canary('name in an archive')}.png", png(30))
        archive.writestr("kind1/plain.png", png(31))
    write(drops / f"{canary('name of an archive')}.zip", packed.getvalue())
    hostile = io.BytesIO()
    with zipfile.ZipFile(hostile, "w") as archive:
        archive.writestr(f"../{canary('a member that leaves')}.png", png(32))
    write(drops / f"{canary('name of a hostile archive')}.zip", hostile.getvalue())
    bad = drops / canary("name of a drop with a bad manifest")
    write(bad / "x.png", png(33))
    write(bad / "manifest.csv", f"path,label,split\nx.png,kind0,{canary('an unknown split')}\n")
    person = canary("PatientID that is a folder too")
    write(
        drops / "by_person" / person / "1.dcm",
        dicom(34, {"PatientID": person, "PatientName": canary("another PatientName")}),
    )
    write(
        drops / "by_person" / "kind1" / "2.dcm",
        dicom(35, {"AccessionNumber": canary("Accession")[:16]}),
    )


def texts_of(path: Path) -> Iterator[bytes]:
    """The bytes of a file, and what is in it once it is read: cells of Parquet and SQLite, unpacked
    blobs."""
    data = path.read_bytes()
    yield data
    if path.suffix == ".parquet":
        table = pq.read_table(path, partitioning=None)
        yield repr(table.to_pylist()).encode() + repr(table.schema).encode()
    if data.startswith(b"SQLite format 3\0"):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            for (name,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table'"
            ).fetchall():
                for row in connection.execute(f'SELECT * FROM "{name}"'):
                    for cell in row:
                        yield repr(cell).encode()
                        if isinstance(cell, bytes):
                            try:
                                yield zlib.decompress(cell)
                            except zlib.error:
                                continue


def found_in(folder: Path, canaries: Canaries, but: set[Path]) -> dict[str, set[str]]:
    """Files below a folder that hold a canary, or are named by one."""
    found: dict[str, set[str]] = {}
    needles = {
        text: [text.lower().encode(), text.lower().encode("utf-16-le")] for text in canaries.planted
    }
    for path in folder.rglob("*"):
        if any(part in path.parents or path == part for part in but):
            continue
        texts = [
            str(path.relative_to(folder)).encode(),
            *(texts_of(path) if path.is_file() else ()),
        ]
        for text in texts:
            low = text.lower()
            for canary, forms in needles.items():
                if any(form in low for form in forms):
                    found.setdefault(str(path.relative_to(folder)), set()).add(
                        canaries.planted[canary]
                    )
    return found


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return forked_command(list(words))


@pytest.fixture
def planted(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Canaries, Path]:
    monkeypatch.setenv("MEDFEAT_DROP_SETTLE_SECONDS", "0.01")
    canaries = Canaries()
    plant(tmp_path / "scans", home / "drops" / "scans", canaries)
    return canaries, tmp_path / "scans"


def test_the_search_finds_what_is_there(
    planted: tuple[Canaries, Path], home: Path, tmp_path: Path
) -> None:
    """A control: where names are shown, and where a canary lies in a compressed table or a
    database, the search says so."""
    canaries, root = planted
    assert len(canaries.planted) >= N_CANARIES
    hidden = set(canaries.planted.values()) - set().union(
        *found_in(tmp_path, canaries, set()).values()
    )
    assert hidden <= {"name in an archive"}, (
        "what was planted is in the input (a member's name may be packed)"
    )
    assert command("add", "shown", str(root), "--show-names").returncode == 0
    assert command("run", "shown", *(f"--set={s}" for s in SETTINGS)).returncode == 0
    found = found_in(home, canaries, {home / "drops", home / "unpacked"})
    places = {path.split("/")[0] for path in found}
    assert {"store", "reports"} <= places, "with --show-names the names are there"


def test_no_canary_is_anywhere(planted: tuple[Canaries, Path], home: Path) -> None:
    canaries, root = planted
    said = [command("add", "scans", str(root))]
    said += [command("run", "scans", *(f"--set={s}" for s in SETTINGS))]
    assert said[-1].returncode == 0, said[-1].stderr
    # the drops have settled by now
    said += [command("run", "scans", *(f"--set={s}" for s in SETTINGS))]
    assert said[-1].returncode == 0, said[-1].stderr
    summary = DatasetStore().need_record("scans", "image_manifest").summary
    assert summary["drops"] == 4
    assert summary["images from drops"] == 3, (
        "two of an archive, one of a person whose class is no identifier"
    )
    said += [command("predict", "scans")]
    said += [
        command("results", "scans"),
        command("results", "scans", "--json"),
        command("backfill", "--all", "--only-stale"),
    ]
    assert {0} == {result.returncode for result in said[-4:]}, said[-4:]
    said += [command("doctor")]

    # Failures: a setting that cannot work, a manifest that cannot be read, a file that goes away
    # between two stages, a leak.
    said += [
        command(
            "run", "scans", "--set=learning_rate=1e9", *(f"--set={s}" for s in SETTINGS), "--force"
        )
    ]
    assert said[-1].returncode == 2
    listing = (root / "manifest.csv").read_text()
    for wrong in (
        listing.replace("train", canaries("a split that is none"), 1),
        listing.replace("path,", f"{canaries('a title in place of path')},", 1),
        listing.replace(
            "kind0,train,,", f"kind0,train,{canaries('a group on both sides')},", 1
        ).replace("kind1,test,,", f"kind1,test,{list(canaries.planted)[-1]},", 1),
        listing + f"x.png,{canaries('label of a cell too many')},train,,,,,,\n",
    ):
        (root / "manifest.csv").write_text(wrong)
        said += [
            command("run", "scans", *(f"--set={s}" for s in SETTINGS)),
            command("add", "again", str(root)),
        ]
        assert {2} == {result.returncode for result in said[-2:]}, said[-2:]
        assert not any("Traceback" in result.stderr for result in said[-2:])
    (root / "manifest.csv").write_text(listing)
    from pipeline.automation.sensors import drops

    with (
        dg.DagsterInstance.get() as instance,
        dg.build_sensor_context(instance=instance, resources={"store": DatasetStore()}) as context,
    ):
        ticked: Any = drops(context)
    said_by_tick = repr(ticked)

    everything = "".join(result.stdout + result.stderr for result in said) + said_by_tick
    told = {where for text, where in canaries.planted.items() if text.lower() in everything.lower()}
    assert told == set(), "said on the terminal"
    assert found_in(home, canaries, {home / "drops", home / "unpacked"}) == {}


def test_groups_are_keyed_and_names_can_be_found_again(
    planted: tuple[Canaries, Path], home: Path
) -> None:
    from data_contracts.tables.manifest import MANIFEST

    _, root = planted
    assert command("add", "scans", str(root)).returncode == 0
    assert command("run", "scans", *(f"--set={s}" for s in SETTINGS)).returncode == 0
    rows = DatasetStore().main_table("scans", "image_manifest", MANIFEST).to_pylist()
    patients = [row["group_id"] for row in rows if row["format"] == "DICOM" and row["drop"] is None]
    assert len(set(patients)) == 2
    assert all(len(group) == 16 for group in patients)
    row = next(row for row in rows if row["status"] == "ok" and row["format"] == "DICOM")
    there = command("find", "scans", row["path"])
    assert there.returncode == 0
    assert Path(there.stdout.strip()).read_bytes()[128:132] == b"DICM"
    assert np.asarray([len(row["path"].partition(".")[0]) == 16 for row in rows]).all()
