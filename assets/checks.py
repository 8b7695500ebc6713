"""Blocking asset checks: every contract, read back from the bytes; and that no image and no group
is on both sides of a split.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import dagster as dg
import numpy as np

from assets.core.manifest_rows import manifest_of, scored_ids
from assets.core.plan import StageDefinition
from assets.core.shards import READ_ROWS, open_features
from assets.core.stage import DEFINITIONS
from assets.evaluations.near_duplicates import near_duplicates
from assets.features.lesions import contoured_ids
from assets.images import image_manifest
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.facts import NearDuplicateFacts
from data_contracts.records.feature_shard import check_rows
from data_contracts.studies.huynh2016 import ANALYTIC, ENSEMBLE, HUYNH2016
from data_contracts.studies.lyndon2015 import LYNDON2015
from data_contracts.tables.contract import TableContract
from data_contracts.tables.evaluations import COMPARISONS, METRICS, PREDICTIONS
from data_contracts.tables.lesions import LESIONS
from data_contracts.tables.multilabel import MULTILABEL_PREDICTIONS, MULTILABEL_RESULTS
from data_contracts.tables.predictions import IMAGE_PREDICTIONS
from data_contracts.tables.report import LINEAGE, PAPER, REJECTED, RESULTS
from data_contracts.tables.roc import FOLD_SCORES, ROC_COMPARISONS, ROC_RESULTS
from methods.curation.leakage import find_leaks, leak_error
from methods.reporting.document import markdown_text
from resources.store.dataset_store import DatasetStore
from resources.store.model_store import load_model

SHOWN_LEAKS = 20
EVERY_IMAGE = {
    "prepared_images",
    "alexnet_conv5",
    "backbone_features",
    "cae_features",
    "random_cae_features",
}
"""Assets with a row for every usable image; the features for a table's rows are of the labelled
images alone."""

Reading = Callable[[DatasetStore, str, str], dict[str, int]]
"""Reads and checks what (store, dataset, asset) names; gives counts of what was checked."""


def _ids_of(store: DatasetStore, dataset: str, asset: str) -> list[str] | None:
    """Images that an asset has rows of; None for every usable one."""
    if asset in EVERY_IMAGE:
        return None
    return (
        contoured_ids(store, dataset) if asset == ANALYTIC.features else scored_ids(store, dataset)
    )


def _features(store: DatasetStore, dataset: str, asset: str) -> dict[str, int]:
    return {"rows": _checked_rows(store, dataset, asset, _ids_of(store, dataset, asset))}


def _checked_rows(store: DatasetStore, dataset: str, asset: str, ids: list[str] | None) -> int:
    """Number of feature rows, each read back and checked."""
    reader = open_features(store, dataset, asset, ids)
    try:
        for start in range(0, len(reader), READ_ROWS):
            ids = reader.image_ids[start : start + READ_ROWS]
            check_rows(
                np.asarray(reader.rows(start, start + READ_ROWS)),
                ids,
                reader.feature_set,
                f"{asset} of {dataset}",
            )
    finally:
        reader.close()
    return len(reader)


def _model(store: DatasetStore, dataset: str, asset: str) -> dict[str, int]:
    return {"tensors": _finite_tensors(store, dataset, asset)}


def _finite_tensors(store: DatasetStore, dataset: str, asset: str) -> int:
    """Number of a model's tensors, each read back and finite."""
    tensors, _ = load_model(store, dataset, asset)
    broken = [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]
    if broken:
        raise InputError(
            f"{asset} of {dataset} has numbers that are not finite in {', '.join(broken)}",
            "Train with a smaller learning_rate",
        )
    return len(tensors)


def _evaluation(store: DatasetStore, dataset: str, asset: str) -> dict[str, int]:
    return {
        "metrics": store.main_table(dataset, asset, METRICS).num_rows,
        "predictions": store.main_table(dataset, asset, PREDICTIONS).num_rows,
    }


def _comparison(store: DatasetStore, dataset: str, asset: str) -> dict[str, int]:
    return {"pairs": store.main_table(dataset, asset, COMPARISONS).num_rows}


def _tables(contracts: dict[str, TableContract]) -> Reading:
    """Reads the tables of those names."""

    def read(store: DatasetStore, dataset: str, asset: str) -> dict[str, int]:
        return {
            name: store.main_table(dataset, asset, contract).num_rows
            for name, contract in contracts.items()
        }

    return read


_lesions = _tables({"lesions": LESIONS})
_metrics = _tables({"metrics": METRICS})
_report = _tables({"results": RESULTS, "paper": PAPER, "lineage": LINEAGE, "rejected": REJECTED})
_fold_scores = _tables({"metrics": METRICS, "fold_scores": FOLD_SCORES})
_roc = {"roc_results": ROC_RESULTS, "roc_comparisons": ROC_COMPARISONS}


def _segmentation(store: DatasetStore, dataset: str, asset: str) -> dict[str, int]:
    return _features(store, dataset, asset) | _lesions(store, dataset, asset)


def _predictions(store: DatasetStore, dataset: str, asset: str) -> dict[str, int]:
    return {"images": store.main_table(dataset, asset, IMAGE_PREDICTIONS).num_rows}


