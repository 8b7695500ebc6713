"""The Dagster metadata of a stored output: what the UI shows of it."""

import base64
from typing import Any

import dagster as dg

from data_contracts.records.output_record import OutputRecord
from methods.reporting.document import markdown_text
from resources.store.dataset_store import DatasetStore


def metadata_of(store: DatasetStore, record: OutputRecord, reused: bool) -> dict[str, Any]:
    """Dagster metadata of an output: figures first, then pictures, then where it lies."""
    folder = store.folder(record.dataset, record.asset)
    metadata: dict[str, Any] = dict(record.summary)
    if record.unavailable:
        metadata["NOT AVAILABLE"] = record.unavailable
    if record.rows is not None:
        metadata["dagster/row_count"] = record.rows
    for picture in record.pictures:
        data = base64.b64encode(store.picture(record, picture)).decode()
        metadata[picture.title] = dg.MetadataValue.md(
            f"![{markdown_text(picture.title)}](data:image/png;base64,{data})"
        )
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
