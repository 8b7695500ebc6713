from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import yaml

from pipeline.definitions import build_defs
from pipeline.graph import ASSETS
from resources.store.dataset_store import DatasetStore
from resources.store.home import PROJECT_ROOT

CONTRACT = "contract"
IMAGES = {"image_manifest", "prepared_images"}
OWN = {"conv5", "backbone", "random_cae", "cae"}
"""Methods of the study's own job."""
SCORED = {
    "sparse_coding": {"sparse_coding_features"},
    "ica": {"ica_features"},
    "ssae": {"ssae_features"},
    "googlenet": {"googlenet_pool5"},
    "fc7": {"alexnet_fc7"},
    "conv5": {"alexnet_conv5"},
    "backbone": {"backbone_features"},
    "fine_tuned_alexnet": {"fine_tuned_alexnet_features"},
    "fine_tuned_googlenet": {"fine_tuned_googlenet_features"},
    "fine_tuned_resnet50": {"fine_tuned_resnet50_features"},
    "random_cae": {"random_cae_features"},
    "cae": {"cae_features"},
}
ENSEMBLES = {
    "alexnet_googlenet": ("alexnet", "googlenet"),
    "googlenet_resnet50": ("googlenet", "resnet50"),
}
EVALUATIONS = {
    f"svm_evaluation_{name}": {"image_manifest", *features} for name, features in SCORED.items()
} | {
    f"ensemble_evaluation_{name}": {
        "image_manifest",
        *(f"fine_tuned_{member}{part}" for member in members for part in ("", "_features")),
    }
    for name, members in ENSEMBLES.items()
}
SCALES = (0, 1, 2)
VLAD = {f"vlad{clusters}_{{}}scale{scale}": scale for scale in SCALES for clusters in (64, 256)}
FARHAT_ROWS = {
    f"average_scale{scale}": {f"average_descriptors_scale{scale}"} for scale in SCALES
} | {name.format(""): {name.format("descriptors_")} for name in VLAD}
FARHAT_EVALUATIONS = {
    f"svm_evaluation_{name}": {"image_manifest", *features}
    for name, features in FARHAT_ROWS.items()
}
FARHAT_OWN = {name for name in FARHAT_EVALUATIONS if name.endswith("scale0")}
FARHAT = {
    **{f"local_descriptors_scale{scale}": {"image_manifest"} for scale in SCALES},
    **{
        f"average_descriptors_scale{scale}": {"image_manifest", f"local_descriptors_scale{scale}"}
        for scale in SCALES
    },
    **{
        name.format("codebook_"): {*IMAGES, f"local_descriptors_scale{scale}"}
        for name, scale in VLAD.items()
    },
    **{
        name.format("descriptors_"): {
            "image_manifest",
            f"local_descriptors_scale{scale}",
            name.format("codebook_"),
        }
        for name, scale in VLAD.items()
    },
    **FARHAT_EVALUATIONS,
    "method_comparison_farhat_vlad": FARHAT_OWN,
    "method_comparison_farhat_vlad_tables": set(FARHAT_EVALUATIONS),
    "report_farhat_vlad": {
        "image_manifest",
        "near_duplicates",
        "method_comparison_farhat_vlad",
        *FARHAT_OWN,
    },
    "report_farhat_vlad_tables": {
        "image_manifest",
        "near_duplicates",
        "method_comparison_farhat_vlad_tables",
        *FARHAT_EVALUATIONS,
    },
}
LAYERS = (
    "conv1",
    "pool1",
    "conv2",
    "pool2",
    "conv3",
    "conv4",
    "conv5",
    "pool5",
    "fc6",
    "fc7",
    "fc8",
)
CROSS_VALIDATED = {f"cv_evaluation_{layer}" for layer in LAYERS} | {"cv_evaluation_analytic"}
HUYNH = {
    "alexnet_layers": {"image_manifest"},
    "lesion_segmentation": {"image_manifest"},
    "analytic_features": {"image_manifest", "lesion_segmentation"},
    **{f"cv_evaluation_{layer}": {"image_manifest", "alexnet_layers"} for layer in LAYERS},
    "cv_evaluation_analytic": {"image_manifest", "lesion_segmentation", "analytic_features"},
    "ensemble_evaluation": CROSS_VALIDATED,
    "label_permutation": {
        "image_manifest",
        "alexnet_layers",
        "lesion_segmentation",
        "analytic_features",
    },
    "roc_comparison": {*CROSS_VALIDATED, "ensemble_evaluation"},
    "report_huynh2016": {"image_manifest", "roc_comparison", "label_permutation"},
}
NETWORKS = {"lenet": "lenet_one_vs_all", "lenet_modern": "lenet_modern"}
LYNDON = {
    "square_images": {"image_manifest"},
    **{model: {"image_manifest", "square_images"} for model in NETWORKS.values()},
    **{
        f"multilabel_evaluation_{name}": {"image_manifest", "square_images", model}
        for name, model in NETWORKS.items()
    },
    "multilabel_evaluation_conv5": {"image_manifest", "alexnet_conv5"},
    "multilabel_evaluation_cae": {"image_manifest", "cae_features"},
    "report_lyndon2015": {
        "image_manifest",
        *(f"multilabel_evaluation_{name}" for name in ("lenet", "lenet_modern", "conv5", "cae")),
    },
}
GRAPH = {
    "image_manifest": set(),
    "prepared_images": {"image_manifest"},
    "alexnet_conv5": {"prepared_images"},
    "backbone_features": {"prepared_images", "alexnet_conv5"},
    "alexnet_fc7": IMAGES,
    "googlenet_pool5": IMAGES,
    **{f"{name}_model": IMAGES for name in ("sparse_coding", "ica", "ssae")},
    **{f"{name}_features": {*IMAGES, f"{name}_model"} for name in ("sparse_coding", "ica", "ssae")},
    **{f"fine_tuned_{name}": IMAGES for name in ("alexnet", "googlenet", "resnet50")},
    **{
        f"fine_tuned_{name}_features": {*IMAGES, f"fine_tuned_{name}"}
        for name in ("alexnet", "googlenet", "resnet50")
    },
    "cae_model": {"image_manifest", "backbone_features"},
    "random_cae_model": {"image_manifest", "backbone_features"},
    "cae_features": {"backbone_features", "cae_model"},
    "random_cae_features": {"backbone_features", "random_cae_model"},
    **EVALUATIONS,
    "method_comparison_ahn2019": {f"svm_evaluation_{name}" for name in OWN},
    "method_comparison_ahn2019_tables": set(EVALUATIONS),
    "filter_size_study": {"image_manifest", "backbone_features"},
    "label_efficiency": {*IMAGES, "backbone_features", "cae_features"},
    "report_ahn2019": {
        "image_manifest",
        "near_duplicates",
        "method_comparison_ahn2019",
        *(f"svm_evaluation_{name}" for name in OWN),
    },
    "report_ahn2019_tables": {
        "image_manifest",
        "near_duplicates",
        "method_comparison_ahn2019_tables",
        "filter_size_study",
        "label_efficiency",
        *EVALUATIONS,
    },
    "near_duplicates": {"image_manifest", "prepared_images", "alexnet_conv5"},
    "classifier": {"image_manifest", "cae_features"},
    "predictions": {"image_manifest", "prepared_images", "cae_features", "classifier"},
    "summary_report": {
        "report_ahn2019",
        "report_farhat_vlad",
        "report_huynh2016",
        "report_lyndon2015",
    },
    **FARHAT,
    **HUYNH,
    **LYNDON,
}


