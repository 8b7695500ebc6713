"""The registry of environment variables: what each is for, its rule, and the check at every start.

A mistyped value or name would else be seen late (a drop that never counts, another folder of
weights) or as a traceback of Dagster, which loads the schedules.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from data_contracts.errors import InputError
from resources.intake.drops import SETTLE_SECONDS, settle_seconds_of

PREFIX = "MEDFEAT_"
LIKE = 0.75
"""Smallest similarity, 0..1, of an unknown name to a known one that is taken for a typing error."""


@dataclass(frozen=True)
class Variable:
    """One environment variable.

    Attributes:
        name: name of the variable.
        default: value where it is not set or empty, in words.
        meaning: what it is for.
        rule: what a value must be.
        example: a value that obeys the rule.
        fault: from a value to why it breaks the rule, in words; "" where it does not.
        is_secret: whether no message may repeat the value.
    """

    name: str
    default: str
    meaning: str
    rule: str
    example: str
    fault: Callable[[str], str]
    is_secret: bool = False


def _unless(is_valid: Callable[[str], bool]) -> Callable[[str], str]:
    """Return the test of a rule whose breach the value itself shows."""
    return lambda text: "" if is_valid(text) else "not allowed"


def _existing_ancestor(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if os.path.lexists(place))


def _folder_fault(text: str, must_exist: bool = False, written: bool = False) -> str:
    """Return why a text cannot name a folder, or ""."""
    path = Path(text).expanduser().absolute()
    try:
        place = _existing_ancestor(path)
        if not place.is_dir():
            return f"{place} is a file" if place.is_file() else f"{place} is no folder"
        if must_exist and place != path:
            return "there is no such folder"
    except OSError as error:
        return f"{path} cannot be looked at ({error.strerror})"
    if not os.access(place, os.X_OK | (os.W_OK if written else os.R_OK if place == path else 0)):
        return f"this user may not {'write to' if written else 'read'} {place}"
    return ""


def _file_fault(text: str) -> str:
    """Return why a text cannot name a file that is read, or made where it is missing; or ""."""
    path = Path(text).expanduser().absolute()
    if path.is_dir():
        return "it is a folder"
    if path.exists():
        return "" if os.access(path, os.R_OK) else "this user may not read it"
    return _folder_fault(str(path.parent), written=True)


def _is_cron(text: str) -> bool:
    from pipeline.dagster_internals import is_cron  # loads Dagster

    return is_cron(text)


def comma_separated(text: str) -> tuple[str, ...]:
    """Return the parts of a text between its commas, without spaces around them."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _are_owners(text: str) -> bool:
    from pipeline.dagster_internals import is_owner  # loads Dagster

    return all(map(is_owner, comma_separated(text)))


def _is_time_zone(text: str) -> bool:
    try:
        ZoneInfo(text)
    except (KeyError, OSError, ValueError):
        return False
    return True


