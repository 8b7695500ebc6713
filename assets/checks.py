"""Asset checks: every contract, read back from the bytes, and what both sides of a split share.

Belongs here: checks of stored outputs. A new check of one asset is a function here and an entry of
``CHECKS``. What the contract check of an asset reads is what its stage declares.
"""

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import dagster as dg

from assets.core.labelled_rows import LEAK_COLUMNS
from assets.core.manifest_rows import manifest_of
from assets.core.partitions import DATASETS
from assets.core.plan import StageDefinition
from assets.core.shards import stored_features
from assets.core.stage import definition_of
from assets.evaluations.near_duplicates import near_duplicates
from assets.images import image_manifest
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.facts import NearDuplicateFacts
from methods.curation.leakage import find_leaks, leak_error
from methods.curation.manifest_rows import can_be_drawn
from methods.reporting.document import markdown_text
from resources.store.dataset_store import DatasetStore
from resources.store.model_store import load_model

# Checks by partition are a preview, which the pinned version of Dagster has; nobody can act on it.
warnings.filterwarnings(
    "ignore", "Specifying a partitions_def on an AssetCheckSpec", dg.PreviewWarning
)

SHOWN_LEAKS = 20
"""Maximum number of leaks in the metadata of a check."""


def _counts_of(
    store: DatasetStore, dataset: str, definition: StageDefinition[Any]
) -> dict[str, int]:
    """Check what a stage declares to store; gives how much that was, and what was read of it.

    Tables and models are read whole, of rows of features those that are new since the last check.

    Raises:
        InputError: something is missing, damaged, or breaks a rule of its contract.
    """
    asset = definition.name
    counts = {
        contract.name: store.main_table(dataset, asset, contract).num_rows
        for contract in definition.tables
    }
    if definition.is_model:
        counts["tensors"] = _finite_tensors(store, dataset, asset)
    if definition.features_of is not None:
        ids = definition.features_of(store, dataset)
        counts["rows"] = len(ids)
        counts["rows read"] = stored_features(store, dataset, asset).check(ids)
    return counts


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


def contract_check(asset: dg.AssetsDefinition) -> dg.AssetChecksDefinition:
    """The blocking check `contract` of one asset."""
    definition = definition_of(asset)

    @dg.asset_check(
        asset=asset,
        name="contract",
        blocking=True,
        partitions_def=DATASETS,
        description="What is stored obeys its contract, read back from disk: every table and "
        "model, and the rows of features that are new since the last check.",
    )
    def check(context: dg.AssetCheckExecutionContext, store: DatasetStore) -> dg.AssetCheckResult:
        dataset = context.partition_key
        try:
            reason = store.need_record(dataset, definition.name).unavailable
            if reason:
                return dg.AssetCheckResult(
                    passed=False,
                    severity=dg.AssetCheckSeverity.WARN,
                    description=f"not available: {reason}",
                    metadata={"dataset": dataset, "not available": reason},
                )
            counts = _counts_of(store, dataset, definition)
        except InputError as error:
            return dg.AssetCheckResult(
                passed=False, description=str(error), metadata={"dataset": dataset}
            )
        return dg.AssetCheckResult(passed=True, metadata={"dataset": dataset, **counts})

    return check


def contract_checks(assets: Sequence[dg.AssetsDefinition]) -> list[dg.AssetChecksDefinition]:
    """A contract check for every partitioned asset."""
    return [contract_check(asset) for asset in assets if asset.partitions_def is not None]


def leakage_check(name: str, kinds: Iterable[str], description: str) -> dg.AssetChecksDefinition:
    """A blocking check that the manifest's split has no leak of some kinds."""

    @dg.asset_check(
        asset=image_manifest,
        name=name,
        blocking=True,
        partitions_def=DATASETS,
        description=description,
    )
    def check(context: dg.AssetCheckExecutionContext, store: DatasetStore) -> dg.AssetCheckResult:
        dataset = context.partition_key
        try:
            spec, manifest = store.spec(dataset), manifest_of(store, dataset)
            leaks = find_leaks(manifest.select(LEAK_COLUMNS).to_pylist(), kinds)
        except InputError as error:
            return dg.AssetCheckResult(
                passed=False, description=str(error), metadata={"dataset": dataset}
            )
        metadata = {"dataset": dataset, "leaks": len(leaks)}
        if not leaks:
            return dg.AssetCheckResult(passed=True, metadata=metadata)
        listed = "\n".join(f"- {markdown_text(str(leak))}" for leak in leaks[:SHOWN_LEAKS])
        is_kept = spec.keep_given_split
        return dg.AssetCheckResult(
            passed=is_kept,
            description="kept by --keep-given-split"
            if is_kept
            else str(leak_error(dataset, leaks, can_be_drawn(manifest.to_pylist(), spec))),
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
    partitions_def=DATASETS,
    description="No test image shows nearly the same picture as a training image. A warning: the "
    "figures may be optimistic.",
)
def near_duplicates_check(
    context: dg.AssetCheckExecutionContext, store: DatasetStore
) -> dg.AssetCheckResult:
    """Warns of near-duplicates; the report lists them."""
    record = store.need_record(context.partition_key, names.NEAR_DUPLICATES)
    facts = record.facts_as(NearDuplicateFacts)
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


CHECKS: list[dg.AssetChecksDefinition] = [*leakage_checks, near_duplicates_check]
"""Checks of single assets; every asset has a contract check beside them."""
