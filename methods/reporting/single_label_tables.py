"""Tables of a report of one label an image, from the rows of the contracts.

Inputs are what ``pa.Table.to_pylist()`` gives for a table of
:mod:`data_contracts.tables.evaluations` or :mod:`data_contracts.tables.report`. Nothing is computed
here that a reader could take for a measurement: figures are passed on, at most averaged over seeds,
and the caption says so.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data_contracts.records.notices import STALE
from data_contracts.records.output_record import OutputRecord
from data_contracts.studies.study import Choice, PaperTable
from data_contracts.tables.evaluations import FIXED, TUNED
from methods.reporting.document import SIGNIFICANT, Cell, Kind, Table
from methods.reporting.metric_tables import (
    accuracy_remark,
    cells_of,
    heading,
    other_metrics,
    percent_with_interval,
)
from methods.statistics.metrics import ONE_LABEL
from methods.statistics.significance import MIN_GROUPS, TOO_FEW

Row = Mapping[str, Any]
Settings = Mapping[str, Mapping[str, object]]
"""Value of each setting, by asset and by name."""

REJECTED_SHOWN = 200
"""Maximum number of rows of a long table on a page; a CSV file has all."""
NOT_RUN = "not part of this run"
"""Note in the place of a figure whose method did not run."""


@dataclass(frozen=True)
class Estimate:
    """Our figure for a row of a paper.

    Attributes:
        percent: 0 to 100; None where there is no figure.
        low: end of its 95 % interval.
        high: its other end.
        sd: standard deviation over seeds, percentage points.
        p_holm: of the paired test against the paper's own method.
        n_test: test images.
        seeds: how many it is a mean over.
        seconds: wall time of all its stages.
        device: where it was computed.
    """

    percent: float | None = None
    low: float | None = None
    high: float | None = None
    sd: float | None = None
    p_holm: float | None = None
    n_test: int | None = None
    seeds: int | None = None
    seconds: float | None = None
    device: str | None = None


def _table(
    title: str,
    columns: Mapping[str, Kind],
    rows: Iterable[tuple[Cell, ...]],
    caption: str,
    notices: Sequence[str],
    shown: int | None = None,
) -> Table:
    return Table(
        title, tuple(columns), tuple(rows), caption, tuple(columns.values()), tuple(notices), shown
    )


def notices_of(results: Sequence[Row]) -> tuple[str, ...]:
    """List the notices of RESULTS rows, each once.

    A notice that does not hold for every row names its methods.
    """
    titles: dict[str, list[str]] = {}
    for row in results:
        for notice in str(row["notices"]).splitlines():
            titles.setdefault(notice, []).append(row["title"])
    return tuple(
        n if len(t) == len(results) else f"{n} ({', '.join(t)})" for n, t in titles.items()
    )


# Results
# -------------------------------------------------------------------------------------------------


def in_words(methods: Iterable[str | None]) -> str:
    """The methods that figures of a column were made with, each once, in the order of the rows."""
    return " or ".join(dict.fromkeys(method for method in methods if method))


def results_table(results: Sequence[Row]) -> Table:
    """One row a method, in the order given, from rows of RESULTS; its notices are theirs."""
    main = [row["title"] for row in results if row["p_holm"] is None]
    against = f"“{main[0]}”" if len(main) == 1 else "the main method"
    others = other_metrics(ONE_LABEL, ("accuracy", "macro_f1"))
    definitions = "".join(f"{metric.definition} " for metric in others)
    return _table(
        "Results by method",
        {
            "Method": "text",
            "Accuracy, %": "percent",
            "95 % low": "percent",
            "95 % high": "percent",
            "Macro F1, %": "percent",
            **{heading(metric): metric.unit for metric in others},
            "p (Holm)": "p",
            "Test images": "count",
            "Training images": "count",
            "Classes": "count",
            "Seeds": "count",
            "Seconds": "seconds",
            "Device": "text",
        },
        [
            (
                row["title"],
                100 * row["accuracy"],
                None if row["ci_low"] is None else 100 * row["ci_low"],
                None if row["ci_high"] is None else 100 * row["ci_high"],
                100 * row["macro_f1"],
                *cells_of(row, others),
                row["p_holm"],
                row["n_test"],
                row["n_train"],
                row["classes"],
                row["seeds"],
                row["seconds"],
                row["device"],
            )
            for row in results
        ],
        "Accuracy is the share of test images whose predicted class is right, with its 95 % "
        f"interval ({in_words(row['interval'] for row in results)}). "
        f"Macro F1 gives every class the same weight. {definitions}p is from the "
        f"{in_words(row['test'] for row in results) or 'paired test'} against {against} on the "
        "same test images, corrected by Holm for the number of comparisons. Seconds are of all "
        "stages of a method, image preparation left out. Each SVM has the fixed C.",
        notices_of(results),
    ).with_remarks([accuracy_remark(row) for row in results])


def _reading(row: Row) -> str:
    """What a row of COMPARISONS says."""
    if row["p_holm"] >= SIGNIFICANT:
        return "no measurable difference"
    return "A is better" if row["only_a_correct"] > row["only_b_correct"] else "B is better"


def comparison_table(
    comparisons: Sequence[Row], titles: Mapping[str, str], notices: Sequence[str] = ()
) -> Table:
    """Every pair of methods, from rows of COMPARISONS; ``titles`` is method -> title."""
    return _table(
        "Methods compared in pairs",
        {
            "Method A": "text",
            "Method B": "text",
            "C": "text",
            "Test images": "count",
            "Only A right": "count",
            "Only B right": "count",
            "A less B, points": "percent",
            "95 % low": "percent",
            "95 % high": "percent",
            "Detectable, points": "percent",
            "p": "p",
            "p (Holm)": "p",
            "Reading": "text",
        },
        [
            (
                titles.get(row["method_a"], row["method_a"]),
                titles.get(row["method_b"], row["method_b"]),
                row["regularisation"],
                row["n"],
                row["only_a_correct"],
                row["only_b_correct"],
                100 * row["difference"],
                None if row["ci_low"] is None else 100 * row["ci_low"],
                None if row["ci_high"] is None else 100 * row["ci_high"],
                100 * row["detectable"],
                row["p_value"],
                row["p_holm"],
                _reading(row),
            )
            for row in comparisons
        ],
        f"Test: {in_words(row['test'] for row in comparisons)}, two-sided, on the test images that "
        "only one of the two methods gets right. A less B is the difference of the two accuracies "
        "in percentage points with its 95 % interval, before the correction; detectable is the "
        "smallest difference that the test would find here in 4 of 5 samples. C is the paper's own "
        "for both (fixed) or each method's own (tuned); one without a C stands with its one "
        "figure. A difference is called one where the p value, corrected by Holm over the rows of "
        f"the same C, is below {SIGNIFICANT}. No measurable difference does not mean that the two "
        "are equal.",
        notices,
    ).with_remarks([TOO_FEW if row["groups"] < MIN_GROUPS else "" for row in comparisons])


def label_budget_table(
    metrics: Sequence[Row], titles: Mapping[str, str], notices: Sequence[str] = ()
) -> Table:
    """Table of the accuracy with few labels at either C, from METRICS rows ``few_label_accuracy``.

    The subject of such a row is "5 labels a class"; methods are shown in the order of ``titles``.

    Each figure is the mean over seeded draws, with the interval of that mean.
    """
    found: dict[tuple[str, str], dict[str, Row]] = {}
    for row in metrics:
        if row["metric"] == "few_label_accuracy" and row["method"] in titles:
            found.setdefault((row["subject"], row["method"]), {})[row["regularisation"]] = row
    order = list(titles)

    def place(of: tuple[str, str]) -> tuple[int, int]:
        return int(of[0].split()[0]), order.index(of[1])

    shown = sorted(found, key=place)
    intervals = [row["interval"] for of in shown for row in found[of].values()]
    return _table(
        "Accuracy with few labels",
        {
            "Labels": "text",
            "Method": "text",
            "Fixed C: accuracy, %": "text",
            "Tuned C: accuracy, %": "text",
            "Draws": "count",
        },
        [
            (
                subject,
                titles[method],
                percent_with_interval(found[subject, method].get(FIXED)),
                percent_with_interval(found[subject, method].get(TUNED)),
                _draws(found[subject, method]),
            )
            for subject, method in shown
        ],
        "The classifier sees only so many labelled training images of each class; the features are "
        "the same. Fixed C is the paper's own for every method; tuned C is chosen by "
        "cross-validation among the labels of each draw, and where no folds can be made, as with "
        "one label a class, it is the fixed one. Accuracy is the mean over draws of the labelled "
        f"images, in brackets its 95 % interval ({in_words(intervals)}).",
        notices,
    ).with_remarks([accuracy_remark(*found[of].values()) for of in shown])


def _draws(by_regularisation: Mapping[str, Row]) -> int | None:
    """Draws behind the rows of METRICS of one number of labels."""
    row = next(iter(by_regularisation.values()))
    draws: int | None = json.loads(row["settings"]).get("label_repeats")
    return draws


# The paper
# -------------------------------------------------------------------------------------------------


def paper_rows(
    paper: PaperTable, ours: Mapping[str, Estimate], notes: Mapping[str, str] | None = None
) -> list[dict[str, str | float | int | None]]:
    """Rows of PAPER for one table of a paper, in its own order.

    Args:
        paper: the table.
        ours: our figures by method. Where a row's method has none, its stand-in's is shown, and the
            note says so.
        notes: what to say about a method; a row without a figure and a note is "not part of this
            run".
    """
    said = notes or {}
    rows: list[dict[str, str | float | int | None]] = []
    for row in paper.rows:
        found, note = ours.get(row.method), said.get(row.method)
        if found is None:
            note = note or NOT_RUN
            if row.stand_in in ours:
                found = ours[row.stand_in]
                note = "; ".join(
                    [
                        f"{row.stand_in} in place of {row.method} ({note})",
                        *filter(None, [said.get(row.stand_in)]),
                    ]
                )
        figure = found or Estimate()
        rows.append(
            {
                "paper_table": paper.number,
                "title": row.title,
                "paper_percent": row.percent,
                "ours_percent": figure.percent,
                "ours_ci_low": figure.low,
                "ours_ci_high": figure.high,
                "ours_sd": figure.sd,
                "p_holm": figure.p_holm,
                "n_test": figure.n_test,
                "seeds": figure.seeds,
                "seconds": figure.seconds,
                "device": figure.device,
                "note": note,
            }
        )
    return rows


def paper_table(
    paper: PaperTable,
    ours: Mapping[str, Estimate],
    notes: Mapping[str, str] | None = None,
    notices: Sequence[str] = (),
) -> Table:
    """A paper's table beside ours, row by row; arguments as for :func:`paper_rows`."""
    rows = paper_rows(paper, ours, notes)
    columns: dict[str, tuple[str, Kind]] = {
        "Row of the paper": ("title", "text"),
        "Paper, %": ("paper_percent", "percent"),
        "This run, %": ("ours_percent", "percent"),
        "95 % low": ("ours_ci_low", "percent"),
        "95 % high": ("ours_ci_high", "percent"),
        "SD": ("ours_sd", "percent"),
        "p (Holm)": ("p_holm", "p"),
        "Test images": ("n_test", "count"),
        "Seeds": ("seeds", "count"),
        "Seconds": ("seconds", "seconds"),
        "Device": ("device", "text"),
    }
    shown = {
        name: of
        for name, of in columns.items()
        if of[0] not in ("ours_sd", "p_holm") or any(r[of[0]] for r in rows)
    }
    return _table(
        f"The paper's {paper.place}: {paper.title}",
        {name: kind for name, (_, kind) in shown.items()},
        [tuple(row[key] for key, _ in shown.values()) for row in rows],
        f"Measured: {paper.measure}. The paper's data: {paper.data}. The figures of this run are "
        "for the data of this report; "
        "unless that is the paper's own data, with its own split, the two columns are not "
        "comparable. "
        + ("SD is over seeds, in percentage points. " if "SD" in shown else "")
        + ("p is against our own row, as above. " if "p (Holm)" in shown else ""),
        notices,
    ).with_remarks([str(row["note"] or "") for row in rows])


