"""A dependency with a licence that binds its users is noticed before it is shipped."""

from __future__ import annotations

import platform
import re
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from docs.tools.licences import EXCEPTIONS, PAGE, Licensed, needed, page

LOCK = Path(__file__).parents[2] / "requirements.lock"


def test_every_dependency_has_a_licence_that_is_allowed() -> None:
    assert [one for one in needed() if not one.is_allowed] == []


@pytest.mark.parametrize(
    "licence",
    ["GPL-3.0-or-later", "MIT AND GPL-2.0-only", "AGPL-3.0", "LGPL-2.1", "unknown", "", "SSPL-1.0"],
)
def test_another_licence_is_noticed(licence: str) -> None:
    assert not Licensed("new-package", "1", licence).is_allowed


def test_every_runtime_dependency_of_the_lock_that_is_installed_is_listed() -> None:
    listed = {one.name for one in needed()}
    assert {
        Requirement(line).name for line in requires("medfeat") or [] if "extra ==" not in line
    } <= listed
    locked = set(re.findall(r"^([a-z0-9.-]+)==", LOCK.read_text(), re.MULTILINE))
    assert listed <= locked
    assert {"uvloop", "websockets"} <= listed, (
        "what an extra of a dependency asks for is needed too"
    )


@pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64"),
    reason="the page is of Linux x86-64",
)
def test_the_page_is_that_of_the_lock_and_no_exception_is_left_over() -> None:
    assert PAGE.read_text() == page(), "run make licences"
    assert {one.exception for one in needed()} == {"", *EXCEPTIONS.values()}
