"""Average pooling and VLAD on a tiny dataset: what is stored, what it is made from, and what leaks
nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
import torch
from PIL import Image

from assets.core.manifest_rows import manifest_of
from assets.features import local_descriptors
from assets.features.frozen_networks import frozen_network
from data_contracts.studies.farhat_vlad import FARHAT_VLAD
from data_contracts.tables.report import PAPER, RESULTS
from methods.features.frozen_network import Conv5Extractor, extract, random_alexnet
from methods.imaging.preprocessing import PreprocessingSettings, to_square
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureReader, FeatureStore
from resources.store.model_store import load_model
from tests.assets.runs import RunFailedError, computed, failed_checks, run_job

TINY: dict[str, Any] = {
    "backbone": "alexnet",
    "layer": "conv5",
    "backbone_weights": "random",
    "weights": "random",
    "label_budgets": [],
    "bootstrap_resamples": 100,
}
"""VGG-19 takes half a second an image; AlexNet conv5 gives 6 x 6 descriptors of 256 numbers at 224
pixels."""
DESCRIPTORS = ["image_manifest", "prepared_images", "local_descriptors_scale0"]
VLAD64 = ["vlad64_codebook_scale0", "vlad64_descriptors_scale0"]

Materialise = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def materialise(home: Path) -> Materialise:
    def run(
        root: Path, only: list[str] | None = None, all_tables: bool = False, **settings: Any
    ) -> dg.ExecuteInProcessResult:
        return run_job(root, FARHAT_VLAD.job(all_tables), {**TINY, **settings}, only)

    return run


def rows_of(asset: str) -> FeatureReader:
    store = DatasetStore()
    made = store.need_record("tiny", asset).feature_set
    assert made is not None
    ids = [
        row["image_id"] for row in manifest_of(store, "tiny").to_pylist() if row["status"] == "ok"
    ]
    return FeatureStore(store, "tiny", made).reader(ids)


def all_rows(asset: str) -> np.ndarray:
    reader = rows_of(asset)
    rows = reader.rows(0, len(reader)).astype(np.float32)
    reader.close()
    return rows


def version(asset: str) -> str:
    return DatasetStore().need_record("tiny", asset).data_version


def notes_of_figures() -> dict[str, str]:
    """Notes beside the paper's figures 5 and 6 at 224 pixels."""
    paper = DatasetStore().main_table("tiny", "report_farhat_vlad", PAPER).to_pylist()
    return {
        row["title"]: row["note"]
        for row in paper
        if row["paper_table"].endswith("Kvasir") and row["ours_percent"] is not None
    }


def test_the_study_end_to_end(materialise: Materialise, make_images: Any) -> None:
    root = make_images(classes=2, each=12)
    first = materialise(root)
    assert failed_checks(first) == []
    store = DatasetStore()
    results = {
        row["method"]: row
        for row in store.main_table("tiny", "report_farhat_vlad", RESULTS).to_pylist()
    }
    assert set(results) == {"average_scale0", "vlad64_scale0", "vlad256_scale0"}
    assert all("RANDOM WEIGHTS" in row["notices"] for row in results.values())
    assert results["average_scale0"]["title"].endswith("(alexnet conv5)"), (
        "the title stands for VGG-19"
    )

    paper = store.main_table("tiny", "report_farhat_vlad", PAPER).to_pylist()
    figures = {(row["paper_table"], row["title"]): row for row in paper}
    chest = [
        figures["figure 5, chest X-ray", f"Scale {s} ({224 + 320 * s} pixels)"] for s in range(3)
    ]
    assert [row["paper_percent"] for row in chest] == [80, 81, 78]
    assert chest[0]["ours_percent"] == pytest.approx(100 * results["average_scale0"]["accuracy"])
    assert chest[1]["ours_percent"] is None
    assert "part of the job farhat_vlad_tables" in chest[1]["note"]
    kvasir = figures["figure 6, Kvasir", "256 centroids"]
    assert (kvasir["paper_percent"], kvasir["ours_percent"]) == (
        88,
        pytest.approx(100 * results["vlad256_scale0"]["accuracy"]),
    )
    page = (store.root / "reports" / "tiny" / "farhat_vlad" / "report.md").read_text()
    assert "VLAD with 256 centroids" in page
    assert "The paper's figure 5, mini MIT" in page
    assert "auto-encoder" not in page
    assert "How many labels" not in page

    maps = all_rows("local_descriptors_scale0")
    np.testing.assert_allclose(
        all_rows("average_descriptors_scale0"), maps.mean(axis=(2, 3)), rtol=1e-5
    )
    tensors, _ = load_model(store, "tiny", "vlad64_codebook_scale0")
    centroids = tensors["centroids"].numpy()
    train = sum(row["split"] == "train" for row in manifest_of(store, "tiny").to_pylist())
    assert centroids.shape == (64, 256)
    assert store.need_record("tiny", "vlad64_codebook_scale0").rows == 36 * train
    for image, row in zip(maps[:3], all_rows("vlad64_descriptors_scale0"), strict=False):
        cells = np.zeros((64, 256))
        for x in image.reshape(256, 36).T:
            nearest = np.argmin(np.square(centroids - x).sum(axis=1))
            cells[nearest] += x - centroids[nearest]
        # stored in half precision
        np.testing.assert_allclose(row, cells.ravel() / np.linalg.norm(cells), atol=1e-3)

    assert computed(materialise(root)) == {"image_manifest"}
    rooted = materialise(root, signed_sqrt=True, pca_whiten=True)
    assert computed(rooted) == {
        "image_manifest",
        *(f"vlad{k}_descriptors_scale0" for k in (64, 256)),
        *(f"svm_evaluation_vlad{k}_scale0" for k in (64, 256)),
        "method_comparison_farhat_vlad",
        "report_farhat_vlad",
    }
    rows = ("Scale 0 (224 pixels)", "64 centroids", "256 centroids")
    said = "alexnet conv5; signed_sqrt=true (the paper: off)"
    assert notes_of_figures() == dict(zip(rows, ("alexnet conv5", said, said), strict=True))
    materialise(root, vlad_plus=True, pca_components=2, pca_whiten=True)
    switched = ("vlad_plus=true", "pca_components=2", "pca_whiten=true")
    said = "; ".join(["alexnet conv5", *(f"{one} (the paper: off)" for one in switched)])
    assert notes_of_figures() == dict(zip(rows, ("alexnet conv5", said, said), strict=True))


