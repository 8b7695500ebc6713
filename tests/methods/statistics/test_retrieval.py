"""Retrieval and clustering by hand and against scikit-learn; no image of one's own group counts."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, normalized_mutual_info_score

from methods.statistics.metrics import (
    ONE_LABEL,
    SEVERAL_LABELS,
    Answers,
    Sample,
    measure,
    metrics_of,
    one_label_answers,
)
from methods.statistics.retrieval import Neighbours, neighbours, normalised_information


def _gram(features: list[list[float]]) -> NDArray[np.float32]:
    rows = np.array(features, np.float32)
    return np.asarray(rows @ rows.T)


def _one_hot(labels: str) -> NDArray[np.bool_]:
    return np.array(list(labels))[:, None] == np.unique(list(labels))


FAN = _gram([[np.cos(turn), np.sin(turn)] for turn in (0.0, 0.1, 0.25, 0.45, 0.7)])
"""Five features in the plane; seen from the first, the others lie in order."""


def test_a_query_ranks_the_others_by_cosine() -> None:
    found = neighbours(4 * FAN, _one_hot("abbaa"), None, seed=0)
    # relevant for the first are the third and the fourth of its ranking
    assert found.average_precision[0] == pytest.approx((1 / 3 + 2 / 4) / 2)
    assert [found.precision[1][0], found.precision[1][2]] == [0, 1]
    assert np.isnan(found.precision[5]).all(), "there are four others"


def test_images_of_the_own_group_are_no_candidates() -> None:
    truth, groups = _one_hot("aabba"), ["p", "p", "q", "q", "r"]
    found = neighbours(FAN, truth, groups, seed=0)
    # the neighbour of the first is of its patient: the fifth is what there is to find, the last of
    # three
    assert found.average_precision[0] == pytest.approx(1 / 3)
    assert found.precision[1][0] == 0
    assert np.isnan(found.average_precision[2:4]).all(), "only their own patient has class b"
    assert not np.isnan(found.average_precision[[0, 1, 4]]).any()


def test_images_that_share_a_label_or_have_none_are_relevant() -> None:
    truth = np.array([[1, 1], [0, 1], [0, 0], [1, 0], [0, 0]], np.bool_)
    found = neighbours(FAN, truth, None, seed=0)
    assert found.average_precision[0] == pytest.approx((1 + 2 / 3) / 2)
    assert found.average_precision[4] == pytest.approx(1 / 2), "none, and none"
    assert found.label_sets[2] == found.label_sets[4]
    assert len(np.unique(found.label_sets)) == 4


def test_average_precision_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 6)).astype(np.float32)
    truth = rng.random((40, 3)) < 0.4
    groups = [f"p{i // 2}" for i in range(40)]
    found = neighbours(features @ features.T, truth, groups, seed=0)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    for i in range(40):
        others = [j for j in range(40) if j // 2 != i // 2]
        relevant = [
            bool((truth[i] & truth[j]).any() or not (truth[i] | truth[j]).any()) for j in others
        ]
        expected = average_precision_score(relevant, unit[others] @ unit[i])
        assert found.average_precision[i] == pytest.approx(expected)
        order = np.argsort(-(unit[others] @ unit[i]))
        assert found.precision[5][i] == pytest.approx(np.array(relevant)[order[:5]].mean())


def test_clusters_find_separate_classes() -> None:
    rng = np.random.default_rng(1)
    classes = np.repeat(np.arange(3), 10)
    features = np.eye(3)[classes] + 0.05 * rng.normal(size=(30, 3))
    found = neighbours(features @ features.T, np.eye(3, dtype=np.bool_)[classes], None, seed=0)
    assert normalized_mutual_info_score(found.label_sets, found.clusters) == pytest.approx(1)
    again = neighbours(features @ features.T, np.eye(3, dtype=np.bool_)[classes], None, seed=0)
    np.testing.assert_array_equal(again.clusters, found.clusters)


def test_agreement_is_that_of_scikit_learn_on_any_sample() -> None:
    rng = np.random.default_rng(2)
    sets, clusters = rng.integers(0, 4, 60), rng.integers(0, 4, 60)
    of = Neighbours(np.zeros(60), {}, clusters, sets)
    drawn = rng.integers(0, 60, (5, 60))
    counts = np.stack([np.bincount(of.cells[i], minlength=16).reshape(4, 4) for i in drawn])
    expected = [normalized_mutual_info_score(sets[i], clusters[i]) for i in drawn]
    np.testing.assert_allclose(normalised_information(counts), expected)
    assert np.isnan(normalised_information(np.array([[3, 2], [0, 0]]))), "one label set alone"


def test_a_feature_of_zeros_and_one_class_alone_have_figures() -> None:
    found = neighbours(_gram([[0, 0], [1, 0], [0, 1]]), _one_hot("aaa"), None, seed=0)
    assert (found.average_precision == 1).all()
    assert (found.clusters == 0).all()


def test_a_gram_matrix_of_other_images_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Gram matrix of 2 images is needed, got \(5, 5\)"):
        neighbours(FAN, _one_hot("ab"), None, seed=0)


@pytest.mark.parametrize("protocol", [ONE_LABEL, SEVERAL_LABELS])
def test_figures_of_features_have_intervals_over_groups(protocol: str) -> None:
    rng = np.random.default_rng(3)
    classes = np.tile(np.arange(2), 20)
    features = np.eye(2)[classes] + 0.8 * rng.normal(size=(40, 2))
    truth = np.eye(2, dtype=np.bool_)[classes]
    groups = [f"p{i // 4}" for i in range(40)]
    found = neighbours(features @ features.T, truth, groups, seed=0)
    sample = Sample(groups, 50, 0)
    names = [metric.name for metric in metrics_of(protocol, "features")]  # type: ignore[arg-type]
    assert names == ["mean_average_precision", *(f"precision_at_{k}" for k in (1, 5, 10)), "nmi"]
    answers = one_label_answers(classes.astype(np.str_), truth.astype(float), ["0", "1"], found)
    measured = {
        row.metric.name: row
        for row in measure(answers, protocol, sample)  # type: ignore[arg-type]
        if row.metric.of == "features"
    }
    assert list(measured) == names
    for row in measured.values():
        assert row.interval is not None
        assert row.interval.groups == 10
        assert row.interval.low <= row.value <= row.interval.high
    value = measured["mean_average_precision"].value
    assert value == pytest.approx(found.average_precision.mean())
    without = Answers(answers.labels, answers.truth, answers.predicted, answers.scores)
    rows = measure(without, protocol, sample)  # type: ignore[arg-type]
    assert not [row for row in rows if row.metric.of == "features"]


def test_queries_without_a_relevant_image_do_not_count() -> None:
    truth, groups = _one_hot("aabba"), ["p", "p", "q", "q", "r"]
    answers = Answers(
        ("a", "b"), truth, truth, truth.astype(float), neighbours(FAN, truth, groups, seed=0)
    )
    rows = measure(answers, ONE_LABEL, Sample(groups, 20, 0))
    (found,) = [row for row in rows if row.metric.name == "mean_average_precision"]
    assert found.n == 3
    assert not [row for row in rows if row.metric.name == "precision_at_10"], "none is defined"
