"""Predictions for images without a label: the table, the CSV, the page for a person's eye, and for
files of no dataset."""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from assets.core.manifest_rows import manifest_of
from data_contracts.errors import InputError
from data_contracts.records.dataset import DatasetSpec
from data_contracts.tables.multilabel import NO_LABEL
from data_contracts.tables.predictions import IMAGE_PREDICTIONS, NEIGHBOURS
from methods.imaging.image_file import prepare_frames
from methods.reporting.review_page import corrections_script
from pipeline.commands.predict_path import predict_path
from pipeline.launch import DONE, run_job
from resources.store.dataset_store import DatasetStore
from resources.store.home import prepare_home
from tests.conftest import draw, use_home
from tests.page_rules import dangers_of

TINY: dict[str, Any] = {"filters": 8, "epochs": 2, "batch_size": 8, "weights": "random"}
FORMULA = '=HYPERLINK("evil")'
"""A class, as a folder may be called."""
CLASSES = (FORMULA, "plain")
TRAINED = 10


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def like(kind: int, number: int) -> np.ndarray:
    """An image of the class that differs a little from a trained one."""
    noise = np.random.default_rng(number).integers(-6, 7, (64, 64))
    return np.clip(draw(kind, number).astype(np.int64) + noise, 0, 255).astype(np.uint8)


def unlike() -> np.ndarray:
    """No stripes: a few flat fields of strong colour."""
    return (
        np.random.default_rng(3)
        .integers(0, 2, (2, 2, 3), dtype=np.uint8)
        .repeat(32, 0)
        .repeat(32, 1)
        * 255
    )


@dataclass(frozen=True)
class Made:
    folder: Path
    root: Path

    @property
    def reports(self) -> Path:
        return DatasetStore().root / "reports" / "tiny"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """A dataset with labelled images, unlabelled ones and a labelled drop that is held, with its
    predictions."""
    folder = tmp_path_factory.mktemp("predictions")
    with pytest.MonkeyPatch.context() as patch:
        use_home(patch, folder)
        home = prepare_home()
        root = folder / "images"
        for kind, name in enumerate(CLASSES):
            for number in range(TRAINED):
                save(root / name / f"{number:03d}.png", draw(2 * kind, number))
            save(home / "drops" / "tiny" / "monday" / name / f"held{kind}.png", like(2 * kind, 2))
            save(root / f"@new{kind}.png", like(2 * kind, 1))
        save(root / "odd.png", unlike())
        (home / "drops" / "tiny" / "monday" / "_READY").touch()
        DatasetStore().save_spec(
            DatasetSpec(name="tiny", root=root, unlabelled=True, show_names=True)
        )
        assert run_job("predict", "tiny", TINY, "cpu").exit_code == DONE
        yield Made(folder, root)


def table(dataset: str = "tiny") -> dict[str, dict[str, Any]]:
    """The stored predictions by the last part of the path."""
    rows = DatasetStore().main_table(dataset, "predictions", IMAGE_PREDICTIONS).to_pylist()
    return {row["path"].rpartition("/")[2]: row for row in rows}


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.read_bytes())
        for p in folder.rglob("*")
        if p.is_file()
    }


def test_every_image_that_neither_trains_nor_tests_is_predicted(made: Made) -> None:
    rows, n_groups = table(), 2 * TRAINED
    assert set(rows) == {"@new0.png", "@new1.png", "odd.png", "held0.png", "held1.png"}
    for kind, name in enumerate(CLASSES):
        new, held = rows[f"@new{kind}.png"], rows[f"held{kind}.png"]
        assert (new["predicted"], new["split"], new["label"], new["frame"]) == (
            name,
            "unlabelled",
            None,
            None,
        )
        assert (held["predicted"], held["split"], held["label"]) == (name, "held", name)
    for row in rows.values():
        assert row["runner_up"] == next(name for name in CLASSES if name != row["predicted"])
        assert row["probability"] + row["runner_up_probability"] == pytest.approx(1)
        assert 0.5 <= row["probability"] <= (n_groups + 1) / (n_groups + 2)
    summary = DatasetStore().need_record("tiny", "predictions").summary
    assert summary["images"] == 5
    assert summary["held images predicted as labelled"] == "2 of 2"


