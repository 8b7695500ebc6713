"""The documentation's table of environment variables is the registry's."""

from __future__ import annotations

from pathlib import Path

from pipeline.environment import table

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def test_the_table_is_that_of_the_registry() -> None:
    assert "\n".join(["", *table(), ""]) in OPERATIONS.read_text()
