"""Every rule of every table contract is broken once; the message names the rule, the row and the
file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from data_contracts.errors import ContractError, InputError
from data_contracts.records.dataset import DatasetSpec, check_dataset_name
from data_contracts.tables.agreement import CLASSIFIER_AGREEMENT, DESCRIPTOR_CORRELATIONS
from data_contracts.tables.attributes import ATTRIBUTES
from data_contracts.tables.contract import TableContract
from data_contracts.tables.evaluations import (
    COMPARISONS,
    METRICS,
    PREDICTIONS,
    SEED_PREDICTIONS,
)
from data_contracts.tables.lesions import LESIONS
from data_contracts.tables.manifest import MANIFEST, PREDICTED_SPLITS, SPLITS, frame_id, ok_rows
from data_contracts.tables.multilabel import MEASURES, MULTILABEL_PREDICTIONS, MULTILABEL_RESULTS
from data_contracts.tables.near_duplicates import NEAR_DUPLICATES
from data_contracts.tables.predictions import IMAGE_PREDICTIONS
from data_contracts.tables.report import LINEAGE, PAPER, REJECTED, RESULTS
from data_contracts.tables.roc import FOLD_SCORES, ROC_COMPARISONS, ROC_RESULTS
from methods.curation.leakage import Leak, find_leaks

ID, OTHER = "a" * 64, "b" * 64

VALID: dict[str, tuple[TableContract, dict[str, Any]]] = {
    "manifest": (
        MANIFEST,
        {
            "image_id": ID,
            "path": "x/1.png",
            "frame": None,
            "drop": None,
            "status": "ok",
            "reason": None,
            "label": "x",
            "split": "train",
            "group_id": "p1",
            "bytes": 9,
            "patient_id": None,
            "center_x": 1.5,
            "center_y": 0.0,
            "width": 3,
            "height": 4,
            "mode": "L",
            "format": "PNG",
            "pixel_sha256": OTHER,
            "perceptual_hash": 2**64 - 1,
        },
    ),
    "near-duplicates": (
        NEAR_DUPLICATES,
        {
            "first_id": ID,
            "second_id": OTHER,
            "first_path": "x/1.png",
            "second_path": "x/2.png",
            "likeness": 0.99,
            "mirrored": False,
            "quarter_turns": 1,
            "inverted": False,
        },
    ),
    "image predictions": (
        IMAGE_PREDICTIONS,
        {
            "image_id": ID,
            "path": "x/1.png",
            "frame": None,
            "split": "held",
            "label": "a",
            "answer": "b",
            "predicted": "b",
            "probability": 0.6,
            "margin": 0.2,
            "runner_up": "a",
            "runner_up_probability": 0.4,
            "labels": None,
            "label_probabilities": None,
            "out_of_distribution": False,
            "neighbour_ids": [OTHER, ID],
            "neighbour_labels": ["b", "a"],
            "neighbour_similarities": [0.9, 0.8],
        },
    ),
    "metrics": (
        METRICS,
        {
            "dataset": "d",
            "study": "s",
            "method": "m",
            "metric": "accuracy",
            "regularisation": "fixed",
            "subject": "all",
            "value": 0.5,
            "ci_low": 0.4,
            "ci_high": 0.6,
            "n": 10,
            "seed": 0,
            "settings": "{}",
            "data_versions": "{}",
        },
    ),
    "predictions": (
        PREDICTIONS,
        {
            "image_id": ID,
            "regularisation": "fixed",
            "split": "test",
            "label": "a",
            "predicted": "a",
            "correct": True,
            "margin": 0.1,
            "probability": 0.7,
            "group_id": None,
        },
    ),
    "predictions over seeds": (
        SEED_PREDICTIONS,
        {
            "method": "cae_512",
            "seed": 0,
            "regularisation": "tuned",
            "labels": "all",
            "image_id": ID,
            "group_id": None,
            "right": 1.0,
        },
    ),
    "comparisons": (
        COMPARISONS,
        {
            "method_a": "a",
            "method_b": "b",
            "regularisation": "tuned",
            "n": 9,
            "only_a_correct": 1,
            "only_b_correct": 2,
            "groups": 4,
            "test": "sign-flip test of groups, mid-p",
            "difference": -0.1,
            "ci_low": -0.3,
            "ci_high": 0.2,
            "detectable": 0.4,
            "p_value": 0.5,
            "p_holm": 0.6,
        },
    ),
    "results": (
        RESULTS,
        {
            "dataset": "d",
            "study": "s",
            "method": "m",
            "title": "M",
            "accuracy": 0.5,
            "ci_low": 0.4,
            "ci_high": 0.6,
            "macro_f1": 0.5,
            "metrics": '{"accuracy": 0.5}',
            "p_holm": None,
            "n_test": 5,
            "n_train": 5,
            "classes": 2,
            "seeds": 1,
            "seconds": 1.0,
            "device": "cpu",
            "notices": "",
        },
    ),
    "paper": (
        PAPER,
        {
            "paper_table": "2",
            "title": "ICA",
            "paper_percent": 58.79,
            "ours_percent": None,
            "ours_ci_low": None,
            "ours_ci_high": None,
            "ours_sd": None,
            "p_holm": None,
            "n_test": None,
            "seeds": None,
            "seconds": None,
            "device": None,
            "note": "not run",
        },
    ),
    "lineage": (
        LINEAGE,
        {
            "dataset": "d",
            "asset": "a",
            "data_version": "1",
            "code_version": "1",
            "fingerprint": "f",
            "run_id": "r",
            "created": "2026-01-01T00:00:00+00:00",
            "seconds": 1.0,
            "peak_memory_mb": 2.0,
            "device": "cpu",
            "rows": 3,
            "inputs": '{"b": "v"}',
        },
    ),
    "multilabel predictions": (
        MULTILABEL_PREDICTIONS,
        {
            "image_id": ID,
            "split": "test",
            "labels": ["a", "b"],
            "predicted": [],
            "scores": [0.1, 0.2],
            "exact": False,
            "group_id": None,
        },
    ),
    "multilabel results": (
        MULTILABEL_RESULTS,
        {
            "method": "m",
            "title": "M",
            **{
                f"{m}{part}": v
                for m in MEASURES
                for part, v in (("", 0.5), ("_low", 0.4), ("_high", 0.6))
            },
            "interval": None,
            "metrics": '{"exact_match": 0.5}',
            "both_empty": 0,
            "p_holm": None,
            "n_test": 4,
            "n_train": 5,
            "labels": 2,
            "seconds": 1.0,
            "device": "cpu",
            "notices": "",
        },
    ),
    "lesions": (
        LESIONS,
        {
            "image_id": ID,
            "center_row": 255.5,
            "center_column": 0.0,
            "marked": False,
            "area_pixels": 9,
            "fault": "",
        },
    ),
    "fold scores": (
        FOLD_SCORES,
        {
            "image_id": ID,
            "lesion_id": ID,
            "group_id": ID,
            "fold": 0,
            "positive": True,
            "probability": 0.5,
            "inner": [None, 0.25],
        },
    ),
    "roc results": (
        ROC_RESULTS,
        {
            "images": "all",
            "method": "m",
            "title": "M",
            "auc": 0.8,
            "auc_sd": 0.1,
            "auc_se": 0.05,
            "pooled_auc": 0.79,
            "pooled_low": 0.7,
            "pooled_high": 0.9,
            "lesion_auc": 0.81,
            "lesion_low": 0.7,
            "lesion_high": 0.9,
            "binormal_a": None,
            "binormal_b": None,
            "n_images": 9,
            "interval": "DeLong",
            "n_lesions": 4,
        },
    ),
    "roc comparisons": (
        ROC_COMPARISONS,
        {
            "method_a": "a",
            "method_b": "b",
            "n_images": 9,
            "difference": 0.1,
            "p_t": 0.2,
            "p_t_bonferroni": 0.6,
            "p_corrected": 0.3,
            "p_corrected_bonferroni": 0.9,
            "pooled_difference": -0.1,
            "p_delong": 0.5,
            "p_delong_bonferroni": 1.0,
        },
    ),
    "agreement": (
        CLASSIFIER_AGREEMENT,
        {
            "method_a": "a",
            "method_b": "b",
            "n_images": 9,
            "both_right": 5,
            "only_a": 2,
            "only_b": 1,
            "both_wrong": 1,
            "kappa": 0.3,
            "kappa_low": 0.1,
            "kappa_high": 0.5,
            "correlation": None,
            "correlation_low": None,
            "correlation_high": None,
            "within_classes": 0.1,
        },
    ),
    "descriptors": (
        DESCRIPTOR_CORRELATIONS,
        {
            "descriptor": "area",
            "family": "size",
            "layer": "fc6",
            "feature": 7,
            "correlation": -0.5,
            "p_value": 0.01,
            "chance": 0.4,
            "of_network": 0.2,
            "of_analytic": 0.3,
            "units": 9,
        },
    ),
    "rejected": (
        REJECTED,
        {"path": "x.png", "frame": None, "status": "rejected", "reason": "broken"},
    ),
    "attributes": (ATTRIBUTES, {"image_id": ID, "name": "sex", "value": "F"}),
}

SEVERAL: dict[str, Any] = {
    "answer": "a|b",
    "predicted": "a|b",
    "runner_up": None,
    "runner_up_probability": None,
    "labels": ["a", "b"],
    "label_probabilities": [0.6, None],
}
"""An image prediction where an image may have several labels."""
BROKEN = [
    ("attributes", {"name": " "}, "name and value are not blank"),
    ("attributes", {"value": ""}, "name and value are not blank"),
    ("manifest", {"status": "odd"}, "status is ok, duplicate or rejected"),
    ("manifest", {"path": "../x"}, "stays under the root"),
    ("manifest", {"path": "/etc/x"}, "stays under the root"),
    ("manifest", {"image_id": "ABC"}, "64 lower-case hexadecimal"),
    ("manifest", {"split": "val"}, "split is train, test, unlabelled or held"),
    ("manifest", {"reason": "why"}, "a row that is not ok has a reason"),
    ("manifest", {"status": "rejected"}, "a row that is not ok has a reason"),
    ("manifest", {"width": None}, "an ok row has an image_id"),
    ("manifest", {"image_id": None}, "an ok row has an image_id"),
    ("manifest", {"split": None}, "an ok row has an image_id"),
    ("manifest", {"height": None}, "an ok row has an image_id"),
    ("manifest", {"mode": None}, "an ok row has an image_id"),
    ("manifest", {"format": None}, "an ok row has an image_id"),
    ("manifest", {"label": None}, "labelled, or its split is unlabelled"),
    ("manifest", {"label": None, "split": "held"}, "labelled, or its split is unlabelled"),
    ("manifest", {"split": "unlabelled"}, "labelled, or its split is unlabelled"),
    ("manifest", {"path": "."}, "stays under the root"),
    ("manifest", {"frame": -1}, "frame is not negative"),
    ("manifest", {"center_x": None}, "a centre has both numbers"),
    ("manifest", {"center_y": -1.0}, "a centre has both numbers"),
    ("near-duplicates", {"quarter_turns": -1}, "quarter_turns lies in 0..3"),
    ("near-duplicates", {"quarter_turns": 4}, "quarter_turns lies in 0..3"),
    ("near-duplicates", {"likeness": 1.01}, "likeness lies in 0..1"),
    ("near-duplicates", {"likeness": float("nan")}, "likeness lies in 0..1"),
    ("image predictions", {"split": "train"}, "neither train nor test"),
    ("image predictions", {"split": "test"}, "neither train nor test"),
    ("image predictions", {"probability": 1.1}, "probabilities lie in 0..1"),
    ("image predictions", {"probability": float("nan")}, "probabilities lie in 0..1"),
    ("image predictions", {"runner_up_probability": 0.7}, "runner-up is not more probable"),
    ("image predictions", {"runner_up_probability": -0.1}, "runner-up is not more probable"),
    ("image predictions", {"runner_up": None}, "one label has one"),
    ("image predictions", {"labels": ["a", "b"]}, "one label has one"),
    ("image predictions", {"label_probabilities": [0.1]}, "one label has one"),
    ("image predictions", SEVERAL | {"runner_up": "a"}, "no runner-up"),
    ("image predictions", SEVERAL | {"label_probabilities": [0.1]}, "a probability in 0..1 each"),
    ("image predictions", SEVERAL | {"label_probabilities": [0.1, 2.0]}, "in 0..1 each"),
    ("image predictions", {"answer": "a"}, "the answer is the predicted class"),
    ("image predictions", {"out_of_distribution": True}, "the answer is the predicted class"),
    ("image predictions", {"margin": -0.1}, "margin is not negative"),
    ("image predictions", {"margin": float("nan")}, "margin is not negative"),
    ("image predictions", {"neighbour_ids": [OTHER]}, "every neighbour has an id"),
    ("image predictions", {"neighbour_labels": ["b", "a", "a"]}, "every neighbour has an id"),
    (
        "image predictions",
        {"neighbour_ids": [], "neighbour_labels": [], "neighbour_similarities": []},
        "at least one",
    ),
    ("metrics", {"value": float("nan")}, "finite number"),
    ("metrics", {"value": 0.9}, "within its interval"),
    ("metrics", {"ci_low": None}, "within its interval"),
    ("metrics", {"n": 0}, "n is positive"),
    ("metrics", {"regularisation": "auto"}, "fixed or tuned"),
    ("predictions", {"regularisation": "auto"}, "fixed or tuned"),
    ("comparisons", {"regularisation": "auto"}, "fixed or tuned"),
    ("predictions over seeds", {"regularisation": "auto"}, "fixed or tuned"),
    ("predictions over seeds", {"right": 1.5}, "lies in 0..1"),
    ("predictions", {"split": "train"}, "only test images"),
    ("predictions", {"correct": False}, "agree"),
    ("predictions", {"margin": -0.1}, "margin is not negative"),
    ("predictions", {"probability": 1.1}, "a probability lies in 0..1"),
    ("comparisons", {"p_value": 1.2}, "p values lie in 0..1"),
    ("comparisons", {"p_holm": 0.1}, "p values lie in 0..1"),
    ("comparisons", {"only_a_correct": 8}, "discordant counts fit n"),
    ("comparisons", {"groups": 10}, "groups fit n"),
    ("comparisons", {"difference": 0.3}, "the difference lies within its interval"),
    ("comparisons", {"detectable": 1.2}, "the detectable difference lies in 0..1"),
    ("results", {"accuracy": 1.5}, "lie in 0..1"),
    ("results", {"accuracy": 0.7}, "within its interval"),
    ("results", {"classes": 1}, "at least 2 classes"),
    ("results", {"title": " "}, "title is not blank"),
    ("results", {"seconds": -1.0}, "seconds is finite"),
    ("results", {"p_holm": 1.1}, "p_holm lies in 0..1"),
    ("results", {"n_train": 0}, "n_test, n_train and seeds are positive"),
    (
        "paper",
        {"ours_percent": 70.0, "ours_ci_low": 50.0, "ours_ci_high": 60.0},
        "our figure lies within its interval",
    ),
    ("paper", {"paper_percent": 101.0}, "0..100"),
    ("paper", {"note": None}, "says why"),
    ("lineage", {"created": "yesterday"}, "time in UTC"),
    ("lineage", {"inputs": "[]"}, "JSON object"),
    ("lineage", {"seconds": -1.0}, "seconds and peak_memory_mb are finite"),
    ("lineage", {"rows": -1}, "rows is not negative"),
    ("lineage", {"run_id": ""}, "not blank"),
    ("multilabel predictions", {"split": "train"}, "only test images"),
    ("multilabel predictions", {"labels": ["b", "a"]}, "labels are sorted"),
    ("multilabel predictions", {"predicted": ["a", "a"]}, "labels are sorted"),
    ("multilabel predictions", {"exact": True}, "exact says whether"),
    ("multilabel results", {"any_match": 0.7}, "within its interval"),
    ("multilabel results", {"exact_match": 0.6}, "an exact match is an any match"),
    ("multilabel results", {"p_holm": 1.1}, "p_holm lies in 0..1"),
    ("multilabel results", {"both_empty": 5}, "counts are positive"),
    ("multilabel results", {"metrics": "exact_match: 0.5"}, "metrics are finite numbers by name"),
    ("results", {"metrics": '{"accuracy": NaN}'}, "metrics are finite numbers by name"),
    ("results", {"metrics": '{"accuracy": "good"}'}, "metrics are finite numbers by name"),
    ("results", {"metrics": "[0.5]"}, "metrics are finite numbers by name"),
    ("multilabel results", {"seconds": float("nan")}, "seconds is finite"),
    ("lesions", {"fault": "no transition"}, "a contour or a fault"),
    ("lesions", {"area_pixels": 0}, "a contour or a fault"),
    ("lesions", {"center_row": -1.0}, "centre is not negative"),
    ("fold scores", {"fold": -1}, "fold is not negative"),
    ("fold scores", {"probability": 1.1}, "probability lies in 0..1"),
    ("fold scores", {"probability": float("nan")}, "probability lies in 0..1"),
    ("fold scores", {"inner": [None, 1.5]}, "inner lies in 0..1"),
    ("fold scores", {"inner": [0.5, 0.5]}, "inner lies in 0..1 and is empty in its own fold"),
    ("agreement", {"both_right": 6}, "the four counts are those of all images"),
    ("agreement", {"within_classes": 1.5}, "kappa and correlations lie in -1..1"),
    ("agreement", {"kappa": 0.6}, "a figure lies within its interval"),
    ("descriptors", {"of_network": -2.0}, "correlations lie in -1..1"),
    ("descriptors", {"chance": 1.5}, "p_value and chance lie in 0..1"),
    ("descriptors", {"units": 2}, "there are three units or more"),
    ("roc results", {"auc": 1.1}, "an AUC lies in 0..1"),
    ("roc results", {"pooled_auc": 0.6}, "within its interval"),
    ("roc results", {"lesion_auc": 0.95}, "within its interval"),
    ("roc results", {"auc_sd": float("nan")}, "SD and SE are not negative"),
    ("roc results", {"n_lesions": 10}, "no lesion without an image"),
    ("roc comparisons", {"p_t": -0.1}, "p values lie in 0..1"),
    ("roc comparisons", {"p_delong_bonferroni": 0.4}, "corrected ones are no smaller"),
    ("roc comparisons", {"difference": 1.5}, "a difference lies in -1..1"),
    ("rejected", {"path": "/etc/x"}, "stays under the root"),
    ("rejected", {"status": "ok"}, "duplicate or rejected"),
    ("rejected", {"reason": ""}, "reason is not blank"),
]


def table_of(name: str, *changes: dict[str, Any]) -> pa.Table:
    contract, row = VALID[name]
    return pa.Table.from_pylist([{**row, **change} for change in changes], schema=contract.schema)


@pytest.mark.parametrize("name", VALID)
def test_a_valid_table_passes_and_other_columns_do_not(name: str) -> None:
    contract, _ = VALID[name]
    table = table_of(name, {})
    assert contract.check(table, "f.parquet") is table
    with pytest.raises(ContractError, match=r"f\.parquet breaks a rule .* columns"):
        contract.check(table.append_column("extra", pa.array([1])), "f.parquet")


@pytest.mark.parametrize(("name", "change", "rule"), BROKEN)
def test_each_rule(name: str, change: dict[str, Any], rule: str) -> None:
    contract, _ = VALID[name]
    with pytest.raises(ContractError) as caught:
        contract.check(table_of(name, change), "f.parquet")
    assert rule in str(caught.value)
    assert "(row 0, 1 in all)" in str(caught.value)
    assert str(caught.value).startswith("f.parquet ")


def test_a_group_in_two_folds_cannot_be_stored() -> None:
    apart = {"image_id": OTHER, "fold": 1, "inner": [0.5, None]}
    assert FOLD_SCORES.violations(table_of("fold scores", {}, {**apart, "group_id": OTHER})) == []
    with pytest.raises(ContractError, match="no group is in two folds"):
        FOLD_SCORES.check(table_of("fold scores", {}, apart), "f")


def test_no_rule_is_forgotten() -> None:
    over_several_rows = {
        "an image_id is ok once",
        "the methods of a study are tested on equally many images",
        "no group is in two folds",
    }
    for name, (contract, _) in VALID.items():
        broken = [text for other, _, text in BROKEN if other == name]
        assert [
            rule
            for rule in contract.rules.keys() - over_several_rows
            if not any(text in rule for text in broken)
        ] == []


def test_a_key_twice_and_an_empty_cell() -> None:
    for change in ({}, {"frame": 0}):
        with pytest.raises(ContractError, match=r"path \+ frame is unique \(row 1, 1 in all\)"):
            MANIFEST.check(table_of("manifest", change, {**change, "image_id": OTHER}), "f")
    for name, key in (
        ("near-duplicates", r"first_id \+ second_id"),
        ("image predictions", "image_id"),
    ):
        with pytest.raises(ContractError, match=rf"{key} is unique \(row 1, 1 in all\)"):
            VALID[name][0].check(table_of(name, {}, {}), "f")
    loose = pa.schema([field.with_nullable(True) for field in REJECTED.schema])
    empty = pa.Table.from_pylist(
        [{"path": None, "status": "rejected", "reason": "x"}], schema=loose
    )
    assert REJECTED.violations(empty)


def test_rules_over_several_rows() -> None:
    with pytest.raises(ContractError, match="tested on equally many images"):
        RESULTS.check(table_of("results", {}, {"method": "n", "n_test": 6}), "f")
    with pytest.raises(ContractError, match="an image_id is ok once"):
        MANIFEST.check(table_of("manifest", {}, {"path": "y"}), "f")
    copies = {"status": "duplicate", "reason": "same bytes"}
    assert (
        MANIFEST.violations(
            table_of("manifest", {}, {"path": "y", **copies}, {"path": "z", **copies})
        )
        == []
    )


def test_frames_of_one_file_are_rows_of_one_path() -> None:
    ids = [frame_id(ID, frame) for frame in range(3)]
    assert len({*ids, ID}) == 4
    frames = [{"frame": frame, "image_id": image_id} for frame, image_id in enumerate(ids)]
    assert MANIFEST.violations(table_of("manifest", *frames)) == []


def test_slices_of_a_volume_have_other_ids_along_each_axis() -> None:
    """Those of the default axis are the ids that frames have always had."""
    assert frame_id(ID, 3, "axial") == frame_id(ID, 3) == frame_id(ID, 3, None)
    assert len({frame_id(ID, 3, axis) for axis in ("axial", "coronal", "sagittal")}) == 3
    assert frame_id(ID, None, "coronal") == ID  # one image is the same whatever the axis
    # printf "ab#3" | sha256sum
    assert frame_id("ab", 3) == "999436552b80ee25146e4fdd6d232ae5ba63c66adb8b64ee0b00acd6b1496e87"


@pytest.mark.parametrize("split", SPLITS)
def test_splits(split: str) -> None:
    label = None if split == "unlabelled" else "x"
    assert MANIFEST.violations(table_of("manifest", {"split": split, "label": label})) == []
    assert (split in PREDICTED_SPLITS) == (
        IMAGE_PREDICTIONS.violations(table_of("image predictions", {"split": split})) == []
    )


def test_several_labels_may_be_predicted() -> None:
    assert IMAGE_PREDICTIONS.violations(table_of("image predictions", SEVERAL)) == []


def test_a_group_on_both_sides_may_be_stored_and_is_found() -> None:
    table = table_of(
        "manifest", {}, {"path": "y", "image_id": OTHER, "pixel_sha256": ID, "split": "test"}
    )
    assert MANIFEST.violations(table) == []
    assert find_leaks(table.to_pylist()) == [Leak("group", "x/1.png", "y", ("group_id",))]


def test_ok_rows_are_sorted_by_id_and_ok() -> None:
    table = table_of(
        "manifest",
        {"image_id": OTHER, "path": "1"},
        {"path": "2"},
        {"image_id": "c" * 64, "path": "3", "status": "rejected", "reason": "x"},
    )
    assert ok_rows(table)["image_id"].to_pylist() == [ID, OTHER]


@pytest.mark.parametrize("name", ["a", "chest-xray_2", "0", "x" * 63])
def test_names_that_are_allowed(name: str) -> None:
    assert check_dataset_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "A", "a.b", "a b", "_a", "-a", "x" * 64, "a/b", "a,b", "a...b", "a\n", "ä"]
)
def test_names_that_are_not(name: str) -> None:
    with pytest.raises(InputError, match="is not allowed"):
        check_dataset_name(name)


@pytest.mark.parametrize(
    "change",
    [
        {"root": "relative"},
        {"test_fraction": 0.9},
        {"split": "odd"},
        {"name": "A"},
        {"extra": 1},
        {"task": "several"},
        {"new_labels": "test"},
        {"split_seed": -1},
        {"slice_axis": "oblique"},
        {"split": "stratified", "keep_given_split": True},
    ],
)
def test_a_specification_that_breaks_its_rules(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DatasetSpec.model_validate({"name": "a", "root": Path("/x"), **change})


def test_unless_said_otherwise_names_are_hidden_and_new_labels_held() -> None:
    spec = DatasetSpec(name="a", root=Path("/x"))
    assert (spec.show_names, spec.allow_burned_in, spec.new_labels, spec.task) == (
        False,
        False,
        "hold",
        "single-label",
    )
