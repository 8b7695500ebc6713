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
    stored = store.write_bytes("tiny", "cae_model", "x.png", b"\x89PNG")
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
        pictures=[Picture(title=evil, file="x.png")],
        run_id="0",
        created="2000-01-01",
        seconds=0.0,
        peak_memory_bytes=0,
    )
    metadata = metadata_of(store, record, reused=False)
    notice = re.fullmatch(r"- \*\*(.*)\*\*", metadata["NOTICE"].md_str)
    title = re.fullmatch(r"!\[(.*)\]\(data:image/png;base64,\w+==\)", metadata[evil].md_str)
    for match in (notice, title):
        assert match is not None
        assert not set(re.sub(r"\\.", "", match[1])) & set("<>*`|[]\n"), (
            "what is left beside the escaped"
        )