def label_efficiency_table(
    metrics: Sequence[Row], titles: Mapping[str, str], notices: Sequence[str] = ()
) -> Table:
    """Table of the mean accuracy over seeds by number of labels, a column a method.

    From METRICS rows ``label_efficiency``.
    """
    found: dict[tuple[int, float], dict[str, list[float]]] = {}
    for row in metrics:
        settings = json.loads(row["settings"])
        place = (settings["labels"], settings["fraction"])
        found.setdefault(place, {}).setdefault(row["method"], []).append(row["value"])

    def mean_and_sd(values: Sequence[float] | None) -> str | None:
        if not values:
            return None
        mean = f"{100 * statistics.fmean(values):.2f}"
        if len(values) == 1:
            return f"{mean} (n = 1)"
        return f"{mean} ± {100 * statistics.stdev(values):.2f}"

    most = max((labels for labels, _ in found), default=1)
    columns: dict[str, Kind] = {
        "Labels": "count",
        "Share, %": "text",
        **dict.fromkeys(titles.values(), "text"),
    }
    return _table(
        "Accuracy by number of labels, %",
        columns,
        [
            (
                labels,
                share_of_labels(labels, most),
                *(mean_and_sd(by_method.get(name)) for name in titles),
            )
            for (labels, _), by_method in sorted(found.items())
        ],
        "Mean and standard deviation over seeds, or the figure of a single one (n = 1). The share "
        "is of all labels, as drawn: whole groups and at least one image a class can be more than "
        "was asked for. Each seed draws the labelled images of each "
        "class, whole groups (patients) at a "
        "time, at least one image a class, the same for every method; a smaller draw is part of "
        "the larger one. With all labels "
        "features that need none have next to no spread: only the folds that choose C differ. C of "
        "the support vector machine is tuned among the labels of each draw; where no folds can be "
        "made, as with one label a class, it is that of the paper. The test images are always all "
        "of them.",
        notices,
    )


