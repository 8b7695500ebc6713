"""Assets that store features, and the models that make them.

Belongs here: frozen networks, auto-encoders, codebooks, patch models, fine-tuned networks, lesions.
Does not belong here: classifiers and figures of merit (``assets.evaluations``).
"""

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

ASSETS = [
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
]
