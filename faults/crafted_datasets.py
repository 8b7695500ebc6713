"""Crafted manifests, links, DICOM files, pictures and names in a dataset or a drop."""

from __future__ import annotations

import csv
import io
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ExplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
    SecondaryCaptureImageStorage,
)

from assets.predictions.predictions import publish
from faults.crafted_ground import GOOD, NAME, PREPARED, Ground, parquet_bytes, png, refused
from methods.reporting import document
from methods.reporting.prediction_files import LabelFacts, ModelFacts
from methods.reporting.review_page import corrections_script
from resources.intake import dataset_scan
from resources.intake.arrivals import find_arrivals
from resources.intake.dataset_scan import locate, read_image
from resources.intake.image_sources import Intake, SourceFile, SourceTree, source_trees
from resources.store.feature_store import FeatureStore
from tests.page_rules import dangers_of

Attack = Callable[[Ground], None]
LEAVES = "leaves the dataset's folder"


# Manifests
# -------------------------------------------------------------------------------------------------


def listed(path: str, reason: str, link: bool = False) -> Attack:
    """Write a manifest.csv that lists one good image and this."""

    def attack(ground: Ground) -> None:
        if link:
            (ground.root / "link").symlink_to(ground.outside)
        lines = ["path", "A/0.png", path.format(outside=ground.outside)]
        ground.put("manifest.csv", "\n".join(lines).encode())
        ground.refuse(reason, good=1)

    return attack


def all_in_parquet(ground: Ground) -> None:
    (ground.root / "link").symlink_to(ground.outside)
    outside = str(ground.outside)
    leaving = [
        "../outside/secret.png",
        f"{outside}/secret.png",
        f"\\\\{outside}\\secret.png",
        "A/../../outside/secret.png",
    ]
    paths = ["A/0.png", f"file://{outside}/secret.png", "link/secret.png", *leaving]
    ground.put("manifest.parquet", parquet_bytes(pa.table({"path": paths})))
    ground.refuse(LEAVES, good=1)


def bomb(columns: dict[str, pa.Array], reason: str) -> Attack:
    """Write a manifest.parquet of some kilobytes that unpacks to gigabytes."""

    def attack(ground: Ground) -> None:
        data = parquet_bytes(pa.table(columns))
        assert len(data) < 2**17
        ground.put("manifest.parquet", data)
        with refused(reason):
            ground.take_in()

    return attack


