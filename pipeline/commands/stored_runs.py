"""The stored results of a dataset beside each other: what differs, what each found, tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.core.scoring import groups_of
from assets.core.setting_differences import default_settings, differences, settings_in_words
from assets.reports.common import run_folder
from data_contracts import asset_names as names
from data_contracts.errors import ContractError, InputError
from data_contracts.studies.registry import STUDY_JOBS, usual_study
from data_contracts.tables.evaluations import FIXED, PREDICTIONS, TUNED
from pipeline.automation.backfills import with_repeated_settings
from pipeline.commands.answer import figure_text, main_figures
from pipeline.commands.text_table import text_table
from pipeline.graph import ASSETS
from resources.store.dataset_store import DatasetStore
from resources.store.stored_results import (
    StoredResult,
    is_current,
    promoted,
    result_of,
    stored_results,
)


def _defaults(result: StoredResult) -> dict[str, Any]:
    """The default of every setting of a result, by ``asset.key``."""
    known = (asset.key.path[-1] for asset in ASSETS)
    return default_settings([name for name in known if name in result.records])


def repeated_line(dataset: str, result: StoredResult | None) -> str | None:
    """What a run repeats of the promoted result, in one line; None where that is the default."""
    if result is None:
        return None
    different = differences(result.settings, _defaults(result))
    if not different:
        return None
    return (
        f"{dataset}: with the settings of the promoted run {result.run_id[:8]} "
        f"({settings_in_words(different)}); --set changes one, --defaults takes none of them"
    )


def repeated_settings(
    store: DatasetStore, dataset: str, job: str, given: Mapping[str, Any]
) -> tuple[dict[str, Any], str | None]:
    """The settings of a run that repeats what is not given, and the line that says so, if any."""
    result = promoted(store, dataset, job)
    settings = with_repeated_settings(store, dataset, job, given, result)
    return settings, repeated_line(dataset, result)


def promoted_run_to_bring_back(store: DatasetStore, dataset: str) -> str | None:
    """The promoted run where the present classifier is of other settings; None where it is not."""
    result = promoted(store, dataset, usual_study(store.spec(dataset).task).name)
    if result is None or store.record(dataset, names.CLASSIFIER) is None:
        return None
    sources = store.upstream(dataset, names.CLASSIFIER)
    return None if is_current(store, result, sources) else result.run_id[:8]


def all_results(store: DatasetStore, dataset: str) -> list[StoredResult]:
    """Every stored result of a dataset, the oldest first.

    Raises:
        InputError: there is none.
    """
    store.spec(dataset)
    results = stored_results(store, dataset, STUDY_JOBS)
    if not results:
        raise InputError(
            f"{dataset} has no results yet", f"Run a study first: medfeat run {dataset}"
        )
    return results


def run_lines(store: DatasetStore, dataset: str) -> Iterator[str]:
    """Yield a line for each stored result: when, what differs from the promoted one, the figure."""
    results = all_results(store, dataset)
    try:
        jobs = {one.job for one in results}
        chosen = {job: promoted(store, dataset, job, results) for job in jobs}
    except ContractError as error:
        yield str(error)
        chosen = {}
    for one in results:
        first = chosen.get(one.job)
        is_promoted = first is not None and one.report.fingerprint == first.report.fingerprint
        if first is None or is_promoted:
            words = settings_in_words(differences(one.settings, _defaults(one)))
            words = words or "the defaults"
        else:
            words = settings_in_words(differences(one.settings, first.settings)) or "other images"
        figures = main_figures(store, one.job, one.records)
        study = STUDY_JOBS[one.job]
        main = study.method(study.main).title
        found = figure_text(figures[main]) if main in figures else "no figure of its own method"
        mark = "promoted" if is_promoted else ""
        yield (
            f"{one.run_id[:8]}  {one.report.created[:16].replace('T', ' ')}  {one.job:<16} "
            f"{mark:<8}  {main}: {found}  [{words}]"
        )
        page = run_folder(store, dataset, one.job, one.report.fingerprint) / "report.html"
        if page.is_file():
            yield f"          {page}"


def comparison_lines(store: DatasetStore, dataset: str, runs: Sequence[str]) -> Iterator[str]:
    """Yield the settings, figures and paired tests of stored results of one study.

    Args:
        store: store of the home.
        dataset: name of the dataset.
        runs: beginnings of run ids; the first is what the others are compared with. None: the
            promoted result and every other one of its job.

    Raises:
        InputError: a run is unknown, they are of several studies, or there is nothing to compare.
    """
    known = all_results(store, dataset)
    if runs:
        chosen = [result_of(known, run) for run in dict.fromkeys(runs)]
    else:
        job = known[-1].job
        first = promoted(store, dataset, job, known)
        chosen = [one for one in known if one.job == job]
        chosen.sort(key=lambda one: one != first)
    if len(chosen) < 2 or len({STUDY_JOBS[one.job].name for one in chosen}) > 1:
        raise InputError(
            "two or more runs of one study can be compared",
            f"See them with: medfeat results {dataset}",
        )
    yield from _settings_beside_each_other(chosen)
    yield ""
    yield from _figures_beside_each_other(store, chosen)
    yield ""
    yield from _tests(store, chosen)


def _settings_beside_each_other(results: Sequence[StoredResult]) -> Iterator[str]:
    base = results[0].settings
    every = [differences(one.settings, base) for one in results]
    keys = sorted({key for one in every for key in one})
    head = ["setting", *(one.run_id[:8] for one in results)]

    def value(result: StoredResult, key: str) -> str:
        values = {
            str(stored)
            for name, stored in result.settings.items()
            if name == key or name.rpartition(".")[2] == key
        }
        return ", ".join(sorted(values)) or "-"

    yield from text_table([head, *([key, *(value(one, key) for one in results)] for key in keys)])
    if not keys:
        yield "the settings are the same; the images or the code differ"


def _figures_beside_each_other(
    store: DatasetStore, results: Sequence[StoredResult]
) -> Iterator[str]:
    figures = [main_figures(store, one.job, one.records) for one in results]
    titles = list(dict.fromkeys(title for one in figures for title in one))
    head = ["method", *(one.run_id[:8] for one in results)]
    yield from text_table(
        [
            head,
            *(
                [title, *(figure_text(one[title]) if title in one else "-" for one in figures)]
                for title in titles
            ),
        ]
    )


def _predicted(store: DatasetStore, result: StoredResult) -> pa.Table | None:
    """The test images of a study's own method at the tuned C, or at the fixed one without."""
    study = STUDY_JOBS[result.job]
    record = result.records.get(study.method(study.main).evaluation)
    table = None if record is None else store.table_of(record, PREDICTIONS)
    if table is None:
        return None
    tuned = table.filter(pc.field("regularisation") == TUNED)
    return (tuned if len(tuned) else table.filter(pc.field("regularisation") == FIXED)).sort_by(
        "image_id"
    )


