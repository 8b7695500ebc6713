"""What the reports of all studies share: their closing sections, their files and their output."""

import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from assets.core.manifest_rows import manifest_of
from assets.core.metadata import RUNS
from assets.core.plan import Output, Work
from assets.core.setting_differences import default_settings, differences, settings_in_words
from assets.images import manifest_summary
from assets.reports.captions import caption_of, seen_on
from data_contracts import asset_names as names
from data_contracts.records.facts import (
    ManifestFacts,
    NetworkFacts,
    PixelSizeFacts,
    ReportFacts,
)
from data_contracts.records.output_record import OutputRecord, StoredFile
from data_contracts.studies.study import Study
from data_contracts.tables.contract import TableContract
from methods.curation.overview import overview
from methods.reporting import headings
from resources.store.atomic_file import make_folder
from resources.store.dataset_store import DatasetStore

if TYPE_CHECKING:
    from methods.reporting.document import Figure, Report, Section

GROUP = "report"
RUN_DIGITS = 12
"""Digits of a report's fingerprint that name the folder of its run."""

Records = Mapping[str, OutputRecord]
"""Records by asset."""
Rows = Sequence[Mapping[str, Any]]
"""Rows of a table."""


def run_folder(store: DatasetStore, dataset: str, job: str, fingerprint: str) -> Path:
    """Folder of the page of one run, by the fingerprint of its report."""
    return store.reports / dataset / job / RUNS / fingerprint[:RUN_DIGITS]


def pictures_of(
    store: DatasetStore, records: Records, assets: Sequence[str]
) -> "tuple[Figure, ...]":
    """The pictures of those of ``assets`` that are among the records."""
    from methods.reporting.document import Figure

    return tuple(
        Figure(
            caption_of(asset, picture.title),
            store.picture(records[asset], picture),
            seen_on(picture.title),
        )
        for asset in assets
        if asset in records
        for picture in records[asset].pictures
    )


def rejected_files(store: DatasetStore, dataset: str) -> list[dict[str, Any]]:
    """Rows of REJECTED: the files of the manifest that cannot be used."""
    manifest = manifest_of(store, dataset).select(["path", "frame", "status", "reason"])
    rows: list[dict[str, Any]] = manifest.filter(pc.not_equal(manifest["status"], "ok")).to_pylist()
    return rows


def subtitle_of(dataset: str, study: Study, records: Records) -> str:
    """Dataset, study, and the settings by which this run is told from others."""
    settings = {
        f"{asset}.{key}": value
        for asset, record in records.items()
        for key, value in record.settings.items()
    }
    words = settings_in_words(differences(settings, default_settings(list(records))))
    return (
        f"Dataset {dataset}, study {study.name}, with "
        f"{f'{words}; all else by default' if words else 'the default settings'}."
    )


def counts_of(records: Records, left_out: tuple[str, ...] = ()) -> tuple[tuple[str, str], ...]:
    """The counts of the manifest that are not 0, for people, without those ``left_out``."""
    counts = manifest_summary(records[names.IMAGE_MANIFEST].facts_as(ManifestFacts))
    return tuple(
        (name, f"{value:,}") for name, value in counts.items() if value and name not in left_out
    )


def stages_section(store: DatasetStore, study: Study, records: Records) -> "Section":
    """Weights, sizes of pixels, and the pictures of the stages that the study shows."""
    from methods.reporting.document import Section

    stated = [record.facts for record in records.values()]
    weights = {
        (facts.network, facts.weights, facts.weights_sha256)
        for facts in stated
        if isinstance(facts, NetworkFacts)
    }
    return Section(
        headings.STAGES,
        (
            *(
                f"Weights of {network}: {origin}, SHA-256 {sha256}."
                for network, origin, sha256 in sorted(weights)
            ),
            *(facts.sentence() for facts in stated if isinstance(facts, PixelSizeFacts)),
        ),
        (),
        pictures_of(store, records, study.stages_shown),
    )


def closing_sections(
    store: DatasetStore, study: Study, records: Records, rejected: Rows
) -> "tuple[Section, ...]":
    """Open choices, settings, files left out, lineage."""
    from methods.reporting import single_label_tables as parts
    from methods.reporting.document import Section

    settings = {name: record.settings for name, record in records.items() if record.settings}
    lineage = (
        "Each output, what it was made from, and the Dagster run that made it. Every figure above "
        "can be traced to bytes."
    )
    read = overview(manifest_of(store, records[names.IMAGE_MANIFEST].dataset).to_pylist())
    choices = parts.choices_table(study.choices, settings)
    left_out, made = parts.rejected_table(rejected), parts.lineage_table(list(records.values()))
    return (
        Section(headings.CHOICES, (), (choices.fold(),)),
        Section(headings.SETTINGS, (), (parts.settings_table(settings).fold(),)),
        Section(headings.LEFT_OUT, tuple(read), (left_out.fold(),)),
        Section(headings.LINEAGE, (lineage,), (made.fold(),)),
    )


