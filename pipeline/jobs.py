"""Two jobs for each study, its own method and every row of every table: all of one dataset, in one
process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from assets.core.partitions import DATASETS
from data_contracts.studies.ahn2019 import AHN2019
from data_contracts.studies.registry import STUDIES
from data_contracts.studies.study import Study

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )


def study_job(study: Study, all_tables: bool) -> UnresolvedAssetJobDefinition:
    """The paper's own method on one dataset, from its folder to its report.

    That of Ahn et al. also predicts the unlabelled images; it takes minutes, so it is what a drop
    of images starts. With ``all_tables`` the job covers every row of every table and the studies
    beside them, which takes hours on a processor. One process: three small steps take 2 s in it and 5 to
    6 s in processes of their own, and torch is loaded once.
    """
    last = [f"report_{study.job(kind)}" for kind in sorted({False, all_tables})] + [
        "predictions"
    ] * (study is AHN2019)
    every_row = f"Every row of the tables of {study.citation}"
    return dg.define_asset_job(
        name=study.job(all_tables),
        selection=dg.AssetSelection.assets(*last).upstream(),
        partitions_def=DATASETS,
        executor_def=dg.in_process_executor,
        description=every_row if all_tables else f"{study.title}: {study.citation}",
    )


PREDICTIONS = dg.define_asset_job(
    name="predict",
    selection=dg.AssetSelection.assets("predictions").upstream(),
    partitions_def=DATASETS,
    executor_def=dg.in_process_executor,
    description="Labels for the unlabelled images of one dataset, with all that they need.",
)

SUMMARY = dg.define_asset_job(
    name="summary",
    selection=dg.AssetSelection.assets("summary_report"),
    executor_def=dg.in_process_executor,
    description="The tables of all datasets on one page.",
)

JOBS = {
    study.job(all_tables): study_job(study, all_tables)
    for study in STUDIES.values()
    for all_tables in study.scopes
}
