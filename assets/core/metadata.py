"""The Dagster metadata of a stored output: what the web UI shows of it."""

from typing import Any

import dagster as dg

from data_contracts.records.output_record import OutputRecord
from methods.reporting.document import markdown_text
from resources.store.dataset_store import DatasetStore

PICTURES_PATH = "/medfeat/pictures"
"""Path of the web server under which stored pictures are served (``pipeline/web/pictures.py``)."""


def metadata_of(store: DatasetStore, record: OutputRecord, reused: bool) -> dict[str, Any]:
    """Return the Dagster metadata of an output: figures, then pictures, then where it is stored.

    A picture is a link to the stored file. Its pixels, which may be a patient's, do not enter
    Dagster's event log.
    """
    folder = store.folder(record.dataset, record.asset)
    metadata: dict[str, Any] = dict(record.summary)
    if record.unavailable:
        metadata["NOT AVAILABLE"] = record.unavailable
    if record.rows is not None:
        metadata["dagster/row_count"] = record.rows
    for picture in record.pictures:
        link = f"{PICTURES_PATH}/{folder.parent.name}/{folder.name}/{picture.file}"
        metadata[picture.title] = dg.MetadataValue.md(f"![{markdown_text(picture.title)}]({link})")
    if record.notices:
        metadata["NOTICE"] = dg.MetadataValue.md(
            "\n".join(f"- **{markdown_text(n)}**" for n in record.notices)
        )
    metadata["settings"] = dg.MetadataValue.json(record.settings)
    metadata["computed"] = (
        "no, up to date" if reused else f"yes, {record.seconds:.1f} s on {record.device}"
    )
    metadata["peak memory (MB)"] = round(record.peak_memory_bytes / 1e6)
    metadata["stored in"] = dg.MetadataValue.path(str(folder))
    return metadata
