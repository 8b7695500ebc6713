"""Errors that are the user's to mend. Each says what is wrong and how to put it right, in one
line.
"""

from __future__ import annotations


class InputError(Exception):
    """Something given to the pipeline (a folder, a name, a setting, a weights file, a store) cannot
    be used.

    Args:
        what: the fact, naming the file or setting.
        remedy: what to do about it.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what.rstrip('.')}. {remedy.rstrip('.')}.")
        self.what = what
        self.remedy = remedy


class ContractError(InputError):
    """Stored data breaks a rule of its contract."""
