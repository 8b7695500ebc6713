"""Columns of a user's manifest by which test images are divided: sex, site, scanner, age."""

from __future__ import annotations

import math
from dataclasses import dataclass

from data_contracts.errors import InputError

MAX_VALUES = 30
"""Most values of an attribute: more are no subgroups, and may be names."""


@dataclass(frozen=True)
class Attribute:
    """A column of a user's manifest by which test images are divided.

    Attributes:
        name: of the column.
        width: width of the bins of a numeric column, in its own unit; None where each value is a
            subgroup.
    """

    name: str
    width: float | None = None

    @classmethod
    def parse(cls, text: str) -> Attribute:
        """Read ``sex``, or ``age:10`` for bins ten wide.

        Raises:
            InputError: no name, or a width that is no positive number.
        """
        name, separator, width = text.strip().partition(":")
        try:
            wide = float(width) if separator else None
        except ValueError:
            wide = math.nan
        if not name or (wide is not None and not 0 < wide < math.inf):
            raise InputError(
                f"the subgroup {text!r} is no column, and no column with a width of bins",
                "Write for example --subgroups sex,site,age:10",
            )
        return cls(name.lower(), wide)

    def value(self, cell: str) -> str:
        """The subgroup of a cell: the cell, or the bin that its number lies in.

        Raises:
            InputError: bins are asked for and the cell is no number.
        """
        if self.width is None:
            return cell
        try:
            number = float(cell)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise InputError(
                f"a cell of the column {self.name} is not a number",
                f"Correct it, or give {self.name} without a width",
            )
        low = math.floor(number / self.width) * self.width
        return f"{low:g} to below {low + self.width:g}"
