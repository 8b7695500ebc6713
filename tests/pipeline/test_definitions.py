from __future__ import annotations

import subprocess
import sys

import dagster as dg
import yaml

from pipeline.definitions import ASSETS, build_defs
from resources.home import PROJECT_ROOT

CONTRACT = "contract"
GRAPH = {
    "image_manifest": set(),
    "prepared_images": {"image_manifest"},
    "alexnet_conv5": {"prepared_images"},
    "cae_model": {"image_manifest", "alexnet_conv5"},
    "random_cae_model": {"image_manifest", "alexnet_conv5"},
    "cae_features": {"alexnet_conv5", "cae_model"},
    "random_cae_features": {"alexnet_conv5", "random_cae_model"},
    "svm_evaluation_conv5": {"image_manifest", "alexnet_conv5"},
    "svm_evaluation_random_cae": {"image_manifest", "random_cae_features"},
    "svm_evaluation_cae": {"image_manifest", "cae_features"},
    "method_comparison_ahn2019": {"svm_evaluation_conv5", "svm_evaluation_random_cae", "svm_evaluation_cae"},
    "report_ahn2019": {
        "image_manifest",
        "near_duplicates",
        "method_comparison_ahn2019",
        "svm_evaluation_conv5",
        "svm_evaluation_random_cae",
        "svm_evaluation_cae",
    },
    "near_duplicates": {"image_manifest", "prepared_images", "alexnet_conv5"},
    "classifier": {"image_manifest", "cae_features"},
    "predictions": {"image_manifest", "prepared_images", "cae_features", "classifier"},
    "summary_report": {"report_ahn2019"},
}


def test_the_graph_is_the_one_that_was_reviewed() -> None:
    found = {a.key.path[-1]: {key.path[-1] for key in a.asset_deps[a.key]} for a in ASSETS}
    assert found == GRAPH


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
    blocking = {(spec.asset_key.path[-1], spec.name): spec.blocking for spec in specs if spec.name != CONTRACT}
    assert blocking == {
        ("image_manifest", "no_image_in_two_splits"): True,
        ("image_manifest", "no_group_in_two_splits"): True,
        ("near_duplicates", "no_near_duplicates_in_two_splits"): False,
    }


def test_loading_imports_no_torch() -> None:
    code = "import sys, pipeline.definitions; print({'torch', 'matplotlib', 'sklearn'} & set(sys.modules))"
    out = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT_ROOT
    )
    assert out.stdout.strip() == "set()"


def test_the_help_needs_neither_dagster_nor_torch() -> None:
    code = "import sys, pipeline.cli; print({'torch', 'dagster', 'h5py', 'pandas'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT_ROOT)
    assert out.stdout.strip() == "set()"


def test_one_name_for_the_code_location() -> None:
    import tomllib

    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())
    workspace = yaml.safe_load((PROJECT_ROOT / "workspace.yaml").read_text())
    location = workspace["load_from"][0]["python_module"]
    assert project["tool"]["dg"]["project"]["code_location_name"] == location["location_name"]
    assert project["tool"]["dg"]["project"]["code_location_target_module"] == location["module_name"]
    assert "dagster" not in project["tool"]