def _declared(definition: StageDefinition[Any]) -> Reading:
    """Reads everything that a stage declares to store."""

    def read(store: DatasetStore, dataset: str, asset: str) -> dict[str, int]:
        counts = {
            contract.name: store.main_table(dataset, asset, contract).num_rows
            for contract in definition.tables
        }
        if definition.is_model:
            counts["tensors"] = _finite_tensors(store, dataset, asset)
        if definition.features_of is not None:
            ids = definition.features_of(store, dataset)
            counts["rows"] = _checked_rows(store, dataset, asset, ids)
        return counts

    return read


def _reading_of(asset: str, kinds: set[str]) -> Reading:
    definition = DEFINITIONS.get(asset)
    if definition is not None:
        return _declared(definition)
    by_name = {
        "predictions": _predictions,
        "filter_size_study": _metrics,
        "label_efficiency": _metrics,
        "lesion_segmentation": _segmentation,
        "label_permutation": _metrics,
        ENSEMBLE.evaluation: _fold_scores,
        "roc_comparison": _tables(_roc),
        f"report_{LYNDON2015.name}": _tables(
            {"multilabel_results": MULTILABEL_RESULTS, "lineage": LINEAGE, "rejected": REJECTED}
        ),
        f"report_{HUYNH2016.name}": _tables({**_roc, "lineage": LINEAGE, "rejected": REJECTED}),
    }
    if asset in by_name:
        return by_name[asset]
    if asset.startswith(("svm_evaluation_", "ensemble_evaluation_")):
        return _evaluation
    if asset.startswith("cv_evaluation_"):
        return _fold_scores
    if asset.startswith("multilabel_evaluation_"):
        return _tables({"metrics": METRICS, "predictions": MULTILABEL_PREDICTIONS})
    if asset.startswith("method_comparison_"):
        return _comparison
    if asset.startswith("report_"):
        return _report
    return _model if "safetensors" in kinds else _features


def contract_check(asset: dg.AssetsDefinition) -> dg.AssetChecksDefinition:
    """The blocking check `contract` of one asset."""
    name = asset.key.path[-1]
    reading = _reading_of(name, set(asset.specs_by_key[asset.key].kinds))

    @dg.asset_check(
        asset=asset,
        name="contract",
        blocking=True,
        description="What is stored obeys its contract, read back from disk.",
    )
    def check(context: dg.AssetCheckExecutionContext, store: DatasetStore) -> dg.AssetCheckResult:
        dataset = context.partition_key
        try:
            reason = store.need_record(dataset, name).unavailable
            if reason:
                return dg.AssetCheckResult(
                    passed=True, metadata={"dataset": dataset, "not available": reason}
                )
            counts = reading(store, dataset, name)
        except InputError as error:
            return dg.AssetCheckResult(
                passed=False, description=str(error), metadata={"dataset": dataset}
            )
        return dg.AssetCheckResult(passed=True, metadata={"dataset": dataset, **counts})

    return check


def leakage_check(name: str, kinds: Iterable[str], description: str) -> dg.AssetChecksDefinition:
    """A blocking check that the manifest's split has no leak of some kinds."""

    @dg.asset_check(asset=image_manifest, name=name, blocking=True, description=description)
    def check(context: dg.AssetCheckExecutionContext, store: DatasetStore) -> dg.AssetCheckResult:
        dataset = context.partition_key
        leaks = find_leaks(manifest_of(store, dataset).to_pylist(), kinds)
        metadata = {"dataset": dataset, "leaks": len(leaks)}
        if not leaks:
            return dg.AssetCheckResult(passed=True, metadata=metadata)
        error = leak_error(dataset, leaks)
        listed = "\n".join(f"- {markdown_text(str(leak))}" for leak in leaks[:SHOWN_LEAKS])
        return dg.AssetCheckResult(
            passed=False,
            description=str(error),
            metadata={**metadata, f"first {SHOWN_LEAKS}": dg.MetadataValue.md(listed)},
        )

    return check


leakage_checks = [
    leakage_check(
        "no_image_in_two_splits",
        ("bytes", "pixels"),
        "No image, by its bytes or its pixels, both trains and tests.",
    ),
    leakage_check(
        "no_group_in_two_splits",
        ("group", "patient"),
        "No group (patient, lesion) both trains and tests.",
    ),
]


@dg.asset_check(
    asset=near_duplicates,
    name="no_near_duplicates_in_two_splits",
    description="No test image shows nearly the same picture as a training image. A warning: the figures may be optimistic.",
)
def near_duplicates_check(
    context: dg.AssetCheckExecutionContext, store: DatasetStore
) -> dg.AssetCheckResult:
    """Warns of near-duplicates; the report lists them."""
    record = store.need_record(context.partition_key, names.NEAR_DUPLICATES)
    facts = store.facts(context.partition_key, names.NEAR_DUPLICATES, NearDuplicateFacts)
    return dg.AssetCheckResult(
        passed=facts.test_images == 0,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(record.notices) or None,
        metadata={
            "dataset": context.partition_key,
            "pairs": facts.pairs,
            "test images concerned": facts.test_images,
        },
    )


def contract_checks(assets: Sequence[dg.AssetsDefinition]) -> list[dg.AssetChecksDefinition]:
    """A contract check for every partitioned asset."""
    return [contract_check(asset) for asset in assets if asset.partitions_def is not None]
