"""The jobs over the assets of one dataset: one or two for each study, predictions, the summary.

A job runs in one process: three small steps take 2 s in it and 5 to 6 s in processes of their own,
and torch is loaded once.
"""

from __future__ import annotations

import dagster as dg

from assets.core.partitions import DATASETS
from data_contracts import asset_names as names
from data_contracts.studies.registry import STUDIES, USUAL_STUDIES
from data_contracts.studies.study import Study


def last_assets(study: Study, all_tables: bool) -> list[str]:
    """Return the assets at the end of a study's job: its reports, of a usual study predictions too.

    A job with ``all_tables`` makes every row of every table and the studies beside them, which
    takes hours on a processor. The other makes the paper's own method in minutes, so it is the one
    that a drop of images starts.
    """
    reports = [names.report(study.job(kind)) for kind in sorted({False, all_tables})]
    return [*reports, names.PREDICTIONS] if study in USUAL_STUDIES.values() else reports


def description(study: Study, all_tables: bool) -> str:
    """Return what the web UI says of a study's job."""
    return (
        f"Every row of the tables of {study.citation}"
        if all_tables
        else f"{study.title}: {study.citation}"
    )


PREDICTIONS = dg.define_asset_job(
    name="predict",
    selection=dg.AssetSelection.assets(names.PREDICTIONS).upstream(),
    partitions_def=DATASETS,
    executor_def=dg.in_process_executor,
    description="Labels for the unlabelled images of one dataset, with all that they need.",
)

SUMMARY = dg.define_asset_job(
    name="summary",
    selection=dg.AssetSelection.assets(names.SUMMARY_REPORT),
    executor_def=dg.in_process_executor,
    description="The tables of all datasets on one page.",
)

JOBS = {
    study.job(all_tables): dg.define_asset_job(
        name=study.job(all_tables),
        selection=dg.AssetSelection.assets(*last_assets(study, all_tables)).upstream(),
        partitions_def=DATASETS,
        executor_def=dg.in_process_executor,
        description=description(study, all_tables),
    )
    for study in STUDIES.values()
    for all_tables in study.scopes
}
