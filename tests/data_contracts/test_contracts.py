"""Every rule of every table contract is broken once; the message names the rule, the row and the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from data_contracts.dataset import DatasetSpec, check_dataset_name
from data_contracts.errors import ContractError, InputError
from data_contracts.feature_shard import INDEX
from data_contracts.manifest import MANIFEST, ok_rows
from data_contracts.metrics import COMPARISONS, METRICS, PREDICTIONS
from data_contracts.report_tables import LINEAGE, PAPER, REJECTED, RESULTS
from data_contracts.table import TableContract

ID, OTHER = "a" * 64, "b" * 64

VALID: dict[str, tuple[TableContract, dict[str, Any]]] = {
    "manifest": (
        MANIFEST,
        {
            "image_id": ID,
            "path": "x/1.png",
            "status": "ok",
            "reason": None,
            "label": "x",
            "split": "train",
            "group_id": "p1",
            "bytes": 9,
            "width": 3,
            "height": 4,
            "mode": "L",
            "format": "PNG",
        },
    ),
    "index": (INDEX, {"shard": "s.h5", "rows": 1, "sha256": ID, "bytes": 8, "image_ids": [ID]}),
    "metrics": (
        METRICS,
        {
            "dataset": "d",
            "study": "s",
            "method": "m",
            "metric": "accuracy",
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
        {"image_id": ID, "split": "test", "label": "a", "predicted": "a", "correct": True, "margin": 0.1, "group_id": None},
    ),
    "comparisons": (
        COMPARISONS,
        {"method_a": "a", "method_b": "b", "n": 9, "only_a_correct": 1, "only_b_correct": 2, "p_value": 0.5, "p_holm": 0.6},
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
            "p_holm": None,
            "n_test": 5,
            "n_train": 5,
            "classes": 2,
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
    "rejected": (REJECTED, {"path": "x.png", "status": "rejected", "reason": "broken"}),
}

BROKEN = [
    ("manifest", {"status": "odd"}, "status is ok, duplicate or rejected"),
    ("manifest", {"path": "../x"}, "stays under the root"),
    ("manifest", {"path": "/etc/x"}, "stays under the root"),
    ("manifest", {"image_id": "ABC"}, "64 lower-case hexadecimal"),
    ("manifest", {"split": "val"}, "split is train, test or unlabelled"),
    ("manifest", {"reason": "why"}, "a row that is not ok has a reason"),
    ("manifest", {"status": "rejected"}, "a row that is not ok has a reason"),
    ("manifest", {"width": None}, "an ok row has an image_id"),
    ("manifest", {"label": None}, "labelled, or its split is unlabelled"),
    ("index", {"shard": "../s.h5"}, "plain file name"),
    ("index", {"rows": 0}, "rows is between 1 and 1024"),
    ("index", {"image_ids": [ID, OTHER]}, "one entry a row"),
    ("metrics", {"value": float("nan")}, "finite number"),
    ("metrics", {"value": 0.9}, "within its interval"),
    ("metrics", {"ci_low": None}, "within its interval"),
    ("metrics", {"n": 0}, "n is positive"),
    ("predictions", {"split": "train"}, "only test images"),
    ("predictions", {"correct": False}, "agree"),
    ("predictions", {"margin": -0.1}, "margin is not negative"),
    ("comparisons", {"p_value": 1.2}, "p values lie in 0..1"),
    ("comparisons", {"p_holm": 0.1}, "p values lie in 0..1"),
    ("comparisons", {"only_a_correct": 8}, "discordant counts fit n"),
    ("results", {"accuracy": 1.5}, "lie in 0..1"),
    ("results", {"accuracy": 0.7}, "within its interval"),
    ("results", {"classes": 1}, "at least 2 classes"),
    ("results", {"title": " "}, "title is not blank"),
    ("results", {"seconds": -1.0}, "seconds is finite"),
    ("paper", {"paper_percent": 101.0}, "0..100"),
    ("paper", {"note": None}, "says why"),
    ("lineage", {"created": "yesterday"}, "time in UTC"),
    ("lineage", {"inputs": "[]"}, "JSON object"),
    ("lineage", {"run_id": ""}, "not blank"),
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


def test_a_key_twice_and_an_empty_cell() -> None:
    with pytest.raises(ContractError, match=r"path is unique \(row 1, 1 in all\)"):
        MANIFEST.check(table_of("manifest", {}, {"image_id": OTHER}), "f")
    loose = pa.schema([field.with_nullable(True) for field in REJECTED.schema])
    empty = pa.Table.from_pylist([{"path": None, "status": "rejected", "reason": "x"}], schema=loose)
    assert REJECTED.violations(empty)


def test_rules_over_several_rows_of_a_manifest() -> None:
    with pytest.raises(ContractError, match="an image_id is ok once"):
        MANIFEST.check(table_of("manifest", {}, {"path": "y"}), "f")
    with pytest.raises(ContractError, match="a group is on one side of the split"):
        MANIFEST.check(table_of("manifest", {}, {"path": "y", "image_id": OTHER, "split": "test"}), "f")


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


@pytest.mark.parametrize("name", ["", "A", "a.b", "a b", "_a", "-a", "x" * 64, "a/b", "a,b", "a...b", "a\n", "ä"])
def test_names_that_are_not(name: str) -> None:
    with pytest.raises(InputError, match="is not allowed"):
        check_dataset_name(name)


@pytest.mark.parametrize("change", [{"root": "relative"}, {"test_fraction": 0.9}, {"split": "odd"}, {"name": "A"}, {"extra": 1}])
def test_a_specification_that_breaks_its_rules(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DatasetSpec.model_validate({"name": "a", "root": Path("/x"), **change})
