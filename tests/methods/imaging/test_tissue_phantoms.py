"""The phantoms of tissue: a study of patients at two sites whose classes overlap."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np

from methods.imaging.tissue_phantoms import (
    CLASSES,
    IMAGES_PER_PATIENT,
    PATIENTS_PER_CLASS,
    WRONG_LABELS,
    tissue_study,
)

STUDY = list(tissue_study())


def test_patients_have_several_images_on_one_side_of_the_split() -> None:
    of_patient = defaultdict(list)
    for picture in STUDY:
        of_patient[picture.patient].append(picture)
    per_class = sum(sum(sites.values()) for sites in PATIENTS_PER_CLASS.values())
    assert len(of_patient) == len(CLASSES) * per_class
    for pictures in of_patient.values():
        assert IMAGES_PER_PATIENT[0] <= len(pictures) <= IMAGES_PER_PATIENT[1]
        assert len({(picture.split, picture.site) for picture in pictures}) == 1
    assert len({picture.name for picture in STUDY}) == len(STUDY)


def test_one_site_is_in_the_test_images_alone() -> None:
    assert {p.site for p in STUDY if p.split == "train"} == {"north"}
    sites = Counter(p.site for p in STUDY if p.split == "test")
    assert min(sites["north"], sites["south"]) > 30


def test_a_few_labels_are_wrong() -> None:
    first_letters = {name[0].upper(): name for name in CLASSES}
    wrong = [p for p in STUDY if first_letters[p.patient[0]] != p.label]
    assert 0 < len(wrong) < 2 * WRONG_LABELS * len(STUDY)


def test_classes_overlap_in_each_of_their_properties() -> None:
    """The best threshold on one property errs, but does better than chance."""
    looks = {
        label: np.array([(p.tissue.nuclei, p.tissue.radius) for p in STUDY if p.label == label])
        for label in CLASSES
    }
    for column in (0, 1):
        few, many = looks["normal"][:, column], looks["inflamed"][:, column]
        assert max(few.min(), many.min()) < min(few.max(), many.max())


def test_a_picture_is_seeded_and_the_sites_differ() -> None:
    picture = STUDY[0]
    drawn = picture.draw(96)
    assert (drawn.shape, drawn.dtype) == ((96, 96, 3), np.uint8)
    np.testing.assert_array_equal(drawn, picture.draw(96))
    assert np.abs(drawn.astype(int) - STUDY[1].draw(96)).mean() > 5
    there = replace(picture, site="south").draw(96).astype(float)
    assert there[..., 2].mean() < drawn[..., 2].mean() - 5