def test_every_scale_is_made_from_the_original_files(
    materialise: Materialise, tmp_path: Path
) -> None:
    """A picture of 600 x 500 pixels holds more than its 227 x 227 version: descriptors at 544 and
    864 must be of the former."""
    rng = np.random.default_rng(0)
    for kind in range(2):
        (tmp_path / "large" / f"class{kind}").mkdir(parents=True)
        for number in range(6):
            noise = rng.integers(0, 255, (500, 600), dtype=np.uint8)
            Image.fromarray(noise // (kind + 1)).save(
                tmp_path / "large" / f"class{kind}" / f"{number}.png"
            )
    materialise(tmp_path / "large", all_tables=True, descriptor_sample=500, vgg19_weights="random")
    network = Conv5Extractor(random_alexnet())
    store = DatasetStore()
    found = sorted(
        (row for row in manifest_of(store, "tiny").to_pylist() if row["status"] == "ok"),
        key=lambda row: row["image_id"],
    )
    original = Image.open(tmp_path / "large" / found[0]["path"]).convert("RGB")
    for scale, places in ((0, 6), (1, 16), (2, 26)):
        maps = all_rows(f"local_descriptors_scale{scale}")
        assert maps.shape == (12, 256, places, places)
        square = to_square(original, PreprocessingSettings(size=224 + 320 * scale))
        np.testing.assert_allclose(
            maps[0], extract(network, square[None], torch.device("cpu"), 1)[0], atol=2e-3, rtol=2e-3
        )
    results = store.main_table("tiny", "report_farhat_vlad_tables", RESULTS).to_pylist()
    assert [row["method"] for row in results] == [
        *(
            f"{what}_scale{scale}"
            for scale in range(3)
            for what in ("average", "vlad64", "vlad256")
        ),
        "vlad64_all_scales",
        "vlad256_all_scales",
        "vgg19_fc1",
        "vgg19_fc2",
    ]
    paper = store.main_table("tiny", "report_farhat_vlad_tables", PAPER).to_pylist()
    assert all(row["ours_percent"] is not None for row in paper)


@pytest.mark.parametrize(
    ("name", "layer", "side"),
    [("vit_b_16", "encoder.layers.encoder_layer_0", 224), ("squeezenet1_1", "features", None)],
)
def test_a_network_says_the_size_that_it_resizes_to(
    name: str, layer: str, side: int | None
) -> None:
    assert frozen_network(name, layer, "random", 224).input_side == side