def test_an_image_unlike_all_training_images_is_marked_and_comes_first(made: Made) -> None:
    rows = table()
    assert [name for name, row in rows.items() if row["out_of_distribution"]] == ["odd.png"]
    assert next(iter(rows)) == "odd.png"
    others = list(rows.values())[1:]
    assert [row["probability"] for row in others] == sorted(row["probability"] for row in others), (
        "then the least sure"
    )
    nearest = {name: row["neighbour_similarities"][0] for name, row in rows.items()}
    threshold = DatasetStore().need_record("tiny", "classifier").summary["unlike below cosine"]
    assert isinstance(threshold, float)
    assert nearest.pop("odd.png") < threshold <= min(nearest.values())
    assert (
        DatasetStore().need_record("tiny", "predictions").summary["unlike the training images"] == 1
    )


def test_neighbours_are_training_images_and_never_test_images(made: Made) -> None:
    manifest = {row["image_id"]: row for row in manifest_of(DatasetStore(), "tiny").to_pylist()}
    assert sum(row["split"] == "test" for row in manifest.values()) >= 4
    for name, row in table().items():
        found = [manifest[image_id] for image_id in row["neighbour_ids"]]
        assert [near["split"] for near in found] == ["train"] * NEIGHBOURS
        assert [near["label"] for near in found] == row["neighbour_labels"]
        assert row["neighbour_similarities"] == sorted(row["neighbour_similarities"], reverse=True)
        if name != "odd.png":
            assert row["neighbour_labels"][0] == row["predicted"]


def test_no_cell_of_the_csv_is_executed(made: Made) -> None:
    text = (made.reports / "predictions.csv").read_bytes().decode()
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [line["image_id"] for line in lines] == [row["image_id"] for row in table().values()]
    assert {line["predicted"] for line in lines} == {f"'{FORMULA}", "plain"}
    assert "'@new0.png" in {line["path"] for line in lines}
    assert {line["out_of_distribution"] for line in lines} == {"true", "false"}
    for line in lines:
        for column, cell in line.items():
            assert not cell.startswith(("=", "+", "@")), (column, cell)
            assert not cell.startswith("-") or float(cell) < 0
        assert float(line["probability"]) == pytest.approx(
            table()[line["path"].lstrip("'").rpartition("/")[2]]["probability"], 1e-5
        )


def test_the_page_shows_the_doubtful_first_with_pictures(made: Made) -> None:
    page = (made.reports / "predictions.html").read_text()
    assert "Predictions for tiny" in page
    assert "RANDOM WEIGHTS" in page
    assert dangers_of(page, corrections_script()) == []
    assert not re.search(r'(src|href)="(?!data:|#)', page), "nothing is loaded from elsewhere"
    places = [page.index(row["image_id"][:12]) for row in table().values()]
    assert places == sorted(places)
    assert page.count("data:image/jpeg;base64,") == 5 * (1 + NEIGHBOURS)
    assert FORMULA not in page
    assert "=HYPERLINK(&#34;evil&#34;)" in page
    assert (made.reports / "predictions.parquet").is_file()


def test_a_page_that_was_deleted_is_made_again(made: Made) -> None:
    page = made.reports / "predictions.html"
    before = page.read_bytes()
    page.unlink()
    assert run_job("predict", "tiny", TINY, "cpu").exit_code == DONE
    assert page.read_bytes() == before


