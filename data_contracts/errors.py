"""Errors that a user can correct: each message says what is wrong and what to do, in one line."""

from __future__ import annotations


class InputError(Exception):
    """An input (a folder, name, setting, weights file or store) cannot be used.

    Args:
        what: what is wrong, naming the file or the setting.
        remedy: what the user can do about it.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what.rstrip('.')}. {remedy.rstrip('.')}.")
        self.what = what
        self.remedy = remedy


class ContractError(InputError):
    """Stored data violates a rule of its contract."""
