"""Names of the assets that code refers to, each spelled once.

Belongs here: an asset name that a second module needs. Families of assets (one for each scale or
method) have their names made where the family is defined.
"""

from __future__ import annotations

IMAGE_MANIFEST = "image_manifest"
IMAGE_ATTRIBUTES = "image_attributes"
PREPARED_IMAGES = "prepared_images"
SQUARE_IMAGES = "square_images"

ALEXNET_CONV5 = "alexnet_conv5"
ALEXNET_LAYERS = "alexnet_layers"
BACKBONE_FEATURES = "backbone_features"
CAE_MODEL = "cae_model"
CAE_FEATURES = "cae_features"
RANDOM_CAE_MODEL = "random_cae_model"
RANDOM_CAE_FEATURES = "random_cae_features"
FINE_TUNED_MAPS = "fine_tuned_alexnet_maps"
FINE_TUNED_CAE_MODEL = "fine_tuned_cae_model"
FINE_TUNED_CAE_FEATURES = "fine_tuned_cae_features"
LESION_SEGMENTATION = "lesion_segmentation"
ANALYTIC_FEATURES = "analytic_features"

NEAR_DUPLICATES = "near_duplicates"
NEAR_DUPLICATES_IN_FOLDS = "near_duplicates_in_folds"
FILTER_SIZE_STUDY = "filter_size_study"
SEED_STUDY = "seed_study"
LABEL_EFFICIENCY = "label_efficiency"
SPLIT_REPEATS = "split_repeats"
LABEL_PERMUTATION = "label_permutation"
ROC_COMPARISON = "roc_comparison"
CLASSIFIER_AGREEMENT = "classifier_agreement"

CLASSIFIER = "classifier"
PREDICTIONS = "predictions"
SUMMARY_REPORT = "summary_report"


def method_comparison(job: str) -> str:
    """Asset that compares the methods of a job on the same test images."""
    return f"method_comparison_{job}"


def report(job: str) -> str:
    """Asset that writes the report of a job."""
    return f"report_{job}"
