"""Alerts of failed runs, sent to a mail server and a web server of this test."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import dagster as dg
import pytest

from data_contracts.errors import InputError
from pipeline import environment
from pipeline.automation.alerts import Alerts, alert_after_failures, text_of
from pipeline.orphans import STARTED_HERE

PASSWORD = "not-to-be-read"
SECRET_DATASET = "ward-of-miller"


class MailServer(socketserver.StreamRequestHandler):
    """As much of SMTP (RFC 5321) as a client needs to leave a message."""

    received: list[str]

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline().decode().strip():
            self.received.append(line)
            word = line.split()[0].upper()
            if word == "EHLO":
                self.wfile.write(b"250-here\r\n250 AUTH PLAIN\r\n")
            elif word == "DATA":
                self.wfile.write(b"354 go on\r\n")
                while (part := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                    self.received.append(part)
                self.wfile.write(b"250 taken\r\n")
            elif word == "QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                self.wfile.write(b"250 fine\r\n")


class WebServer(BaseHTTPRequestHandler):
    received: list[str]
    status = 200

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.received += [self.path, self.rfile.read(length).decode()]
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served(server: socketserver.TCPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def mail(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What a mail server received that the environment names."""
    received: list[str] = []
    handler = type("Handler", (MailServer,), {"received": received})
    with served(socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)) as port:
        monkeypatch.setenv("MEDFEAT_ALERT_SMTP", f"127.0.0.1:{port}")
        monkeypatch.setenv("MEDFEAT_ALERT_MAIL_TO", "ops@example.org, night@example.org")
        yield received


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What a web server received that the environment names."""
    received: list[str] = []
    handler = type("Handler", (WebServer,), {"received": received})
    # another test may have left urllib with a proxy that leads nowhere
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with served(HTTPServer(("127.0.0.1", 0), handler)) as port:
        monkeypatch.setenv("MEDFEAT_ALERT_WEBHOOK", f"http://127.0.0.1:{port}/hooks/{PASSWORD}")
        yield received


def look(**tags: str) -> str:
    """Let the sensor see a run that failed; gives why it sent nothing."""
    run = dg.DagsterRun(job_name="ahn2019", tags={"dagster/partition": SECRET_DATASET, **tags})
    with dg.DagsterInstance.ephemeral() as instance:
        event = dg.DagsterEvent(
            event_type_value=dg.DagsterEventType.RUN_FAILURE.value,
            job_name="ahn2019",
            message=f"an image of {SECRET_DATASET} is broken",
        )
        context = dg.build_run_status_sensor_context(
            "alert_after_failures", event, instance, run
        ).for_run_failure()
        said = alert_after_failures(context)
    return str(said.skip_message) if isinstance(said, dg.SkipReason) else ""


def test_it_is_off_by_default() -> None:
    assert "no alert is set up" in look()


def test_a_mail_names_the_run_and_no_dataset_and_no_reason(mail: list[str]) -> None:
    assert look() == ""
    text = "\n".join(mail)
    assert "rcpt TO:<ops@example.org>" in text
    assert "rcpt TO:<night@example.org>" in text
    assert "Subject: medfeat: a run failed" in text
    assert "(ahn2019) failed" in text
    assert SECRET_DATASET not in text
    assert "broken" not in text


def test_a_web_request_does_the_same(web: list[str]) -> None:
    assert look() == ""
    path, body = web
    assert path == f"/hooks/{PASSWORD}"
    assert "(ahn2019) failed" in json.loads(body)["text"]
    assert SECRET_DATASET not in body


def test_both_ways(mail: list[str], web: list[str]) -> None:
    assert Alerts.from_environment().ways == ["mail", "webhook"]
    look()
    assert mail
    assert web


def test_a_run_that_a_command_waits_for_sends_none(mail: list[str]) -> None:
    assert "the command that waits" in look(**{STARTED_HERE: "1"})
    assert mail == []


def test_a_password_is_sent_over_tls_alone_and_is_in_no_message(
    mail: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDFEAT_ALERT_SMTP_USER", "medfeat")
    monkeypatch.setenv("MEDFEAT_ALERT_SMTP_PASSWORD", PASSWORD)
    with pytest.raises(InputError, match=r"could not be sent by mail \(SMTPNotSupportedError\)"):
        Alerts.from_environment().send("text")
    assert not any("AUTH" in line.upper() for line in mail)
    assert PASSWORD not in repr(Alerts.from_environment())


def test_a_server_that_refuses_or_is_gone_is_said_without_its_address(
    web: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WebServer, "status", 500)
    with pytest.raises(InputError) as refused:
        Alerts.from_environment().send("text")
    assert "by webhook (HTTPError)" in str(refused.value)
    monkeypatch.setenv("MEDFEAT_ALERT_MAIL_TO", "ops@example.org")
    monkeypatch.setenv("MEDFEAT_ALERT_SMTP", "127.0.0.1:1")
    with pytest.raises(InputError) as gone:
        Alerts.from_environment().send("text")
    assert "by mail (ConnectionRefusedError) and by webhook" in str(gone.value)
    assert PASSWORD not in str(refused.value) + str(gone.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MEDFEAT_ALERT_WEBHOOK", f"file:///etc/{PASSWORD}"),
        ("MEDFEAT_ALERT_WEBHOOK", f"//example.org/{PASSWORD}"),
        ("MEDFEAT_ALERT_SMTP", "mail.example.org"),
        ("MEDFEAT_ALERT_SMTP", "mail.example.org:0"),
        ("MEDFEAT_ALERT_MAIL_TO", "nobody"),
        ("MEDFEAT_ALERT_MAIL_FROM", "a@b.org,c@d.org"),
    ],
)
def test_a_value_that_breaks_its_rule(name: str, value: str) -> None:
    (error,) = environment.faults({name: value})
    assert str(error).startswith(name)
    assert PASSWORD not in str(error)


def test_assets_that_were_chosen_in_the_ui_are_called_so(home: Path) -> None:
    run = dg.DagsterRun(job_name="__ASSET_JOB")
    assert "(assets chosen in the UI)" in text_of(run, datetime.now(UTC))