def share_of_labels(labels: int, of_all: int) -> str:
    """A number of labels in percent of all of them, as the table and the picture both write it."""
    percent = 100 * labels / of_all
    return f"{percent:.2g}" if percent < 9.95 else f"{percent:.0f}"


def choices_table(choices: Sequence[Choice], settings: Settings) -> Table:
    """Table of what the paper leaves open, what is done here, and the settings of this run."""

    def current(switch: str) -> str:
        parts = []
        for name in (part.strip() for part in switch.split(",")):
            values = {_json(of_asset[name]) for of_asset in settings.values() if name in of_asset}
            parts += [f"{name} = {' / '.join(sorted(values))}"] if values else []
        return ", ".join(parts)

    return _table(
        "Choices the paper leaves open",
        {
            "Point": "text",
            "The paper": "text",
            "Here": "text",
            "Setting that changes it": "text",
            "In this run": "text",
        },
        [
            (c.point, c.paper, c.ours, "" if c.switch == "-" else c.switch, current(c.switch))
            for c in choices
        ],
        "Here: what is done unless a setting says otherwise. In this run: the settings that were "
        "in force.",
        (),
    )


# What it was made from
# -------------------------------------------------------------------------------------------------


def settings_table(settings: Settings) -> Table:
    """Table of every setting of every stage, as it was in force."""
    return _table(
        "Settings",
        {"Stage": "text", "Setting": "text", "Value": "text"},
        [
            (asset, name, _json(value))
            for asset, of_asset in settings.items()
            for name, value in of_asset.items()
        ],
        "Defaults are filled in.",
        (),
    )