def _is_days(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 5


def host_and_port(text: str) -> tuple[str, int]:
    """Return the host and the port of ``host:port``.

    Raises:
        ValueError: it is of another form.
    """
    host, _, port = text.rpartition(":")
    number = int(port) if port.isascii() and port.isdecimal() else 0
    if not host or not 0 < number < 65536 or any(c.isspace() or c in "/@" for c in host):
        raise ValueError(text)
    return host.strip("[]"), number


def _is_host_and_port(text: str) -> bool:
    try:
        host_and_port(text)
    except ValueError:
        return False
    return True


def _are_addresses(text: str) -> bool:
    return all(_ADDRESS.fullmatch(part.strip()) for part in text.split(","))


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and text.isprintable()


_ADDRESS = re.compile(r"[^\s@,<>]+@[^\s@,<>]+")
_NEW_FOLDER = "a folder that this user may write to, or that can be made"

HOME = Variable(
    "MEDFEAT_HOME",
    "`.medfeat` in a checkout, else the user's folder of data",
    "everything that is written; a local disk, never NFS or SMB (the locks of HDF5 and SQLite do "
    "not hold there)",
    _NEW_FOLDER,
    "/var/lib/medfeat",
    lambda text: _folder_fault(text, written=True),
)
DAGSTER_HOME = Variable(
    "DAGSTER_HOME",
    "`$MEDFEAT_HOME/dagster`",
    "Dagster's database and settings",
    _NEW_FOLDER,
    "/var/lib/medfeat/dagster",
    lambda text: _folder_fault(text, written=True),
)
DROPS = Variable(
    "MEDFEAT_DROPS",
    "`$MEDFEAT_HOME/drops`",
    "the drop folder; is only read",
    "a folder that this user may read",
    "/var/lib/medfeat/drops",
    _folder_fault,
)
SITE_KEY = Variable(
    "MEDFEAT_SITE_KEY",
    "`~/.config/medfeat/site.key`",
    "the key behind pseudonyms; made where it is missing",
    "a file that this user may read, or that can be made",
    "/etc/medfeat.site.key",
    _file_fault,
)
WEIGHTS_DIR = Variable(
    "MEDFEAT_WEIGHTS_DIR",
    "torch's cache",
    "folder with AlexNet's weights",
    "a folder that is there and that this user may read",
    "/opt/medfeat-weights",
    lambda text: _folder_fault(text, must_exist=True),
)
DROP_SETTLE_SECONDS = Variable(
    "MEDFEAT_DROP_SETTLE_SECONDS",
    f"{SETTLE_SECONDS:g}",
    "how long a drop must not change before it counts; longer than the longest pause of whatever "
    "copies",
    "a number of seconds above 0",
    "60",
    _unless(lambda text: settle_seconds_of(text) is not None),
)
UI_ANY_NAME = Variable(
    "MEDFEAT_UI_ANY_NAME",
    "0",
    "1 where a proxy stands in front of the web UI: it may then be called by another name than "
    "`localhost` or 127.0.0.1",
    "0 or 1",
    "0",
    _unless(lambda text: text in ("0", "1")),
)
KEEP_RUNS_DAYS = Variable(
    "MEDFEAT_KEEP_RUNS_DAYS",
    "90",
    "age in days from which runs are deleted from Dagster's history at night; 0 keeps every run",
    "a whole number of days from 0 to 99999",
    "90",
    _unless(_is_days),
)
NIGHTLY = Variable(
    "MEDFEAT_NIGHTLY",
    "0 3 * * *",
    "when the schedules tick; read when the services start",
    "a cron expression of five fields",
    '"0 3 * * *"',
    _unless(_is_cron),
)
TIME_ZONE = Variable(
    "MEDFEAT_TIME_ZONE",
    "UTC",
    "time zone of the cron expression; read when the services start",
    "the name of a time zone",
    "Europe/Berlin",
    _unless(_is_time_zone),
)
OWNERS = Variable(
    "MEDFEAT_OWNERS",
    "",
    "who is shown as the owner of every asset in the web UI; read when the services start; nobody "
    "by default",
    "addresses or `team:name`, with commas between them",
    "ops@example.org,team:radiology",
    _unless(_are_owners),
)
ALERT_MAIL_TO = Variable(
    "MEDFEAT_ALERT_MAIL_TO",
    "",
    "who gets a mail when a run failed that nobody waits for; none by default",
    "addresses, with commas between them",
    "ops@example.org",
    _unless(_are_addresses),
)
ALERT_MAIL_FROM = Variable(
    "MEDFEAT_ALERT_MAIL_FROM",
    "medfeat@localhost",
    "sender of these mails",
    "an address",
    "medfeat@example.org",
    _unless(lambda text: "," not in text and _are_addresses(text)),
)
ALERT_SMTP = Variable(
    "MEDFEAT_ALERT_SMTP",
    "localhost:25",
    "SMTP server for these mails; TLS where it offers it, and at port 465",
    "a host and a port",
    "mail.example.org:587",
    _unless(_is_host_and_port),
)
ALERT_SMTP_USER = Variable(
    "MEDFEAT_ALERT_SMTP_USER",
    "",
    "login at that server, over TLS alone; none by default",
    "a name",
    "medfeat",
    lambda text: "",
    is_secret=True,
)
ALERT_SMTP_PASSWORD = Variable(
    "MEDFEAT_ALERT_SMTP_PASSWORD",
    "",
    "password of that login; in no log and no message",
    "a password",
    "…",
    lambda text: "",
    is_secret=True,
)
ALERT_WEBHOOK = Variable(
    "MEDFEAT_ALERT_WEBHOOK",
    "",
    'address that gets a POST of `{"text": …}` when a run failed that nobody waits for; none by '
    "default",
    "an address that begins with http:// or https://",
    "https://chat.example.org/hooks/…",
    _unless(_is_web_address),
    is_secret=True,
)
REAL_DATA = Variable(
    "MEDFEAT_REAL_DATA",
    "none",
    "folder of real images, for tests and benchmarks alone",
    "a folder that is there and that this user may read",
    "/data/real",
    lambda text: _folder_fault(text, must_exist=True),
)

VARIABLES = (
    HOME,
    DAGSTER_HOME,
    DROPS,
    SITE_KEY,
    WEIGHTS_DIR,
    DROP_SETTLE_SECONDS,
    UI_ANY_NAME,
    KEEP_RUNS_DAYS,
    NIGHTLY,
    TIME_ZONE,
    OWNERS,
    ALERT_MAIL_TO,
    ALERT_MAIL_FROM,
    ALERT_SMTP,
    ALERT_SMTP_USER,
    ALERT_SMTP_PASSWORD,
    ALERT_WEBHOOK,
    REAL_DATA,
)
"""All variables, in the order in which the documentation lists them."""


def value_of(variable: Variable) -> str:
    """Return the value of a variable whose default is a value, not words.

    Raises:
        InputError: it breaks the rule.
    """
    text = os.environ.get(variable.name)
    if not text:
        return variable.default
    error = _error(variable, text)
    if error is not None:
        raise error
    return text


def faults(environment: Mapping[str, str] | None = None) -> Iterator[InputError]:
    """Yield an error for each variable that breaks its rule, and for each misspelt name.

    Args:
        environment: variables by name; those of this process by default.
    """
    given = os.environ if environment is None else environment
    for variable in VARIABLES:
        text = given.get(variable.name)
        error = _error(variable, text) if text else None
        if error is not None:
            yield error
    for name, known in _misspelt(given).items():
        yield InputError(
            f"{name} is no variable of medfeat", f"Did you mean {known}? Rename it, or unset it"
        )


def check_environment() -> None:
    """Refuse to start with a variable that would be misunderstood.

    Raises:
        InputError: the first fault.
    """
    for error in faults():
        raise error


def table() -> list[str]:
    """Return the lines of the documentation's table, in Markdown."""
    rows = [("variable", "default", "", "a value is"), ("---",) * 4]
    for one in VARIABLES:
        default = f"`{one.default}`" if "*" in one.default else one.default or "none"
        rows.append((f"`{one.name}`", default, one.meaning, f"{one.rule}: `{one.example}`"))
    return [f"| {' | '.join(cells)} |" for cells in rows]


def set_variables() -> list[str]:
    """Return the names of the variables that are set, in the order of the registry."""
    return [variable.name for variable in VARIABLES if os.environ.get(variable.name)]


def _error(variable: Variable, text: str) -> InputError | None:
    fault = variable.fault(text)
    if not fault:
        return None
    shown = "has a value that is" if variable.is_secret else f"is {text!r}:"
    return InputError(
        f"{variable.name} {shown} {fault}",
        f"Set it to {variable.rule}, for example {variable.example}, or unset it "
        f"(default: {variable.default.replace('`', '') or 'none'})",
    )


def _misspelt(given: Mapping[str, str]) -> dict[str, str]:
    """Return the unknown names that are like a known one, with that one."""
    known = {variable.name for variable in VARIABLES}
    stems = {name.removeprefix(PREFIX): name for name in sorted(known)}
    like: dict[str, str] = {}
    for name in sorted(given):
        if not name.upper().startswith(PREFIX[:-1]) or name in known:
            continue
        stem = name.upper().removeprefix(PREFIX).removeprefix(PREFIX[:-1])
        for match in get_close_matches(stem, stems, 1, LIKE):
            like[name] = stems[match]
    return like
