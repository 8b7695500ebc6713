"""A table contract: a pyarrow schema and row rules, checked on every write and every read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from data_contracts.errors import ContractError

RowRule = Callable[[pa.Table], Sequence[int]]
"""Function of a table that returns the positions of the rows that break the rule."""


def repeated_rows(table: pa.Table, columns: Sequence[str]) -> list[int]:
    """Return the positions of the rows whose values in ``columns`` an earlier row has."""
    groups = table.select(columns).group_by(list(columns), use_threads=False).aggregate([])
    if len(groups) == len(table):
        return []
    seen: set[tuple[object, ...]] = set()
    repeated = []
    for row, values in enumerate(zip(*(table[c].to_pylist() for c in columns), strict=True)):
        if values in seen:
            repeated.append(row)
        seen.add(values)
    return repeated


@dataclass(frozen=True)
class Violation:
    """One broken rule.

    Attributes:
        rule: the rule in words.
        row: first row that breaks it, or None for the table as a whole.
        count: how many rows break it.
    """

    rule: str
    row: int | None
    count: int

    def __str__(self) -> str:
        where = "" if self.row is None else f" (row {self.row}, {self.count} in all)"
        return f"{self.rule}{where}"


@dataclass(frozen=True)
class TableContract:
    """Schema, key and row rules of one kind of table.

    Attributes:
        name: name of the kind of table, for messages.
        suffix: end of the name of every file that holds such a table.
        schema: exact column names, order, types and nullability.
        key: columns whose combination is unique.
        rules: row rules by their statement in words.
    """

    name: str
    suffix: str
    schema: pa.Schema
    key: tuple[str, ...]
    rules: dict[str, RowRule]

    def violations(self, table: pa.Table) -> list[Violation]:
        """Return every rule that ``table`` breaks, the schema first; none means it is valid."""
        if not table.schema.equals(self.schema):
            columns = ", ".join(f"{f.name}: {f.type}" for f in table.schema)
            return [
                Violation(
                    f"the columns of a {self.name} table are exactly those of its schema, found "
                    f"{columns}",
                    None,
                    0,
                )
            ]
        broken = []
        for field in self.schema:
            nulls = table[field.name].null_count
            if not field.nullable and nulls:
                row = table[field.name].is_null().to_pylist().index(True)
                broken.append(Violation(f"column {field.name} has no empty cell", row, nulls))
        doubled = repeated_rows(table, self.key)
        if doubled:
            broken.append(Violation(f"{' + '.join(self.key)} is unique", doubled[0], len(doubled)))
        if not broken:
            for rule, offenders_of in self.rules.items():
                offenders = list(offenders_of(table))
                if offenders:
                    broken.append(Violation(rule, offenders[0], len(offenders)))
        return broken

    def check(self, table: pa.Table, where: str) -> pa.Table:
        """Return ``table`` where it is valid.

        Args:
            table: table to be written, or as it was read.
            where: its file, for the message.

        Raises:
            ContractError: naming the rule, the row and the file.
        """
        broken = self.violations(table)
        if broken:
            raise ContractError(
                f"{where} breaks a rule of the {self.name} table: {broken[0]}",
                "Materialise the asset that wrote it again (with force), or restore the file",
            )
        return table
