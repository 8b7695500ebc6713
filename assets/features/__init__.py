"""Assets that store features, and the models that make them.

Belongs here: frozen networks, auto-encoders, codebooks, patch models, fine-tuned networks, lesions.
Does not belong here: classifiers and figures of merit (``assets.evaluations``).
"""

from assets.features import (
    alexnet_layers,
    auto_encoder,
    fine_tuned_networks,
    frozen_networks,
    lenet,
    lesions,
    local_descriptors,
    patch_baselines,
    vlad,
)

ASSETS = [
    *frozen_networks.ASSETS,
    *patch_baselines.ASSETS,
    *fine_tuned_networks.ASSETS,
    *local_descriptors.ASSETS,
    *vlad.ASSETS,
    *alexnet_layers.ASSETS,
    *lesions.ASSETS,
    *lenet.ASSETS,
    *auto_encoder.ASSETS,
]
