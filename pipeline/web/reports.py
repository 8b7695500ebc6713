"""Serves the folder of reports to the web UI, read-only.

The UI links each output to the pages that show it (``assets/core/metadata.py``), so that a report
is reached wherever the UI is, through an SSH tunnel as well.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import MappingProxyType

from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from assets.core.metadata import REPORTS_PATH, RUNS
from pipeline.web.report_index import Entry, index_page
from resources.intake.confined_open import ConfinedOpener, RefusedFileError, without_links
from resources.store.dataset_store import DatasetStore

CONTENT_TYPES = MappingProxyType(
    {
        ".html": "text/html; charset=utf-8",
        ".md": "text/markdown; charset=utf-8",
        ".csv": "text/csv; charset=utf-8",
        ".tex": "application/x-tex; charset=utf-8",
        ".txt": "text/plain; charset=utf-8",
        ".json": "application/json",
        ".parquet": "application/vnd.apache.parquet",
        ".png": "image/png",
        ".pdf": "application/pdf",
        ".zip": "application/zip",
    }
)
"""Content type by the suffix of a file; files with another suffix are not served."""

_PART = r"[A-Za-z0-9][A-Za-z0-9._+-]*"
_ADDRESS = re.compile(rf"{REPORTS_PATH}/(?P<path>(?:{_PART}/)*(?:{_PART})?)")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    # A page brings its own styles, pictures and scripts and loads nothing. In a sandbox it has no
    # origin, so that a script in it could send no command to Dagster's server.
    "Content-Security-Policy": (
        "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; "
        "script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "sandbox allow-scripts allow-downloads allow-popups allow-popups-to-escape-sandbox"
    ),
}
NOT_THERE = "there is no such report; the run of its study makes it. All reports: "
"""Text in the place of a file that does not exist."""


class PublishedReports:
    """ASGI middleware that answers requests below :data:`REPORTS_PATH` and passes on all others.

    It reads regular files in the folder of reports and nothing else: no hidden or unfinished file,
    and no link that leads out of that folder.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 200 with a file or a list, 404 where there is none, 405 but to GET and HEAD."""
        path = scope["path"] if scope["type"] == "http" else ""
        if path != REPORTS_PATH and not path.startswith(f"{REPORTS_PATH}/"):
            await self.app(scope, receive, send)
            return
        if scope["method"] not in ("GET", "HEAD"):
            response: Response = PlainTextResponse("reports are only read\n", 405)
        else:
            response = await run_in_threadpool(answer_to, path)
        await response(scope, receive, send)


def answer_to(path: str) -> Response:
    """Return the file or the list that a path of the web server names, or 404."""
    if path == REPORTS_PATH:
        return RedirectResponse(f"{REPORTS_PATH}/")
    match = _ADDRESS.fullmatch(path)
    root = without_links(DatasetStore().reports)
    if match is not None:
        name = match["path"]
        if not name or name.endswith("/"):
            entries = entries_below(root, name)
            if entries or not name:
                return Response(
                    index_page(name.rstrip("/"), entries),
                    media_type=CONTENT_TYPES[".html"],
                    headers=_HEADERS,
                )
        elif (data := published_file(root, name)) is not None:
            return Response(data, media_type=CONTENT_TYPES[Path(name).suffix], headers=_HEADERS)
    return PlainTextResponse(f"{NOT_THERE}{REPORTS_PATH}/\n", 404, headers=_HEADERS)


def published_file(root: Path, name: str) -> bytes | None:
    """Return the bytes of a file below the folder of reports, or None where it is not served.

    Args:
        root: the folder of reports, without links in it.
        name: path below it, whose parts begin with a letter or a digit.
    """
    if Path(name).suffix not in CONTENT_TYPES:
        return None
    try:
        with open(root / name, "rb", opener=ConfinedOpener(root)) as file:
            return file.read()
    except (OSError, RefusedFileError):
        return None


def entries_below(root: Path, name: str) -> list[Entry]:
    """Return what a folder of reports holds: every page below it, and its own other files.

    The kept pages of single runs are listed in the folder of their study alone, as each night adds
    one.

    Args:
        root: the folder of reports, without links in it.
        name: path of the folder below it, "" for the folder itself.
    """
    folder = root / name
    found = {
        file
        for pattern in ("**/*.html", "*")
        for file in folder.glob(pattern)
        if file.suffix in CONTENT_TYPES and _ADDRESS.fullmatch(_address(root, file))
    }
    return sorted(
        Entry(
            link=file.relative_to(folder).as_posix(),
            changed=file.stat().st_mtime,
            size=file.stat().st_size,
        )
        for file in found
        if RUNS not in file.relative_to(folder).parts[1:]
        and file.is_file()
        and without_links(file).is_relative_to(root)
    )


def _address(root: Path, file: Path) -> str:
    return f"{REPORTS_PATH}/{file.relative_to(root).as_posix()}"
