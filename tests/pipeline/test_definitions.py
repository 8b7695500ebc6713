from __future__ import annotations

import difflib
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import dagster as dg
import pytest
import yaml

from data_contracts.errors import InputError
from pipeline.definitions import build_defs
from pipeline.graph import ASSETS, build_graph, owned
from pipeline.jobs import JOBS, PREDICTIONS, SUMMARY
from resources.store.dataset_store import DatasetStore
from resources.store.home import PROJECT_ROOT

CONTRACT = "contract"
SNAPSHOT = Path(__file__).with_name("graph.txt")
"""The graph as it was reviewed: each asset with its inputs, and the assets of each job."""
REWRITE = ".venv/bin/python -m tests.pipeline.test_definitions"


def assets_of(job: str) -> set[str]:
    """Names of the assets that a job makes."""
    keys = build_defs().resolve_job_def(job).asset_layer.executable_asset_keys
    return {key.path[-1] for key in keys}


def inputs_of(asset: dg.AssetsDefinition) -> set[str]:
    return {key.path[-1] for key in asset.asset_deps[asset.key]}


def graph_text() -> str:
    """The graph in lines that a review can compare, sorted by name."""
    lines = []
    for asset in sorted(ASSETS, key=lambda asset: asset.key.path[-1]):
        spec = asset.specs_by_key[asset.key]
        kinds = "+".join(sorted(spec.kinds))
        lines.append(
            f"{asset.key.path[-1]}: {spec.group_name} code={spec.code_version} kinds={kinds}"
        )
        lines += [f"    from {name}" for name in sorted(inputs_of(asset))]
    for job in sorted([*JOBS, PREDICTIONS.name, SUMMARY.name]):
        names = sorted(assets_of(job))
        lines += [f"job {job}: {len(names)} assets", *(f"    makes {name}" for name in names)]
    return "\n".join(lines) + "\n"


def test_the_graph_is_the_one_that_was_reviewed() -> None:
    change = "\n".join(
        difflib.unified_diff(
            SNAPSHOT.read_text().splitlines(), graph_text().splitlines(), "reviewed", "now", n=1
        )
    )
    assert not change, f"{change}\nIf this is what you want: {REWRITE}, and review graph.txt"


def test_a_job_makes_all_that_its_assets_are_made_from() -> None:
    """Otherwise the UI warns of an asset whose input no run has made."""
    inputs = {asset.key.path[-1]: inputs_of(asset) for asset in ASSETS}
    for job in [*JOBS, PREDICTIONS.name]:
        made = assets_of(job)
        assert made
        assert all(inputs[name] <= made for name in made), job


def test_a_drop_starts_the_papers_own_method_and_not_every_row() -> None:
    own, tables = assets_of("ahn2019"), assets_of("ahn2019_tables")
    assert own < tables
    assert {"svm_evaluation_cae", "predictions", "report_ahn2019"} <= own
    for name in tables - own:
        assert name in ("filter_size_study", "label_efficiency") or name.startswith(
            (
                *("sparse_coding", "ica", "ssae", "fine_tuned", "ensemble", "alexnet_fc7"),
                *("googlenet", "svm_evaluation_", "method_comparison_", "report_"),
            )
        ), name


def test_the_jobs_of_other_studies_leave_the_auto_encoder_where_they_need_none() -> None:
    assert "cae_model" in assets_of("lyndon2015")
    assert not assets_of("huynh2016") & {"alexnet_conv5", "cae_model"}
    own, tables = assets_of("farhat_vlad"), assets_of("farhat_vlad_tables")
    assert "cae_model" not in tables
    scales = {name[-1] for name in own if "scale" in name}
    assert scales == {"0"}
    assert {name[-1] for name in tables if "_scale" in name} == {"0", "1", "2", "s"}
    assert not [name for name in own if name.endswith("all_scales")]


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
        assert ("compute" in asset.required_resource_keys) == uses_device, asset.key
        assert asset.op.pool is None, "a run that waits for a pool of Dagster cannot be stopped"


def test_owners_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    def owners() -> set[tuple[str, ...]]:
        graph = build_graph().resolve_asset_graph()
        return {tuple(graph.get(asset.key).owners) for asset in ASSETS}

    monkeypatch.delenv("MEDFEAT_OWNERS", raising=False)
    assert owners() == {()}
    monkeypatch.setenv("MEDFEAT_OWNERS", "ops@example.org, team:radiology")
    assert owners() == {("ops@example.org", "team:radiology")}
    changed = {asset.key for asset in ASSETS if owned([asset])[0].op is not asset.op}
    assert not changed, "what an asset computes stays"
    for wrong in ("ops", "team:", "ops@example.org;team:a"):
        monkeypatch.setenv("MEDFEAT_OWNERS", wrong)
        with pytest.raises(InputError, match="MEDFEAT_OWNERS"):
            build_graph()


def test_no_asset_is_late_on_a_quiet_night() -> None:
    """Nothing is materialised where nothing has arrived, so no freshness policy would be true."""
    assert all(spec.freshness_policy is None for a in ASSETS for spec in a.specs)


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


def test_loading_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'matplotlib', 'sklearn', 'sqlalchemy'}"
    code = f"import sys, pipeline.definitions; print({heavy} & set(sys.modules))"
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
    packaged = yaml.safe_load((PROJECT_ROOT / "pipeline" / "workspace.yaml").read_text())
    del location["working_directory"]  # an installed package is found from anywhere
    assert packaged == workspace


def test_a_resource_can_be_replaced(tmp_path: Path) -> None:
    store = DatasetStore(home=str(tmp_path))
    assert build_defs({"store": store}).resources == {**build_defs().resources, "store": store}


def test_the_services_start_modules_that_exist() -> None:
    units = sorted((PROJECT_ROOT / "docs" / "systemd").glob("*.service"))
    text = "".join(unit.read_text() for unit in units)
    modules = re.findall(r"python -m ([\w.]+)", text)
    assert modules == ["pipeline.web.server"]
    assert all(find_spec(module) for module in modules)


if __name__ == "__main__":
    SNAPSHOT.write_text(graph_text())