def test_the_graph_is_the_one_that_was_reviewed() -> None:
    found = {a.key.path[-1]: {key.path[-1] for key in a.asset_deps[a.key]} for a in ASSETS}
    assert found == GRAPH


def test_a_drop_starts_the_papers_own_method_and_not_every_row() -> None:
    defs = build_defs()
    own, tables = (
        {key.path[-1] for key in defs.resolve_job_def(name).asset_layer.executable_asset_keys}
        for name in ("ahn2019", "ahn2019_tables")
    )
    assert own < tables
    for job in (own, tables):
        assert all(GRAPH[name] <= job for name in job), (
            "the UI warns of an asset whose input no run has made"
        )
    assert tables == set(GRAPH) - {"summary_report", *FARHAT, *HUYNH, *LYNDON}
    assert tables - own == {
        name
        for name in tables
        if name.startswith(
            ("sparse_coding", "ica", "ssae", "fine_tuned", "ensemble", "alexnet_fc7", "googlenet")
        )
        or name in ("filter_size_study", "label_efficiency")
        or name.endswith("_tables")
        or (name.startswith("svm_evaluation_") and name.removeprefix("svm_evaluation_") not in OWN)
    }


def test_the_job_of_lesions_is_one_and_needs_nothing_of_the_others() -> None:
    defs = build_defs()
    job = {
        key.path[-1] for key in defs.resolve_job_def("huynh2016").asset_layer.executable_asset_keys
    }
    assert job == {*HUYNH, "image_manifest"}


