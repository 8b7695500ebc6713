"""Assets that store features, and the models that make them.

Belongs here: frozen networks, auto-encoders, codebooks, patch models, fine-tuned networks, lesions.
Does not belong here: classifiers and figures of merit (``assets.evaluations``).
"""

from assets.features import (
    alexnet_layers,
    auto_encoder,
    frozen_networks,
    lesions,
    local_descriptors,
    patch_baselines,
    vlad,
)
from assets.features.fine_tuned_networks import fine_tuned_networks
from assets.features.lenet import lenet_assets

ASSETS = [
    *frozen_networks.ASSETS,
    *patch_baselines.ASSETS,
    *fine_tuned_networks,
    *local_descriptors.ASSETS,
    *vlad.ASSETS,
    *alexnet_layers.ASSETS,
    *lesions.ASSETS,
    *lenet_assets,
    *auto_encoder.ASSETS,
]
