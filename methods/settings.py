"""Defaults that functions of the science and the settings of assets share, each once.

Belongs here: values that stand in the run config of an asset and in the signature of a function.
Importing this module loads nothing heavy, as Dagster loads it with the definitions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SvmConvention = Literal["exact", "scspm", "liblinear"]
"""How the linear SVM is written and solved, see `methods.classifiers.svm_conventions`."""
RowScale = Literal["l2", "standardise", "sqrt", "whiten", "none"]
"""How rows are scaled before the linear SVM, see `methods.classifiers.row_scaling`."""
SVM_C = 1.0
"""Weight C of the squared hinge loss of the linear SVM (Ahn et al. 2019 do not state theirs)."""

ICA_ITERATIONS = 500
"""Maximum number of FastICA iterations."""
ICA_TOLERANCE = 1e-4
"""Change of the unmixing matrix below which FastICA stops (1 - |cosine| of a row)."""
KMEANS_ITERATIONS = 300
"""Maximum number of k-means iterations."""
WHITENED_COMPONENTS = 256
"""Principal components of image patches that whitening keeps."""


@dataclass(frozen=True)
class CaeSettings:
    """Everything that decides the fitted weights, beside the data.

    Attributes:
        filters: K, number of 3x3 filters.
        epochs: passes over the training rows.
        batch_size: rows a step.
        learning_rate: initial rate; for a loss summed over an image, as in the paper.
        momentum: of SGD; ignored by Adam.
        optimizer: "sgd" (paper) or "adam".
        plateau_patience: epochs without improvement of the held-out error before the rate is
            divided by 10.
        held_out_fraction: share of the rows kept out of the training to draw the learning curve and
            find plateaus.
        zero_bias: "encoding" (paper: biases learned, zero when encoding), "never" or "always".
        tied: decoder shares the encoder's kernels.
        decoder_activation: "relu" (paper) or "linear".
        init_scale: "least_squares" or "kaiming" (torch's default for a convolution).
        seed: of the initial weights, the held-out slice and the order of the rows.
    """

    filters: int = 4096
    epochs: int = 100
    batch_size: int = 512
    learning_rate: float = 1e-5
    momentum: float = 0.9
    optimizer: Literal["sgd", "adam"] = "sgd"
    plateau_patience: int = 5
    held_out_fraction: float = 0.1
    zero_bias: Literal["encoding", "never", "always"] = "encoding"
    tied: bool = True
    decoder_activation: Literal["relu", "linear"] = "relu"
    init_scale: Literal["least_squares", "kaiming"] = "least_squares"
    seed: int = 0


@dataclass(frozen=True)
class SsaeSettings:
    """Everything that decides the fitted weights, beside the data.

    Attributes:
        hidden: units of each layer, from the input up.
        sparsity: rho, the mean activation wished for, inside 0..1.
        sparsity_weight: beta.
        weight_decay: lambda.
        epochs: passes over the patches for each layer.
        batch_size: rows a step, at most; a pass is cut into batches of equal size, as rho_j of a
            small rest would be noise.
        learning_rate: of Adam.
        seed: of the initial weights and the order of the patches.
    """

    hidden: tuple[int, ...] = (512, 256)
    sparsity: float = 0.05
    sparsity_weight: float = 3.0
    weight_decay: float = 1e-4
    epochs: int = 10
    batch_size: int = 256
    learning_rate: float = 1e-3
    seed: int = 0


@dataclass(frozen=True)
class FineTuneSettings:
    """Everything that decides the fitted weights, beside the network and the data.

    Attributes:
        epochs: most passes over the training images.
        patience: epochs without a lower validation loss before it stops, at least 1.
        batch_size: images a step, at least 2.
        learning_rate: initial rate of the pre-trained layers.
        head_factor: how many times faster the new head learns.
        momentum: of SGD.
        weight_decay: L2 penalty w / 2 ||theta||^2 on every parameter, biases too.
        validation_fraction: wanted share of the training images for :func:`validation_slice`.
        augment: train on random views of the images (:mod:`methods.imaging.augmentation`).
        seed: of the order of the images, their views and the dropout.
    """

    epochs: int = 30
    patience: int = 5
    batch_size: int = 32
    learning_rate: float = 2.5e-4
    head_factor: float = 10.0
    momentum: float = 0.9
    weight_decay: float = 1e-4
    validation_fraction: float = 0.1
    augment: bool = True
    seed: int = 0


@dataclass(frozen=True)
class LenetSettings:
    """Everything that decides the fitted weights, beside the data.

    By default all parts of the paper's future work (section 5) are off.

    Attributes:
        epochs: passes over the training images; with ``early_stop`` the most of them.
        batch_size: images a step.
        learning_rate: constant.
        momentum: of SGD.
        seed: of the initial weights, the order of the images, the slice, the views and the dropout.
        rectifier: ReLU in place of tanh, with He's initial weights.
        dropout: half of the dense units are set to zero in training.
        augment: train on random views of the images.
        deeper: three more convolutions and one more dense layer, see the module.
        pretrain: the first layer starts as the encoder of a convolutional auto-encoder, see
            :mod:`methods.training.lenet_pretraining`.
        early_stop: each label's network stops by its loss on a slice of the training groups.
        validation_fraction: share of the groups in that slice; ``early_stop`` only.
        patience: epochs without a lower validation loss before a label's network stops, at least 1;
            ``early_stop`` only.
    """

    epochs: int = 100
    batch_size: int = 20
    learning_rate: float = 0.005
    momentum: float = 0.0
    seed: int = 0
    rectifier: bool = False
    dropout: bool = False
    augment: bool = False
    deeper: bool = False
    pretrain: bool = False
    early_stop: bool = False
    validation_fraction: float = 0.2
    patience: int = 10
