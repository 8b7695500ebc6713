"""One job for each study: everything of one dataset, in one process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from assets.partitions import DATASETS
from data_contracts.study import AHN2019, Study

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition


def study_job(study: Study) -> UnresolvedAssetJobDefinition:
    """The whole study of one dataset, from its folder to its report and to the predictions for its unlabelled images.

    One process: three small steps take 2 s in it and 5 to 6 s in processes of their own, and torch is loaded once.
    """
    return dg.define_asset_job(
        name=study.name,
        selection=dg.AssetSelection.assets(f"report_{study.name}", "predictions").upstream(),
        partitions_def=DATASETS,
        executor_def=dg.in_process_executor,
        description=f"{study.title}: {study.citation}",
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

JOBS = {AHN2019.name: study_job(AHN2019)}
