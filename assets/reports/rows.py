"""Rows of the report's tables, from the records and tables of the evaluations."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from assets.evaluations.comparison import ComparableMethods
from data_contracts import asset_names as names
from data_contracts.records.facts import EvaluationFacts, FilterStudyFacts
from data_contracts.records.output_record import OutputRecord
from data_contracts.studies.ahn2019 import FILTER_SIZES, filters_estimate
from data_contracts.studies.study import Method, Study
from data_contracts.tables.evaluations import ALL_LABELS, METRICS, OVER_SEEDS, fixed_rows
from resources.store.dataset_store import DatasetStore

PREPARATION = (names.IMAGE_MANIFEST, names.PREPARED_IMAGES)
"""Assets that every method shares, and that its seconds leave out."""
SWITCHES: dict[str, tuple[object, str]] = {
    "vlad_plus": (False, "off"),
    "local_l2": (False, "off"),
    "local_components": (None, "off"),
    "local_whiten": (False, "off"),
    "signed_sqrt": (False, "off"),
    "intra_normalisation": (False, "off"),
    "pca_components": (None, "off"),
    "pca_whiten": (False, "off"),
    "convention": ("exact", "not stated"),
}
"""Settings that make another method of the paper's own: their default, and what the paper has."""
Chain = Mapping[str, OutputRecord]
"""Records of an output and of everything upstream, by asset."""


def records_of(chains: Mapping[str, Chain]) -> dict[str, OutputRecord]:
    """The records of several chains, each once, in their order."""
    return {asset: record for chain in chains.values() for asset, record in chain.items()}


def versions_of(records: Mapping[str, OutputRecord]) -> dict[str, str]:
    """Data versions of outputs, by asset."""
    return {asset: record.data_version for asset, record in records.items()}


def notices_of_chain(chain: Chain) -> dict[str, None]:
    """Notices of an output and of everything upstream, each once."""
    return dict.fromkeys(notice for record in chain.values() for notice in record.notices)


def seconds_of_stages(chain: Chain) -> float:
    """Wall time of an output and of everything upstream, without what every method shares."""
    return sum(record.seconds for name, record in chain.items() if name not in PREPARATION)


def devices_of(chain: Chain) -> str:
    """Devices that computed an output and everything upstream; "cpu" only where it is alone."""
    others = {record.device for record in chain.values() if record.device != "cpu"}
    return " and ".join(sorted(others)) or "cpu"


def switches_of(chain: Chain) -> list[str]:
    """The switches in force behind a method's figures, each with what the paper has."""
    settings = {
        name: value
        for record in chain.values()
        for name, value in record.settings.items()
        if name in SWITCHES and value != SWITCHES[name][0]
    }
    if "pca_components" not in settings:
        settings.pop("pca_whiten", None)
    if not {"local_components", "vlad_plus"} & settings.keys():
        settings.pop("local_whiten", None)
    return [
        f"{name}={json.dumps(settings[name])} (the paper: {paper})"
        for name, (_, paper) in SWITCHES.items()
        if name in settings
    ]


def result_rows(
    dataset: str,
    study: Study,
    titles: Mapping[Method, str],
    tables: Mapping[str, list[dict[str, Any]]],
    chains: Mapping[str, Chain],
) -> list[dict[str, Any]]:
    """Rows of RESULTS, one a method that was scored, notices of everything upstream included."""
    from methods.reporting.metric_tables import figures_of, overall_rows

    of_all_rows = notices_of_chain(chains[names.NEAR_DUPLICATES])
    p_of = {row["method_a"]: row["p_holm"] for row in tables["comparisons"]}
    test_of = {row["method_a"]: row["test"] for row in tables["comparisons"]}
    rows = []
    for method, title in titles.items():
        chain = chains[method.evaluation]
        facts = chain[method.evaluation].facts_as(EvaluationFacts)
        of_all = overall_rows(tables["metrics"], method.name)
        rows.append(
            {
                "dataset": dataset,
                "study": study.name,
                "method": method.name,
                "title": title,
                "accuracy": of_all["accuracy"]["value"],
                "ci_low": of_all["accuracy"]["ci_low"],
                "ci_high": of_all["accuracy"]["ci_high"],
                "interval": of_all["accuracy"]["interval"],
                "macro_f1": of_all["macro_f1"]["value"],
                "metrics": figures_of(of_all),
                "test": test_of.get(method.name),
                "p_holm": p_of.get(method.name),
                "n_test": of_all["accuracy"]["n"],
                "n_train": facts.training_images,
                "classes": facts.classes,
                "seeds": 1,
                "seconds": seconds_of_stages(chain),
                "device": devices_of(chain),
                "notices": "\n".join(notices_of_chain(chain) | of_all_rows),
            }
        )
    return rows


