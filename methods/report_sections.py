"""What the report says: its tables, and its verdict, from the rows of the contracts.

Inputs are what ``pa.Table.to_pylist()`` gives for a table of :mod:`data_contracts.metrics` or
:mod:`data_contracts.report_tables`. Nothing is computed here that a reader could take for a measurement: figures are
passed on, at most averaged over seeds, and the caption says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from data_contracts.output_record import OutputRecord
from data_contracts.study import Choice, PaperTable
from methods.report_document import Cell, Kind, Table, p_value

Row = Mapping[str, Any]
Settings = Mapping[str, Mapping[str, object]]
"""Asset -> setting -> value."""
Estimate = tuple[float, float | None, float | None]
"""Percentage and its 95 % interval."""

SIGNIFICANT = 0.05
"""A Holm-corrected p value below it is called a difference."""

REJECTED_SHOWN = 200
NOT_RUN = "not part of this run"


def _table(
    title: str,
    columns: Mapping[str, Kind],
    rows: Iterable[tuple[Cell, ...]],
    caption: str,
    notices: Sequence[str],
    shown: int | None = None,
) -> Table:
    return Table(title, tuple(columns), tuple(rows), caption, tuple(columns.values()), tuple(notices), shown)


def notices_of(results: Sequence[Row]) -> tuple[str, ...]:
    """The notices of RESULTS rows, each once; one that does not hold for every row names its methods."""
    titles: dict[str, list[str]] = {}
    for row in results:
        for notice in str(row["notices"]).splitlines():
            titles.setdefault(notice, []).append(row["title"])
    return tuple(n if len(t) == len(results) else f"{n} ({', '.join(t)})" for n, t in titles.items())


# Results ------------------------------------------------------------------------------------------------------------------


def results_table(results: Sequence[Row]) -> Table:
    """One row a method, in the order given, from rows of RESULTS; its notices are theirs."""
    main = [row["title"] for row in results if row["p_holm"] is None]
    against = f"“{main[0]}”" if len(main) == 1 else "the main method"
    return _table(
        "Results by method",
        {
            "Method": "text",
            "Accuracy, %": "percent",
            "95 % low": "percent",
            "95 % high": "percent",
            "Macro F1, %": "percent",
            "p (Holm)": "p",
            "Test images": "count",
            "Training images": "count",
            "Classes": "count",
            "Seconds": "seconds",
            "Device": "text",
        },
        [
            (
                row["title"],
                100 * row["accuracy"],
                100 * row["ci_low"],
                100 * row["ci_high"],
                100 * row["macro_f1"],
                row["p_holm"],
                row["n_test"],
                row["n_train"],
                row["classes"],
                row["seconds"],
                row["device"],
            )
            for row in results
        ],
        "Accuracy is the share of test images whose predicted class is right, with a bootstrap 95 % interval. Macro F1 gives "
        f"every class the same weight. p is from an exact McNemar test against {against} on the same test images, corrected "
        "by Holm for the number of comparisons.",
        notices_of(results),
    )


def comparison_table(comparisons: Sequence[Row], titles: Mapping[str, str], notices: Sequence[str] = ()) -> Table:
    """Every pair of methods, from rows of COMPARISONS; ``titles`` is method -> title."""

    def reading(row: Row) -> str:
        if row["p_holm"] >= SIGNIFICANT:
            return "no measurable difference"
        return "A is better" if row["only_a_correct"] > row["only_b_correct"] else "B is better"

    return _table(
        "Methods compared in pairs",
        {
            "Method A": "text",
            "Method B": "text",
            "Test images": "count",
            "Only A right": "count",
            "Only B right": "count",
            "p": "p",
            "p (Holm)": "p",
            "Reading": "text",
        },
        [
            (
                titles.get(row["method_a"], row["method_a"]),
                titles.get(row["method_b"], row["method_b"]),
                row["n"],
                row["only_a_correct"],
                row["only_b_correct"],
                row["p_value"],
                row["p_holm"],
                reading(row),
            )
            for row in comparisons
        ],
        "Exact McNemar test, two-sided, on the test images that only one of the two methods gets right. A difference is called "
        f"one where the p value, corrected by Holm over all rows, is below {SIGNIFICANT}. No measurable difference does not "
        "mean that the two are equal.",
        notices,
    )


def per_class_table(metrics: Sequence[Row], method: str, title: str, notices: Sequence[str] = ()) -> Table:
    """Precision, recall and F1 of each class for one method, from rows of METRICS; classes in the order of the rows.

    Where a class was measured with several seeds, their mean.
    """
    found: dict[str, dict[str, list[float]]] = {}
    images: dict[str, int] = {}
    for row in metrics:
        if row["method"] == method and row["metric"] in ("precision", "recall", "f1"):
            found.setdefault(row["subject"], {}).setdefault(row["metric"], []).append(row["value"])
            if row["metric"] == "recall":
                images[row["subject"]] = row["n"]

    def percent(values: Sequence[float] | None) -> float | None:
        return 100 * sum(values) / len(values) if values else None

    seeds = max((len(values) for by_metric in found.values() for values in by_metric.values()), default=1)
    return _table(
        f"Each class: {title}",
        {"Class": "text", "Test images": "count", "Precision, %": "percent", "Recall, %": "percent", "F1, %": "percent"},
        [
            (name, images.get(name), percent(m.get("precision")), percent(m.get("recall")), percent(m.get("f1")))
            for name, m in found.items()
        ],
        "Precision: of the images called this class, the share that is. Recall: of the images of this class, the share that is "
        "called so. F1 is their harmonic mean." + (f" Means over {seeds} seeds." if seeds > 1 else ""),
        notices,
    )


def label_budget_table(metrics: Sequence[Row], titles: Mapping[str, str], notices: Sequence[str] = ()) -> Table:
    """Accuracy with few labels, from METRICS rows ``few_label_accuracy`` ("5 labels a class"); methods as in ``titles``.

    Each row is the mean over seeded draws, with the interval of that mean.
    """
    few = [row for row in metrics if row["metric"] == "few_label_accuracy" and row["method"] in titles]
    order = list(titles)

    def place(row: Row) -> tuple[int, int]:
        return int(str(row["subject"]).split()[0]), order.index(row["method"])

    return _table(
        "Accuracy with few labels",
        {
            "Labels": "text",
            "Method": "text",
            "Accuracy, %": "percent",
            "95 % low": "percent",
            "95 % high": "percent",
            "Draws": "count",
        },
        [
            (
                row["subject"],
                titles[row["method"]],
                100 * row["value"],
                None if row["ci_low"] is None else 100 * row["ci_low"],
                None if row["ci_high"] is None else 100 * row["ci_high"],
                json.loads(row["settings"]).get("label_repeats"),
            )
            for row in sorted(few, key=place)
        ],
        "The classifier sees only so many labelled training images of each class; the features are the same. Accuracy is the "
        "mean over draws of the labelled images, with Student's interval of that mean.",
        notices,
    )


# The paper ----------------------------------------------------------------------------------------------------------------


def paper_rows(
    paper: PaperTable, ours: Mapping[str, Estimate], notes: Mapping[str, str] | None = None
) -> list[dict[str, str | float | None]]:
    """Rows of PAPER for one table of a paper, in its own order.

    Args:
        paper: the table.
        ours: our figures, under the name of the method or, for a row without a method, under the row's title.
        notes: what to say about a row, under the same keys; a row without a figure and a note is "not part of this run".
    """
    rows: list[dict[str, str | float | None]] = []
    for row in paper.rows:
        key = row.title if row.method is None else row.method
        percent, low, high = ours.get(key, (None, None, None))
        rows.append(
            {
                "paper_table": paper.number,
                "title": row.title,
                "paper_percent": row.percent,
                "ours_percent": percent,
                "ours_ci_low": low,
                "ours_ci_high": high,
                "note": (notes or {}).get(key, NOT_RUN if percent is None else None),
            }
        )
    return rows


def paper_table(
    paper: PaperTable, ours: Mapping[str, Estimate], notes: Mapping[str, str] | None = None, notices: Sequence[str] = ()
) -> Table:
    """A paper's table beside ours, row by row; arguments as for :func:`paper_rows`."""
    return _table(
        f"The paper's table {paper.number}: {paper.title}",
        {
            "Row of the paper": "text",
            "Paper, %": "percent",
            "This run, %": "percent",
            "95 % low": "percent",
            "95 % high": "percent",
            "Note": "text",
        },
        [
            (r["title"], r["paper_percent"], r["ours_percent"], r["ours_ci_low"], r["ours_ci_high"], r["note"] or "")
            for r in paper_rows(paper, ours, notes)
        ],
        f"Measured: {paper.measure}. The paper's data: {paper.data}. The figures of this run are for the data of this report; "
        "unless that is the paper's own data, with its own split, the two columns are not comparable.",
        notices,
    )