class TestOfAPath:
    """``medfeat predict tiny PATH``."""

    @pytest.fixture(scope="class")
    def said(self, made: Made) -> list[str]:
        """What is printed for a folder with copies of the unlabelled images, under names of their
        own, and a broken one."""
        folder = made.folder / "elsewhere"
        for name in ("@new0.png", "@new1.png", "odd.png"):
            target = folder / "Ada Lovelace" / f"ward {name}"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(made.root / name, target)
        (folder / "broken.png").write_bytes(b"\x89PNG and no more")
        home = DatasetStore().root
        before = {name: files(home / name) for name in ("store", "datasets", "dagster", "drops")}
        pages = files(made.reports)
        lines = list(predict_path(DatasetStore(), "tiny", folder, "cpu", show_names=False))
        assert {name: files(home / name) for name in before} == before, (
            "nothing is added to the dataset"
        )
        assert files(made.reports).items() >= pages.items(), "the dataset's own predictions stay"
        assert not (home / "unpacked").exists()
        return lines

    def test_the_images_get_the_labels_that_they_get_in_the_dataset(
        self, made: Made, said: list[str]
    ) -> None:
        written = Path(said[-2])
        lines = {
            line["image_id"]: line
            for line in csv.DictReader(io.StringIO(written.read_bytes().decode()))
        }
        expected = {
            row["image_id"]: row for name, row in table().items() if not name.startswith("held")
        }
        assert set(lines) == set(expected)
        for image_id, row in expected.items():
            line = lines[image_id]
            assert line["predicted"].lstrip("'") == row["predicted"]
            assert float(line["probability"]) == pytest.approx(row["probability"], abs=1e-3)
            assert line["out_of_distribution"] == str(row["out_of_distribution"]).lower()
            assert line["nearest_label_1"].lstrip("'") == row["neighbour_labels"][0]

    def test_the_terminal_shows_names_and_the_files_do_not(
        self, made: Made, said: list[str]
    ) -> None:
        text = "\n".join(said)
        assert "Ada Lovelace/ward @new0.png" in text
        assert re.search(r"UNLIKE +elsewhere/Ada Lovelace/ward odd\.png", text)
        assert "*** RANDOM WEIGHTS" in text
        assert "left out: 1 - cannot be decoded" in text
        folder = Path(said[-1]).parent
        assert folder.parent == made.reports
        assert {Path(line).parent for line in said[-3:]} == {folder}
        assert {path.name for path in folder.iterdir()} == {
            f"predictions.{suffix}" for suffix in ("html", "csv", "parquet")
        }
        stored = pq.read_table(folder / "predictions.parquet").to_pylist()
        assert len(stored) == 3
        assert {row["label"] for row in stored} == {None}, (
            "a folder that is no class may be called after a patient"
        )
        assert not any("Lovelace" in str(row) or "ward" in str(row) for row in stored)
        assert not any(b"Lovelace" in path.read_bytes() for path in folder.iterdir())

    def test_a_folder_that_is_a_class_says_what_was_expected(
        self, made: Made, said: list[str]
    ) -> None:
        folder = save(made.folder / "labelled" / "plain" / "a.png", like(2, 4)).parent.parent
        lines = list(predict_path(DatasetStore(), "tiny", folder, "cpu", show_names=False))
        (row,) = pq.read_table(lines[-1]).to_pylist()
        assert (row["label"], row["predicted"]) == ("plain", "plain")

    def test_a_single_file(self, made: Made, said: list[str]) -> None:
        before = files(DatasetStore().root / "store")
        lines = list(
            predict_path(
                DatasetStore(),
                "tiny",
                save(made.folder / "one.png", like(2, 3)),
                "cpu",
                show_names=True,
            )
        )
        assert files(DatasetStore().root / "store") == before
        assert "1 images, the least sure first" in lines
        assert any(line.startswith("plain") and line.endswith("one.png") for line in lines)
        assert "one.png" in Path(lines[-2]).read_text(), "names are shown where they may be"

    def test_pages_of_a_stack_are_read_together(
        self, made: Made, said: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pages = [Image.fromarray(like(kind, 5 + n)) for n, kind in enumerate([2, 0, 2, 0])]
        stacks, singles = made.folder / "stacks", made.folder / "singles"
        for folder in (stacks, singles):
            folder.mkdir()
        pages[0].save(stacks / "stack.tif", save_all=True, append_images=pages[1:])
        for number, page in enumerate(pages):
            page.save(singles / f"{number}.tif")
        read: list[list[int]] = []

        def counted(data: bytes, frames: Any, *rest: Any) -> Any:
            read.append(list(frames))
            return prepare_frames(data, frames, *rest)

        monkeypatch.setattr("methods.imaging.image_file.prepare_frames", counted)
        of_pages, of_files = (
            pq.read_table(
                list(predict_path(DatasetStore(), "tiny", folder, "cpu", show_names=True))[-1]
            ).to_pylist()
            for folder in (stacks, singles)
        )
        told = {row["frame"]: (row["predicted"], row["probability"]) for row in of_pages}
        alone = {int(Path(row["path"]).stem): row for row in of_files}
        assert len({probability for _, probability in told.values()}) == 4, "told apart"
        for number, (predicted, probability) in told.items():
            assert predicted == alone[number]["predicted"]
            assert probability == pytest.approx(alone[number]["probability"], abs=1e-4)
        assert sorted(read[0]) == [0, 1, 2, 3], "one reading for the features of all pages"

    @pytest.mark.parametrize(
        ("name", "words"), [("gone", "does not exist"), ("empty", "no drop|is empty|no usable")]
    )
    def test_a_path_with_nothing_to_predict(self, made: Made, name: str, words: str) -> None:
        (made.folder / "empty").mkdir(exist_ok=True)
        with pytest.raises(InputError, match=words):
            list(predict_path(DatasetStore(), "tiny", made.folder / name, "cpu", show_names=False))

    def test_a_dataset_without_a_classifier(self, made: Made) -> None:
        DatasetStore().save_spec(DatasetSpec(name="bare", root=made.root))
        with pytest.raises(InputError, match=r"has not been materialised\. .*medfeat run bare"):
            list(predict_path(DatasetStore(), "bare", made.root, "cpu", show_names=False))


def test_with_too_few_groups_it_says_that_probabilities_mean_nothing(made: Made) -> None:
    """Every class comes from one group, so no fold can be left out."""
    root = made.folder / "few"
    rows = ["path,label,split,group_id", "new.png,,,"]
    for kind in range(2):
        for number in range(4):
            path = save(root / f"{kind}{number}.png", draw(2 * kind, number))
            rows.append(
                f"{path.name},class{kind},{'test' if number == 3 else 'train'},ward "
                f"{kind}{number == 3}"
            )
    save(root / "new.png", unlike())
    (root / "manifest.csv").write_text("\n".join(rows) + "\n")
    DatasetStore().save_spec(DatasetSpec(name="few", root=root, unlabelled=True))
    assert run_job("predict", "few", TINY, "cpu").exit_code == DONE
    record = DatasetStore().need_record("few", "classifier")
    assert any(notice.startswith("NOT CALIBRATED: too few groups") for notice in record.notices)
    assert (record.summary["temperature"], record.summary["unlike below cosine"]) == (1.0, -1.0)
    (row,) = table("few").values()
    assert row["out_of_distribution"] is False, "it marks nothing that it cannot tell"
    page = (DatasetStore().root / "reports" / "few" / "predictions.html").read_text()
    assert "NOT CALIBRATED" in page


def test_the_manifest_that_the_page_hands_over_labels_the_image(made: Made) -> None:
    """Its two columns, in a drop that holds no image, label one that lies elsewhere."""
    image_id = table()["@new0.png"]["image_id"]
    drop = DatasetStore().root / "drops" / "tiny" / "corrections"
    drop.mkdir()
    (drop / "manifest.csv").write_bytes(f'image_id,label\r\n{image_id},"plain"\r\n'.encode())
    (drop / "_READY").touch()
    try:
        assert run_job("predict", "tiny", TINY, "cpu").exit_code == DONE
        row = table()["@new0.png"]
        assert (row["image_id"], row["label"], row["split"]) == (image_id, "plain", "held")
        assert row["predicted"] == FORMULA, "held: nothing has learned from it"
    finally:
        shutil.rmtree(drop)


def test_images_with_several_labels_of_a_drop_and_of_a_path(made: Made) -> None:
    """Stripes are label a, a bright edge label b; a fourth each has both, and none."""
    root, home = made.folder / "several", DatasetStore().root
    sets = ("", "a", "b", "a|b")

    def picture(labels: str, number: int) -> np.ndarray:
        pixels = draw(2, number) if "a" in labels else np.full_like(draw(2, number), 60)
        pixels = pixels.copy()
        pixels[:16] = 255 if "b" in labels else pixels[:16]
        noise = np.random.default_rng(number).integers(-6, 7, pixels.shape)
        return np.clip(pixels.astype(np.int64) + noise, 0, 255).astype(np.uint8)

    lines = ["path,label"]
    for number in range(24):
        save(root / f"{number:02}.png", picture(sets[number % 4], number))
        lines.append(f"{number:02}.png,{sets[number % 4]}")
    (root / "manifest.csv").write_text("\n".join(lines) + "\n")
    drop = home / "drops" / "several" / "monday"
    for number, labels in enumerate(sets):
        save(drop / f"new{number}.png", picture(labels, 50 + number))
    (drop / "_READY").touch()
    DatasetStore().save_spec(
        DatasetSpec(name="several", root=root, task="multi-label", show_names=True)
    )
    assert run_job("predict", "several", TINY, "cpu").exit_code == DONE
    rows = table("several")
    assert [rows[name]["predicted"] for name in sorted(rows)] == [NO_LABEL, *sets[1:]]
    outside = made.folder / "several elsewhere"
    for path in drop.glob("*.png"):
        save(outside / path.name, np.asarray(Image.open(path)))
    said = list(predict_path(DatasetStore(), "several", outside, "cpu", show_names=True))
    of_path = {row["path"]: row for row in pq.read_table(said[-1]).to_pylist()}
    assert len(of_path) == len(rows) == 4
    by_id = {row["image_id"]: row for row in rows.values()}
    for row in of_path.values():
        assert row["predicted"] == by_id[row["image_id"]]["predicted"]
        assert row["label_probabilities"] == pytest.approx(
            by_id[row["image_id"]]["label_probabilities"], abs=1e-3
        )
