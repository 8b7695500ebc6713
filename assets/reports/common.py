"""What the reports of all studies have in common: their closing sections, their files, and the
tables behind them.
"""

import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa

from assets.core.manifest_rows import manifest_of
from assets.core.stage import Work
from assets.features.vlad import codebook_asset
from assets.images import manifest_summary
from data_contracts import asset_names as names
from data_contracts.records.facts import ManifestFacts, NetworkFacts
from data_contracts.records.output_record import OutputRecord, StoredFile
from data_contracts.studies.farhat_vlad import CODEBOOK_SIZES, SCALES
from data_contracts.studies.study import Study
from data_contracts.tables.contract import TableContract
from resources.store.dataset_store import DatasetStore

STAGES_SHOWN = (
    "image_manifest",
    "prepared_images",
    "alexnet_conv5",
    "backbone_features",
    "cae_model",
    "cae_features",
    "random_cae_model",
    "sparse_coding_model",
    "ica_model",
    "ssae_model",
    "fine_tuned_alexnet",
    "fine_tuned_googlenet",
    "fine_tuned_resnet50",
    *(codebook_asset(clusters, scale) for clusters in CODEBOOK_SIZES for scale in SCALES),
)
"""Outputs whose pictures the report shows, where they were made."""


def pictures_of(
    store: DatasetStore, records: Mapping[str, OutputRecord], names: tuple[str, ...]
) -> tuple[Any, ...]:
    """The pictures of those outputs that are among the records."""
    from methods.reporting.document import Figure

    return tuple(
        Figure(f"{name}: {picture.title}", store.picture(records[name], picture))
        for name in names
        if name in records
        for picture in records[name].pictures
    )


def rejected_files(store: DatasetStore, dataset: str) -> list[dict[str, Any]]:
    """Rows of REJECTED."""
    return [
        {
            "path": row["path"],
            "frame": row["frame"],
            "status": row["status"],
            "reason": row["reason"],
        }
        for row in manifest_of(store, dataset).to_pylist()
        if row["status"] != "ok"
    ]


def store_tables(
    store: DatasetStore,
    work: Work,
    tables: Mapping[str, list[dict[str, Any]]],
    contracts: Mapping[str, TableContract],
) -> list[StoredFile]:
    """Each table under its own name."""
    return [
        store.write_table(
            work.dataset,
            work.asset,
            f"{work.fingerprint}.{name}.parquet",
            pa.Table.from_pylist(tables[name], schema=contract.schema),
            contract,
        )
        for name, contract in contracts.items()
    ]


def subtitle_of(
    dataset: str, study: Study, records: Mapping[str, OutputRecord], left_out: tuple[str, ...] = ()
) -> str:
    """Dataset, study, and what the data is; facts that play no part are left out."""
    counts = manifest_summary(records[names.IMAGE_MANIFEST].facts_as(ManifestFacts))
    data = ", ".join(f"{value} {name}" for name, value in counts.items() if name not in left_out)
    return f"Dataset {dataset}, study {study.name}. Data: {data}."


def stages_section(
    store: DatasetStore, dataset: str, records: Mapping[str, OutputRecord], shown: tuple[str, ...]
) -> Any:
    """Weights, and the pictures of the stages."""
    from methods.reporting.document import Section

    weights = {
        (facts.network, facts.weights, facts.weights_sha256)
        for facts in (record.facts for record in records.values())
        if isinstance(facts, NetworkFacts)
    }
    return Section(
        "The stages",
        tuple(
            f"Weights of {network}: {origin}, SHA-256 {sha256}."
            for network, origin, sha256 in sorted(weights)
        ),
        (),
        pictures_of(store, records, shown),
    )


def closing_sections(
    study: Study, records: Mapping[str, OutputRecord], rejected: list[dict[str, Any]]
) -> tuple[Any, ...]:
    """Open choices, settings, files left out, lineage."""
    from methods.reporting import single_label_tables as parts
    from methods.reporting.document import Section

    settings = {name: record.settings for name, record in records.items() if record.settings}
    return (
        Section(
            "Choices the paper leaves open", (), (parts.choices_table(study.choices, settings),)
        ),
        Section("Settings", (), (parts.settings_table(settings),)),
        Section("Files left out", (), (parts.rejected_table(rejected),)),
        Section(
            "Lineage",
            (
                "Each output, what it was made from, and the Dagster run that made it. Every figure above can be traced to bytes.",
            ),
            (parts.lineage_table(list(records.values())),),
        ),
    )


def footer() -> str:
    """Versions, and what the report is not."""
    return (
        f"medfeat {version('medfeat')}, torch {version('torch')}, scikit-learn {version('scikit-learn')}, "
        f"Dagster {version('dagster')}, "
        f"Python {platform.python_version()}. For research: not a medical device, and no figure here is advice on a patient."
    )


def untimed(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without what differs from run to run."""
    return {key: value for key, value in row.items() if key not in ("seconds", "device")}


def write_document(store: DatasetStore, report: Any, folder: Path) -> list[StoredFile]:
    """Publish Markdown with its pictures, one HTML page, and every table as CSV and LaTeX, in
    ``folder``.
    """
    from methods.reporting import document

    figures = [figure for section in report.sections for figure in section.figures]
    names = {id(figure): f"picture-{number:02d}.png" for number, figure in enumerate(figures, 1)}
    written = {names[id(figure)]: figure.png for figure in figures}
    tables = [table for section in report.sections for table in section.tables]
    for number, table in enumerate(tables, 1):
        stem = f"table-{number:02d}"
        written[f"{stem}.csv"] = document.to_csv(table).encode()
        written[f"{stem}.tex"] = document.to_latex(table).encode()
    written["report.md"] = document.to_markdown(report, lambda figure: names[id(figure)]).encode()
    written["report.html"] = document.to_html(report).encode()
    return [store.publish(folder / name, data) for name, data in written.items()]
