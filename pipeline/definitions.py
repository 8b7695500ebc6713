"""What Dagster loads: assets, checks, jobs, schedules and resources put together, and nothing else."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from assets.checks import contract_checks
from assets.evaluations import method_comparison_ahn2019, svm_evaluations
from assets.features import alexnet_conv5
from assets.images import image_manifest, prepared_images
from assets.report import report_ahn2019, summary_report
from assets.representations import cae_features, cae_model, random_cae_features, random_cae_model
from pipeline.jobs import JOBS, SUMMARY
from pipeline.schedules import nightly
from resources.compute import Compute
from resources.dataset_store import DatasetStore

ASSETS = [
    image_manifest,
    prepared_images,
    alexnet_conv5,
    cae_model,
    random_cae_model,
    cae_features,
    random_cae_features,
    *svm_evaluations,
    method_comparison_ahn2019,
    report_ahn2019,
    summary_report,
]


def build_defs(resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Fresh definitions; ``resource_overrides`` replaces resources by name."""
    return dg.Definitions(
        assets=ASSETS,
        asset_checks=contract_checks(ASSETS),
        jobs=[*JOBS.values(), SUMMARY],
        schedules=[nightly],
        resources={"store": DatasetStore(), "compute": Compute(), **(resource_overrides or {})},
    )


defs = build_defs()
