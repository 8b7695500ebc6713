"""Serves the pictures of stored outputs to the web UI, read-only.

What the UI shows of an output holds links to these pictures (``assets/core/metadata.py``), so that
no pixels of a patient's image enter Dagster's event log, and a deleted picture is gone everywhere.
"""

from __future__ import annotations

import re

from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from assets.core.metadata import PICTURES_PATH
from data_contracts.errors import ContractError
from data_contracts.records.dataset import NAME_PATTERN
from data_contracts.records.output_record import OutputRecord
from data_contracts.records.sealed import unsealed_json
from resources.store.dataset_store import ALL_DATASETS, DatasetStore

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
"""First bytes of every PNG file."""

_ADDRESS = re.compile(
    rf"{PICTURES_PATH}/(?P<dataset>{NAME_PATTERN.strip('^$')}|{ALL_DATASETS})"
    r"/(?P<asset>[a-z0-9_]+)/(?P<file>(?P<fingerprint>[0-9a-f]+)\.[0-9]+\.png)"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'",
    "Cache-Control": "no-store",
}


class StoredPictures:
    """ASGI middleware that answers requests below :data:`PICTURES_PATH` and passes on all others.

    A picture is served only where the stored record of its output lists it and its bytes are those
    that were stored. Nothing of the address but names that match the pattern reaches the disk.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 200 with a PNG, 404 where there is none, 405 to methods but GET and HEAD."""
        if scope["type"] != "http" or not scope["path"].startswith(f"{PICTURES_PATH}/"):
            await self.app(scope, receive, send)
            return
        if scope["method"] not in ("GET", "HEAD"):
            response: Response = PlainTextResponse("pictures are only read\n", 405)
        else:
            png = await run_in_threadpool(stored_picture, scope["path"])
            response = (
                PlainTextResponse("no output has this picture\n", 404, headers=_HEADERS)
                if png is None
                else Response(png, media_type="image/png", headers=_HEADERS)
            )
        await response(scope, receive, send)


def stored_picture(path: str) -> bytes | None:
    """Return the PNG that a path of the web server names, or None where no output has it."""
    match = _ADDRESS.fullmatch(path)
    if match is None:
        return None
    store = DatasetStore()
    dataset = "" if match["dataset"] == ALL_DATASETS else match["dataset"]
    stored = store.folder(dataset, match["asset"]) / f"{match['fingerprint']}.json"
    try:
        record = OutputRecord.model_validate(unsealed_json(stored.read_bytes()))
        if (record.dataset, record.asset) != (dataset, match["asset"]):
            return None
        picture = next(one for one in record.pictures if one.file == match["file"])
        png = store.picture(record, picture)
    except (OSError, ValueError, StopIteration, ContractError):
        return None
    return png if png.startswith(PNG_SIGNATURE) else None
