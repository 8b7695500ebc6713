"""Columns by which test images are divided: names, bins, and what is refused."""

from __future__ import annotations

import pytest

from data_contracts.errors import InputError
from methods.curation.attributes import Attribute


@pytest.mark.parametrize(
    ("text", "cell", "value"),
    [
        ("sex", "F", "F"),
        ("Age:10", "67", "60 to below 70"),
        ("age:10", "60", "60 to below 70"),
        ("dose:0.5", "1.25", "1 to below 1.5"),
    ],
)
def test_the_subgroup_of_a_cell(text: str, cell: str, value: str) -> None:
    assert Attribute.parse(text).value(cell) == value


@pytest.mark.parametrize("text", ["", ":10", "age:", "age:x", "age:0", "age:-1", "age:inf"])
def test_what_is_no_subgroup_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="subgroup"):
        Attribute.parse(text)


def test_a_cell_that_has_no_bin_is_refused_and_not_shown() -> None:
    with pytest.raises(InputError, match="age is not a number") as caught:
        Attribute.parse("age:10").value("Meier")
    assert "Meier" not in str(caught.value)
