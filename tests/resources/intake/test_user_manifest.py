"""What manifest.csv or manifest.parquet says."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.errors import InputError
from resources.intake import user_manifest
from resources.intake.user_manifest import (
    FileAnnotation,
    UserManifest,
    read_user_manifest,
)
from tests.resources.intake.test_confined_open import in_time


def listing(root: Path, text: str | bytes) -> UserManifest:
    (root / "manifest.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    result = read_user_manifest(root, "the set")
    assert result is not None
    return result


def error_of(root: Path, text: str | bytes) -> InputError:
    with pytest.raises(InputError) as error:
        listing(root, text)
    assert "\n" not in str(error.value)
    assert error.value.what.startswith("the set/manifest.csv ")
    return error.value


def parquet(root: Path, table: pa.Table | dict[str, Sequence[object]]) -> UserManifest:
    pq.write_table(
        table if isinstance(table, pa.Table) else pa.table(table), root / "manifest.parquet"
    )
    result = read_user_manifest(root, "the set")
    assert result is not None
    return result


class TestCsv:
    def test_none(self, tmp_path: Path) -> None:
        assert read_user_manifest(tmp_path, "the set") is None

    def test_columns_in_any_order_and_more_of_them(self, tmp_path: Path) -> None:
        result = listing(
            tmp_path, "licence, Split ,path,group_id,label\nCC0,test,a/1.png,p1, left lung \n"
        )
        assert result == UserManifest(
            "manifest.csv", {"a/1.png": FileAnnotation("left lung", "test", "p1")}, []
        )

    def test_images_named_by_their_content(self, tmp_path: Path) -> None:
        ids = "a" * 64, "0" * 64
        text = f'image_id,label\r\n{ids[0]},"left, lung"\r\n{ids[1]},\r\n'
        result = listing(tmp_path, text)
        assert result.annotations == {}
        assert result.by_content == {
            ids[0]: FileAnnotation("left, lung"),
            ids[1]: FileAnnotation(),
        }
        for wrong, words in (
            (f"{text}{ids[0]},right", "lists an image_id again with other values"),
            (f"{text}scan.png,right", "has no image_id of 64 hexadecimal digits"),
        ):
            assert words in error_of(tmp_path, wrong).what
        with_paths = listing(tmp_path, f"path,image_id,label\n1.png,{ids[0]},a\n")
        assert with_paths.by_content == {}, "a column of the user's own beside the path"

    def test_empty_cells_say_nothing(self, tmp_path: Path) -> None:
        result = listing(tmp_path, "path,label,split,group_id\n1.png,A,,\n2.png,,,\n3.png\n")
        assert list(result.annotations.values()) == [
            FileAnnotation("A"),
            FileAnnotation(),
            FileAnnotation(),
        ]

    def test_labels_stay_as_they_are_written(self, tmp_path: Path) -> None:
        labels = ["007", "none", "1.5", "TRUE", "1e5", "-", "v2.0"]
        text = "path,label\n" + "".join(f"{label}.png,{label}\n" for label in labels)
        assert [row.label for row in listing(tmp_path, text).annotations.values()] == labels

    def test_byte_order_mark_blank_lines_and_windows_line_ends(self, tmp_path: Path) -> None:
        result = listing(
            tmp_path, "\ufeff\r\npath,label\r\n\r\n1.png,Ä\r\n,,\r\n   \r\n2.png,B\r\n".encode()
        )
        assert result.annotations == {"1.png": FileAnnotation("Ä"), "2.png": FileAnnotation("B")}

    def test_backslashes_and_dots_are_normalised(self, tmp_path: Path) -> None:
        assert listing(tmp_path, "path,label\na\\b\\1.png,A\n./a//2.png,B\n").annotations == {
            "a/b/1.png": FileAnnotation("A"),
            "a/2.png": FileAnnotation("B"),
        }

    @pytest.mark.parametrize("word", ["train", "Training", "val", "valid", "VALIDATION"])
    def test_words_for_train(self, word: str, tmp_path: Path) -> None:
        assert (
            listing(tmp_path, f"path,split\n1.png,{word}\n").annotations["1.png"].split == "train"
        )

    @pytest.mark.parametrize("path", ["/etc/passwd", "../up.png", "a/../../b.png", "..\\up.png"])
    def test_paths_that_leave_the_folder_are_kept_apart(self, path: str, tmp_path: Path) -> None:
        assert listing(tmp_path, f"path,label\n{path},A\n") == UserManifest(
            "manifest.csv", {}, [path]
        )

    def test_same_line_twice_counts_once(self, tmp_path: Path) -> None:
        assert len(listing(tmp_path, "path,label\n1.png,A\n./1.png,A\n").annotations) == 1

    def test_same_path_with_other_values(self, tmp_path: Path) -> None:
        error = error_of(tmp_path, "path,label\n1.png,A\n\n1.png,B\n")
        assert error.what == "the set/manifest.csv line 4 lists a path again with other values"
        assert error.remedy == "Delete one of the two lines"

    @pytest.mark.parametrize(
        ("text", "found"), [("file,label\n1.png,A\n", 2), ("path;label\n", 1), ("", 0)]
    )
    def test_path_column_is_required(self, text: str | bytes, found: int, tmp_path: Path) -> None:
        error = error_of(tmp_path, text)
        assert error.what == f"the set/manifest.csv has no column 'path' ({found} columns found)"
        assert error.remedy == (
            "Begin it with the columns path,label,split,group_id, separated by commas in a CSV file"
        )

    def test_unknown_split(self, tmp_path: Path) -> None:
        error = error_of(tmp_path, "path,split\n1.png,holdout\n")
        assert error.what == "the set/manifest.csv line 2 has an unknown split"
        assert error.remedy == "Write train, test or val, or leave the cell empty"

    def test_patient_and_centre(self, tmp_path: Path) -> None:
        text = (
            "path,group_id,patient_id,center_x,center_y\n"
            "1.png,lesion 1,p1,12.5,0\n2.png,lesion 2,p1,,\n"
        )
        annotations = listing(tmp_path, text).annotations
        assert annotations["1.png"] == FileAnnotation(
            group_id="lesion 1", patient_id="p1", center=(12.5, 0.0)
        )
        assert annotations["2.png"] == FileAnnotation(group_id="lesion 2", patient_id="p1")

    @pytest.mark.parametrize("cells", ["12,", ",3", "a,3", "-1,3", "nan,3", "3,inf"])
    def test_a_centre_that_is_not_two_numbers(self, cells: str, tmp_path: Path) -> None:
        error = error_of(tmp_path, f"path,center_x,center_y\n1.png,{cells}\n")
        assert error.what == (
            "the set/manifest.csv line 2 has a center_x and center_y that are not two numbers "
            "from 0"
        )

    @pytest.mark.parametrize("text", ["path,label\n,A\n", "label,path\nA\n"])
    def test_row_without_a_path(self, text: str | bytes, tmp_path: Path) -> None:
        assert error_of(tmp_path, text).what.endswith("manifest.csv line 2 has no path")

    def test_comma_in_a_path_without_quotes(self, tmp_path: Path) -> None:
        error = error_of(tmp_path, "path,label\nscan,1.png,A\n")
        assert error.what.endswith("manifest.csv line 2 has 3 cells, the header 2")
        assert error.remedy == 'Put a path with a comma between "quotes"'
        assert listing(tmp_path, 'path,label\n"scan,1.png",A\n').annotations == {
            "scan,1.png": FileAnnotation("A")
        }

    def test_not_utf8(self, tmp_path: Path) -> None:
        error = error_of(tmp_path, "path,label\n1.png,Ä\n".encode("latin-1"))
        assert error.what.endswith("manifest.csv is not UTF-8 text")
        assert error.remedy == "Save it again as CSV UTF-8"

    @pytest.mark.parametrize(
        "text",
        ['path,label\n"1.png,A\n', 'path,label\n"1".png,A\n', "path,label\n" + "x" * 200_000],
    )
    def test_not_csv(self, text: str | bytes, tmp_path: Path) -> None:
        error = error_of(tmp_path, text)
        assert "manifest.csv is not CSV (" in error.what
        assert error.remedy == "Save it again as comma-separated values, UTF-8"

    def test_a_path_that_leaves_twice_counts_once(self, tmp_path: Path) -> None:
        assert listing(tmp_path, "path\n../1.png\n../1.png\n").outside == ["../1.png"]

    def test_a_large_file_is_not_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(user_manifest, "FILE_BYTES", 2**20)
        text = "path\n1.png\n" + "\n" * 2**20
        error = error_of(tmp_path, text)
        assert error.what == "the set/manifest.csv is larger than 1 MiB"
        assert error.remedy.startswith("Keep only the columns path,label,")
        assert len(listing(tmp_path, text[: 2**20]).annotations) == 1

    @pytest.mark.parametrize("row", ["," * 2**20, '"\n",' * 2**18])
    def test_a_long_row_is_not_taken_apart(self, row: str, tmp_path: Path) -> None:
        assert error_of(tmp_path, f"path\n{row}\n").what.endswith(
            " has a row of more than 1,048,576 characters"
        )

    def test_too_many_rows(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(user_manifest, "ROWS", 2)
        assert len(listing(tmp_path, "path\n1.png\n\n2.png\n").annotations) == 2
        assert (
            error_of(tmp_path, "path\n1.png\n2.png\n3.png\n").what
            == "the set/manifest.csv has more than 2 rows"
        )

    def test_unreadable(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def deny(*_: object, **how: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(user_manifest, "open", deny, raising=False)
        (tmp_path / "manifest.csv").touch()
        with pytest.raises(
            InputError,
            match=r"manifest.csv cannot be read \(Permission denied\). Give this user permission",
        ):
            read_user_manifest(tmp_path, "the set")

    def test_a_link_to_elsewhere_is_not_read(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("password,hunter2\n")
        (tmp_path / "root").mkdir()
        (tmp_path / "root" / "manifest.csv").symlink_to(tmp_path / "secret")
        with pytest.raises(
            InputError,
            match=r"is refused: link leaves the dataset's folder .*\. Put the file itself",
        ) as error:
            read_user_manifest(tmp_path / "root", "the set")
        assert "password" not in str(error.value)

    def test_a_pipe_that_took_its_place_is_not_waited_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        os.mkfifo(tmp_path / "manifest.csv")
        monkeypatch.setattr(Path, "is_file", lambda path: path.name == "manifest.csv")
        with (
            in_time(),
            pytest.raises(
                InputError,
                match=r"manifest.csv is refused: not a regular file\. Put the file itself",
            ),
        ):
            read_user_manifest(tmp_path, "the set")


class TestParquet:
    def test_says_the_same_as_csv(self, tmp_path: Path) -> None:
        columns = {
            "licence": ["CC0", "CC0"],
            " Path ": ["a/1.png", "..\\up.png"],
            "Label": [" A ", "B"],
            "split": ["VAL", None],
        }
        expected = UserManifest(
            "manifest.parquet", {"a/1.png": FileAnnotation("A", "train")}, ["..\\up.png"]
        )
        assert parquet(tmp_path, columns) == expected

    def test_cells_of_other_types_are_text(self, tmp_path: Path) -> None:
        day = datetime.date(2020, 1, 2)
        columns = {
            "path": ["1.png", "2.png"],
            "label": [3, None],
            "group_id": pa.array([None, day]),
        }
        assert parquet(tmp_path, columns).annotations == {
            "1.png": FileAnnotation("3"),
            "2.png": FileAnnotation(group_id="2020-01-02"),
        }

    @pytest.mark.parametrize(
        ("columns", "what"),
        [
            (
                {"file": ["Mustermann.png"], "label": ["A"]},
                " has no column 'path' (1 columns found)",
            ),
            (
                {"path": ["1.png", "Mustermann.png"], "split": [None, "Mustermann"]},
                " line 3 has an unknown split",
            ),
            ({"path": ["1.png", None]}, " line 3 has no path"),
            (
                {"path": ["Mustermann", "Mustermann"], "label": ["A", "B"]},
                " line 3 lists a path again with other values",
            ),
        ],
    )
    def test_rows_count_from_the_header(
        self, columns: dict[str, Sequence[object]], what: str, tmp_path: Path
    ) -> None:
        with pytest.raises(InputError) as error:
            parquet(tmp_path, columns)
        assert error.value.what == f"the set/manifest.parquet{what}"

    @pytest.mark.parametrize("data", [b"", b"path,label\n1.png,A\n", b"PAR1" + bytes(40) + b"PAR1"])
    def test_not_parquet(self, data: bytes, tmp_path: Path) -> None:
        (tmp_path / "manifest.parquet").write_bytes(data)
        with pytest.raises(
            InputError,
            match=r"^the set/manifest.parquet (is not Parquet|cannot be read .*)\. Save it again",
        ):
            read_user_manifest(tmp_path, "the set")

    def test_text_that_is_not_utf8(self, tmp_path: Path) -> None:
        buffers = pa.array([b"caf\xe9.png"]).buffers()
        paths = pa.StringArray.from_buffers(1, buffers[1], buffers[2])
        with pytest.raises(
            InputError, match=r"^the set/manifest.parquet holds text that is not UTF-8\. Save"
        ):
            parquet(tmp_path, pa.table({"path": paths}))

    def test_too_many_rows(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(user_manifest, "ROWS", 2)
        monkeypatch.setattr(pq.ParquetFile, "iter_batches", lambda *_, **how: pytest.fail("read"))
        with pytest.raises(
            InputError, match=r"^the set/manifest.parquet has more than 2 rows\. Register parts"
        ):
            parquet(tmp_path, {"path": ["1.png", "2.png", "3.png"]})

    @pytest.mark.parametrize(
        "kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]
    )
    def test_text_that_unpacks_to_too_much(
        self, kind: pa.DataType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(user_manifest, "TEXT_BYTES", 2**20)
        paths = [f"{number:0100}.png" for number in range(9_000)]
        labels = ["x" * 100] * 9_000
        assert (
            len(
                parquet(
                    tmp_path, {"path": paths[:4_000], "label": pa.array(labels[:4_000], kind)}
                ).annotations
            )
            == 4_000
        )
        for columns in (
            {"path": pa.array(["x" * 1_000] * 9_000, kind)},
            {"path": paths[:8_000], "label": pa.array(labels[:8_000], kind)},
        ):
            with pytest.raises(
                InputError,
                match=r"^the set/manifest.parquet unpacks to more than 1 MiB\. Keep only",
            ):
                parquet(tmp_path, columns)
        assert (tmp_path / "manifest.parquet").stat().st_size < 2**20

    def test_columns_that_say_nothing_may_be_large(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(user_manifest, "TEXT_BYTES", 2**10)
        assert parquet(
            tmp_path, {"path": ["1.png"], "text": ["x" * 2**20], "vector": [[1, 2]]}
        ).annotations == {"1.png": FileAnnotation()}

    def test_a_long_cell(self, tmp_path: Path) -> None:
        assert len(parquet(tmp_path, {"path": ["x" * 131_072]}).annotations) == 1
        with pytest.raises(
            InputError, match=r"manifest.parquet has a cell of more than 131,072 bytes\. Shorten it"
        ):
            parquet(tmp_path, {"path": ["x" * 131_073]})

    @pytest.mark.parametrize("cell", [["A"], {"a": 1}, b"A"])
    def test_cells_that_are_not_plain(self, cell: object, tmp_path: Path) -> None:
        with pytest.raises(
            InputError,
            match=r"has cells that are neither text nor numbers nor dates\. Save it with plain",
        ):
            parquet(tmp_path, {"path": ["1.png"], "label": [cell]})

    def test_too_many_columns(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(user_manifest, "FOOTER_BYTES", 2**14)
        with pytest.raises(
            InputError,
            match=r"manifest.parquet has too many columns or row groups\. Keep only the columns",
        ):
            parquet(
                tmp_path, {"path": ["1.png"], **{f"column {number}": [1] for number in range(200)}}
            )

    def test_one_column_twice(self, tmp_path: Path) -> None:
        table = pa.table([["1.png"], ["A"], ["B"]], names=["path", "label", "label"])
        assert parquet(tmp_path, table).annotations == {"1.png": FileAnnotation("B")}

    def test_beside_csv(self, tmp_path: Path) -> None:
        (tmp_path / "manifest.csv").write_text("path\n1.png\n")
        with pytest.raises(
            InputError,
            match=r"^the set has both manifest.csv and manifest.parquet\. Keep one of the two\.$",
        ):
            parquet(tmp_path, {"path": ["1.png"]})


NAME = "Mustermann"


@pytest.mark.parametrize(
    "text",
    [
        f"{NAME},label\n1.png,A\n",
        f"path,split\n1.png,{NAME}\n",
        f"path,label\n{NAME}.png,A\n{NAME}.png,B\n",
        f"path,label\n1.png,A,{NAME}\n",
        f'path,label\n"{NAME}"x,A\n',
        f"path,label\n{NAME},Ä\n".encode("latin-1"),
        f"path,label\n,{NAME}\n",
    ],
)
def test_no_message_repeats_a_cell(text: str | bytes, tmp_path: Path) -> None:
    assert NAME not in str(error_of(tmp_path, text))
