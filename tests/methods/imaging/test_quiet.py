"""Warnings that are ignored while any thread decodes, and the filters afterwards."""

from __future__ import annotations

import warnings

import pytest

from methods.imaging.quiet import ignoring_warnings


def warn_from(module: str) -> None:
    warnings.warn_explicit("loud", UserWarning, "file.py", 1, module=module)


def test_only_warnings_of_the_named_modules_are_ignored() -> None:
    with ignoring_warnings(r"noisy(\.|$)"):
        warn_from("noisy.part")
        with pytest.warns(UserWarning, match="loud"):
            warn_from("other")
    with pytest.warns(UserWarning, match="loud"):
        warn_from("noisy.part")


def test_overlapping_uses_are_all_quiet_and_the_last_to_leave_restores_the_filters() -> None:
    before = list(warnings.filters)
    first, second = ignoring_warnings(r"one$"), ignoring_warnings(r"two$")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)  # as a thread that leaves while another is still inside
    warn_from("two")
    assert list(warnings.filters) != before
    second.__exit__(None, None, None)
    assert list(warnings.filters) == before


def test_libraries_are_prepared_once_for_all_that_are_inside() -> None:
    calls: list[str] = []
    for _ in range(2):
        first = ignoring_warnings(r"one$", lambda: calls.append("prepared"))
        second = ignoring_warnings(r"one$", lambda: calls.append("prepared again"))
        with first, second:
            pass
    assert calls == ["prepared", "prepared"]
