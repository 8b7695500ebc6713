"""The web server gives the files of the folder of reports, and nothing else of the disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from pipeline.web.reports import answer_to

PAGE = b"<!doctype html><title>a report</title>"


@pytest.fixture
def reports(home: Path) -> Path:
    """A folder of reports with two reports, and files beside and above it that are not for it."""
    folder = home / "reports"
    for name, data in {
        "ward/ahn2019/report.html": PAGE,
        "ward/ahn2019/runs/0123456789ab/report.html": PAGE,
        "ward/ahn2019/results.csv": b"method,value\n",
        "ward/ahn2019/01-results.tex": b"\\begin{tabular}",
        "ward/predictions.html": PAGE,
        "ward/predictions.parquet": b"PAR1",
        "summary/report.html": PAGE,
        "ward/.hidden.html": b"secret",
        "ward/.report.html.12.abcdef01.tmp": b"secret",
        "ward/key.pem": b"secret",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (home / "secret.html").write_bytes(b"secret")
    (home / "reports-of-others").mkdir()
    (home / "reports-of-others" / "secret.html").write_bytes(b"secret")
    return folder


@pytest.mark.parametrize(
    ("address", "kind", "data"),
    [
        ("/reports/ward/ahn2019/report.html", "text/html; charset=utf-8", PAGE),
        ("/reports/ward/ahn2019/results.csv", "text/csv; charset=utf-8", b"method,value\n"),
        (
            "/reports/ward/ahn2019/01-results.tex",
            "application/x-tex; charset=utf-8",
            b"\\begin{tabular}",
        ),
        ("/reports/ward/predictions.parquet", "application/vnd.apache.parquet", b"PAR1"),
    ],
)
def test_a_published_file_is_served_with_its_content_type(
    reports: Path, client: TestClient, address: str, kind: str, data: bytes
) -> None:
    answer = client.get(address, headers={"sec-fetch-site": "same-origin"})
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, kind, data)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


def test_a_page_may_load_nothing_and_send_nothing(reports: Path, client: TestClient) -> None:
    policy = client.get("/reports/ward/ahn2019/report.html").headers["content-security-policy"]
    rules = dict(rule.strip().partition(" ")[::2] for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "connect-src" not in rules
    assert rules["frame-ancestors"] == "'none'"
    assert "allow-same-origin" not in rules["sandbox"]


def test_the_list_has_every_page_by_dataset_and_a_folder_its_files(
    reports: Path, client: TestClient
) -> None:
    everything = client.get("/reports", follow_redirects=True)
    assert everything.headers["content-type"] == "text/html; charset=utf-8"
    for link in ("ward/ahn2019/report.html", "ward/predictions.html", "summary/report.html"):
        assert f'href="{link}"' in everything.text
    assert "results.csv" not in everything.text
    assert "0123456789ab" not in everything.text, "pages of single runs would fill it"
    of_report = client.get("/reports/ward/ahn2019/").text
    assert 'href="results.csv"' in of_report
    assert 'href="runs/0123456789ab/report.html"' in of_report
    of_ward = client.get("/reports/ward/").text
    assert 'href="predictions.parquet"' in of_ward
    for text in (everything.text, of_report, of_ward):
        assert "hidden" not in text
        assert "key.pem" not in text
        assert ".tmp" not in text


def test_a_home_without_reports_says_how_to_make_one(home: Path, client: TestClient) -> None:
    assert "medfeat run NAME" in client.get("/reports/").text


@pytest.mark.parametrize(
    "address",
    [
        "/reports/ward/ahn2019/gone.html",
        "/reports/ward/ahn2019/report.html/",
        "/reports/ward/key.pem",
        "/reports/ward/.hidden.html",
        "/reports/ward/.report.html.12.abcdef01.tmp",
        "/reports/..%2fsecret.html",
        "/reports/%2e%2e/secret.html",
        "/reports/ward/..%2f..%2f..%2fsecret.html",
        "/reports/..%2freports-of-others%2fsecret.html",
        "/reports//etc/passwd",
        "/reports/ward%00/report.html",
        "/reports/ward/ahn2019/report.html%0a",
        "/reports/ward/ahn2019",
        "/reports/nobody/",
    ],
)
def test_nothing_else_is(reports: Path, client: TestClient, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 404, address
    assert "secret" not in answer.text


def test_dots_that_no_client_resolved_are_refused(reports: Path) -> None:
    for address in ("/reports/../secret.html", "/reports/ward/../../secret.html", "/reports/../"):
        assert answer_to(address).status_code == 404


def test_a_link_that_leads_out_is_not_followed(
    reports: Path, client: TestClient, home: Path
) -> None:
    os.symlink(home / "secret.html", reports / "ward" / "link.html")
    os.symlink(home / "reports-of-others", reports / "linked")
    assert client.get("/reports/ward/link.html").status_code == 404
    assert client.get("/reports/linked/secret.html").status_code == 404
    assert "link" not in client.get("/reports/").text.replace("linear", "")


def test_a_pipe_does_not_hold_up_the_server(reports: Path, client: TestClient) -> None:
    os.mkfifo(reports / "ward" / "pipe.html")
    assert client.get("/reports/ward/pipe.html").status_code == 404


def test_a_folder_of_reports_that_is_a_link_is_served(
    reports: Path, client: TestClient, home: Path
) -> None:
    reports.rename(home / "elsewhere")
    os.symlink(home / "elsewhere", reports)
    assert client.get("/reports/ward/ahn2019/report.html").content == PAGE


def test_another_page_gets_nothing_and_nobody_changes_a_report(
    reports: Path, client: TestClient
) -> None:
    address = "/reports/ward/ahn2019/report.html"
    embedded = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert client.get(address, headers=embedded).status_code == 403
    assert client.get(address, headers={"host": "evil.example"}).status_code == 403
    for method in ("POST", "PUT", "DELETE"):
        assert client.request(method, address).status_code == 405
    assert client.get("/reportsandmore").text == "dagster"
