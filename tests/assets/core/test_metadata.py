"""What the web UI is told about an output: a class name in it is text, not markup."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from assets.core.metadata import metadata_of
from data_contracts.records.output_record import OutputRecord, Picture, StoredFile
from resources.store.dataset_store import DatasetStore
from tests.page_rules import EVIL

MARKUP = [
    "**[x](https://evil.example)**",
    "![x](https://evil.example/x.png)",
    "a\n\n# b",
    "`x`",
    "| a |",
]


def _record(
    asset: str, dataset: str, picture: StoredFile, title: str, **fields: Any
) -> OutputRecord:
    """A record with one stored picture."""
    return OutputRecord(
        asset=asset,
        dataset=dataset,
        fingerprint="0",
        data_version="0",
        code_version="1",
        settings={},
        inputs={},
        files=[picture],
        pictures=[Picture(title=title, file=picture.name)],
        run_id="0",
        created="2000-01-01",
        seconds=0.0,
        peak_memory_bytes=0,
        **fields,
    )


@pytest.mark.parametrize("evil", [*EVIL, *MARKUP])
def test_notices_and_titles_of_pictures_are_text(evil: str, tmp_path: Path) -> None:
    store = DatasetStore(home=str(tmp_path))
    stored = store.write_bytes("tiny", "cae_model", "0.0.png", b"\x89PNG")
    notices = [f"NOT LEARNED: {evil} is on all training images"]
    record = _record("cae_model", "tiny", stored, evil, notices=notices)
    metadata = metadata_of(store, record, reused=False)
    notice = re.fullmatch(r"- \*\*(.*)\*\*", metadata["NOTICE"].md_str)
    title = re.fullmatch(
        r"!\[(.*)\]\(/medfeat/pictures/tiny/cae_model/0\.0\.png\)", metadata[evil].md_str
    )
    for match in (notice, title):
        assert match is not None
        assert not set(re.sub(r"\\.", "", match[1])) & set("<>*`|[]\n"), (
            "what is left beside the escaped"
        )


def test_no_pixel_of_a_picture_enters_what_dagster_stores(tmp_path: Path) -> None:
    store = DatasetStore(home=str(tmp_path))
    png = b"\x89PNG" + bytes(range(256)) * 40
    stored = store.write_bytes("", "summary_report", "0.0.png", png)
    record = _record("summary_report", "", stored, "accuracies")
    shown = metadata_of(store, record, reused=False)["accuracies"].md_str
    assert shown == "![accuracies](/medfeat/pictures/_all/summary_report/0.0.png)"
