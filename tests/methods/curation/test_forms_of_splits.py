"""The same split comes of manifests that differ in form only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.errors import InputError
from data_contracts.records.dataset import DatasetSpec
from methods.curation.identities import Claim, identify
from methods.curation.manifest_rows import ManifestRow, curate

NUMBER_FORMS = ["{0}", "{0}.0", "{0:07d}", "+{0}", "{0}.", " {0}\u200b", "{0:03d}.00"]
NAME_FORMS = ["{0}", "{0} ", "\xa0{0}", "\ufeff{0}", "{0}^^"]
NAMES = [("M\xfcller", "Mu\u0308ller"), ("P7", "\uff307"), ("a b", "a\u3000 b"), ("p7", "p7\0")]
FACTS: dict[str, Any] = {"bytes": 1, "width": 1, "height": 1, "mode": "L", "format": "PNG"}
N = 16


@st.composite
def columns(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """Two columns of identifiers of N images that differ in form only."""
    plain, other = [], []
    for _ in range(N):
        if draw(st.booleans()):
            number = draw(st.integers(1, 5))
            pair = (str(number), draw(st.sampled_from(NUMBER_FORMS)).format(number))
        else:
            names = draw(st.sampled_from(NAMES))
            form = draw(st.sampled_from(NAME_FORMS))
            pair = (names[0], form.format(draw(st.sampled_from(names))))
        plain.append(pair[0])
        other.append(pair[1])
    return plain, other


def sides(ids: list[str], column: str, order: list[int], **settings: Any) -> object:
    """The side of each image, or the error, of a split whose rows come in some order."""
    claims = [
        Claim(**{"group_id": None, "patient_id": None, "header": None, column: ids[i]}, study=None)
        for i in order
    ]
    rows = [
        ManifestRow(
            image_id=f"{i:064x}",
            path=f"{i}.png",
            status="ok",
            reason=None,
            label="AB"[i % 2],
            split=None,
            group_id=who.group_id,
            group_source=who.group_source,
            patient_id=who.patient_id,
            header_patient_id=who.header_patient_id,
            **FACTS,
        )
        for i, who in zip(order, identify(claims), strict=True)
    ]
    spec = DatasetSpec(name="scans", root=Path("/scans"), split="stratified", **settings)
    try:
        return [(row.path, row.split) for row in curate(rows, spec)]
    except InputError as error:
        return str(error)


@settings(deadline=None, max_examples=60)
@given(
    columns(),
    st.sampled_from(["group_id", "patient_id", "header"]),
    st.permutations(range(N)),
    st.integers(0, 3),
)
def test_neither_forms_nor_order_move_a_split(
    pair: tuple[list[str], list[str]], column: str, order: list[int], seed: int
) -> None:
    plain, other = pair
    assert sides(plain, column, list(range(N)), split_seed=seed) == sides(
        other, column, order, split_seed=seed
    )
