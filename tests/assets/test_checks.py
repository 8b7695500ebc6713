"""Every blocking check fails here once: the run's message names the rule, and nothing downstream is
computed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from safetensors.torch import load

from assets.checks import CHECKS, leakage_checks
from assets.core.manifest_rows import manifest_of
from assets.images import image_manifest
from data_contracts import asset_names as names
from data_contracts.records.dataset import DatasetSpec
from data_contracts.records.model_sidecar import ModelSidecar
from data_contracts.records.output_record import OutputRecord, StoredFile
from data_contracts.tables.manifest import MANIFEST
from pipeline.graph import build_graph
from pipeline.launch import INPUT_WRONG, RunOutcome, run_job
from resources.store.atomic_file import write_atomically
from resources.store.dataset_store import DatasetStore, table_of
from resources.store.feature_store import FeatureStore
from resources.store.model_store import save_model
from resources.store.shard_file import shard_bytes
from tests.assets.runs import checks_of, split_folders
from tests.conftest import TINY_STUDY

LEAKAGE_CHECKS = {"no_image_in_two_splits", "no_group_in_two_splits"}


def run_tiny(root: Path) -> RunOutcome:
    """Run dataset "tiny", registered without the look that would refuse it: its files may have
    changed since."""
    DatasetStore().save_spec(DatasetSpec(name="tiny", root=root, show_names=True))
    return run_job("ahn2019", "tiny", TINY_STUDY, "cpu")


class BrokenStore(DatasetStore):
    """A store whose outputs of one asset break a rule of their contract, under valid digests.

    So does a program that writes without checking; a flipped bit is seen by its digest instead.
    """

    broken: str
    kind: Literal["table", "features", "model"]

    def save_record(self, record: OutputRecord) -> None:
        if record.asset == self.broken:
            record = getattr(self, f"_broken_{self.kind}")(record)
        super().save_record(record)

    def _broken_table(self, record: OutputRecord) -> OutputRecord:
        """Store the first row of the table twice."""
        (file,) = [file for file in record.files if file.name.endswith(".parquet")][:1]
        table = table_of(self.read_bytes(record.dataset, record.asset, file))
        sink = pa.BufferOutputStream()
        pa.parquet.write_table(pa.concat_tables([table.slice(0, 1), table]), sink)
        data = sink.getvalue().to_pybytes()
        again = self.write_bytes(record.dataset, record.asset, file.name, data)
        return record.model_copy(update={"files": _replaced(record.files, again)})

    def _broken_features(self, record: OutputRecord) -> OutputRecord:
        """Store a number that is not finite in the first row of the first shard."""
        assert record.feature_set is not None
        shards = FeatureStore(self, record.dataset, record.feature_set)
        first, *others = shards.index()
        rows = shards.reader(first.image_ids).rows(0, first.rows)
        rows.reshape(len(rows), -1)[0, 0] = np.nan
        data = shard_bytes(rows, first.image_ids, record.feature_set.model_dump(mode="json"))
        written = write_atomically(shards.folder / first.shard, data)
        changed = {"sha256": written.sha256, "bytes": written.bytes}
        shards.save_index([first.model_copy(update=changed), *others])
        return record

    def _broken_model(self, record: OutputRecord) -> OutputRecord:
        """Store a weight that is not finite."""
        weights, described = (
            next(file for file in record.files if file.name.endswith(suffix))
            for suffix in (".safetensors", ".model.json")
        )
        place = (record.dataset, record.asset)
        tensors = load(self.read_bytes(*place, weights))
        next(iter(tensors.values())).view(-1)[0] = float("nan")
        sidecar = ModelSidecar.model_validate_json(self.read_bytes(*place, described))
        files = record.files
        for file in save_model(self, *place, record.fingerprint, tensors, sidecar):
            files = _replaced(files, file)
        return record.model_copy(update={"files": files})


def _replaced(files: list[StoredFile], new: StoredFile) -> list[StoredFile]:
    return [new if file.name == new.name else file for file in files]


@pytest.mark.parametrize(
    ("asset", "kind", "rule", "downstream"),
    [
        (
            names.IMAGE_MANIFEST,
            "table",
            f"breaks a rule of the {MANIFEST.name} table: {' + '.join(MANIFEST.key)} is unique",
            names.PREPARED_IMAGES,
        ),
        (
            names.ALEXNET_CONV5,
            "features",
            "breaks a rule of a alexnet_conv5 shard: every number is finite",
            names.BACKBONE_FEATURES,
        ),
        (
            names.CAE_MODEL,
            "model",
            "cae_model of tiny has numbers that are not finite",
            names.CAE_FEATURES,
        ),
    ],
)
def test_a_contract_that_is_broken_ends_the_run_before_what_follows(
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asset: str,
    kind: str,
    rule: str,
    downstream: str,
) -> None:
    broken = BrokenStore(broken=asset, kind=kind)
    monkeypatch.setattr("pipeline.launch.GRAPH", build_graph({"store": broken}))
    outcome = run_tiny(split_folders(tmp_path / "images"))
    assert outcome.exit_code == INPUT_WRONG
    assert rule in outcome.message
    checks = checks_of(outcome)
    assert not checks[asset].passed
    assert checks[asset].blocking
    failed = {
        name
        for name, check in checks.items()
        if check.blocking and not check.passed and check.severity is dg.AssetCheckSeverity.ERROR
    }
    # nobody can say of a manifest that breaks a rule whether its split leaks
    assert failed == {asset} | (LEAKAGE_CHECKS if asset == names.IMAGE_MANIFEST else set())
    store = DatasetStore()
    assert store.record("tiny", asset) is not None
    assert store.record("tiny", downstream) is None, "nothing was made of it"


def test_every_check_that_is_listed_is_in_the_graph() -> None:
    listed = {key for check in CHECKS for key in check.check_keys}
    graph = build_graph().resolve_asset_graph()
    assert listed <= set(graph.asset_check_keys)


def same_bytes(root: Path) -> None:
    shutil.copy(root / "train" / "class0" / "000.png", root / "test" / "class0" / "copy.png")


def same_pixels(root: Path) -> None:
    Image.open(root / "train" / "class0" / "000.png").save(root / "test" / "class0" / "copy.bmp")


def _same(root: Path, column: str) -> None:
    """A manifest that gives images 000 and 005 of each class one name in ``column``."""
    rows = []
    for path in sorted(root.rglob("*.png")):
        name = "ward 7" if path.stem in ("000", "005") else str(path)
        rows.append(f"{path.relative_to(root)},{path.parent.name},{path.parent.parent.name},{name}")
    header = f"path,label,split,{column}"
    (root / "manifest.csv").write_text("\n".join([header, *rows]) + "\n")


def same_group(root: Path) -> None:
    _same(root, "group_id")


def same_patient(root: Path) -> None:
    _same(root, "patient_id")


@pytest.mark.parametrize(
    ("leak", "check", "words"),
    [
        (same_bytes, "no_image_in_two_splits", "have the same bytes"),
        (same_pixels, "no_image_in_two_splits", "have the same pixels"),
        (same_group, "no_group_in_two_splits", "are of one group"),
        (same_patient, "no_group_in_two_splits", "are of one patient"),
    ],
)
def test_a_leak_fails_the_run_and_stops_what_follows(
    home: Path, tmp_path: Path, leak: Callable[[Path], None], check: str, words: str
) -> None:
    root = split_folders(tmp_path / "images")
    leak(root)
    outcome = run_tiny(root)
    assert outcome.exit_code == INPUT_WRONG
    assert "the split of tiny leaks: train/class0/000.png (train) and test/class" in outcome.message
    assert words in outcome.message
    assert "--split stratified" in outcome.message

    checks = checks_of(outcome)
    assert {name for name in LEAKAGE_CHECKS if not checks[name].passed} == {check}
    assert checks["image_manifest"].passed, "the manifest itself is as it should be"
    assert checks[check].blocking
    assert checks[check].severity is dg.AssetCheckSeverity.ERROR
    assert checks[check].metadata["leaks"].value == 1
    assert "000.png (train)" in str(checks[check].metadata["first 20"].value)
    store = DatasetStore()
    assert store.assets_of("tiny") == ["image_manifest"], (
        "nothing was prepared, computed or evaluated"
    )


def test_a_drawn_split_keeps_copies_and_groups_together_so_nothing_leaks(
    home: Path, tmp_path: Path
) -> None:
    """The remedy that the message names is one."""
    root = split_folders(tmp_path / "images")
    same_pixels(root)
    same_bytes(root)
    DatasetStore().save_spec(DatasetSpec(name="tiny", root=root, split="stratified"))
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions("dataset", ["tiny"])
        made = dg.materialize(
            [image_manifest, *leakage_checks],
            partition_key="tiny",
            instance=instance,
            resources={"store": DatasetStore()},
        )
    assert {
        check.check_name for check in made.get_asset_check_evaluations() if check.passed
    } == LEAKAGE_CHECKS
    rows = manifest_of(DatasetStore(), "tiny").to_pylist()
    assert {row["split"] for row in rows if row["status"] == "ok"} == {"train", "test"}
