from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from methods.imaging.phantoms import KINDS, phantom


@pytest.mark.parametrize("kind", KINDS)
def test_a_phantom_is_seeded_and_varies(kind: str) -> None:
    first = phantom(kind, 3, 96)
    assert first.dtype == np.uint8
    assert first.shape in ((96, 96), (96, 96, 3))
    np.testing.assert_array_equal(first, phantom(kind, 3, 96))
    assert np.abs(first.astype(int) - phantom(kind, 4, 96)).mean() > 1
    assert first.std() > 10


def test_at_least_six_kinds_and_an_unknown_one() -> None:
    assert len(KINDS) >= 6
    with pytest.raises(ValueError, match="there is no phantom 'pet'"):
        phantom("pet", 0)


def test_the_kinds_can_be_told_apart_but_not_by_brightness() -> None:
    def grey(kind: str, seed: int) -> np.ndarray:
        return np.asarray(
            Image.fromarray(phantom(kind, seed, 64)).convert("L").resize((16, 16)), np.float64
        )

    train = np.array([np.mean([grey(k, s) for s in range(6)], axis=0) for k in KINDS])
    test = [(i, grey(k, s)) for i, k in enumerate(KINDS) for s in range(10, 16)]
    by_picture = np.mean([np.argmin(((train - g) ** 2).sum(axis=(1, 2))) == i for i, g in test])
    by_mean = np.mean([np.argmin(np.abs(train.mean(axis=(1, 2)) - g.mean())) == i for i, g in test])
    assert by_picture > 0.6
    assert by_mean < 0.95
