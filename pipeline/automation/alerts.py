"""Alerts: a mail or a web request when a run failed that nobody waits for.

An alert names no dataset and repeats no reason, because both may hold what must not leave the site.
It is off until the environment says where it goes (``pipeline/environment.py``).
"""

from __future__ import annotations

import json
import smtplib
import ssl
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage

import dagster as dg

from data_contracts.errors import InputError
from pipeline import environment
from pipeline.orphans import is_waited_for

SECONDS = 20.0
"""Maximum time of one step of sending, in seconds; a tick has 60."""
TLS_PORT = 465
"""Port at which an SMTP server speaks TLS from the first byte (RFC 8314)."""
SUBJECT = "medfeat: a run failed"


@dataclass(frozen=True)
class Alerts:
    """Where alerts go.

    Attributes:
        webhook: address that is sent a POST with JSON ``{"text": ...}``, or "".
        mail_to: addresses that are sent a mail.
        mail_from: address of the sender.
        smtp: host and port of the SMTP server.
        user: login at the SMTP server, or "".
        password: its password.
    """

    webhook: str = field(default="", repr=False)
    mail_to: tuple[str, ...] = ()
    mail_from: str = ""
    smtp: tuple[str, int] = ("", 0)
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @classmethod
    def from_environment(cls) -> Alerts:
        """Return what the environment says.

        Raises:
            InputError: a variable breaks its rule.
        """
        host, port = environment.host_and_port(environment.value_of(environment.ALERT_SMTP))
        return cls(
            webhook=environment.value_of(environment.ALERT_WEBHOOK),
            mail_to=environment.comma_separated(environment.value_of(environment.ALERT_MAIL_TO)),
            mail_from=environment.value_of(environment.ALERT_MAIL_FROM),
            smtp=(host, port),
            user=environment.value_of(environment.ALERT_SMTP_USER),
            password=environment.value_of(environment.ALERT_SMTP_PASSWORD),
        )

    @property
    def ways(self) -> list[str]:
        """How alerts are sent, in words; empty where they are off."""
        return [*(["mail"] if self.mail_to else []), *(["webhook"] if self.webhook else [])]

    def send(self, text: str) -> None:
        """Send a text by every way that is set.

        Raises:
            InputError: it could not be sent by one of them; no address or password is repeated.
        """
        failed = []
        for way, send in (("mail", self._mail), ("webhook", self._post)):
            if way in self.ways:
                try:
                    send(text)
                except (OSError, smtplib.SMTPException) as error:
                    failed.append(f"{way} ({type(error).__name__})")
        if failed:
            raise InputError(
                f"an alert could not be sent by {' and by '.join(failed)}",
                "Look at the variables MEDFEAT_ALERT_…, and at the server that they name",
            )

    def _mail(self, text: str) -> None:
        message = EmailMessage()
        message["Subject"], message["From"] = SUBJECT, self.mail_from
        message["To"] = ", ".join(self.mail_to)
        message.set_content(text)
        host, port = self.smtp
        context = ssl.create_default_context()
        with (
            smtplib.SMTP_SSL(host, port, timeout=SECONDS, context=context)
            if port == TLS_PORT
            else smtplib.SMTP(host, port, timeout=SECONDS)
        ) as server:
            server.ehlo()
            if port != TLS_PORT and server.has_extn("starttls"):
                server.starttls(context=context)
                server.ehlo()
            if self.user:
                _log_in(server, self.user, self.password)
            server.send_message(message)

    def _post(self, text: str) -> None:
        # the rule of the variable allows http and https alone
        request = urllib.request.Request(  # noqa: S310
            self.webhook,
            data=json.dumps({"text": text}).encode(),
            headers={"Content-Type": "application/json"},
            method="POST",
        )
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
            answer.read(1)


def _log_in(server: smtplib.SMTP, user: str, password: str) -> None:
    """Log in, but send no password over a connection that others can read.

    Raises:
        SMTPException: the connection has no TLS, or the server refuses.
    """
    if not isinstance(server.sock, ssl.SSLSocket):
        raise smtplib.SMTPNotSupportedError("no TLS")
    server.login(user, password)


def text_of(run: dg.DagsterRun, time: datetime) -> str:
    """Return the text of an alert: the run, its job and the time, and where to look."""
    job = "assets chosen in the UI" if run.job_name.startswith("__") else run.job_name
    return (
        f"Run {run.run_id[:8]} ({job}) failed, {time:%Y-%m-%d %H:%M} UTC.\n"
        "Why: medfeat status on that machine, or Runs in the web UI.\n"
        "This message names no dataset on purpose.\n"
    )


@dg.run_failure_sensor(
    name="alert_after_failures",
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Sends a mail or a web request after a run failed that no command waits for. Off "
    "until MEDFEAT_ALERT_MAIL_TO or MEDFEAT_ALERT_WEBHOOK is set.",
)
def alert_after_failures(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
    """Send one alert for a run that failed."""
    alerts = Alerts.from_environment()
    if not alerts.ways:
        return dg.SkipReason("no alert is set up (MEDFEAT_ALERT_MAIL_TO, MEDFEAT_ALERT_WEBHOOK)")
    if is_waited_for(context.dagster_run):
        return dg.SkipReason("the command that waits for the run says so")
    alerts.send(text_of(context.dagster_run, datetime.now(UTC)))
    return None