def test_the_job_of_several_labels_takes_the_auto_encoder_along() -> None:
    defs = build_defs()
    job = {
        key.path[-1] for key in defs.resolve_job_def("lyndon2015").asset_layer.executable_asset_keys
    }
    shared = {
        "image_manifest",
        "prepared_images",
        "alexnet_conv5",
        "backbone_features",
        "cae_model",
        "cae_features",
    }
    assert job == {*LYNDON, *shared}


def test_the_job_of_vlad_is_of_the_first_scale_and_that_of_its_tables_of_all() -> None:
    defs = build_defs()
    own, tables = (
        {key.path[-1] for key in defs.resolve_job_def(name).asset_layer.executable_asset_keys}
        for name in ("farhat_vlad", "farhat_vlad_tables")
    )
    checked = {"prepared_images", "image_manifest", "alexnet_conv5", "near_duplicates"}
    assert tables == {*FARHAT, *checked}
    assert own == {*(name for name in FARHAT if name.endswith(("scale0", "_vlad"))), *checked}
    assert all(GRAPH[name] <= own for name in own), (
        "the UI warns of an asset whose input no run has made"
    )


def test_definitions_load_and_every_asset_says_what_it_is() -> None:
    defs = build_defs()
    dg.Definitions.validate_loadable(defs)
    for asset in ASSETS:
        spec = asset.specs_by_key[asset.key]
        assert spec.description, asset.key
        assert len(spec.description) > 30
        assert spec.group_name
        assert spec.kinds
        assert spec.code_version
        uses_device = {"pytorch"} <= spec.kinds
        assert (asset.op.pool == "gpu") == uses_device, asset.key


def test_every_partitioned_asset_has_a_blocking_contract_check() -> None:
    specs = [spec for check in build_defs().asset_checks or [] for spec in check.check_specs]
    contracts = {spec.asset_key.path[-1]: spec for spec in specs if spec.name == CONTRACT}
    assert set(contracts) == {a.key.path[-1] for a in ASSETS if a.partitions_def is not None}
    assert all(spec.blocking for spec in contracts.values())


def test_leakage_blocks_and_near_duplicates_warn() -> None:
    specs = [spec for check in build_defs().asset_checks or [] for spec in check.check_specs]
    blocking = {
        (spec.asset_key.path[-1], spec.name): spec.blocking
        for spec in specs
        if spec.name != CONTRACT
    }
    assert blocking == {
        ("image_manifest", "no_image_in_two_splits"): True,
        ("image_manifest", "no_group_in_two_splits"): True,
        ("near_duplicates", "no_near_duplicates_in_two_splits"): False,
    }


def test_loading_imports_no_torch() -> None:
    code = "import sys, pipeline.definitions; print({'torch', 'matplotlib', 'sklearn'} & set(sys.modules))"
    out = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=PROJECT_ROOT,
    )
    assert out.stdout.strip() == "set()"


def test_the_help_needs_neither_dagster_nor_torch() -> None:
    code = (
        "import sys, pipeline.cli; print({'torch', 'dagster', 'h5py', 'pandas'} & set(sys.modules))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT_ROOT
    )
    assert out.stdout.strip() == "set()"


def test_one_name_for_the_code_location() -> None:
    import tomllib

    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())
    workspace = yaml.safe_load((PROJECT_ROOT / "workspace.yaml").read_text())
    location = workspace["load_from"][0]["python_module"]
    assert project["tool"]["dg"]["project"]["code_location_name"] == location["location_name"]
    assert (
        project["tool"]["dg"]["project"]["code_location_target_module"] == location["module_name"]
    )
    assert "dagster" not in project["tool"]


def test_a_resource_can_be_replaced(tmp_path: Path) -> None:
    store = DatasetStore(home=str(tmp_path))
    assert build_defs({"store": store}).resources == {**build_defs().resources, "store": store}
