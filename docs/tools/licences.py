"""The licences of what medfeat needs to run, as the packages themselves state them.

``make licences`` writes the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PAGE = Path(__file__).parents[1] / "licences.md"
SPDX = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD 3-Clause License": "BSD-3-Clause",
    "BSD License": "BSD",
    "ISC License": "ISC",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT license": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "NVIDIA Proprietary Software": "LicenseRef-NVIDIA-Proprietary",
    "Python Software Foundation License": "PSF-2.0",
}
"""Present SPDX identifier of what older packages state.

"BSD" leaves open which of the BSD licences it is.
"""
ALLOWED = {
    *(
        "0BSD",
        "Apache-2.0",
        "BSD",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSL-1.0",
        "CC0-1.0",
        "ISC",
        "LLVM-exception",
        "MIT",
    ),
    *("MIT-CMU", "MPL-2.0", "PSF-2.0", "Unlicense", "Zlib"),
}
"""Permissive licences, and MPL-2.0, whose copyleft ends at the file."""
EXCEPTIONS = {
    "cuda-toolkit": "names NVIDIA's libraries below and holds nothing else",
    "nvidia-*": (
        "NVIDIA's CUDA libraries, which torch uses on Linux; free to use and to pass on, not open "
        "source"
    ),
}
"""Packages that may have another licence, and the reason."""


@dataclass(frozen=True)
class Licensed:
    """A package and the licence it states, an SPDX expression where it can be told."""

    name: str
    version: str
    licence: str

    @property
    def exception(self) -> str:
        """Why the package may have any licence; empty where it may not."""
        return next(
            (reason for pattern, reason in EXCEPTIONS.items() if fnmatchcase(self.name, pattern)),
            "",
        )

    @property
    def is_allowed(self) -> bool:
        """Whether every licence that it names is allowed, or it is an exception."""
        names = set(re.findall(r"[\w.+-]+", self.licence)) - {"AND", "OR", "WITH"}
        return bool(self.exception) or (bool(names) and names <= ALLOWED)


def stated(package: Distribution) -> str:
    """Return the licence of a package in its own words, "unknown" where it has none."""
    metadata = package.metadata
    if expression := metadata.get("License-Expression"):
        return str(expression)
    text = (metadata.get("License") or "").strip()
    if text and "\n" not in text and len(text) < 40 and "Dual" not in text:
        return SPDX.get(text, text)
    names = [
        line.rpartition(":: ")[2]
        for line in metadata.get_all("Classifier") or []
        if line.startswith("License ::")
    ]
    return " OR ".join(sorted(SPDX.get(name, name) for name in names)) or "unknown"


def needed(root: str = "medfeat") -> Iterator[Licensed]:
    """Return what an installed package needs to run on this machine, by name.

    What those packages need in turn is part of it.
    """
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    left = [(root, "")]
    while left:
        name, extra = left.pop()
        if (canonicalize_name(name), extra) in seen:
            continue
        seen.add((canonicalize_name(name), extra))
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue  # of another system: the lock says what is installed on which
        found[canonicalize_name(name)] = package
        for line in package.requires or []:
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate({"extra": extra}):
                left += [(wanted.name, "")] + [(wanted.name, extra) for extra in wanted.extras]
    del found[canonicalize_name(root)]
    for name in sorted(found):
        yield Licensed(name, found[name].version, stated(found[name]))


def page() -> str:
    """Return the text of ``docs/licences.md``."""
    lines = [
        "# Licences",
        "",
        "What medfeat needs to run, as locked and installed on Linux x86-64, with the licence that "
        "each package states.",
        "`make licences` writes this page anew; a test fails where a package has a licence that "
        "`docs/tools/licences.py` does not",
        "allow. Tools for development are left out, and so are the extras: timm (Apache-2.0), and "
        "dagster-postgres (Apache-2.0)",
        "with psycopg2-binary (LGPL-3.0 with exceptions), for which this extra is one. medfeat "
        "itself is under Apache-2.0.",
        "",
        "| package | version | licence | |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {one.name} | {one.version} | {one.licence} | {one.exception} |" for one in needed()
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