def _tests(store: DatasetStore, results: Sequence[StoredResult]) -> Iterator[str]:
    """Yield a paired test of the study's own method of each result against that of the first."""
    from methods.statistics.significance import holm, paired_test

    study = STUDY_JOBS[results[0].job]
    title = study.method(study.main).title
    own = _predicted(store, results[0])
    others = [(one, _predicted(store, one)) for one in results[1:]]
    same = [
        (one, table)
        for one, table in others
        if own is not None and table is not None and table["image_id"] == own["image_id"]
    ]
    for one, _ in others:
        if one not in [kept for kept, _ in same]:
            yield f"{one.run_id[:8]}: no paired test, as its test images are others"
    if own is None or not same:
        return
    groups = groups_of(own.to_pylist())
    right = own["correct"].to_numpy(zero_copy_only=False)
    tests = [
        paired_test(table["correct"].to_numpy(zero_copy_only=False), right, groups)
        for _, table in same
    ]
    adjusted = holm(np.array([test.p_value for test in tests]))
    for (one, _), test, p in zip(same, tests, adjusted, strict=True):
        interval = (
            "no interval from one patient"
            if test.low is None or test.high is None
            else f"{100 * test.low:+.1f} to {100 * test.high:+.1f}"
        )
        yield (
            f"{title}, {one.run_id[:8]} minus {results[0].run_id[:8]}: "
            f"{100 * test.difference:+.1f} points ({interval}), p {p:.3f} after Holm; "
            f"{test.method}, {test.n} images"
        )
