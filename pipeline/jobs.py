"""Two jobs for each study, its own method and every row of every table: all of one dataset, in one process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from assets.partitions import DATASETS
from data_contracts.study import AHN2019, Study

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition


def study_job(study: Study) -> UnresolvedAssetJobDefinition:
    """The paper's own method on one dataset, from its folder to its report and to predictions for its unlabelled images.

    Minutes where :func:`tables_job` takes hours, so it is what a drop of images starts. One process: three small steps take
    2 s in it and 5 to 6 s in processes of their own, and torch is loaded once.
    """
    return dg.define_asset_job(
        name=study.name,
        selection=dg.AssetSelection.assets(f"report_{study.job(False)}", "predictions").upstream(),
        partitions_def=DATASETS,
        executor_def=dg.in_process_executor,
        description=f"{study.title}: {study.citation}",
    )


def tables_job(study: Study) -> UnresolvedAssetJobDefinition:
    """Every row of every table of the paper, and the studies beside them: hours on a processor."""
    return dg.define_asset_job(
        name=study.tables_job,
        selection=dg.AssetSelection.assets(f"report_{study.job(False)}", f"report_{study.job(True)}", "predictions").upstream(),
        partitions_def=DATASETS,
        executor_def=dg.in_process_executor,
        description=f"Every row of the tables of {study.citation} Baselines, fine-tuned networks, number of filters, and how "
        "many labels each method needs.",
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

JOBS = {AHN2019.name: study_job(AHN2019), AHN2019.tables_job: tables_job(AHN2019)}
