"""The drawn test split."""

import warnings

import numpy as np
import pytest

from methods.curation.splits import (
    MAX_DRAWS,
    fairest,
    label_group_split,
    on_both_sides,
    stratified_group_split,
)


def sides(labels, is_test) -> dict[str, tuple[int, int]]:
    """(train, test) rows of each class."""
    labels = np.array(labels)
    return {
        str(k): (int((~is_test[labels == k]).sum()), int(is_test[labels == k].sum()))
        for k in np.unique(labels)
    }


def test_one_fold_of_k_keeps_the_class_ratio():
    labels = ["a"] * 80 + ["b"] * 40
    is_test = stratified_group_split(labels, [str(i) for i in range(120)], 0.25, seed=0)
    assert is_test.dtype == np.bool_
    assert sides(labels, is_test) == {"a": (60, 20), "b": (30, 10)}


@pytest.mark.parametrize(
    ("fraction", "n_test"), [(0.5, 60), (0.4, 60), (0.3, 40), (0.2, 24), (0.05, 6)]
)
def test_fraction_is_realised_to_the_nearest_fold(fraction, n_test):
    labels = ["a", "b"] * 60
    assert (
        stratified_group_split(labels, [str(i) for i in range(120)], fraction, seed=3).sum()
        == n_test
    )


def test_no_group_is_on_both_sides():
    rng = np.random.default_rng(0)
    groups = [f"patient{i}" for i in rng.integers(0, 60, 300)]
    labels = [f"class{int(g[7:]) % 3}" for g in groups]
    is_test = stratified_group_split(labels, groups, 0.25, seed=0)
    assert not {g for g, t in zip(groups, is_test, strict=True) if t} & {
        g for g, t in zip(groups, is_test, strict=True) if not t
    }
    assert 0.15 < is_test.mean() < 0.35


def test_a_group_may_hold_several_classes():
    labels, groups = ["a", "b", "a", "b", "a", "b"], ["1", "1", "2", "2", "3", "3"]
    is_test = stratified_group_split(labels, groups, 0.34, seed=0)
    assert sides(labels, is_test) == {"a": (2, 1), "b": (2, 1)}


def test_order_of_the_rows_does_not_matter():
    rng = np.random.default_rng(1)
    labels = rng.choice(["a", "b", "c"], 90).tolist()
    groups = [str(g) for g in rng.integers(0, 40, 90)]
    is_test = stratified_group_split(labels, groups, 0.25, seed=5)
    order = rng.permutation(90)
    shuffled = stratified_group_split(
        [labels[i] for i in order], [groups[i] for i in order], 0.25, seed=5
    )
    np.testing.assert_array_equal(shuffled, is_test[order])


def test_seed_decides():
    labels, groups = ["a", "b"] * 20, [str(i) for i in range(40)]
    first = stratified_group_split(labels, groups, 0.25, seed=0)
    np.testing.assert_array_equal(first, stratified_group_split(labels, groups, 0.25, seed=0))
    assert not np.array_equal(first, stratified_group_split(labels, groups, 0.25, seed=1))


@pytest.mark.parametrize("seed", range(20))
def test_smallest_classes_are_on_both_sides(seed):
    labels = ["a"] * 50 + ["b"] * 2 + ["c"] * 3
    is_test = stratified_group_split(labels, [str(i) for i in range(55)], 0.2, seed)
    assert all(min(counts) > 0 for counts in sides(labels, is_test).values())


def test_fewer_images_than_folds():
    labels = ["a", "a", "b", "b"]
    assert sides(labels, stratified_group_split(labels, list("1234"), 0.05, seed=0)) == {
        "a": (1, 1),
        "b": (1, 1),
    }


def test_class_with_one_image():
    with pytest.raises(
        ValueError, match=r"class 'b' has 1 image in 1 group: two groups are needed"
    ):
        stratified_group_split(["a", "a", "b"], ["1", "2", "3"], 0.5, seed=0)


