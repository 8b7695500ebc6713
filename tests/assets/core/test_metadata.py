"""What the web UI is told about an output: a class name in it is text, not markup."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from assets.core.metadata import metadata_of
from data_contracts.records.output_record import OutputRecord, Picture
from resources.store.dataset_store import DatasetStore
from tests.page_rules import EVIL

MARKUP = [
    "**[x](https://evil.example)**",
    "![x](https://evil.example/x.png)",
    "a\n\n# b",
    "`x`",
    "| a |",
]


@pytest.mark.parametrize("evil", [*EVIL, *MARKUP])
def test_notices_and_titles_of_pictures_are_text(evil: str, tmp_path: Path) -> None:
    store = DatasetStore(home=str(tmp_path))
    stored = store.write_bytes("tiny", "cae_model", "0.0.png", b"\x89PNG")
    record = OutputRecord(
        asset="cae_model",
        dataset="tiny",
        fingerprint="0",
        data_version="0",
        code_version="1",
        settings={},
        inputs={},
        files=[stored],
        notices=[f"NOT LEARNED: {evil} is on all training images"],
        pictures=[Picture(title=evil, file="0.0.png")],
        run_id="0",
        created="2000-01-01",
        seconds=0.0,
        peak_memory_bytes=0,
    )
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
    record = OutputRecord(
        asset="summary_report",
        dataset="",
        fingerprint="0",
        data_version="0",
        code_version="1",
        settings={},
        inputs={},
        files=[stored],
        pictures=[Picture(title="accuracies", file="0.0.png")],
        run_id="0",
        created="2000-01-01",
        seconds=0.0,
        peak_memory_bytes=0,
    )
    shown = metadata_of(store, record, reused=False)["accuracies"].md_str
    assert shown == "![accuracies](/medfeat/pictures/_all/summary_report/0.0.png)"
