"""What becomes of the rows once every file is read."""

from dataclasses import replace
from pathlib import Path

import pytest

from data_contracts.dataset import DatasetSpec
from data_contracts.errors import InputError
from methods.curation import ManifestRow, curate

FACTS = {"bytes": 10, "width": 2, "height": 2, "mode": "L", "format": "PNG"}


def spec(**settings) -> DatasetSpec:
    return DatasetSpec(name="scans", root=Path("/scans"), **settings)


def row(
    path: str, split: str | None = None, image: str | None = None, label: str | None = "folder", group: str | None = None
) -> ManifestRow:
    """A usable row whose label is its folder and whose bytes are its own, unless said otherwise."""
    label = path.split("/")[-2] if label == "folder" else label
    return ManifestRow(
        image_id=image or path, path=path, status="ok", reason=None, label=label, split=split, group_id=group, **FACTS
    )


def rejected(path: str, reason: str = "cannot be decoded: the file is truncated") -> ManifestRow:
    return replace(row(path, label=None), status="rejected", reason=reason)


def many(split: str | None = None, n: int = 4, folder: str = "") -> list[ManifestRow]:
    return [row(f"{folder}{label}/{i}.png", split) for label in "AB" for i in range(n)]


def given() -> list[ManifestRow]:
    return many("train", folder="train/") + many("test", folder="test/")


def error_of(rows, **settings) -> InputError:
    with pytest.raises(InputError) as error:
        curate(rows, spec(**settings))
    assert "\n" not in str(error.value)
    return error.value


def by_path(rows) -> dict[str, ManifestRow]:
    return {r.path: r for r in rows}


class TestDuplicates:
    def test_first_by_path_of_the_same_label_and_split_stays(self):
        result = by_path(curate([row("A/z.png", image="x"), row("A/y.png", image="x"), *many()], spec()))
        assert (result["A/y.png"].status, result["A/y.png"].reason) == ("ok", None)
        assert (result["A/z.png"].status, result["A/z.png"].reason) == ("duplicate", "same bytes as A/y.png")
        assert result["A/z.png"].width == 2

    def test_labels_that_contradict_each_other_reject_all_copies(self):
        rows = [row("A/x.png", image="x"), row("B/x.png", image="x"), row("A/w.png", image="x"), *many()]
        result = by_path(curate(rows, spec()))
        for path in ("A/x.png", "B/x.png", "A/w.png"):
            assert (result[path].status, result[path].reason) == ("rejected", "same bytes under labels A and B")

    def test_three_labels(self):
        rows = [row(f"{label}/x.png", image="x") for label in "ABC"] + many()
        assert by_path(curate(rows, spec()))["C/x.png"].reason == "same bytes under labels A, B and C"

    def test_labels_that_contradict_across_splits_are_rejected_too(self):
        result = by_path(curate([row("train/A/x.png", "train", "x"), row("test/B/x.png", "test", "x"), *given()], spec()))
        assert result["test/B/x.png"].reason == "same bytes under labels A and B"

    def test_a_labelled_copy_speaks_for_an_unlabelled_one(self):
        rows = [row("a.png", image="x", label=None), row("A/b.png", image="x"), *many()]
        assert by_path(curate(rows, spec()))["a.png"].reason == "same bytes as A/b.png"

    def test_the_same_image_on_both_sides_of_a_given_split(self):
        error = error_of([row("train/A/x.png", "train", "x"), row("test/A/y.png", "test", "x"), *given()])
        assert (
            error.what == "two splits share 1 image in /scans: train/A/x.png (train) and test/A/y.png (test) have the same bytes"
        )
        assert error.remedy == "Delete one of the two, or register with --split stratified to draw a new split"

    def test_a_new_split_does_not_care_where_the_copies_lay(self):
        rows = [row("train/A/x.png", "train", "x"), row("test/A/y.png", "test", "x"), *given()]
        assert by_path(curate(rows, spec(split="stratified")))["train/A/x.png"].reason == "same bytes as test/A/y.png"


class TestNothingToWorkWith:
    def test_the_three_commonest_reasons_are_counted(self):
        reasons = ["not an image file"] * 4 + ["broken link"] * 3 + ["not listed in manifest.csv"] * 2 + ["link leaves"]
        error = error_of([rejected(f"{i}.png", reason) for i, reason in enumerate(reasons)])
        assert error.what == (
            "/scans has no usable image among 10 files (4 x not an image file; 3 x broken link; 2 x not listed in manifest.csv)"
        )
        assert error.remedy == "Give a folder with whole JPEG, PNG, TIFF, BMP or WebP images"

    def test_one_class(self):
        error = error_of([row("A/0.png"), row("A/1.png"), rejected("B/2.png")])
        assert error.what == "all 2 labelled images in /scans have one class, 'A'"
        assert error.remedy.startswith("Add images of a second class")