def paper_estimates(
    store: DatasetStore,
    dataset: str,
    study: Study,
    results: list[dict[str, Any]],
    included: ComparableMethods,
    chains: Mapping[str, Chain],
) -> tuple[dict[str, Any], dict[str, str]]:
    """Our figures for the rows of the paper, and notes on them."""
    from methods.reporting.single_label_tables import Estimate

    ours: dict[str, Any] = {}
    notes: dict[str, list[str]] = {method: [reason] for method, reason in included.reasons.items()}
    shared = set.intersection(*(set(row["notices"].splitlines()) for row in results))
    for row in results:
        ours[row["method"]] = Estimate(
            percent=100 * row["accuracy"],
            low=_percent(row["ci_low"]),
            high=_percent(row["ci_high"]),
            p_holm=row["p_holm"],
            n_test=row["n_test"],
            seeds=row["seeds"],
            seconds=row["seconds"],
            device=row["device"],
        )
        method = study.method(row["method"])
        other = (
            [row["title"].removeprefix(method.title).strip(" ()")]
            if row["title"] != method.title
            else []
        )
        other += switches_of(chains[method.evaluation])
        notes[row["method"]] = [
            *other,
            *(n for n in row["notices"].splitlines() if n not in shared),
        ]
    if study.main == "cae":
        _note_auto_encoder(store, dataset, included, ours, notes)
    return ours, {method: "; ".join(of) for method, of in notes.items() if of}


def _note_auto_encoder(
    store: DatasetStore,
    dataset: str,
    included: ComparableMethods,
    ours: dict[str, Any],
    notes: dict[str, list[str]],
) -> None:
    """Add how the auto-encoder was trained, and the figures of the table of filter sizes."""
    cae = store.need_record(dataset, names.CAE_MODEL).settings
    notes["cae"].insert(
        0, f"{cae['filters']} filters, {cae['epochs']} epochs (the paper: 4096, 100)"
    )
    if names.FILTER_SIZE_STUDY in included.measurements:
        ours |= _filter_estimates(store, dataset)
        settings = store.need_record(dataset, names.FILTER_SIZE_STUDY).settings
        notes |= {
            filters_estimate(size): [f"{settings['epochs']} epochs (the paper: 100)"]
            for size in settings["filter_sizes"]
        }
    else:
        notes |= {
            filters_estimate(size): [included.reasons[names.FILTER_SIZE_STUDY]]
            for size in FILTER_SIZES
        }
        if cae["filters"] in FILTER_SIZES:
            ours[filters_estimate(cae["filters"])] = ours["cae"]
            notes[filters_estimate(cae["filters"])] = [
                f"the main run, one seed, {cae['epochs']} epochs"
            ]


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _filter_estimates(store: DatasetStore, dataset: str) -> dict[str, Any]:
    """Our figures for the table of filter sizes: mean, interval, and deviation over seeds.

    The interval holds the spread of the seeds and that of the test images.
    """
    from methods.reporting.single_label_tables import Estimate

    record = store.need_record(dataset, names.FILTER_SIZE_STUDY)
    rows = fixed_rows(store.main_table(dataset, names.FILTER_SIZE_STUDY, METRICS).to_pylist())
    seconds = store.facts(dataset, names.FILTER_SIZE_STUDY, FilterStudyFacts).seconds
    estimates = {}
    for size in record.settings["filter_sizes"]:
        of_size = [row for row in rows if row["method"] == filters_estimate(size)]
        values = np.array([row["value"] for row in of_size if row["metric"] == "accuracy"])
        mean = next(
            row for row in of_size if row["metric"] == OVER_SEEDS and row["subject"] == ALL_LABELS
        )
        estimates[filters_estimate(size)] = Estimate(
            percent=100 * float(values.mean()),
            low=_percent(mean["ci_low"]),
            high=_percent(mean["ci_high"]),
            sd=100 * float(values.std(ddof=1)) if len(values) > 1 else None,
            n_test=of_size[0]["n"],
            seeds=len(values),
            seconds=seconds[size],
            device=record.device,
        )
    return estimates
