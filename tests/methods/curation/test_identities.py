"""What a manifest lists and what headers name become one answer to who is on an image."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from methods.curation.identities import (
    FRAMES,
    MANY_STUDIES,
    NOT_CONSULTED,
    ONE_VALUE,
    PLACEHOLDER,
    SEVERAL_FORMS,
    STUDY,
    Claim,
    Identity,
    identify,
)


def claim(
    group: str | None = None,
    patient: str | None = None,
    header: str | None = None,
    study: str | None = None,
    drop: str | None = None,
) -> Claim:
    return Claim(group, patient, header, study, None, drop)


OTHERS = [claim("g8", "p8", "h8", "s8"), claim("g9", "p9", "h9", "s9")]
"""Two other files, so that no value is that of all."""


def identity(one: Claim, *others: Claim, exact: bool = False) -> Identity:
    return identify([one, *others, *OTHERS], exact)[0]


@pytest.mark.parametrize(
    ("said", "known"),
    [
        (claim(), Identity()),
        (claim("g"), Identity("g", "group_id")),
        (claim("g", "p"), Identity("g", "group_id", "p")),
        (claim(None, "p"), Identity(None, None, "p")),
        (claim(header="h", study="s"), Identity("h", "PatientID", None, "h")),
        (claim("g", header="h"), Identity("g", "group_id", "h", "h")),
        (claim("g", "p", "h"), Identity("g", "group_id", "p", "h")),
        (claim(None, "p", "h"), Identity("h", "PatientID", "p", "h")),
        (claim(study="s"), Identity("study s", STUDY)),
        (replace(claim(study="s"), file="file f"), Identity("study s", STUDY)),
        (replace(claim(), file="file f"), Identity("file f", FRAMES)),
    ],
)
def test_who_is_on_an_image(said: Claim, known: Identity) -> None:
    assert identity(said) == known


@pytest.mark.parametrize(
    ("said", "known"),
    [
        (claim("0007"), Identity("0007", "group_id")),
        (claim("unknown"), Identity("unknown", "group_id")),
        (
            claim("g", header="h"),
            Identity("g", "group_id", notes=(NOT_CONSULTED.format("PatientID"),)),
        ),
        (
            claim(header="ANONYMOUS", study="s"),
            Identity("ANONYMOUS", "PatientID", None, "ANONYMOUS"),
        ),
    ],
)
def test_exact_identifiers_are_as_written(said: Claim, known: Identity) -> None:
    assert identity(said, exact=True) == known


@pytest.mark.parametrize(
    ("said", "column", "known"),
    [
        (claim("unknown", header="h"), "group_id", Identity("h", "PatientID", None, "h")),
        (claim("g", "?", "h"), "patient_id", Identity("g", "group_id", "h", "h")),
        (claim(header="ANON", study="s"), "PatientID", Identity("study s", STUDY)),
        (claim(header="000000"), "PatientID", Identity()),
        (claim("g", header="x"), "PatientID", Identity("g", "group_id")),
        (claim("\u200b"), "group_id", Identity()),
    ],
)
def test_a_placeholder_is_nobody(said: Claim, column: str, known: Identity) -> None:
    assert identity(said) == replace(known, notes=(PLACEHOLDER.format(column),))


@pytest.mark.parametrize("studies", [MANY_STUDIES - 1, MANY_STUDIES])
def test_one_patient_of_many_studies_is_nobody(studies: int) -> None:
    files = [claim(header="CENTRE 4", study=str(number)) for number in range(studies)]
    pictures = [claim(), claim()]
    found = identify([*files, *pictures])[0]
    if studies < MANY_STUDIES:
        assert found == Identity("CENTRE 4", "PatientID", None, "CENTRE 4")
    else:
        assert found == Identity("study 0", STUDY, notes=(ONE_VALUE.format("PatientID"),))
    in_drop = claim(header="CENTRE 4", study="later", drop="monday")
    real = claim(header="P7", study="later", drop="monday")
    assert identify([*files, in_drop, real])[:studies] == identify(files), "no drop moves anything"
    last = identify([*files, in_drop, real])[-2]
    assert (last.group_source == STUDY) == (studies >= MANY_STUDIES)


@pytest.mark.parametrize("column", ["group_id", "patient_id"])
def test_one_listed_value_for_everything_is_nobody(column: str) -> None:
    claims = [replace(claim(), **{column: text}) for text in ("ward", "ward", " ward")]
    for found in identify(claims):
        assert found == Identity(notes=(ONE_VALUE.format(column),))
    unlike = [*claims, claim()]
    assert getattr(identify(unlike)[0], column) == "ward", "an image without it is another's"
    assert getattr(identify([claims[0]])[0], column) == "ward", "one image says nothing"
    unusable = [*claims, replace(claim(), usable=False)]
    assert getattr(identify(unusable)[0], column) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (claim("7"), claim("0007")),
        (claim("7"), claim("7.0", drop="monday")),
        (claim("g1", "Mu\u0308ller"), claim("g2", "M\xfcller")),
        (claim("g1", "7"), claim("g2", header="\uff17")),
        (claim("7"), claim(header="007", drop="monday")),
        (claim(header="A 1"), claim(header="A\xa01")),
    ],
)
def test_forms_of_one_identifier_are_joined_and_noted(one: Claim, other: Claim) -> None:
    found = identify([one, other, *OTHERS])
    named = [{i.group_id, i.patient_id, i.header_patient_id} for i in found[:2]]
    assert (named[0] & named[1]) - {None}
    for each in found[:2]:
        assert any(
            SEVERAL_FORMS.format(name) in each.notes
            for name in ("group_id", "patient_id", "PatientID")
        )
    assert found[2].notes == ()


def test_a_lesion_and_a_patient_of_one_number_are_not_joined() -> None:
    found = identify([claim("7", "1"), claim("2", "007"), *OTHERS])
    assert [each.notes for each in found] == [(), (), (), ()]


def test_the_first_of_a_numbering_is_somebody() -> None:
    numbered = identify([claim(str(number)) for number in range(3)])
    assert [each.group_id for each in numbered] == ["0", "1", "2"]
    late = identify([claim("4711001"), claim("0"), claim("1", drop="monday"), *OTHERS])
    assert late[1].group_id is None, "what a drop lists does not move the first load"


def test_order_does_not_matter() -> None:
    claims = [
        *(claim(header="X1", study=str(number)) for number in range(3)),
        *(claim(group, drop=drop) for group in ("7", "07", "0", "x", "w") for drop in (None, "d")),
        *OTHERS,
    ]
    expected = dict(zip(map(repr, claims), identify(claims), strict=True))
    for seed in range(5):
        mixed = random.Random(seed).sample(claims, len(claims))
        assert dict(zip(map(repr, mixed), identify(mixed), strict=True)) == expected