def repeated(text: str, rows: int) -> pa.Array:
    """Return a column of one repeated text, encoded as a dictionary."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), [text])


# Links
# -------------------------------------------------------------------------------------------------


def link_to_a_file(ground: Ground) -> None:
    (ground.root / "A" / "evil.png").symlink_to(ground.secret_png)
    ground.refuse(LEAVES)


def link_to_a_folder(ground: Ground) -> None:
    (ground.root / "evil").symlink_to(ground.outside)
    ground.refuse(LEAVES)


def link_for_a_manifest(ground: Ground) -> None:
    (ground.root / "manifest.csv").symlink_to(ground.secret_manifest)
    with refused("is refused: link leaves the dataset's folder"):
        ground.take_in()


def link_to_an_archive(ground: Ground) -> None:
    with zipfile.ZipFile(ground.outside / "secret.zip", "w") as archive:
        archive.write(ground.secret_png, "A/secret.png")
    ground.before = ground._outside_of_home()
    (ground.root / "A" / "evil.zip").symlink_to(ground.outside / "secret.zip")
    ground.refuse(LEAVES)


def link_for_a_drop(ground: Ground) -> None:
    ground.drops.mkdir(parents=True)
    (ground.drops / "monday").symlink_to(ground.outside)
    (ground.drops / "monday._READY").touch()
    os.environ["MEDFEAT_DROP_SETTLE_SECONDS"] = "1e-6"
    find_arrivals(ground.store, ground.spec())
    ground.refuse(LEAVES)


def link_in_a_drop(ground: Ground) -> None:
    (ground.drops / "monday").mkdir(parents=True)
    (ground.drops / "monday" / "evil.png").symlink_to(ground.secret_png)
    (ground.drops / "monday" / "manifest.parquet").symlink_to(ground.secret_text)
    (ground.drops / "monday" / "_READY").touch()
    ground.refuse(LEAVES)


def link_put_there_later(ground: Ground) -> None:
    """Replace a good image by a link between two stages."""
    rows = {row["path"]: row for row in ground.take_in()}
    found: dict[str, SourceFile] = locate(find_arrivals(ground.store, ground.spec()).intake, rows)
    (ground.root / "A" / "0.png").unlink()
    (ground.root / "A" / "0.png").symlink_to(ground.secret_png)
    with refused(LEAVES):
        ground.read.append(read_image(found["A/0.png"], "A/0.png", lambda digest: True))


def in_the_place_of_a_file(replace: Callable[[Path, Path], None], reason: str) -> Attack:
    """Replace a good image by something else after the folder is walked and before it is read."""

    def attack(ground: Ground) -> None:
        file = ground.root / "A" / "0.png"

        def then_replaced(intake: Intake) -> list[SourceTree]:
            found = source_trees(intake)
            file.unlink()
            replace(file, ground.secret_png)
            return found

        with patch.object(dataset_scan, "source_trees", then_replaced):
            ground.refuse(reason, good=GOOD - 1)

    return attack


def pipe(ground: Ground) -> None:
    """Put a pipe that blocks for ever when it is opened."""
    os.mkfifo(ground.root / "A" / "evil.png")
    os.mkfifo(ground.root / "manifest.csv")
    ground.refuse("not a regular file")


# DICOM and pictures
# -------------------------------------------------------------------------------------------------


def dicom(name: str, media: str, reason: str) -> Attack:
    """Write a DICOM file that names an outside file in every element that can."""

    def attack(ground: Ground) -> None:
        inside = ["..", "outside", "secret.png"]
        record = Dataset()
        record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", inside
        record.OffsetOfTheNextDirectoryRecord, record.RecordInUseFlag = 0, 0xFFFF
        record.OffsetOfReferencedLowerLevelDirectoryEntity = 0
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID, data.file_meta.MediaStorageSOPClassUID = (
            ExplicitVRLittleEndian,
            media,
        )
        data.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
        data.DirectoryRecordSequence, data.ReferencedFileID = [record], inside
        data.PixelDataProviderURL = f"file://{ground.secret_png}"
        data.Rows = data.Columns = 24
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
        out = io.BytesIO()
        data.save_as(out, enforce_file_format=True)
        ground.put(name, out.getvalue())
        ground.refuse(reason)

    return attack


def picture(data: str) -> Attack:
    """Write a format that can load files or run programs under the suffix of one that cannot."""

    def attack(ground: Ground) -> None:
        ground.put(
            "A/evil.png", data.format(secret=ground.secret_png, canary=ground.canary).encode()
        )
        ground.refuse("cannot be decoded")

    return attack


# Names
# -------------------------------------------------------------------------------------------------


def named(label: str, name: str) -> Attack:
    """Put a class and a file of these names into everything that people read."""

    def attack(ground: Ground) -> None:
        for number, path in enumerate([f"{label}/1.png", f"{label}/2.png", name]):
            ground.put(path, png(100 + number))
        rows = [row for row in ground.take_in() if row["status"] == "ok"]
        assert len(rows) == GOOD + 3
        assert {label.strip(), name} <= {
            text for row in rows for text in (row["label"], row["path"])
        }
        _publish(ground, rows)
        for file in (ground.store.root / "reports").rglob("*"):
            text = file.read_bytes().decode() if file.suffix in (".csv", ".html", ".md") else ""
            if file.suffix == ".html":
                own = corrections_script() if file.name == "predictions.html" else ""
                assert dangers_of(text, own) == [], file.name
            if file.suffix == ".csv":
                cells = [cell for line in csv.reader(io.StringIO(text)) for cell in line]
                assert [
                    cell
                    for cell in cells
                    if cell.lstrip(" '\"").startswith(tuple("=+@\t\r")) and cell[0] != "'"
                ] == []
                assert [
                    cell for cell in cells if cell.startswith("-") and not _is_number(cell)
                ] == []
            if file.suffix == ".md":
                assert "<" not in text.replace("(<", ""), "markup in Markdown"

    return attack


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _publish(ground: Ground, rows: list[dict[str, Any]]) -> None:
    """Publish predictions and a report of these images under their own labels.

    Predictions of one label and of several are a page and CSV, the report is a page, Markdown and
    CSV.
    """
    notices = [f"NOT LEARNED: {row['label']}" for row in rows]
    lines = [
        {
            **{key: row[key] for key in ("image_id", "path", "frame", "label")},
            "split": "held",
            "answer": row["label"] or row["path"],
            "predicted": row["label"] or row["path"],
            "probability": 0.5,
            "margin": 1.0,
            "runner_up": row["path"],
            "runner_up_probability": 0.25,
            "labels": None,
            "label_probabilities": None,
            "out_of_distribution": False,
            "neighbour_ids": [row["image_id"]],
            "neighbour_labels": [row["label"] or row["path"]],
            "neighbour_similarities": [1.0],
        }
        for row in rows
    ]
    folder = ground.store.root / "reports" / NAME
    folder.mkdir(parents=True)
    classes = tuple(sorted({line["predicted"] for line in lines}))
    one = ModelFacts(rows[0]["path"], "2026-11-30", classes, len(rows), None, 0.5, None, None)
    several = replace(one, labels=tuple(LabelFacts(name, 0.5, None) for name in classes))
    of_several = {
        "runner_up": None,
        "runner_up_probability": None,
        "labels": list(classes),
        "label_probabilities": [0.5] * len(classes),
    }
    reader = FeatureStore(ground.store, NAME, PREPARED).reader([row["image_id"] for row in rows])
    for model, below, given in (
        (one, folder, lines),
        (several, folder / "several", [line | of_several for line in lines]),
    ):
        below.mkdir(exist_ok=True)
        publish(
            ground.store,
            below,
            rows[0]["path"],
            given,
            notices,
            model,
            lambda ids: reader.take(np.arange(len(ids))),
        )
    reader.close()
    texts = tuple(str(row[key]) for row in rows for key in ("label", "path"))
    table = document.Table(
        texts[0], ("name", *texts[:1]), tuple((text, -1.0) for text in texts), texts[-1], (), texts
    )
    section = document.Section(texts[0], texts, (table,), (document.Figure(texts[-1], png(1)),))
    report = document.Report(texts[0], texts[1], texts, (section,), texts[-1])
    (folder / "report.html").write_text(document.to_html(report))
    (folder / "report.md").write_text(document.to_markdown(report, lambda figure: "picture.png"))
    (folder / "table.csv").write_text(document.to_csv(table), newline="")


POSTSCRIPT = (
    "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%touch {canary}) (w) file "
    "closefile\n({secret}) run\n%%EOF\n"
)
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">'
    '<image href="file://{secret}" width="9" height="9"/></svg>'
)
CRAFTED: dict[str, Attack] = {
    "manifest: ..": listed("../outside/secret.png", LEAVES),
    "manifest: .. in the middle": listed("A/../../outside/secret.png", LEAVES),
    "manifest: absolute": listed("{outside}/secret.png", LEAVES),
    "manifest: file://": listed("file://{outside}/secret.png", "but not there"),
    "manifest: UNC": listed("\\\\host\\share\\secret.png", LEAVES),
    "manifest: through a link": listed("link/secret.png", LEAVES, link=True),
    "manifest: all of these in Parquet": all_in_parquet,
    "manifest: 40 GB of one text": bomb(
        {"path": repeated("x" * 100_000, 400_000)}, "unpacks to more than 1024 MiB"
    ),
    "manifest: a cell of 1 MB in each row": bomb(
        {"path": repeated("x" * 1_000_000, 400_000)}, "has a cell of more than"
    ),
    "manifest: ten million rows": bomb(
        {"path": repeated("A/0.png", 10_000_000)}, "has more than 4,000,000 rows"
    ),
    "link: to a file": link_to_a_file,
    "link: to a folder": link_to_a_folder,
    "link: in place of the manifest": link_for_a_manifest,
    "link: to an archive": link_to_an_archive,
    "link: in place of a drop": link_for_a_drop,
    "link: in a drop": link_in_a_drop,
    "link: put there after the manifest was made": link_put_there_later,
    "link: put there while the dataset is scanned": in_the_place_of_a_file(Path.symlink_to, LEAVES),
    "link: a pipe": pipe,
    "link: a pipe, put there while the dataset is scanned": in_the_place_of_a_file(
        lambda file, _: os.mkfifo(file), "not a regular file"
    ),
    "DICOM: DICOMDIR with paths outside": dicom(
        "DICOMDIR", MediaStorageDirectoryStorage, "not an image file"
    ),
    "DICOM: the same under another name": dicom(
        "A/evil.dcm", MediaStorageDirectoryStorage, "cannot be decoded"
    ),
    "DICOM: pixels that lie elsewhere": dicom(
        "A/evil.dcm", SecondaryCaptureImageStorage, "cannot be decoded"
    ),
    "picture: PostScript named .png": picture(POSTSCRIPT),
    "picture: SVG named .png": picture(SVG),
    "name: formula =": named("=cmd()!A0", "=1+1.png"),
    "name: formula +": named("+cmd()!A0", "+1+1.png"),
    "name: formula -": named("-cmd()!A0", "-1+1.png"),
    "name: formula @": named("@SUM(1+1)", "@SUM(1+1).png"),
    "name: formula behind a tab or a space": named("\t=1+1", " =1+1.png"),
    "name: script": named("<script>alert(1)<", "<script>alert(1)<.png"),
    "name: event": named('"><img src=x onerror=alert(1)>', "' onload='alert(1)'.png"),
}
