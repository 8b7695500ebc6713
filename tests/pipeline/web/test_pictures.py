"""The web server gives pictures that a stored output lists, and nothing else of the store."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from data_contracts.records.output_record import OutputRecord, Picture
from pipeline.web.pictures import stored_picture
from resources.store.dataset_store import DatasetStore

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
FINGERPRINT = "0123456789abcdef"
ADDRESS = f"/medfeat/pictures/tiny/cae_model/{FINGERPRINT}.0.png"


def save(store: DatasetStore, dataset: str, picture: bytes = PNG, **changed: str) -> OutputRecord:
    """Store an output with one picture and one other file."""
    name = f"{FINGERPRINT}.0.png"
    files = [
        store.write_bytes(dataset, "cae_model", name, picture),
        store.write_bytes(dataset, "cae_model", f"{FINGERPRINT}.1.png", PNG),
    ]
    values = {"asset": "cae_model", "dataset": dataset, "fingerprint": FINGERPRINT, **changed}
    record = OutputRecord(
        **values,
        data_version="0",
        code_version="1",
        settings={},
        inputs={},
        files=files,
        pictures=[Picture(title="learning curve", file=name)],
        run_id="0",
        created="2000-01-01",
        seconds=0.0,
        peak_memory_bytes=0,
    )
    store.save_record(record)
    return record


@pytest.fixture
def store(home: Path) -> DatasetStore:
    return DatasetStore()


@pytest.mark.parametrize(("dataset", "folder"), [("tiny", "tiny"), ("", "_all")])
def test_a_recorded_picture_is_served(
    store: DatasetStore, client: TestClient, dataset: str, folder: str
) -> None:
    save(store, dataset)
    answer = client.get(ADDRESS.replace("tiny", folder), headers={"sec-fetch-site": "same-origin"})
    assert (answer.status_code, answer.content) == (200, PNG)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert client.get("/assets/cae_model").text == "dagster"


@pytest.mark.parametrize(
    "address",
    [
        ADDRESS.replace(".0.png", ".1.png"),  # stored, but no picture of the record
        ADDRESS.replace(".0.png", ".2.png"),
        ADDRESS.replace(".0.png", ".json"),
        ADDRESS.replace(FINGERPRINT, "0" * 16),
        ADDRESS.replace("cae_model", "svm"),
        ADDRESS.replace("tiny", "other"),
        ADDRESS.replace("tiny", "..%2f..%2fstore%2ftiny"),
        ADDRESS.replace("cae_model", "%2e%2e%2ftiny%2fcae_model"),
        ADDRESS + "%0a",
        ADDRESS + "/",
        ADDRESS.replace("tiny", "TINY"),
        "/medfeat/pictures/",
        "/medfeat/pictures//etc/passwd",
    ],
)
def test_nothing_else_is(store: DatasetStore, client: TestClient, address: str) -> None:
    save(store, "tiny")
    answer = client.get(address)
    assert (answer.status_code, answer.text) == (404, "no output has this picture\n"), address


def test_an_address_with_dots_that_no_client_resolved_is_refused(store: DatasetStore) -> None:
    save(store, "tiny")
    assert stored_picture(ADDRESS) == PNG
    for address in (ADDRESS.replace("tiny", ".."), ADDRESS.replace("tiny", "tiny/../tiny")):
        assert stored_picture(address) is None


def test_a_picture_whose_bytes_are_others_or_that_is_gone_is_not_served(
    store: DatasetStore, client: TestClient, home: Path
) -> None:
    save(store, "tiny")
    file = store.folder("tiny", "cae_model") / f"{FINGERPRINT}.0.png"
    secret = home / "secret.png"
    secret.write_bytes(PNG + b"of another")
    file.unlink()
    assert client.get(ADDRESS).status_code == 404
    os.symlink(secret, file)
    assert client.get(ADDRESS).status_code == 404


def test_a_record_that_is_of_another_output_or_lists_no_png_is_not_followed(
    store: DatasetStore, client: TestClient
) -> None:
    save(store, "tiny", picture=b"<script>")
    assert client.get(ADDRESS).status_code == 404
    other = save(store, "other")
    stored = store.folder("other", "cae_model") / f"{other.fingerprint}.json"
    (store.folder("tiny", "cae_model") / stored.name).write_bytes(stored.read_bytes())
    assert client.get(ADDRESS).status_code == 404


def test_another_page_gets_no_picture_and_nobody_changes_one(
    store: DatasetStore, client: TestClient
) -> None:
    save(store, "tiny")
    embedded = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert client.get(ADDRESS, headers=embedded).status_code == 403
    assert client.get(ADDRESS, headers={"host": "evil.example"}).status_code == 403
    assert client.post(ADDRESS).status_code == 405
