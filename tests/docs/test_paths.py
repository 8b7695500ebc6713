"""Paths, modules and links that a document names exist in the tree."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FOLDERS = "assets|benchmarks|data_contracts|docs|faults|methods|pipeline|resources|tests"

PATH = re.compile(rf"(?<![\w/.$-])(?:{FOLDERS})/[\w./*-]*\w")
MODULE = re.compile(rf"(?<![\w/.-])(?:{FOLDERS})(?:\.[A-Za-z_]\w*)+")
LINK = re.compile(r"\]\(([^)\s]+)\)")
EXAMPLES = re.compile(r"^```python\n.*?^```$", re.MULTILINE | re.DOTALL)
"""Examples in Python name new files; `test_extending.py` executes them."""
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def paths_of(text: str) -> set[str]:
    return set(PATH.findall(EXAMPLES.sub("", text)))


def modules_of(text: str) -> set[str]:
    found = MODULE.findall(EXAMPLES.sub("", text))
    return {name for name in found if not (ROOT / name).is_file() and not is_file_name(name)}


def is_file_name(name: str) -> bool:
    """Whether a dotted word is a file of a user, such as `predictions.csv`."""
    return name.rpartition(".")[2] in {"csv", "html", "json", "md", "parquet", "py", "txt"}


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or an attribute of one."""
    module, _, attribute = name.rpartition(".")
    try:
        parent = import_module(module)
    except ModuleNotFoundError:
        return False
    return hasattr(parent, attribute) or (hasattr(parent, "__path__") and bool(find_spec(name)))


def anchors_of(text: str) -> set[str]:
    """Anchors that GitHub makes of the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


def is_broken(document: Path, link: str) -> bool:
    """Whether a link of a document leads to no file, or to no heading of it."""
    if re.match(r"[a-z]+:", link):
        return False
    path, _, anchor = link.partition("#")
    target = (document.parent / path).resolve() if path else document
    if not target.is_relative_to(ROOT) or not target.exists():
        return True
    return bool(anchor) and anchor not in anchors_of(target.read_text())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
class TestDocuments:
    def test_its_paths_exist(self, document: Path) -> None:
        named = paths_of(document.read_text())
        assert [path for path in sorted(named) if not list(ROOT.glob(path))] == []

    def test_its_modules_exist(self, document: Path) -> None:
        named = modules_of(document.read_text())
        assert [name for name in sorted(named) if not exists(name)] == []

    def test_its_links_lead_somewhere(self, document: Path) -> None:
        links = LINK.findall(FENCED.sub("", document.read_text()))
        assert [link for link in links if is_broken(document, link)] == []


def test_the_documents_are_read() -> None:
    names = {str(path.relative_to(ROOT)) for path in DOCUMENTS}
    assert {"README.md", "CONTRIBUTING.md", "docs/README.md", "docs/adr/0001-folders.md"} <= names


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs" / "adr"
    listed = LINK.findall((folder / "README.md").read_text())
    records = sorted(path.name for path in folder.glob("0*.md"))
    assert listed == records
    for name in records:
        title = (folder / name).read_text().partition("\n")[0].removeprefix("# ")
        number, _, words = title.partition(" ")
        assert number == name[:4]
        assert f"| [{number}]({name}) | {words} |" in (folder / "README.md").read_text()


def test_a_path_that_does_not_exist_is_seen() -> None:
    text = (
        "See `methods/cae.py`, `methods/imaging/`, /opt/docs/x.py and `docs/systemd/medfeat-*.x`."
    )
    assert paths_of(text) == {"methods/cae.py", "methods/imaging", "docs/systemd/medfeat-*.x"}
    assert not list(ROOT.glob("methods/cae.py"))
    assert list(ROOT.glob("methods/imaging"))


def test_a_module_that_does_not_exist_is_seen() -> None:
    text = "`python -m pipeline.web.server`, `methods.vlad.VLAD`, docs/tools.py, `assets.csv`"
    assert modules_of(text) == {"pipeline.web.server", "methods.vlad.VLAD"}
    assert exists("pipeline.web.server")
    assert exists("methods.settings.SVM_C")
    assert not exists("methods.settings.svm_c")
    assert not exists("methods.vlad.VLAD")


def test_a_broken_link_is_seen(tmp_path: Path) -> None:
    readme = ROOT / "README.md"
    assert not is_broken(readme, "https://example.org/nowhere")
    assert not is_broken(readme, "docs/adr/0001-folders.md")
    assert not is_broken(readme, "docs/extending.md#a-metric")
    assert is_broken(readme, "docs/extending.md#a-feature")
    assert is_broken(readme, "docs/adr/0001-directories.md")
    assert is_broken(readme, str(tmp_path))