def footer() -> str:
    """Versions, and what the report is not."""
    packages = {
        "medfeat": "medfeat",
        "torch": "torch",
        "scikit-learn": "scikit-learn",
        "Dagster": "dagster",
    }
    versions = [f"{title} {version(package)}" for title, package in packages.items()]
    return (
        f"{', '.join(versions)}, Python {platform.python_version()}. For research: not a medical "
        "device, and no figure here is advice on a patient."
    )


def untimed(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without what differs from run to run."""
    return {key: value for key, value in row.items() if key not in ("seconds", "device")}


def write_document(store: DatasetStore, report: "Report", folder: Path) -> list[StoredFile]:
    """Publish a report in ``folder``: a page, Markdown, pictures, tables, and a list of them."""
    from methods.reporting import document
    from methods.reporting.latex import to_latex

    figures = [figure for section in report.sections for figure in section.figures]
    file_of = {id(figure): f"picture-{number:02d}.png" for number, figure in enumerate(figures, 1)}
    written = {file_of[id(figure)]: figure.png for figure in figures}
    place = "-".join(folder.relative_to(store.reports).parts)
    for stem, table in report.tables.items():
        written[f"{stem}.csv"] = document.to_csv(table).encode()
        written[f"{stem}.tex"] = to_latex(table, f"{place}-{stem}").encode()
        written[f"{stem}.json"] = document.to_json(table).encode()
    markdown = document.to_markdown(report, lambda figure: file_of[id(figure)])
    written["report.md"] = markdown.encode()
    written["report.html"] = document.to_html(report, has_files=True).encode()
    titles = {file_of[id(figure)]: figure.title for figure in figures}
    written["index.md"] = document.to_index(report, titles).encode()
    return [store.publish(folder / name, data) for name, data in written.items()]


def keep_page(store: DatasetStore, published: Sequence[StoredFile], folder: Path) -> None:
    """Keep the files of a run's page in a folder of its own, as links to those published.

    They are for a person; no record lists them, so they may be deleted.
    """
    shutil.rmtree(folder, ignore_errors=True)
    make_folder(folder)
    for file in published:
        source, target = store.reports / file.name, folder / Path(file.name).name
        try:
            os.link(source, target)
        except OSError:  # a file system without links
            shutil.copyfile(source, target)


def with_checklists(report: "Report") -> "Report":
    """The report with a section on the checklists that it answers, before its choices."""
    from methods.reporting.checklists import overview_table
    from methods.reporting.document import Section

    sections = list(report.sections)
    known = [section.heading for section in sections]
    section = Section(headings.CHECKLISTS, (), (overview_table(known, "checklist.html"),))
    sections.insert(known.index(headings.CHOICES), section)
    return replace(report, sections=tuple(sections))


def write_checklists(store: DatasetStore, report: "Report", folder: Path) -> list[StoredFile]:
    """Publish the page on which every item of the checklists names its section of the report."""
    from methods.reporting import document
    from methods.reporting.checklists import CHECKLISTS, checklist_table

    links = {
        section.heading: f"report.html#section-{number}"
        for number, section in enumerate(report.sections, 1)
    }
    page = document.Report(
        title=f"{report.title}: checklists of reporting",
        subtitle="Every item with the section of the report that answers it.",
        notices=report.notices,
        sections=tuple(
            document.Section(checklist.name, (), (checklist_table(checklist, links),))
            for checklist in CHECKLISTS
        ),
        footer=report.footer,
    )
    written = {
        "checklist.md": document.to_markdown(page, lambda figure: "").encode(),
        "checklist.html": document.to_html(page).encode(),
    }
    return [store.publish(folder / name, data) for name, data in written.items()]


def report_output(
    work: Work,
    job: str,
    report: "Report",
    tables: Sequence[tuple[TableContract, Rows]],
    content: object,
    headline: Sequence[tuple[str, float]],
) -> Output:
    """The output of a report: its page is published, its tables are stored.

    The page of the last run lies in the folder of the job, that of each run in a folder of its own
    below, so that a trial overwrites no other page.

    Args:
        work: the output.
        job: job of the report; names its folder.
        report: the document; the answer of its opening is the verdict, its first picture is shown.
        tables: tables that are stored, each with its contract.
        content: what the data version covers.
        headline: caption and figure of each method.

    Raises:
        ValueError: the report has no opening.
    """
    folder = work.store.reports / work.dataset / job
    report = with_checklists(report)
    if report.opening is None:
        raise ValueError(f"the report of {job} has no opening")
    verdict = report.opening.answer
    published = [
        *write_document(work.store, report, folder),
        *write_checklists(work.store, report, folder),
    ]
    keep_page(work.store, published, run_folder(work.store, work.dataset, job, work.fingerprint))
    return Output(
        content=content,
        files=[work.write_table(rows, contract) for contract, rows in tables],
        published=published,
        pictures=[(figure.title, figure.png) for figure in report.sections[0].figures[:1]],
        summary={**dict(headline), "verdict": verdict, "report": str(folder / "report.html")},
        facts=ReportFacts(verdict=verdict),
        notices=list(report.notices),
        rows=len(headline),
    )