class TestUnlabelled:
    def test_are_an_error_by_default(self):
        error = error_of([*many(), row("y.png", label=None), row("x.png", label=None)])
        assert error.what == "2 of 10 images in /scans have no label (first: x.png)"
        assert "--unlabelled" in error.remedy
        assert "manifest.csv" in error.remedy

    def test_have_a_split_of_their_own_where_allowed(self):
        result = by_path(curate([*many(), row("x.png", "test", label=None)], spec(unlabelled=True)))
        assert result["x.png"].split == "unlabelled"
        assert {r.split for r in result.values()} == {"train", "test", "unlabelled"}

    def test_alone_need_no_classes(self):
        assert [r.split for r in curate([row("x.png", label=None)], spec(unlabelled=True))] == ["unlabelled"]


class TestSplitPolicy:
    @pytest.mark.parametrize("policy", ["auto", "given"])
    def test_a_given_split_is_taken(self, policy):
        result = curate(given(), spec(split=policy))
        assert all(r.path.startswith(f"{r.split}/") for r in result)

    @pytest.mark.parametrize("policy", ["auto", "stratified"])
    def test_none_is_drawn(self, policy):
        result = curate(many(n=8), spec(split=policy, test_fraction=0.25))
        assert [sum(r.split == "test" and r.label == label for r in result) for label in "AB"] == [2, 2]

    def test_stratified_ignores_what_is_given(self):
        rows = [*given(), replace(rejected("train/A/bad.png"), split="train")]
        result = by_path(curate(rows, spec(split="stratified", test_fraction=0.25)))
        assert sum(r.split == "test" for r in result.values()) == 4
        assert result["train/A/bad.png"].split is None

    def test_drawn_split_depends_on_bytes_and_seed_but_not_on_order(self):
        rows = many(n=10)
        first = curate(rows, spec())
        assert curate(rows[::-1], spec()) == first
        assert curate(rows, spec(split_seed=1)) != first

    def test_rows_come_out_sorted_by_path(self):
        paths = [r.path for r in curate([*many()[::-1], rejected("A/bad.png")], spec())]
        assert paths == sorted(paths)

    def test_given_policy_wants_every_split(self):
        error = error_of(many(), split="given")
        assert error.what == "8 of 8 labelled images in /scans have no split (first: A/0.png)"
        assert "train/ or test/" in error.remedy
        assert "--split stratified" in error.remedy

    def test_half_a_split_is_an_error(self):
        assert error_of([*given(), row("A/9.png")]).what == "1 of 17 labelled images in /scans have no split (first: A/9.png)"

    @pytest.mark.parametrize(("there", "lacking"), [("train", "test"), ("test", "train")])
    def test_a_given_split_has_two_sides(self, there, lacking):
        error = error_of(many(there))
        assert error.what == f"the split given in /scans has no {lacking} images"
        assert error.remedy.startswith(f"Add a {lacking}/ folder")

    def test_a_class_only_in_test_cannot_be_learned(self):
        error = error_of([*given(), row("test/C/0.png", "test")])
        assert error.what == "class 'C' in /scans is only in the test split (first: test/C/0.png)"
        assert "Move some of its images to train" in error.remedy

    def test_a_class_only_in_train_is_allowed(self):
        assert by_path(curate([*given(), row("train/C/0.png", "train")], spec()))["train/C/0.png"].split == "train"

    def test_a_class_with_one_image_cannot_be_drawn(self):
        error = error_of([*many(), row("C/0.png")])
        assert error.what == (
            "no test split can be drawn in /scans: class 'C' has 1 image in 1 group: "
            "two groups are needed to have it on both sides of a split"
        )
        assert error.remedy.startswith("Add images (of other patients) to the class")


class TestGroups:
    def test_given_on_both_sides(self):
        error = error_of([*given(), row("train/A/p.png", "train", group="p7"), row("test/A/q.png", "test", group="p7")])
        assert error.what == "group 'p7' in /scans is on both sides of the split: test/A/q.png is test, train/A/p.png is train"
        assert error.remedy == "Put all images of a group on one side, or register with --split stratified to draw a new split"

    def test_a_rejected_row_does_not_count(self):
        crossing = replace(rejected("test/A/q.png"), split="test", group_id="p7")
        assert curate([*given(), row("train/A/p.png", "train", group="p7"), crossing], spec())

    @pytest.mark.parametrize("seed", range(5))
    def test_drawn_split_keeps_groups_whole(self, seed):
        rows = [row(f"{label}/{i}.png", group=f"{label}{i // 3}") for label in "AB" for i in range(24)]
        result = curate(rows, spec(split_seed=seed))
        assert all(len({r.split for r in result if r.group_id == group}) == 1 for group in {r.group_id for r in result})

    @pytest.mark.parametrize("seed", range(10))
    def test_groups_that_share_an_image_are_one_for_a_drawn_split(self, seed):
        chain = [row("A/a.png", group="p1", image="x"), row("A/b.png", group="p2", image="x"), row("A/c.png", group="p2")]
        chain += [row("A/d.png", group="p3", image="y"), row("A/e.png", group="p2", image="y"), row("A/f.png", group="p3")]
        result = by_path(curate([*chain, *many()], spec(split_seed=seed)))
        assert result["A/b.png"].status == result["A/e.png"].status == "duplicate"
        assert len({result[path].split for path in ("A/a.png", "A/c.png", "A/d.png", "A/f.png")}) == 1