def test_class_in_one_group():
    with pytest.raises(ValueError, match=r"class 'a' has 3 images in 1 group"):
        stratified_group_split(["a", "a", "a", "b", "b"], ["1", "1", "1", "2", "3"], 0.5, seed=0)


def test_impossible_though_every_class_has_two_groups():
    # Each pair of the three groups shares a class, so any two of them would have to be on different
    # sides.
    labels, groups = ["ab", "ab", "ac", "ac", "bc", "bc"], ["A", "B", "A", "C", "B", "C"]
    with pytest.raises(
        ValueError,
        match=f"class '(ab|ac|bc)' was not on both sides of the split in {MAX_DRAWS} draws",
    ):
        stratified_group_split(labels, groups, 0.5, seed=0)


def test_warnings_of_the_library_stay_inside():
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        stratified_group_split(["a"] * 50 + ["b"] * 2, [str(i) for i in range(52)], 0.2, seed=0)
    assert seen == []
    assert warnings.filters == before


def test_labels_on_both_sides_by_hand():
    # The columns: on both sides; present on one alone; absent on one alone; on all rows.
    truth = np.array([[1, 1, 1, 1], [0, 0, 1, 1], [1, 0, 0, 1], [0, 0, 1, 1]], np.bool_)
    side = np.array([True, True, False, False])
    assert on_both_sides(truth, side).tolist() == [True, False, False, True]
    assert on_both_sides(truth, ~side).tolist() == [True, False, False, True]
    assert not on_both_sides(truth, np.zeros(4, np.bool_)).any()


def draw(*rows: int) -> np.ndarray:
    return np.isin(np.arange(6), rows)


def test_fairest_draw_by_hand():
    truth = np.zeros((6, 3), np.bool_)
    # the last label is of one group: never on both sides
    truth[[0, 1], 0] = truth[[0, 1, 2], 1] = truth[5, 2] = True
    codes = np.arange(6)
    fair, unlearned, unfair = draw(0, 3), draw(0, 5), draw(3, 4)
    np.testing.assert_array_equal(
        fairest(truth, codes, iter([unlearned, unfair, fair, draw(1, 3)])), fair
    )
    np.testing.assert_array_equal(fairest(truth, codes, iter([unlearned, unfair, draw(4)])), unfair)
    drawn = iter([fair, unfair])
    fairest(truth, codes, drawn)
    assert next(drawn) is unfair, "a draw that is good enough ends it"


@pytest.mark.parametrize("seed", range(10))
def test_rare_labels_are_on_both_sides(seed):
    truth = np.zeros((60, 3), np.bool_)
    truth[::3, 0] = truth[[4, 50], 1] = True
    truth[:, 2] = True
    truth[[7, 8, 31], 2] = False  # two groups lack it: 7 and 8 are one
    groups = [str(8 if i == 7 else i) for i in range(60)]
    is_test = label_group_split(truth, groups, 0.25, seed)
    assert is_test.sum() in (14, 15, 16)
    assert is_test[7] == is_test[8]
    assert on_both_sides(truth, is_test).all()


@pytest.mark.parametrize("seed", range(10))
def test_a_label_of_one_group_is_learned(seed):
    truth = np.arange(24)[:, None] == [5, 11]
    assert not label_group_split(truth, [str(i) for i in range(24)], 0.25, seed)[[5, 11]].any()


def test_labels_that_ask_for_nothing_more_get_the_first_fold():
    truth = np.random.default_rng(0).random((80, 3)) < 0.4
    groups = [str(i // 2) for i in range(80)]
    first = stratified_group_split(["any"] * 80, groups, 0.25, 3)
    assert on_both_sides(truth, first).all()
    np.testing.assert_array_equal(label_group_split(truth, groups, 0.25, 3), first)


def test_labels_in_one_group():
    with pytest.raises(ValueError, match="all 2 images are in one group"):
        label_group_split(np.array([[True], [False]]), ["1", "1"], 0.5, seed=0)
