"""The Dagster metadata of a stored output: what the web UI shows of it."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import dagster as dg

from data_contracts.records.output_record import OutputRecord
from data_contracts.tables.contract import TableContract
from methods.reporting.document import markdown_text
from resources.store.dataset_store import DatasetStore

PICTURES_PATH = "/medfeat/pictures"
"""Path of the web server under which stored pictures are served (``pipeline/web/pictures.py``)."""
REPORTS_PATH = "/reports"
"""Path of the web server under which reports are served (``pipeline/web/reports.py``)."""
RUNS = "runs"
"""Folder of the pages of all runs, below that of a job."""


def metadata_of(
    store: DatasetStore, record: OutputRecord, reused: bool, shown_in: Mapping[str, str]
) -> dict[str, Any]:
    """Return the Dagster metadata of an output: links, figures, pictures, and where it is stored.

    Links name a path of the web server, so that they lead to the server that shows them.

    A picture is a link to the stored file. Its pixels, which may be a patient's, do not enter
    Dagster's event log.

    Args:
        store: of the home.
        record: of the output.
        reused: whether it was stored before.
        shown_in: pages that show this output, as paths below the folder of reports, by study.
    """
    folder = store.folder(record.dataset, record.asset)
    metadata: dict[str, Any] = {
        title: dg.MetadataValue.url(f"{REPORTS_PATH}/{page}")
        for title, page in _pages(record, shown_in).items()
    }
    metadata |= record.summary
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


def _pages(record: OutputRecord, shown_in: Mapping[str, str]) -> dict[str, str]:
    """Return the pages that an output published, or else those that show it, by their captions."""
    own = [PurePosixPath(file.name) for file in record.published if file.name.endswith(".html")]
    if own:
        return {f"page: {path.stem}": str(path) for path in sorted(own, reverse=True)}
    return {f"shown in {study}": page for study, page in shown_in.items()}


def column_schema(contract: TableContract) -> dg.TableSchema:
    """Return the columns of a table as the web UI shows them, with the rules of its contract."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=str(column.type),
                constraints=dg.TableColumnConstraints(
                    nullable=column.nullable, unique=contract.key == (column.name,)
                ),
            )
            for column in contract.schema
        ],
        constraints=dg.TableConstraints(
            other=[f"{' + '.join(contract.key)} is unique", *contract.rules]
        ),
    )
