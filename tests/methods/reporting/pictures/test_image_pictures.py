"""Pictures of errors and maps are small and the same every time, whatever a class is called."""

from __future__ import annotations

import numpy as np

from methods.reporting.pictures.canvas import MAX_BYTES
from methods.reporting.pictures.image_pictures import (
    Evidence,
    Misclassified,
    evidence,
    feature_map,
    misclassified,
)

PHOTOS = np.random.default_rng(0).integers(0, 255, (3, 227, 227, 3), dtype=np.uint8)


def error(number: int, nearest: np.ndarray | None = PHOTOS[2]) -> Misclassified:
    pair = (PHOTOS[1], nearest)
    return Misclassified(f"image {number}", "$a", "x" * 40, "93%", PHOTOS[0], pair)


def test_errors() -> None:
    for errors in ([error(1, None)], [error(i) for i in range(4)]):
        first = misclassified(errors)
        assert len(first) < MAX_BYTES
        assert first == misclassified(errors)


def test_a_map_shows_classes_sides_and_errors() -> None:
    rng = np.random.default_rng(0)
    places, is_test = rng.normal(size=(40, 2)), np.arange(40) % 2 == 0
    labels = np.array([f"$c{i % 8}" for i in range(40)])
    plain = feature_map(places, labels, is_test, np.zeros(40, np.bool_))
    assert len(plain) < MAX_BYTES
    assert plain == feature_map(places, labels, is_test, np.zeros(40, np.bool_))
    assert plain != feature_map(places, labels, is_test, is_test)
    assert plain != feature_map(places, labels, ~is_test, np.zeros(40, np.bool_))


def test_evidence_for_a_class_and_against_it_are_told_apart() -> None:
    parts = np.linspace(-1, 1, 36).reshape(6, 6)
    images = [Evidence("$a", of, PHOTOS[0], parts) for of in ("$a", "b") * 3]
    first = evidence(images)
    assert len(first) < MAX_BYTES
    assert first == evidence(images)
    assert first != evidence([Evidence("$a", of, PHOTOS[0], -parts) for of in ("$a", "b") * 3])
    assert evidence([Evidence("a", "a", PHOTOS[0], parts * 0)])
