"""What Dagster loads: assets, checks, jobs, schedules and resources put together, and nothing else."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from assets.alexnet_layers import alexnet_layers
from assets.checks import contract_checks, leakage_checks, near_duplicates_check
from assets.comparison import method_comparisons
from assets.cross_validation import cross_validations
from assets.evaluations import evaluations
from assets.features import alexnet_conv5, alexnet_fc7, backbone_features, googlenet_pool5
from assets.filter_study import filter_size_study
from assets.fine_tuning import fine_tuned_networks
from assets.images import image_manifest, prepared_images
from assets.integrity import near_duplicates
from assets.label_efficiency import label_efficiency
from assets.label_permutation import label_permutation
from assets.lenet import lenet_assets
from assets.lesions import analytic_features, lesion_segmentation
from assets.local_descriptors import descriptor_assets
from assets.multilabel import multilabel_evaluations
from assets.multilabel_report import multilabel_report
from assets.patch_baselines import patch_baselines
from assets.predictions import classifier, predictions
from assets.report import study_reports
from assets.representations import cae_features, cae_model, random_cae_features, random_cae_model
from assets.roc_report import roc_comparison, roc_report
from assets.summary import summary_report
from assets.vlad import vlad_assets
from pipeline.jobs import JOBS, PREDICTIONS, SUMMARY
from pipeline.schedules import nightly, nightly_several_labels
from pipeline.sensors import drops, summary_after_runs
from resources.compute import Compute
from resources.dataset_store import DatasetStore

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
