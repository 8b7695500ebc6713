"""What manifest.csv or the folders say."""

import pytest

from data_contracts.errors import InputError
from resources.folder_layout import Claim, Listing, claims_by_folders, read_listing


def listing(root, text: str | bytes) -> Listing:
    (root / "manifest.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    result = read_listing(root)
    assert result is not None
    return result


def error_of(root, text: str | bytes) -> InputError:
    with pytest.raises(InputError) as error:
        listing(root, text)
    assert "\n" not in str(error.value)
    assert error.value.what.startswith(f"{root}/manifest.csv ")
    return error.value


class TestFolders:
    def test_class_folders(self, tmp_path):
        claims = claims_by_folders(["COVID/1.png", "COVID/site 2/deep/1.png", " normal /1.png"], tmp_path)
        assert claims == {
            "COVID/1.png": Claim("COVID"),
            "COVID/site 2/deep/1.png": Claim("COVID"),
            " normal /1.png": Claim("normal"),
        }

    def test_split_folders(self, tmp_path):
        claims = claims_by_folders(["Train/A/1.png", "testing/B/x/1.png", "val/A/2.png", "VALIDATION/A/3.png"], tmp_path)
        assert list(claims.values()) == [Claim("A", "train"), Claim("B", "test"), Claim("A", "train"), Claim("A", "train")]

    def test_one_split_folder_is_a_split_layout(self, tmp_path):
        assert claims_by_folders(["train/A/1.png"], tmp_path) == {"train/A/1.png": Claim("A", "train")}

    def test_validation_alone_is_a_class(self, tmp_path):
        assert claims_by_folders(["val/A/1.png"], tmp_path) == {"val/A/1.png": Claim("val")}

    def test_one_split_word_among_classes_is_a_class(self, tmp_path):
        assert claims_by_folders(["test/1.png", "control/1.png"], tmp_path)["test/1.png"] == Claim("test")

    def test_files_without_a_class_folder_have_no_label(self, tmp_path):
        claims = claims_by_folders(["1.png", "train/2.png", "test/A/3.png"], tmp_path)
        assert list(claims.values()) == [Claim(), Claim(None, "train"), Claim("A", "test")]

    def test_split_folders_beside_others(self, tmp_path):
        with pytest.raises(InputError) as error:
            claims_by_folders(["train/A/1.png", "test/A/2.png", "extra/3.png"], tmp_path)
        assert error.value.what == f"{tmp_path} has split folders (test, train) beside other folders (extra)"
        assert "path,label,split,group_id" in error.value.remedy


class TestListing:
    def test_none(self, tmp_path):
        assert read_listing(tmp_path) is None

    def test_columns_in_any_order_and_more_of_them(self, tmp_path):
        result = listing(tmp_path, "licence, Split ,path,group_id,label\nCC0,test,a/1.png,p1, left lung \n")
        assert result == Listing({"a/1.png": Claim("left lung", "test", "p1")}, [])

    def test_empty_cells_say_nothing(self, tmp_path):
        result = listing(tmp_path, "path,label,split,group_id\n1.png,A,,\n2.png,,,\n3.png\n")
        assert list(result.claims.values()) == [Claim("A"), Claim(), Claim()]

    def test_byte_order_mark_blank_lines_and_windows_line_ends(self, tmp_path):
        result = listing(tmp_path, "\ufeff\r\npath,label\r\n\r\n1.png,Ä\r\n,,\r\n   \r\n2.png,B\r\n".encode())
        assert result.claims == {"1.png": Claim("Ä"), "2.png": Claim("B")}

    def test_backslashes_and_dots_are_normalised(self, tmp_path):
        assert listing(tmp_path, "path,label\na\\b\\1.png,A\n./a//2.png,B\n").claims == {
            "a/b/1.png": Claim("A"),
            "a/2.png": Claim("B"),
        }

    @pytest.mark.parametrize("word", ["train", "Training", "val", "valid", "VALIDATION"])
    def test_words_for_train(self, word, tmp_path):
        assert listing(tmp_path, f"path,split\n1.png,{word}\n").claims["1.png"].split == "train"

    @pytest.mark.parametrize("path", ["/etc/passwd", "../up.png", "a/../../b.png", "..\\up.png"])
    def test_paths_that_leave_the_folder_are_kept_apart(self, path, tmp_path):
        assert listing(tmp_path, f"path,label\n{path},A\n") == Listing({}, [path])

    def test_same_line_twice_counts_once(self, tmp_path):
        assert len(listing(tmp_path, "path,label\n1.png,A\n./1.png,A\n").claims) == 1

    def test_same_path_with_other_values(self, tmp_path):
        error = error_of(tmp_path, "path,label\n1.png,A\n\n1.png,B\n")
        assert error.what.endswith("manifest.csv line 4 lists 1.png again with other values")
        assert error.remedy == "Delete one of the two lines"

    @pytest.mark.parametrize(
        ("text", "found"), [("file,label\n1.png,A\n", "file, label"), ("path;label\n", "path;label"), ("", "nothing")]
    )
    def test_path_column_is_required(self, text, found, tmp_path):
        error = error_of(tmp_path, text)
        assert error.what.endswith(f"manifest.csv has no column 'path' (found: {found})")
        assert error.remedy == "Begin it with the line path,label,split,group_id, separated by commas"

    def test_unknown_split(self, tmp_path):
        error = error_of(tmp_path, "path,split\n1.png,holdout\n")
        assert error.what.endswith("manifest.csv line 2 has the unknown split 'holdout'")
        assert error.remedy == "Write train, test or val, or leave the cell empty"

    def test_row_without_a_path(self, tmp_path):
        assert error_of(tmp_path, "path,label\n,A\n").what.endswith("manifest.csv line 2 has no path")

    def test_comma_in_a_path_without_quotes(self, tmp_path):
        error = error_of(tmp_path, "path,label\nscan,1.png,A\n")
        assert error.what.endswith("manifest.csv line 2 has 3 cells, the header 2")
        assert error.remedy == 'Put a path with a comma between "quotes"'
        assert listing(tmp_path, 'path,label\n"scan,1.png",A\n').claims == {"scan,1.png": Claim("A")}

    def test_not_utf8(self, tmp_path):
        error = error_of(tmp_path, "path,label\n1.png,Ä\n".encode("latin-1"))
        assert error.what.endswith("manifest.csv is not UTF-8 text")
        assert error.remedy == "Save it again as CSV UTF-8"

    @pytest.mark.parametrize("text", ['path,label\n"1.png,A\n', 'path,label\n"1".png,A\n', "path,label\n" + "x" * 200_000])
    def test_not_csv(self, text, tmp_path):
        error = error_of(tmp_path, text)
        assert "manifest.csv is not CSV (" in error.what
        assert error.remedy == "Save it again as comma-separated values, UTF-8"

    def test_unreadable(self, tmp_path, monkeypatch):
        def deny(self):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("pathlib.Path.read_bytes", deny)
        (tmp_path / "manifest.csv").touch()
        with pytest.raises(InputError, match=r"manifest.csv cannot be read \(Permission denied\). Give this user permission"):
            read_listing(tmp_path)

    def test_a_link_to_elsewhere_is_not_read(self, tmp_path):
        (tmp_path / "secret").write_text("password,hunter2\n")
        (tmp_path / "root").mkdir()
        (tmp_path / "root" / "manifest.csv").symlink_to(tmp_path / "secret")
        with pytest.raises(InputError, match=r"is a link that leaves the dataset's folder\. Put the file itself") as error:
            read_listing(tmp_path / "root")
        assert "password" not in str(error.value)
