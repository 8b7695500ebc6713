"""What becomes of the rows once every file is read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data_contracts.errors import InputError
from data_contracts.records.dataset import DatasetSpec
from methods.curation.manifest_rows import (
    SEVERAL_LABELS,
    ManifestRow,
    curate,
    labels_of,
    one_sided_labels,
)
from methods.imaging.readers import format_names

FACTS: dict[str, Any] = {"bytes": 10, "width": 2, "height": 2, "mode": "L", "format": "PNG"}


def spec(**settings: Any) -> DatasetSpec:
    return DatasetSpec(name="scans", root=Path("/scans"), **settings)


def row(
    path: str,
    split: str | None = None,
    image: str | None = None,
    label: str | None = "folder",
    group: str | None = None,
    drop: str | None = None,
    pixels: str | None = None,
) -> ManifestRow:
    """A usable row whose label is its folder and whose bytes are its own, unless said otherwise."""
    label = path.split("/")[-2] if label == "folder" else label
    return ManifestRow(
        image_id=image or path,
        path=path,
        status="ok",
        reason=None,
        label=label,
        split=split,
        group_id=group,
        drop=drop,
        pixel_sha256=pixels,
        **FACTS,
    )


def rejected(path: str, reason: str = "cannot be decoded: the file is truncated") -> ManifestRow:
    return replace(row(path, label=None), status="rejected", reason=reason)


def many(split: str | None = None, n: int = 4, folder: str = "") -> list[ManifestRow]:
    return [row(f"{folder}{label}/{i}.png", split) for label in "AB" for i in range(n)]


def given() -> list[ManifestRow]:
    return many("train", folder="train/") + many("test", folder="test/")


def error_of(rows: Iterable[ManifestRow], **settings: Any) -> InputError:
    with pytest.raises(InputError) as error:
        curate(rows, spec(**settings))
    assert "\n" not in str(error.value)
    return error.value


def by_path(rows: Iterable[ManifestRow]) -> dict[str, ManifestRow]:
    return {r.path: r for r in rows}


class TestDuplicates:
    def test_first_by_path_of_the_same_label_and_split_stays(self) -> None:
        result = by_path(
            curate([row("A/z.png", image="x"), row("A/y.png", image="x"), *many()], spec())
        )
        assert (result["A/y.png"].status, result["A/y.png"].reason) == ("ok", None)
        assert (result["A/z.png"].status, result["A/z.png"].reason) == (
            "duplicate",
            "same bytes as A/y.png",
        )
        assert result["A/z.png"].width == 2

    def test_labels_that_contradict_each_other_reject_all_copies(self) -> None:
        rows = [
            row("A/x.png", image="x"),
            row("B/x.png", image="x"),
            row("A/w.png", image="x"),
            *many(),
        ]
        result = by_path(curate(rows, spec()))
        for path in ("A/x.png", "B/x.png", "A/w.png"):
            assert (result[path].status, result[path].reason) == (
                "rejected",
                "same bytes under labels A and B",
            )

    def test_three_labels(self) -> None:
        rows = [row(f"{label}/x.png", image="x") for label in "ABC"] + many()
        assert (
            by_path(curate(rows, spec()))["C/x.png"].reason == "same bytes under labels A, B and C"
        )

    def test_labels_that_contradict_across_splits_are_rejected_too(self) -> None:
        result = by_path(
            curate(
                [row("train/A/x.png", "train", "x"), row("test/B/x.png", "test", "x"), *given()],
                spec(),
            )
        )
        assert result["test/B/x.png"].reason == "same bytes under labels A and B"

    def test_a_labelled_copy_speaks_for_an_unlabelled_one(self) -> None:
        rows = [row("a.png", image="x", label=None), row("A/b.png", image="x"), *many()]
        assert by_path(curate(rows, spec()))["a.png"].reason == "same bytes as A/b.png"

    def test_the_same_image_on_both_sides_of_a_given_split_stays_visible(self) -> None:
        rows = [row("train/A/x.png", "train", "x"), row("test/A/y.png", "test", "x"), *given()]
        result = by_path(curate(rows, spec()))
        assert (result["test/A/y.png"].status, result["test/A/y.png"].split) == ("ok", "test")
        assert (result["train/A/x.png"].status, result["train/A/x.png"].split) == (
            "duplicate",
            "train",
        )

    def test_frames_of_one_file_are_told_apart_by_their_number(self) -> None:
        frames = [replace(row("A/x.dcm", image=f"frame {i}"), frame=i) for i in range(3)]
        again = [replace(row("A/y.dcm", image=f"frame {i}"), frame=i) for i in range(3)]
        result = curate([*again, *frames, *many()], spec())
        assert [r.frame for r in result if r.path == "A/x.dcm" and r.status == "ok"] == [0, 1, 2]
        assert [r.frame for r in result if r.path == "A/y.dcm" and r.status == "duplicate"] == [
            0,
            1,
            2,
        ]

    def test_a_new_split_does_not_care_where_the_copies_lay(self) -> None:
        rows = [row("train/A/x.png", "train", "x"), row("test/A/y.png", "test", "x"), *given()]
        assert (
            by_path(curate(rows, spec(split="stratified")))["train/A/x.png"].reason
            == "same bytes as test/A/y.png"
        )


class TestNothingToWorkWith:
    def test_the_three_commonest_reasons_are_counted(self) -> None:
        reasons = (
            ["not an image file"] * 4
            + ["broken link"] * 3
            + ["not listed in manifest.csv"] * 2
            + ["link leaves"]
        )
        error = error_of([rejected(f"{i}.png", reason) for i, reason in enumerate(reasons)])
        assert error.what == (
            "/scans has no usable image among 10 files (4 x not an image file; 3 x broken link; 2 "
            "x not listed in manifest.csv)"
        )
        assert error.remedy == f"Give a folder with whole {format_names()} images"

    def test_one_class(self) -> None:
        error = error_of([row("A/0.png"), row("A/1.png"), rejected("B/2.png")])
        assert error.what == "all 2 labelled images in /scans have one class, 'A'"
        assert error.remedy.startswith("Add images of a second class")


class TestUnlabelled:
    def test_are_an_error_by_default(self) -> None:
        error = error_of([*many(), row("y.png", label=None), row("x.png", label=None)])
        assert error.what == "2 of 10 images in /scans have no label (first: x.png)"
        assert "--unlabelled" in error.remedy
        assert "manifest.csv" in error.remedy

    def test_have_a_split_of_their_own_where_allowed(self) -> None:
        result = by_path(curate([*many(), row("x.png", "test", label=None)], spec(unlabelled=True)))
        assert result["x.png"].split == "unlabelled"
        assert {r.split for r in result.values()} == {"train", "test", "unlabelled"}

    def test_alone_need_no_classes(self) -> None:
        assert [r.split for r in curate([row("x.png", label=None)], spec(unlabelled=True))] == [
            "unlabelled"
        ]


class TestSplitPolicy:
    @pytest.mark.parametrize("policy", ["auto", "given"])
    def test_a_given_split_is_taken(self, policy: str) -> None:
        result = curate(given(), spec(split=policy))
        assert all(r.path.startswith(f"{r.split}/") for r in result)

    @pytest.mark.parametrize("policy", ["auto", "stratified"])
    def test_none_is_drawn(self, policy: str) -> None:
        result = curate(many(n=8), spec(split=policy, test_fraction=0.25))
        assert [sum(r.split == "test" and r.label == label for r in result) for label in "AB"] == [
            2,
            2,
        ]

    def test_stratified_ignores_what_is_given(self) -> None:
        rows = [*given(), replace(rejected("train/A/bad.png"), split="train")]
        result = by_path(curate(rows, spec(split="stratified", test_fraction=0.25)))
        assert sum(r.split == "test" for r in result.values()) == 4
        assert result["train/A/bad.png"].split is None

    def test_drawn_split_depends_on_bytes_and_seed_but_not_on_order(self) -> None:
        rows = many(n=10)
        first = curate(rows, spec())
        assert curate(rows[::-1], spec()) == first
        assert curate(rows, spec(split_seed=1)) != first

    def test_rows_come_out_sorted_by_path(self) -> None:
        paths = [r.path for r in curate([*many()[::-1], rejected("A/bad.png")], spec())]
        assert paths == sorted(paths)

    def test_given_policy_wants_every_split(self) -> None:
        error = error_of(many(), split="given")
        assert error.what == "8 of 8 labelled images in /scans have no split (first: A/0.png)"
        assert "train/ or test/" in error.remedy
        assert "--split stratified" in error.remedy

    def test_half_a_split_is_an_error(self) -> None:
        assert (
            error_of([*given(), row("A/9.png")]).what
            == "1 of 17 labelled images in /scans have no split (first: A/9.png)"
        )

    @pytest.mark.parametrize(("there", "lacking"), [("train", "test"), ("test", "train")])
    def test_a_given_split_has_two_sides(self, there: str, lacking: str) -> None:
        error = error_of(many(there))
        assert error.what == f"the split given in /scans has no {lacking} images"
        assert error.remedy.startswith(f"Add a {lacking}/ folder")

    def test_a_class_only_in_test_cannot_be_learned(self) -> None:
        error = error_of([*given(), row("test/C/0.png", "test")])
        assert error.what == "class 'C' in /scans is only in the test split (first: test/C/0.png)"
        assert "Move some of its images to train" in error.remedy

    def test_a_class_only_in_train_is_allowed(self) -> None:
        assert (
            by_path(curate([*given(), row("train/C/0.png", "train")], spec()))[
                "train/C/0.png"
            ].split
            == "train"
        )

    def test_a_class_with_one_image_cannot_be_drawn(self) -> None:
        error = error_of([*many(), row("C/0.png")])
        assert error.what == (
            "no test split can be drawn in /scans: class 'C' has 1 image in 1 group: "
            "two groups are needed to have it on both sides of a split"
        )
        assert error.remedy == (
            "Add images of other patients to the class, leave it out, or give the split yourself "
            "below train/ and test/, where a class may be in train/ alone (with --keep-given-split "
            "if a group is in both)"
        )


class TestSeveralLabels:
    def test_are_split_at_the_bar_for_a_multi_label_task_only(self) -> None:
        assert labels_of("a|b", "multi-label") == ("a", "b")
        assert labels_of("a|b", "single-label") == ("a|b",)
        assert labels_of(None, "multi-label") == ()

    def test_order_blanks_and_repetition_do_not_matter(self) -> None:
        rows = [row("1.png", label="b | a|b|"), row("2.png", label="a|b", image="1.png"), *many()]
        result = by_path(curate(rows, spec(task="multi-label")))
        assert result["1.png"].label == "a|b"
        assert result["2.png"].status == "duplicate"

    def test_bars_alone_are_none_of_them(self) -> None:
        rows = [*(row(f"{i}.png", label=" | ") for i in range(8)), *many()]
        result = by_path(curate(rows, spec(task="multi-label", unlabelled=True)))
        assert {result[f"{i}.png"].label for i in range(8)} == {""}
        assert {result[f"{i}.png"].split for i in range(8)} == {"train", "test"}
        assert labels_of("", "multi-label") == ()

    def test_an_empty_label_is_none_of_them_unless_it_may_be_unknown(self) -> None:
        rows = [row("x.png", label=None), row("drops/y.png", label=None, drop="d"), *many()]
        result = by_path(curate(rows, spec(task="multi-label")))
        assert result["x.png"].label == ""
        assert result["x.png"].split in ("train", "test")
        assert (result["drops/y.png"].label, result["drops/y.png"].split) == (None, "unlabelled")
        unknown = by_path(curate(rows, spec(task="multi-label", unlabelled=True)))
        assert (unknown["x.png"].label, unknown["x.png"].split) == (None, "unlabelled")

    def test_one_label_and_none_of_them_are_two_answers(self) -> None:
        assert curate(
            [row(f"{i}.png", label="a" if i % 2 else None) for i in range(8)],
            spec(task="multi-label"),
        )
        error = error_of([row(f"{i}.png", label=None) for i in range(8)], task="multi-label")
        assert error.what == "all 8 images in /scans have no label"

    def test_are_an_error_in_a_single_label_dataset(self) -> None:
        error = error_of([row("x.png", label="a|b"), *many()])
        assert error.what == "x.png in /scans has several labels (a | in its label)"
        assert error.remedy == "Register with --multi-label, or give one label an image"

    def test_in_a_drop_they_do_not_stop_the_dataset(self) -> None:
        result = by_path(curate([row("drops/x.png", label="a|b", drop="d"), *many()], spec()))
        assert (result["drops/x.png"].status, result["drops/x.png"].reason) == (
            "rejected",
            SEVERAL_LABELS,
        )

    def test_every_class_of_a_given_split_is_in_train(self) -> None:
        rows = [row(f"{i}.png", "train", label=label) for i, label in enumerate(["a|b", "b", "a"])]
        error = error_of([*rows, row("9.png", "test", label="a|c")], task="multi-label")
        assert error.what == "class 'c' in /scans is only in the test split (first: 9.png)"
        assert curate([*rows, row("9.png", "test", label="a|b")], spec(task="multi-label"))

    def test_combinations_too_rare_to_stratify_can_be_drawn(self) -> None:
        rows = [row(f"{i}.png", label=f"a|c{i}") for i in range(8)]
        assert sum(r.split == "test" for r in curate(rows, spec(task="multi-label"))) == 2

    def test_a_rare_one_is_drawn_on_both_sides(self) -> None:
        rows = [
            row(f"{i:02d}.png", label="a|b" if i in (3, 9) else "a" if i % 2 else "")
            for i in range(24)
        ]
        for seed in range(10):
            drawn = curate(rows, spec(task="multi-label", split_seed=seed))
            assert {r.split for r in drawn if "b" in str(r.label)} == {"train", "test"}
            assert not one_sided_labels(
                [str(r.label) for r in drawn], [str(r.split) for r in drawn]
            )

    def test_on_one_side_by_hand(self) -> None:
        assert one_sided_labels(
            ["a|b|d", "c|d", "a|d", "d"], ["train", "train", "test", "test"]
        ) == ["b", "c"]
        assert one_sided_labels(["a", "", "a"], ["train", "train", "test"]) == ["a"]

    def test_one_class(self) -> None:
        assert error_of(
            [row("1.png", label="a"), row("2.png", label="a|")], task="multi-label"
        ).what.startswith("all 2 labelled")


class TestPatients:
    def test_lesions_of_a_patient_are_never_parted(self) -> None:
        rows = [
            replace(
                row(f"{label}/{lesion}.png", group=f"lesion {label}{lesion}"),
                patient_id=f"patient {lesion // 2}",
            )
            for label in "AB"
            for lesion in range(12)
        ]
        for seed in range(5):
            sides: dict[str | None, set[str | None]] = {}
            for line in curate(rows, spec(split_seed=seed)):
                sides.setdefault(line.patient_id, set()).add(line.split)
            assert {len(side) for side in sides.values()} == {1}
            assert set.union(*sides.values()) == {"train", "test"}


class TestGroups:
    def test_given_on_both_sides_is_left_as_given(self) -> None:
        rows = [
            *given(),
            row("train/A/p.png", "train", group="p7"),
            row("test/A/q.png", "test", group="p7"),
        ]
        result = by_path(curate(rows, spec()))
        assert (result["train/A/p.png"].split, result["test/A/q.png"].split) == ("train", "test")

    def test_a_rejected_row_does_not_count(self) -> None:
        crossing = replace(rejected("test/A/q.png"), split="test", group_id="p7")
        assert curate([*given(), row("train/A/p.png", "train", group="p7"), crossing], spec())

    @pytest.mark.parametrize("seed", range(5))
    def test_drawn_split_keeps_groups_whole(self, seed: int) -> None:
        rows = [
            row(f"{label}/{i}.png", group=f"{label}{i // 3}") for label in "AB" for i in range(24)
        ]
        result = curate(rows, spec(split_seed=seed))
        assert all(
            len({r.split for r in result if r.group_id == group}) == 1
            for group in {r.group_id for r in result}
        )

    @pytest.mark.parametrize("seed", range(10))
    def test_groups_that_share_an_image_are_one_for_a_drawn_split(self, seed: int) -> None:
        chain = [
            row("A/a.png", group="p1", image="x"),
            row("A/b.png", group="p2", image="x"),
            row("A/c.png", group="p2"),
        ]
        chain += [
            row("A/d.png", group="p3", image="y"),
            row("A/e.png", group="p2", image="y"),
            row("A/f.png", group="p3"),
        ]
        result = by_path(curate([*chain, *many()], spec(split_seed=seed)))
        assert result["A/b.png"].status == result["A/e.png"].status == "duplicate"
        assert (
            len({result[path].split for path in ("A/a.png", "A/c.png", "A/d.png", "A/f.png")}) == 1
        )

    @pytest.mark.parametrize("seed", range(10))
    def test_images_with_the_same_pixels_are_one_group_for_a_drawn_split(self, seed: int) -> None:
        alike = [row(f"A/same{i}.png", pixels="p", group=f"g{i}") for i in range(3)]
        result = by_path(
            curate([*alike, row("A/g1.png", group="g1"), *many()], spec(split_seed=seed))
        )
        assert (
            len(
                {
                    result[path].split
                    for path in ("A/same0.png", "A/same1.png", "A/same2.png", "A/g1.png")
                }
            )
            == 1
        )

    @pytest.mark.parametrize("seed", range(3))
    def test_how_groups_are_called_does_not_move_the_split(self, seed: int) -> None:
        def sides(prefix: str) -> dict[str, str | None]:
            rows = [
                row(f"{label}/{i}.png", group=f"{prefix}{-i // 3}")
                for label in "AB"
                for i in range(12)
            ]
            return {
                path: r.split for path, r in by_path(curate(rows, spec(split_seed=seed))).items()
            }

        assert sides("a") == sides("z")


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def drop(path: str, name: str = "monday", **fields: Any) -> ManifestRow:
    return row(f"drops/{name}/{path}", drop=name, **fields)


class TestDrops:
    @pytest.fixture
    def first(self) -> list[ManifestRow]:
        """A first load of groups of two images each, without a split of its own."""
        return [
            row(f"{label}/{i}.png", image=sha(f"{label}{i}"), group=f"{label}{i // 2}")
            for label in "AB"
            for i in range(12)
        ]

    @pytest.mark.parametrize("new_labels", ["hold", "train", "given"])
    @pytest.mark.parametrize("policy", ["auto", "stratified"])
    def test_nothing_that_arrives_moves_the_split_of_the_first_load(
        self, policy: str, new_labels: str, first: list[ManifestRow]
    ) -> None:
        settings = {"split": policy, "new_labels": new_labels, "unlabelled": True}
        first += [row("loose.png", label=None, image=sha("loose"), group="A3")]
        before = by_path(curate(first, spec(**settings)))
        arrivals = [
            # of known groups
            *(drop(f"A/{i}.png", image=f"{i:064d}", group=f"A{i}", split="test") for i in range(6)),
            drop("A/copy.png", image=sha("A0"), group="B5", split="train"),  # would join two groups
            drop("B/other.png", image=sha("A1"), split="test"),  # another label for known bytes
            # a label for an unlabelled image
            drop("A/label.png", image=sha("loose"), group="A0", split="train"),
            drop("C/new.png", image=sha("C"), split="train"),
            drop("x.png", image=sha("x"), label=None),
        ]
        after = by_path(curate([*first, *arrivals], spec(**settings)))
        assert {
            path: (after[path].split, after[path].status) for path in before if path != "loose.png"
        } == {path: (r.split, r.status) for path, r in before.items() if path != "loose.png"}

    def test_labelled_images_are_held_unless_said_otherwise(self, first: list[ManifestRow]) -> None:
        rows = [*first, drop("A/1.png"), drop("train/B/2.png", split="train"), drop("C/3.png")]
        result = by_path(curate(rows, spec()))
        held = [r for r in result.values() if r.drop is not None]
        assert {(r.status, r.split) for r in held} == {("ok", "held")}
        assert [r.label for r in held] == ["A", "C", "B"]

    def test_unlabelled_images_need_no_permission(self, first: list[ManifestRow]) -> None:
        assert (
            by_path(curate([*first, drop("1.png", label=None)], spec()))["drops/monday/1.png"].split
            == "unlabelled"
        )

    def test_they_may_extend_the_training_side(self, first: list[ManifestRow]) -> None:
        result = by_path(
            curate(
                [*first, drop("A/1.png"), drop("A/2.png", split="test")], spec(new_labels="train")
            )
        )
        assert {r.split for r in result.values() if r.drop} == {"train"}

    def test_they_may_go_where_the_drop_says(self, first: list[ManifestRow]) -> None:
        rows = [drop("A/1.png", split="train"), drop("A/2.png", split="test"), drop("A/3.png")]
        result = by_path(curate([*first, *rows], spec(new_labels="given")))
        assert [result[f"drops/monday/A/{i}.png"].split for i in (1, 2, 3)] == [
            "train",
            "test",
            "held",
        ]

    def test_a_stratified_first_load_does_not_silence_the_split_of_a_drop(
        self, first: list[ManifestRow]
    ) -> None:
        result = by_path(
            curate(
                [*first, drop("A/2.png", split="test")],
                spec(new_labels="given", split="stratified"),
            )
        )
        assert result["drops/monday/A/2.png"].split == "test"

    @pytest.mark.parametrize("tie", [{"group": "p1"}, {"pixels": "same"}])
    def test_of_a_group_or_with_pixels_of_the_test_side_never_train(
        self, tie: dict[str, str]
    ) -> None:
        rows = [
            *given(),
            row("test/A/p.png", "test", **tie),
            drop("A/q.png", **tie),
            drop("A/r.png"),
        ]
        result = by_path(curate(rows, spec(new_labels="train")))
        assert [result[f"drops/monday/A/{name}.png"].split for name in "qr"] == ["held", "train"]

    def test_of_a_group_of_the_training_side_never_test(self) -> None:
        rows = [
            *given(),
            row("train/A/p.png", "train", group="p1"),
            drop("A/q.png", split="test", group="p1"),
        ]
        assert (
            by_path(curate(rows, spec(new_labels="given")))["drops/monday/A/q.png"].split == "held"
        )

    def test_of_one_new_group_on_both_sides_are_held(self, first: list[ManifestRow]) -> None:
        rows = [
            drop("A/1.png", split="train", group="new"),
            drop("A/2.png", "tuesday", split="test", group="new"),
        ]
        result = by_path(curate([*first, *rows], spec(new_labels="given")))
        assert {r.split for r in result.values() if r.drop} == {"held"}

    def test_a_class_that_the_first_load_has_not_is_held(self, first: list[ManifestRow]) -> None:
        result = by_path(curate([*first, drop("C/1.png")], spec(new_labels="train")))
        assert result["drops/monday/C/1.png"].split == "held"

    def test_one_class_of_several_that_the_first_load_has_not(
        self, first: list[ManifestRow]
    ) -> None:
        rows = [*first, drop("1.png", label="A|C"), drop("2.png", label="A|B")]
        result = by_path(curate(rows, spec(new_labels="train", task="multi-label")))
        assert [result[f"drops/monday/{i}.png"].split for i in (1, 2)] == ["held", "train"]

    def test_the_first_load_comes_before_its_copy_in_a_drop_whatever_the_path(
        self, first: list[ManifestRow]
    ) -> None:
        copy = row("0.png", image=sha("A0"), label="A", split="test", group="x", drop="monday")
        result = by_path(curate([*first, copy], spec(new_labels="given")))
        assert (result["0.png"].status, result["0.png"].reason, result["0.png"].split) == (
            "duplicate",
            "same bytes as A/0.png",
            None,
        )
        assert result["A/0.png"].status == "ok"

    def test_a_drop_cannot_contradict_the_label_of_the_first_load(
        self, first: list[ManifestRow]
    ) -> None:
        result = by_path(curate([*first, drop("B/0.png", image=sha("A0"))], spec()))
        assert (result["A/0.png"].status, result["A/0.png"].label) == ("ok", "A")
        copy = result["drops/monday/B/0.png"]
        assert (copy.status, copy.reason) == (
            "duplicate",
            "same bytes as A/0.png, whose label A stands",
        )

    def test_drops_that_contradict_each_other(self, first: list[ManifestRow]) -> None:
        result = by_path(
            curate(
                [*first, drop("A/x.png", image="x"), drop("B/x.png", "tuesday", image="x")], spec()
            )
        )
        assert {r.reason for r in result.values() if r.drop} == {"same bytes under labels A and B"}

    def test_a_label_that_arrives_later_is_taken_and_held(self, first: list[ManifestRow]) -> None:
        loose = row("loose.png", label=None, image="loose")
        result = by_path(
            curate([*first, loose, drop("A/x.png", image="loose")], spec(unlabelled=True))
        )
        assert result["loose.png"].reason == "same bytes as drops/monday/A/x.png"
        assert (result["drops/monday/A/x.png"].status, result["drops/monday/A/x.png"].split) == (
            "ok",
            "held",
        )

    def test_one_class_or_half_a_split_in_a_drop_is_no_error(
        self, first: list[ManifestRow]
    ) -> None:
        rows = [*first, *(drop(f"A/{i}.png", split="train" if i else None) for i in range(3))]
        assert {r.split for r in curate(rows, spec(new_labels="given")) if r.drop} == {
            "train",
            "held",
        }
