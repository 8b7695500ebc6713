"""Every example of docs/extending.md is executed, and does what the page says of it."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from assets import checks
from assets.core import stage as stage_module
from assets.core.settings import SvmSettings
from assets.evaluations.svm import SvmConfig, svm_evaluation
from data_contracts.records import feature_shard
from data_contracts.records.facts import EvaluationFacts
from data_contracts.studies import study as study_module
from data_contracts.studies.registry import STUDIES, check_evaluations
from data_contracts.studies.study import Study
from data_contracts.tables import predictions as predictions_table
from methods import settings
from methods.imaging import image_format, readers
from methods.imaging.image_file import inspect_file
from methods.imaging.preprocessing import PreprocessingSettings
from methods.reporting.single_label_tables import results_table
from methods.statistics import metrics
from methods.statistics.metrics import ONE_LABEL, Metric, Sample, measure, one_label_answers
from pipeline.definitions import build_defs
from resources.store.dataset_store import DatasetStore
from tests.assets.plans import (
    DATASET,
    image_id,
    manifest_row,
    new_store,
    run_plan,
    store_features,
    store_manifest,
)
from tests.methods.reporting.test_metric_tables import RESULT

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


def examples(heading: str) -> list[str]:
    """The Python blocks below a heading of the page."""
    text = PAGE.read_text()
    section = re.split(r"^## ", text, flags=re.MULTILINE)
    body = next(part for part in section if part.startswith(f"{heading}\n"))
    return re.findall(r"^```python\n(.*?)^```", body, flags=re.MULTILINE | re.DOTALL)


def run(code: str, *modules: ModuleType, **names: Any) -> dict[str, Any]:
    """The names that an example defines, executed among the names of some modules.

    The value of an example's last expression is called "entry".
    """
    space: dict[str, Any] = {"np": np, "dg": dg, "pa": pa, "__name__": __name__}
    for module in modules:
        space |= {k: v for k, v in vars(module).items() if not k.startswith("__")}
    space |= names
    *statements, last = re.split(r"\n(?=[A-Z]\w+[.(])", code.rstrip())
    for code, mode in (("\n".join(statements), "exec"), (last, "eval")):
        try:
            compiled = compile(code, PAGE.name, mode, dont_inherit=True)
        except SyntaxError:  # the last piece is no expression
            compiled = compile(code, PAGE.name, "exec", dont_inherit=True)
        space["entry"] = eval(compiled, space)  # the page's own text
    return space


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    store = new_store(tmp_path)
    labels = ["a"] * 11 + ["b"]
    store_manifest(store, [manifest_row(i, "train", labels[i]) for i in range(12)])
    return store


def test_every_section_has_an_example() -> None:
    headings = re.findall(r"^## (.*)$", PAGE.read_text(), flags=re.MULTILINE)
    assert len(headings) == 10
    assert [heading for heading in headings if not examples(heading)] == []


def test_a_backbone_as_a_row_of_a_table() -> None:
    (code,) = examples("A backbone")
    method = run(code, study_module)["entry"]
    assert method.features == "convnext_tiny_features_7"
    assert method.evaluation == "svm_evaluation_convnext"
    from methods.features.networks import LayerTap, network_input, new_network

    name, layer = method.network
    tap = LayerTap(new_network(name), layer, network_input(name), name=name)
    assert tap.row_shape(227) == (768, 7, 7)


def test_a_metric_is_in_the_metrics_and_in_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = examples("A metric")
    entry = run(code, metrics)["entry"]
    assert isinstance(entry, Metric)
    monkeypatch.setattr(metrics, "REGISTRY", (*metrics.REGISTRY, entry))
    labels, scores = np.array(["a", "a", "a", "b"]), np.array([[1, 0], [1, 0], [0, 1], [0, 1]])
    rows = measure(one_label_answers(labels, scores, ["a", "b"]), ONE_LABEL, Sample(None, 20, 0))
    value = next(row.value for row in rows if row.metric is entry)
    assert value == pytest.approx(2 / 3)
    assert "Worst recall, %" in results_table([RESULT]).columns


def test_a_file_format_is_read_by_the_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = examples("A file format")
    space = run(
        code, image_format, readers, Image=Image, PreprocessingSettings=PreprocessingSettings
    )
    monkeypatch.setattr(readers, "READERS", (*readers.READERS, space["entry"]))
    (frame,) = inspect_file(b"G8 3 2\n" + bytes(range(6))).frames
    assert (frame.facts.width, frame.facts.height, frame.facts.format) == (3, 2, "G8")


def test_an_asset_check_warns(store: DatasetStore) -> None:
    (code,) = examples("An asset check")
    check = run(code, checks, Counter=Counter, DatasetStore=DatasetStore)["no_rare_class"]
    function: Any = check.op.compute_fn
    result = function.decorated_fn(SimpleNamespace(partition_key=DATASET), store)
    assert not result.passed
    assert result.metadata["rare classes"].value == 1  # one image of b, eleven of a


@pytest.fixture
def without_new_stages() -> Iterator[None]:
    known = dict(stage_module.DEFINITIONS)
    yield
    stage_module.DEFINITIONS.clear()
    stage_module.DEFINITIONS.update(known)


@pytest.mark.usefixtures("without_new_stages")
def test_a_study_of_stored_features_is_data(store: DatasetStore) -> None:
    code, _ = examples("A study")
    study = run(code, study_module)["NEW2027"]
    assert isinstance(study, Study)
    assert study.jobs == ("new2027",)
    check_evaluations([*STUDIES.values(), study])
    again = replace(study, methods=(replace(study.methods[0], name="conv5"),))
    with pytest.raises(ValueError, match="conv5 stands in ahn2019 and in new2027"):
        check_evaluations([*STUDIES.values(), again])
    rows = [manifest_row(i, "train" if i < 6 else "test", "ab"[i % 2]) for i in range(12)]
    store_manifest(store, rows)
    points = np.array([[1, 0], [0, 1]] * 6, np.float32)
    ids = [image_id(i) for i in range(12)]
    for method in study.methods:
        store_features(store, method.features, ids, points, backbone="x")
        asset = svm_evaluation(study, method)
        quick = SvmConfig(label_budgets=[], bootstrap_resamples=20)
        facts = run_plan(asset, store, quick).record.facts_as(EvaluationFacts)
        assert facts.test_images == 6


@pytest.mark.usefixtures("without_new_stages")
def test_a_plan_stores_the_mean_colour(store: DatasetStore) -> None:
    import assets.images as images

    _, code = examples("A study")
    pixels = np.zeros((12, 4, 4, 3), np.uint8)
    pixels[:, :2, :, 0] = 200  # half of each image is red: a mean of 100
    store_features(store, "prepared_images", [image_id(i) for i in range(12)], pixels)
    from assets.core.shards import READ_ROWS, in_blocks

    asset = run(code, images, READ_ROWS=READ_ROWS, in_blocks=in_blocks)["mean_colour"]
    record = run_plan(asset, store).record
    assert record.feature_set is not None
    from assets.core.shards import open_features

    reader = open_features(store, DATASET, "mean_colour")
    np.testing.assert_array_equal(reader.rows(0, 12), np.tile([100, 0, 0], (12, 1)))
    reader.close()


def test_a_default_stands_once() -> None:
    (code,) = examples("A default")
    assert run(code)["SVM_C"] == settings.SVM_C
    assert SvmSettings().c == SvmConfig().c == settings.SVM_C
    folders = [PAGE.parents[1] / name for name in ("assets", "methods", "pipeline")]
    again = [
        str(path)
        for folder in folders
        for path in folder.rglob("*.py")
        if re.search(r"\bc: (float|PositiveFloat) = 1", path.read_text())
    ]
    assert again == []


def test_a_command_lists_the_datasets(home: Path) -> None:
    (code,) = examples("A command")
    new_store(home)
    app = typer.Typer()
    app.callback()(lambda: None)
    run(code, app=app)
    result = CliRunner().invoke(app, ["datasets"])
    assert (result.exit_code, result.output) == (0, f"{DATASET}\n")


def test_a_stored_number_format_is_one_line(tmp_path: Path) -> None:
    (code,) = examples("A stored number format")
    (line,) = [line for line in code.splitlines() if line.startswith("FeatureDtype")]
    assert feature_shard.__file__ is not None
    source = Path(feature_shard.__file__).read_text()
    changed, n = re.subn(r"^FeatureDtype.*$", line, source, flags=re.MULTILINE)
    assert n == 1
    module = ModuleType("feature_shard_with_float64")
    sys.modules[module.__name__] = module  # pydantic looks its names up there
    try:
        exec(compile(changed, "feature_shard_with_float64", "exec"), vars(module))
    finally:
        del sys.modules[module.__name__]
    kind = {"kind": "x", "row_shape": (2,), "preprocessing": {}, "code_version": "1"}
    assert module.FeatureSet(dtype="float64", **kind).dtype == "float64"
    with pytest.raises(ValueError, match="dtype"):
        feature_shard.FeatureSet(dtype="float64", **kind)  # type: ignore[arg-type]


def test_a_column_of_the_predictions_is_in_the_csv_file() -> None:
    field, value = examples("A column of the predictions")
    assert predictions_table.__file__ is not None
    source = Path(predictions_table.__file__).read_text()
    last = '            pa.field("margin"'
    line = field.splitlines()[1].partition("  #")[0]
    changed = source.replace(last, f"            {line},\n{last}")
    space: dict[str, Any] = {"__name__": "predictions_with_a_similarity"}
    exec(compile(changed, "predictions_with_a_similarity", "exec", dont_inherit=True), space)
    assert "similarity" in space["CSV_COLUMNS"]
    assert "similarity" not in predictions_table.CSV_COLUMNS
    found = SimpleNamespace(similarities=np.array([[0.75, 0.5]]))
    row = eval(value.partition("\n")[2], {"found": found, "i": 0})
    kind = space["IMAGE_PREDICTIONS"].schema.field("similarity").type
    assert pa.array(list(row.values()), kind).to_pylist() == [0.75]


def test_another_local_folder_is_a_setting() -> None:
    (code,) = examples("Another store")
    space = run(code, DatasetStore=DatasetStore, build_defs=build_defs)
    assert space["store"].root == Path("/data/medfeat")
    assert isinstance(space["definitions"], dg.Definitions)
