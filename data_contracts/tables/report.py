"""Tables of a report: results by method, the paper's figures and ours, lineage, rejected files."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from data_contracts.tables.contract import TableContract
from data_contracts.tables.rules import (
    not_a_measure,
    not_figures,
    not_unit,
    outside_interval,
    outside_root,
    rows_where,
    within,
)


def _filled(name: str, kind: pa.DataType) -> pa.Field[Any]:
    """Return a column without empty cells."""
    return pa.field(name, kind, nullable=False)


def _optional(name: str, kind: pa.DataType) -> pa.Field[Any]:
    """Return a column that may have empty cells."""
    return pa.field(name, kind, nullable=True)


def _blank(*texts: str | None) -> bool:
    """Whether any text is empty or white space."""
    return not all(text and text.strip() for text in texts)


def _not_utc(value: object) -> bool:
    """Whether a text is no ISO 8601 time in UTC."""
    try:
        return datetime.fromisoformat(str(value)).utcoffset() != timedelta(0)
    except ValueError:
        return True


def _not_text_map(value: object) -> bool:
    """Whether a text is no JSON object of texts, none of them empty."""
    try:
        parsed = json.loads(str(value))
    except ValueError:
        return True
    return not isinstance(parsed, dict) or any(
        not isinstance(v, str) or not v for v in parsed.values()
    )


def _test_sets_differ(table: pa.Table) -> list[int]:
    """Return the rows with another number of test images than the first row of their study."""
    first: dict[tuple[object, object], object] = {}
    rows = table.select(["dataset", "study", "n_test"]).to_pylist()
    return [
        i
        for i, r in enumerate(rows)
        if first.setdefault((r["dataset"], r["study"]), r["n_test"]) != r["n_test"]
    ]


RESULTS = TableContract(
    name="result",
    suffix=".results.parquet",
    schema=pa.schema(
        [
            _filled("dataset", pa.string()),
            _filled("study", pa.string()),
            _filled("method", pa.string()),
            _filled("title", pa.string()),  # name of the method in the report
            _filled("accuracy", pa.float64()),  # share of the test images, 0 to 1
            # 95 %; empty where all test images are of one patient
            _optional("ci_low", pa.float64()),
            _optional("ci_high", pa.float64()),
            # method that gave the interval, and where it rests on too few patients, that it does
            _optional("interval", pa.string()),
            _filled("macro_f1", pa.float64()),  # 0 to 1
            # JSON: metric -> value over all test images, of every metric of the registry
            _filled("metrics", pa.string()),
            # paired test against the study's main method; empty for itself
            _optional("test", pa.string()),
            _optional("p_holm", pa.float64()),
            _filled("n_test", pa.int64()),  # test images
            _filled("n_train", pa.int64()),  # training images
            _filled("classes", pa.int64()),  # classes of the dataset
            _filled("seeds", pa.int64()),  # number of seeds whose mean the figures are
            # wall time of every stage of this method, image preparation excluded
            _filled("seconds", pa.float64()),
            _filled("device", pa.string()),
            _filled("notices", pa.string()),  # one a line; empty where there is none
        ]
    ),
    key=("dataset", "study", "method"),
    rules={
        "title is not blank": rows_where("title", _blank),
        "accuracy, its interval and macro_f1 lie in 0..1": rows_where(
            ("accuracy", "ci_low", "ci_high", "macro_f1"), not_unit
        ),
        "accuracy lies within its interval": rows_where(
            ("accuracy", "ci_low", "ci_high"), outside_interval
        ),
        "metrics are finite numbers by name": rows_where("metrics", not_figures),
        "p_holm lies in 0..1": rows_where("p_holm", not_unit),
        "n_test, n_train and seeds are positive": rows_where(
            ("n_test", "n_train", "seeds"), lambda *counts: min(counts) < 1
        ),
        "there are at least 2 classes": rows_where("classes", lambda n: n < 2),
        "seconds is finite and not negative": rows_where("seconds", not_a_measure),
        "the methods of a study are tested on equally many images": _test_sets_differ,
    },
)
"""One row for each method of a study on a dataset: its accuracy, size, time and notices."""

PAPER = TableContract(
    name="paper comparison",
    suffix=".paper.parquet",
    schema=pa.schema(
        [
            _filled("paper_table", pa.string()),  # number of the table in the paper
            _filled("title", pa.string()),  # title of the row in the paper
            _filled("paper_percent", pa.float64()),  # figure of the paper
            _optional("ours_percent", pa.float64()),  # figure of this run
            _optional("ours_ci_low", pa.float64()),  # 95 %
            _optional("ours_ci_high", pa.float64()),
            _optional("ours_sd", pa.float64()),  # standard deviation over seeds, percentage points
            _optional("p_holm", pa.float64()),  # paired test against the study's main method
            _optional("n_test", pa.int64()),
            _optional("seeds", pa.int64()),
            _optional("seconds", pa.float64()),
            _optional("device", pa.string()),
            # reason why there is no figure of ours, or a remark on it
            _optional("note", pa.string()),
        ]
    ),
    key=("paper_table", "title"),
    rules={
        "a percentage lies in 0..100": rows_where(
            ("paper_percent", "ours_percent", "ours_ci_low", "ours_ci_high"),
            lambda *percents: not all(within(percent, 0, 100) for percent in percents),
        ),
        "our figure lies within its interval": rows_where(
            ("ours_percent", "ours_ci_low", "ours_ci_high"), outside_interval
        ),
        "a row without a figure of ours says why": rows_where(
            ("ours_percent", "note"), lambda percent, note: percent is None and _blank(note)
        ),
    },
)
"""One row for each figure of the paper, with the figure of this run."""

LINEAGE = TableContract(
    name="lineage",
    suffix=".lineage.parquet",
    schema=pa.schema(
        [
            _filled("dataset", pa.string()),  # "" for an output over all datasets
            _filled("asset", pa.string()),
            _filled("data_version", pa.string()),
            _filled("code_version", pa.string()),
            _filled("fingerprint", pa.string()),
            _filled("run_id", pa.string()),
            _filled("created", pa.string()),  # UTC, ISO 8601
            _filled("seconds", pa.float64()),
            _filled("peak_memory_mb", pa.float64()),  # 10^6 bytes
            _filled("device", pa.string()),
            _optional("rows", pa.int64()),
            _filled("inputs", pa.string()),  # JSON: asset -> data version
        ]
    ),
    key=("dataset", "asset"),
    rules={
        "asset, versions, fingerprint and run_id are not blank": rows_where(
            ("asset", "data_version", "code_version", "fingerprint", "run_id"), _blank
        ),
        "created is a time in UTC": rows_where("created", _not_utc),
        "seconds and peak_memory_mb are finite and not negative": rows_where(
            ("seconds", "peak_memory_mb"),
            lambda seconds, memory: not_a_measure(seconds) or not_a_measure(memory),
        ),
        "rows is not negative": rows_where("rows", lambda rows: not within(rows, 0, math.inf)),
        "inputs is a JSON object, asset to data version": rows_where("inputs", _not_text_map),
    },
)
"""One row for each stored output: what it was computed from, when, where and how long."""

REJECTED = TableContract(
    name="rejected file",
    suffix=".rejected.parquet",
    schema=pa.schema(
        [
            _filled("path", pa.string()),  # as in the manifest
            _optional("frame", pa.int64()),
            _filled("status", pa.string()),  # duplicate | rejected
            _filled("reason", pa.string()),
        ]
    ),
    key=("path", "frame"),
    rules={
        "path is relative and stays under the root": rows_where("path", outside_root),
        "status is duplicate or rejected": rows_where(
            "status", lambda status: status not in ("duplicate", "rejected")
        ),
        "reason is not blank": rows_where("reason", _blank),
    },
)
"""One row for each file that is not used, with the reason."""