def _json(value: object) -> str:
    """A setting's value as it can be typed after ``--set name=``."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def rejected_table(rejected: Sequence[Row]) -> Table:
    """Table of the files that were left out, from rows of REJECTED.

    A page shows the first 200, a CSV file has all.
    """
    return _table(
        "Files left out",
        {"File": "text", "Status": "text", "Reason": "text"},
        [
            (
                row["path"] if row["frame"] is None else f"{row['path']}, frame {row['frame']}",
                row["status"],
                row["reason"],
            )
            for row in rejected
        ],
        "A duplicate has the same bytes as a file that is used.",
        (),
        REJECTED_SHOWN,
    )


def near_duplicates_table(pairs: Sequence[Row], sides: tuple[str, str]) -> Table:
    """Table of pairs of near-duplicates, most alike first.

    A CSV file has all.

    Args:
        pairs: rows of NEAR_DUPLICATES.
        sides: what the first and the second image of a pair are.
    """
    return _table(
        "Near-duplicates",
        {sides[0]: "text", sides[1]: "text", "Likeness": "text", "Change": "text"},
        [
            (row["first_path"], row["second_path"], f"{row['likeness']:.3f}", _change(row))
            for row in pairs
        ],
        "Likeness: of the details of a pair that was laid over each other, the correlation that "
        "three quarters have at least. What is found and what is not: docs/near_duplicates.md.",
        (),
    )


def _change(pair: Row) -> str:
    """How the first image of a pair was mirrored, turned and inverted, in words."""
    turned = ("", "quarter turn", "half a turn", "quarter turn back")[pair["quarter_turns"]]
    words = ["mirrored" if pair["mirrored"] else "", turned, "inverted" if pair["inverted"] else ""]
    return ", ".join(filter(None, words)) or "none of these"


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
    """One sentence for each output that was made from another version of an input."""
    now = {(r.dataset, r.asset): r.data_version for r in records}
    return tuple(
        STALE.says(
            f"{r.asset} was made from {name} {used}, which is now {now[r.dataset, name]}; run "
            "the study again"
        )
        for r in records
        for name, used in sorted(r.inputs.items())
        if now.get((r.dataset, name), used) != used
    )


def lineage_table(records: Sequence[OutputRecord]) -> Table:
    """Table of what every output was made from, when, where and by which run.

    A stale output is a notice.
    """
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
                ", ".join(f"{name} {version}" for name, version in sorted(r.inputs.items()))
                or None,
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
        "A data version is a hash of the content: the same version is the same numbers. A "
        "fingerprint covers the code version, "
        "the settings and the input versions. Peak memory is of the process up to then.",
        stale_inputs(records),
    )