def choices_table(choices: Sequence[Choice], settings: Settings) -> Table:
    """What the paper leaves open, what is done here, and the value of each setting in this run."""

    def current(switch: str) -> str:
        parts = []
        for name in (part.strip() for part in switch.split(",")):
            values = {_json(of_asset[name]) for of_asset in settings.values() if name in of_asset}
            parts += [f"{name} = {' / '.join(sorted(values))}"] if values else []
        return ", ".join(parts)

    return _table(
        "Choices the paper leaves open",
        {"Point": "text", "The paper": "text", "Here": "text", "Setting that changes it": "text", "In this run": "text"},
        [(c.point, c.paper, c.ours, "" if c.switch == "-" else c.switch, current(c.switch)) for c in choices],
        "Here: what is done unless a setting says otherwise. In this run: the settings that were in force.",
        (),
    )


# What it was made from ----------------------------------------------------------------------------------------------------


def settings_table(settings: Settings) -> Table:
    """Every setting of every stage, as it was in force."""
    return _table(
        "Settings",
        {"Stage": "text", "Setting": "text", "Value": "text"},
        [(asset, name, _json(value)) for asset, of_asset in settings.items() for name, value in of_asset.items()],
        "Defaults are filled in.",
        (),
    )


def _json(value: object) -> str:
    """A setting's value as it can be typed after ``--set name=``."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def rejected_table(rejected: Sequence[Row]) -> Table:
    """Files that were left out, from rows of REJECTED; a page shows the first 200, a CSV file has all."""
    return _table(
        "Files left out",
        {"File": "text", "Status": "text", "Reason": "text"},
        [
            (row["path"] if row["frame"] is None else f"{row['path']}, frame {row['frame']}", row["status"], row["reason"])
            for row in rejected
        ],
        "A duplicate has the same bytes as a file that is used.",
        (),
        REJECTED_SHOWN,
    )


def near_duplicates_table(pairs: Sequence[Row]) -> Table:
    """Pairs across the split, from rows of NEAR_DUPLICATES, the most similar first; a CSV file has all."""
    return _table(
        "Near-duplicates across the split",
        {"Training image": "text", "Test image": "text", "Cosine": "text", "Hash bits": "count", "Mirrored": "text"},
        [
            (row["train_path"], row["test_path"], f"{row['similarity']:.3f}", row["distance"], "yes" if row["mirrored"] else "no")
            for row in pairs
        ],
        "Alike in a perceptual hash and in conv5. Where there are many, draw a split by patient.",
        (),
        REJECTED_SHOWN,
    )


def lineage_rows(records: Sequence[OutputRecord]) -> list[dict[str, str | float | int | None]]:
    """Rows of LINEAGE, in the order of the records."""
    return [
        {
            "dataset": r.dataset,
            "asset": r.asset,
            "data_version": r.data_version,
            "code_version": r.code_version,
            "fingerprint": r.fingerprint,
            "run_id": r.run_id,
            "created": r.created,
            "seconds": r.seconds,
            "peak_memory_mb": r.peak_memory_bytes / 1e6,
            "device": r.device,
            "rows": r.rows,
            "inputs": json.dumps(r.inputs, sort_keys=True),
        }
        for r in records
    ]


def stale_inputs(records: Sequence[OutputRecord]) -> tuple[str, ...]:
    """One sentence for each output that was made from another version of an input than the one recorded now."""
    now = {(r.dataset, r.asset): r.data_version for r in records}
    return tuple(
        f"STALE: {r.asset} was made from {name} {used}, which is now {now[r.dataset, name]}; run the study again"
        for r in records
        for name, used in sorted(r.inputs.items())
        if now.get((r.dataset, name), used) != used
    )


def lineage_table(records: Sequence[OutputRecord]) -> Table:
    """What every output was made from, when, where and by which run; a stale output is a notice."""
    return _table(
        "Lineage",
        {
            "Output": "text",
            "Data version": "code",
            "Code version": "code",
            "Made from": "code",
            "Rows": "count",
            "Seconds": "seconds",
            "Peak memory, MB": "megabytes",
            "Device": "text",
            "Created (UTC)": "text",
            "Fingerprint": "code",
            "Dagster run": "code",
        },
        [
            (
                r.asset,
                r.data_version,
                r.code_version,
                ", ".join(f"{name} {version}" for name, version in sorted(r.inputs.items())) or None,
                r.rows,
                r.seconds,
                r.peak_memory_bytes / 1e6,
                r.device,
                r.created,
                r.fingerprint,
                r.run_id,
            )
            for r in records
        ],
        "A data version is a hash of the content: the same version is the same numbers. A fingerprint covers the code version, "
        "the settings and the input versions. Peak memory is of the process up to then.",
        stale_inputs(records),
    )


# The verdict --------------------------------------------------------------------------------------------------------------

_MAIN, _MAIN_NAME = "cae", "the auto-encoder (CAE)"
_REFERENCES = {"conv5": "raw conv5 features", "random_cae": "random filters"}


def verdict(results: Sequence[Row], comparisons: Sequence[Row]) -> str:
    """Whether the CAE beats raw conv5 and random filters on this data, in plain words.

    A difference is claimed only where the Holm-corrected p of McNemar's test is below 0.05; its direction is that of the
    test images only one method gets right.

    Args:
        results: rows of RESULTS.
        comparisons: rows of COMPARISONS.
    """
    accuracy = {row["method"]: 100 * row["accuracy"] for row in results}
    if _MAIN not in accuracy:
        return f"{_capital(_MAIN_NAME)} was {NOT_RUN}, so nothing is said about it."
    outcome: dict[str, str] = {}
    details = []
    for name, title in _REFERENCES.items():
        row = next((r for r in comparisons if {r["method_a"], r["method_b"]} == {_MAIN, name}), None)
        if row is None or name not in accuracy:
            outcome[name] = "unknown"
            details.append(f"There is no comparison with {title}: {NOT_RUN}.")
            continue
        a_better = row["only_a_correct"] > row["only_b_correct"]
        ahead = a_better == (row["method_a"] == _MAIN)
        p = p_value(row["p_holm"])
        p = p if p.startswith("<") else f"= {p}"
        figures = f"{accuracy[_MAIN]:.2f} % against {accuracy[name]:.2f} %, p {p}"
        if row["p_holm"] >= SIGNIFICANT:
            outcome[name] = "same"
            details.append(f"No measurable difference from {title} ({figures}), which is not proof that there is none.")
        else:
            outcome[name] = "better" if ahead else "worse"
            details.append(f"{outcome[name].capitalize()} than {title} ({figures}).")
    notices = notices_of(results)
    caution = [f"Read this with: {'; '.join(notices)}."] if notices else []
    return " ".join([_lead(outcome), *details, "p: exact McNemar test, Holm-corrected.", *caution])


def _lead(outcome: Mapping[str, str]) -> str:
    beaten = [_REFERENCES[n] for n, o in outcome.items() if o == "better"]
    unbeaten = [_REFERENCES[n] for n, o in outcome.items() if o in ("same", "worse")]
    if beaten and unbeaten:
        return f"On this data {_MAIN_NAME} beats {beaten[0]} but not {unbeaten[0]}."
    if beaten:
        return f"On this data {_MAIN_NAME} beats {' and '.join(beaten)}."
    if len(unbeaten) > 1:
        return f"On this data {_MAIN_NAME} beats neither {' nor '.join(unbeaten)}."
    if unbeaten:
        return f"On this data {_MAIN_NAME} does not beat {unbeaten[0]}."
    return f"Whether {_MAIN_NAME} helps on this data was not tested."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
