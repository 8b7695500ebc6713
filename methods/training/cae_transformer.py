"""The auto-encoder as a scikit-learn transformer, for use without the pipeline."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from methods.settings import CaeSettings
from methods.training.cae import encode, load_cae, train_cae


class CaeTransformer(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # no types of their own
    """Zero-bias convolutional auto-encoder from maps to codes (Ahn et al. 2019, section 2).

    Args:
        settings: everything that decides the filters, beside the maps.
        device: name of torch's device to compute on.

    Attributes:
        cae_: the trained auto-encoder.
        curve_: one record for each epoch, with the held-out error.
    """

    def __init__(self, settings: CaeSettings | None = None, device: str = "cpu") -> None:
        self.settings = settings
        self.device = device

    def fit(self, X: NDArray[np.floating], y: Any = None) -> Self:  # noqa: N803
        """Train the filters, without labels.

        Args:
            X: (N, C, H, W) maps, at least two rows; H and W are even for a code of half the side.
            y: ignored.

        Raises:
            methods.training.loop.DivergedError: the loss became NaN or infinite.
        """
        settings, device = self.settings or CaeSettings(), torch.device(self.device)
        epochs = list(train_cae(lambda rows: X[rows], len(X), settings, device))
        self.curve_ = [record for record, _ in epochs]
        _, take_checkpoint = epochs[-1]
        self.cae_ = load_cae(take_checkpoint().last_weights(), settings, device)
        return self

    def transform(self, X: NDArray[np.floating]) -> NDArray[np.float32]:  # noqa: N803
        """Encode maps (N, C, H, W) to rows of codes, (N, K * (H // 2) * (W // 2)) float32."""
        check_is_fitted(self)
        codes = encode(self.cae_, X, torch.device(self.device))
        return codes.reshape(len(codes), -1)
