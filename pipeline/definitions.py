"""What Dagster loads: assets, checks, jobs, schedules and resources put together, and nothing
else.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from assets.checks import contract_checks, leakage_checks, near_duplicates_check
from assets.evaluations.comparison import method_comparisons
from assets.evaluations.cross_validation import cross_validations
from assets.evaluations.filter_study import filter_size_study
from assets.evaluations.label_efficiency import label_efficiency
from assets.evaluations.label_permutation import label_permutation
from assets.evaluations.multilabel import multilabel_evaluations
from assets.evaluations.near_duplicates import near_duplicates
from assets.evaluations.svm import evaluations
from assets.features.alexnet_layers import alexnet_layers
from assets.features.auto_encoder import (
    cae_features,
    cae_model,
    random_cae_features,
    random_cae_model,
)
from assets.features.fine_tuned_networks import fine_tuned_networks
from assets.features.frozen_networks import (
    alexnet_conv5,
    alexnet_fc7,
    backbone_features,
    googlenet_pool5,
)
from assets.features.lenet import lenet_assets
from assets.features.lesions import analytic_features, lesion_segmentation
from assets.features.local_descriptors import descriptor_assets
from assets.features.patch_baselines import patch_baselines
from assets.features.vlad import vlad_assets
from assets.images import image_manifest, prepared_images
from assets.predictions.predictions import classifier, predictions
from assets.reports.multilabel_report import multilabel_report
from assets.reports.roc_report import roc_comparison, roc_report
from assets.reports.single_label_report import study_reports
from assets.reports.summary import summary_report
from pipeline.automation.schedules import nightly, nightly_several_labels
from pipeline.automation.sensors import drops, summary_after_runs
from pipeline.jobs import JOBS, PREDICTIONS, SUMMARY
from resources.compute import Compute
from resources.store.dataset_store import DatasetStore

ASSETS = [
    image_manifest,
    prepared_images,
    alexnet_conv5,
    backbone_features,
    alexnet_fc7,
    googlenet_pool5,
    *patch_baselines,
    *fine_tuned_networks,
    *descriptor_assets,
    *vlad_assets,
    alexnet_layers,
    lesion_segmentation,
    analytic_features,
    *lenet_assets,
    cae_model,
    random_cae_model,
    cae_features,
    random_cae_features,
    near_duplicates,
    *evaluations,
    *method_comparisons,
    filter_size_study,
    label_efficiency,
    *cross_validations,
    label_permutation,
    roc_comparison,
    *multilabel_evaluations,
    *study_reports,
    roc_report,
    multilabel_report,
    classifier,
    predictions,
    summary_report,
]


def build_defs(resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Fresh definitions; ``resource_overrides`` replaces resources by name."""
    return dg.Definitions(
        assets=ASSETS,
        asset_checks=[*contract_checks(ASSETS), *leakage_checks, near_duplicates_check],
        jobs=[*JOBS.values(), PREDICTIONS, SUMMARY],
        schedules=[nightly, nightly_several_labels],
        sensors=[drops, summary_after_runs],
        resources={"store": DatasetStore(), "compute": Compute(), **(resource_overrides or {})},
    )


defs = build_defs()