@pytest.fixture
def of_fixed_size(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let the network be one that resizes every image to so many pixels."""

    def fix(side: int) -> None:
        monkeypatch.setattr(
            local_descriptors,
            "frozen_network",
            lambda *asked: replace(frozen_network(*asked), input_side=side),
        )

    return fix


def test_a_network_of_fixed_size_has_no_other_scale(
    materialise: Materialise, make_images: Any, of_fixed_size: Callable[[int], None]
) -> None:
    of_fixed_size(224)
    materialise(make_images(classes=2, each=8), all_tables=True, descriptor_sample=500)
    store = DatasetStore()
    results = store.main_table("tiny", "report_farhat_vlad_tables", RESULTS).to_pylist()
    assert [row["method"] for row in results] == [
        "average_scale0",
        "vlad64_scale0",
        "vlad256_scale0",
    ]
    paper = store.main_table("tiny", "report_farhat_vlad_tables", PAPER).to_pylist()
    notes = {row["title"]: row["note"] for row in paper if row["ours_percent"] is None}
    assert notes == {
        f"Scale {scale} ({side} pixels)": (
            f"alexnet sees every image at 224 x 224 pixels, not at {side}"
        )
        for scale, side in ((1, 544), (2, 864))
    }


def test_a_network_of_another_size_than_the_first_scale_is_one_clear_line(
    materialise: Materialise, make_images: Any, of_fixed_size: Callable[[int], None]
) -> None:
    of_fixed_size(384)
    with pytest.raises(
        RunFailedError,
        match=r"^alexnet sees every image at 384 x 384 pixels, not at 224\. Name a network",
    ):
        materialise(make_images(classes=2, each=3), DESCRIPTORS)


def test_the_codebook_never_sees_a_test_image(materialise: Materialise, make_images: Any) -> None:
    split = make_images(classes=2, each=8, name="split/train").parent
    make_images(classes=2, each=4, name="split/test", first=50)
    materialise(split, [*DESCRIPTORS, *VLAD64])
    before, rows = version("vlad64_codebook_scale0"), version("vlad64_descriptors_scale0")
    for path in (split / "test").rglob("*.png"):
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    materialise(split, [*DESCRIPTORS, *VLAD64])
    assert version("vlad64_descriptors_scale0") != rows
    assert version("vlad64_codebook_scale0") == before
    path = next((split / "train").rglob("*.png"))
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    materialise(split, [*DESCRIPTORS, *VLAD64])
    assert version("vlad64_codebook_scale0") != before


def test_where_only_drops_bring_labels_the_codebook_is_fitted_on_them(
    home: Path, make_images: Any
) -> None:
    unlabelled = make_images(classes=1, each=3, name="first") / "class0"
    drop = make_images(classes=2, each=5, name="drops/tiny/monday/train", first=100).parent
    make_images(classes=2, each=2, name="drops/tiny/monday/test", first=200)
    (drop / "_READY").touch()
    shutil.move(drop.parent.parent, home / "drops")
    given = {"unlabelled": True, "new_labels": "given"}

    def run(**settings: Any) -> dg.ExecuteInProcessResult:
        return run_job(
            unlabelled, FARHAT_VLAD.name, {**TINY, **settings}, [*DESCRIPTORS, *VLAD64], **given
        )

    with pytest.raises(
        RunFailedError, match=r"^(?!UNPLANNED).* 0 images to fit the codebook on.*set fit_on"
    ):
        run()
    run(fit_on="train+drops")
    assert DatasetStore().need_record("tiny", VLAD64[0]).summary["training images"] == 10


def test_principal_components_take_the_place_of_the_rows(
    materialise: Materialise, make_images: Any
) -> None:
    root = make_images(classes=2, each=10)
    evaluation = "svm_evaluation_vlad64_scale0"
    materialise(root, [*DESCRIPTORS, *VLAD64, evaluation])
    plain = version(evaluation)
    assert computed(materialise(root, [evaluation], pca_components=2, pca_whiten=True)) == {
        evaluation
    }
    assert version(evaluation) != plain
    settings = DatasetStore().need_record("tiny", evaluation).settings
    assert (settings["pca_components"], settings["pca_whiten"]) == (2, True)
    with pytest.raises(RunFailedError, match=r"^(?!UNPLANNED).*500 principal components"):
        materialise(root, [evaluation], pca_components=500)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"backbone": "vgg19", "layer": "block5_pool", "backbone_weights": "auto"},
            "no vgg19 weights were found",
        ),
        ({"backbone": "squeezenet1_1", "layer": "classifier"}, "not local descriptors"),
        ({"layer": "conv9"}, "conv9"),
        ({"descriptor_sample": 10}, "64 clusters need at least as many descriptors"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(
    materialise: Materialise, make_images: Any, settings: dict[str, Any], said: str
) -> None:
    root = make_images(classes=2, each=5)
    with pytest.raises(RunFailedError, match=f"^(?!UNPLANNED).*{said}"):
        materialise(root, [*DESCRIPTORS, *VLAD64], **settings)
