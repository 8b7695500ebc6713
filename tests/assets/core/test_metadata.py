"""What the web UI is told about an output: a class name in it is text, not markup."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.core.metadata import metadata_of
from assets.core.stage import pages_that_show
from data_contracts import asset_names as names
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
    metadata = metadata_of(store, record, reused=False, shown_in={})
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
    shown = metadata_of(store, record, reused=False, shown_in={})["accuracies"].md_str
    assert shown == "![accuracies](/medfeat/pictures/_all/summary_report/0.0.png)"


def _links(metadata: dict[str, Any]) -> dict[str, str | None]:
    return {
        title: value.url
        for title, value in metadata.items()
        if isinstance(value, dg.UrlMetadataValue)
    }


def test_an_output_links_to_its_own_pages_or_to_those_that_show_it(tmp_path: Path) -> None:
    store = DatasetStore(home=str(tmp_path))
    stored = store.write_bytes("tiny", "svm", "0.0.png", b"\x89PNG")
    published = [
        store.publish(store.reports / "tiny" / "ahn2019" / name, b"")
        for name in ("checklist.html", "report.html", "table-01.csv")
    ]
    report = _record("report_ahn2019", "tiny", stored, "a", published=published)
    shown_in = {"ahn2019": "tiny/ahn2019/report.html"}
    assert _links(metadata_of(store, report, False, shown_in)) == {
        "page: report": "/reports/tiny/ahn2019/report.html",
        "page: checklist": "/reports/tiny/ahn2019/checklist.html",
    }
    evaluation = _record("svm", "tiny", stored, "a")
    assert _links(metadata_of(store, evaluation, False, shown_in)) == {
        "shown in ahn2019": "/reports/tiny/ahn2019/report.html"
    }


def test_the_report_of_the_run_shows_an_output_and_another_where_it_is_there(
    tmp_path: Path,
) -> None:
    store = DatasetStore(home=str(tmp_path))
    of_study = {"ahn2019": "tiny/ahn2019/report.html"}
    manifest = names.IMAGE_MANIFEST
    assert pages_that_show(store, "tiny", manifest, "ahn2019") == of_study
    assert pages_that_show(store, "tiny", manifest, "__ASSET_JOB") == {}
    store.publish(store.reports / "tiny" / "ahn2019" / "report.html", b"")
    assert pages_that_show(store, "tiny", manifest, "__ASSET_JOB") == of_study
    assert pages_that_show(store, "tiny", names.PREDICTIONS, "ahn2019") == {}
