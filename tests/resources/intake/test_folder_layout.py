"""Labels and splits by folders, and which folders lie around a layout."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from data_contracts.errors import InputError
from resources.intake.folder_layout import annotations_by_folders
from resources.intake.user_manifest import FileAnnotation


def layout(*paths: str, known: frozenset[str] = frozenset()) -> dict[str, tuple[str | None, ...]]:
    """Label and split of each file."""
    found = annotations_by_folders(paths, "the set", known)
    return {path: (stated.label, stated.split) for path, stated in found.items()}


class TestFolders:
    def test_class_folders(self, tmp_path: Path) -> None:
        annotations = annotations_by_folders(
            ["COVID/1.png", "COVID/site 2/deep/1.png", " normal /1.png"], "the set"
        )
        assert annotations == {
            "COVID/1.png": FileAnnotation("COVID"),
            "COVID/site 2/deep/1.png": FileAnnotation("COVID"),
            " normal /1.png": FileAnnotation("normal"),
        }

    def test_split_folders(self, tmp_path: Path) -> None:
        annotations = annotations_by_folders(
            ["Train/A/1.png", "testing/B/x/1.png", "val/A/2.png", "VALIDATION/A/3.png"], "the set"
        )
        assert list(annotations.values()) == [
            FileAnnotation("A", "train"),
            FileAnnotation("B", "test"),
            FileAnnotation("A", "train"),
            FileAnnotation("A", "train"),
        ]

    def test_one_split_folder_is_a_split_layout(self, tmp_path: Path) -> None:
        assert annotations_by_folders(["train/A/1.png"], "the set") == {
            "train/A/1.png": FileAnnotation("A", "train")
        }

    def test_validation_alone_is_a_class(self, tmp_path: Path) -> None:
        assert annotations_by_folders(["val/A/1.png"], "the set") == {
            "val/A/1.png": FileAnnotation("val")
        }

    def test_one_split_word_among_classes_is_a_class(self, tmp_path: Path) -> None:
        assert annotations_by_folders(["test/1.png", "control/1.png"], "the set")[
            "test/1.png"
        ] == FileAnnotation("test")

    def test_files_without_a_class_folder_have_no_label(self, tmp_path: Path) -> None:
        annotations = annotations_by_folders(["1.png", "train/2.png", "test/A/3.png"], "the set")
        assert list(annotations.values()) == [
            FileAnnotation(),
            FileAnnotation(None, "train"),
            FileAnnotation("A", "test"),
        ]

    def test_split_folders_beside_others(self, tmp_path: Path) -> None:
        with pytest.raises(InputError) as error:
            annotations_by_folders(["train/A/1.png", "test/A/2.png", "Mustermann/3.png"], "the set")
        assert error.value.what == "the set has split folders (test, train) beside 1 other folder"
        assert "path,label,split,group_id" in error.value.remedy

    def test_the_others_are_counted(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"beside 2 other folders\."):
            annotations_by_folders(
                ["train/A/1.png", "test/A/2.png", "b/3.png", "c/3.png"], "the set"
            )


class TestSurroundingFolders:
    @pytest.mark.parametrize("around", ["", "export/", "data set/2024/images/"])
    def test_single_folders_around_classes_are_looked_through(self, around: str) -> None:
        assert layout(f"{around}A/1.png", f"{around}A/deep/2.png", f"{around}B/3.png") == {
            f"{around}A/1.png": ("A", None),
            f"{around}A/deep/2.png": ("A", None),
            f"{around}B/3.png": ("B", None),
        }

    @pytest.mark.parametrize("around", ["", "export/", "a/b/c/"])
    @pytest.mark.parametrize("inner", ["", "images/", "x/y/"])
    def test_single_folders_around_and_within_split_folders_are_looked_through(
        self, around: str, inner: str
    ) -> None:
        train = [f"{around}train/{inner}{name}" for name in ("A/1.png", "B/2.png")]
        test = [f"{around}Test/{inner}{name}" for name in ("A/3.png", "B/4.png")]
        assert list(layout(*train, *test).values()) == [
            ("A", "train"),
            ("B", "train"),
            ("A", "test"),
            ("B", "test"),
        ]

    def test_patients_within_classes_are_no_classes(self) -> None:
        assert set(layout("A/p1/1.png", "A/p2/2.png", "B/p1/3.png").values()) == {
            ("A", None),
            ("B", None),
        }
        assert set(layout("train/A/p1/1.png", "train/B/p2/2.png", "test/A/p3/3.png").values()) == {
            ("A", "train"),
            ("B", "train"),
            ("A", "test"),
        }

    @pytest.mark.parametrize(
        "paths",
        [
            ("A/1.png", "A/2.png"),
            ("A/1.png", "A/sub/2.png", "A/other/3.png"),
            ("A/sub/deep/1.png",),
        ],
    )
    def test_one_class_remains_one(self, paths: tuple[str, ...]) -> None:
        assert set(layout(*paths).values()) == {("A", None)}

    @pytest.mark.parametrize(
        "beside", ["LICENSE", "notes.pdf", "labels.xlsx", "export/README.docx"]
    )
    def test_documents_beside_them_do_not_count(self, beside: str) -> None:
        found = layout("export/A/1.png", "export/B/IM0002", beside)
        assert (found["export/A/1.png"][0], found["export/B/IM0002"][0]) == ("A", "B")
        assert found[beside] == (None, None)

    def test_a_folder_of_documents_is_no_class_beside_split_folders(self) -> None:
        found = layout("train/A/1.png", "test/B/2.png", "docs/manual.pdf")
        assert found["train/A/1.png"] == ("A", "train")

    def test_an_image_beside_the_first_folder_has_no_label(self) -> None:
        assert layout("1.png", "export/A/2.png", "export/B/3.png") == {
            "1.png": (None, None),
            "export/A/2.png": ("A", None),
            "export/B/3.png": ("B", None),
        }

    def test_known_classes_decide_in_a_later_drop(self) -> None:
        known = frozenset({"A", "B"})
        assert layout("A/p1/1.png", "A/p2/2.png", known=known) == {
            "A/p1/1.png": ("A", None),
            "A/p2/2.png": ("A", None),
        }
        assert layout("monday/ward/A/1.png", known=known)["monday/ward/A/1.png"] == ("A", None)
        assert layout("C/p1/1.png", "C/p2/2.png", known=known)["C/p1/1.png"] == ("C", None)


def test_a_class_folder_in_both_unicode_forms_is_one_class() -> None:
    composed, decomposed = (
        unicodedata.normalize(form, "pneumopathie aiguë") for form in ("NFC", "NFD")
    )
    assert composed != decomposed
    found = layout(f"{composed}/1.png", f"{decomposed}/2.png", "B/3.png")
    assert [label for label, _ in found.values()] == [composed, composed, "B"]


@pytest.mark.parametrize("name", ["None", "NA", "nan", "null"])
def test_a_folder_called_like_a_missing_value_is_a_class(name: str) -> None:
    assert layout(f"{name}/1.png", "B/2.png")[f"{name}/1.png"] == (name, None)
