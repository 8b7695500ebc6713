"""Dagster's history in a real PostgreSQL: shared by hosts, away, forgotten, and without secrets."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import text

from data_contracts.errors import InputError
from data_contracts.records.dataset import DatasetSpec
from pipeline.care import doctor, postgres
from pipeline.care.forgetting import forget_dataset
from pipeline.dagster_internals import postgres_tables
from pipeline.instance import home_instance, prepare_instance
from pipeline.launch import DONE, progress_shown, run_job
from pipeline.orphans import orphaned_runs
from resources.host import Host
from resources.run_owner import BOOT, HOST, PROCESS, claim_run, command_tags
from resources.store.dataset_store import DatasetStore
from resources.store.home import DAGSTER_YAML
from tests.conftest import use_home
from tests.pipeline.care.postgres_server import PASSWORD, PROGRAMS, Server, running_server

pytestmark = pytest.mark.skipif(
    PROGRAMS is None, reason="there is no PostgreSQL server on this machine (initdb, pg_ctl)"
)

STARTED = dg.DagsterRunStatus.STARTED


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as started:
        yield started


def settings(address: str) -> str:
    """Text of a dagster.yaml whose storage is PostgreSQL."""
    before, _, _ = DAGSTER_YAML.partition("storage:\n")
    return before + f"storage: {{postgres: {{postgres_url: '{address}'}}}}\n"


@pytest.fixture
def host(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """``host("a")`` -> home of a host: from now on this process is on it."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)

    def be(name: str) -> Path:
        from resources.store.home import prepare_home

        use_home(monkeypatch, tmp_path, tmp_path / name)
        home = tmp_path / name
        (home / "dagster").mkdir(parents=True, exist_ok=True)
        (home / "dagster" / "dagster.yaml").write_text(settings(server.address))
        monkeypatch.setattr("resources.run_owner.this_host", lambda: Host(name, "boot pid:[1]"))
        return prepare_home()

    return be


def findings(state: str) -> list[str]:
    return [one.text for one in doctor.examine(fix=False) if one.state == state]


def test_a_host_leaves_the_runs_of_another_alone(host: Callable[[str], Path]) -> None:
    host("a")
    with home_instance() as instance:
        run = dg.DagsterRun(job_name="ahn2019", status=STARTED, tags=command_tags())
        claimed = dg.DagsterRun(job_name="ahn2019", status=STARTED)
        for one in (run, claimed):
            instance.add_run(one)
        claim_run(instance, claimed.run_id)
        gone = {PROCESS: f"{2**30} 1 {claimed.run_id}"}
        instance.add_run_tags(claimed.run_id, gone)
    host("b")
    list(doctor.examine(fix=True))
    with home_instance() as instance:
        prepare_instance(instance, DatasetStore())
        assert {instance.get_run_by_id(one.run_id).status for one in (run, claimed)} == {STARTED}
        tags = instance.get_run_by_id(claimed.run_id).tags
        assert (tags[HOST], tags[BOOT]) == ("a", "boot pid:[1]"), "b sees whose it is"
    host("a")
    with home_instance() as instance:
        assert [one.run_id for one in orphaned_runs(instance)] == [claimed.run_id]
        prepare_instance(instance, DatasetStore())
        assert instance.get_run_by_id(run.run_id).status is STARTED
        for one in (run, claimed):
            instance.delete_run(one.run_id)


def test_the_doctor_looks_at_the_database_that_is_configured(
    host: Callable[[str], Path], server: Server
) -> None:
    home = host("a")
    told = findings("ok")
    assert any(
        line.startswith("Dagster's history is in PostgreSQL ")
        and line.endswith(f"database postgres at 127.0.0.1:{server.port}")
        for line in told
    )
    assert not any("SQLite" in line for line in told)
    assert any(line.startswith("Dagster's history: 0 runs, 0.") for line in told)
    (home / "dagster" / "history").mkdir()
    (home / "dagster" / "history" / "runs.db").touch()
    assert any(line.startswith("1 SQLite databases lie in") for line in findings("warning"))
    with_password = server.address.replace("medfeat@", f"medfeat:{PASSWORD}@")
    (home / "dagster" / "dagster.yaml").write_text(settings(with_password))
    told = findings("problem")
    assert any("holds the password of PostgreSQL, which" in line for line in told)
    assert not any(PASSWORD in line for line in told)


def remembered(instance: dg.DagsterInstance, dataset: str) -> None:
    """Let Dagster have a run of a dataset with an output of it."""
    run = instance.add_run(
        dg.DagsterRun(
            job_name="ahn2019",
            status=dg.DagsterRunStatus.SUCCESS,
            tags={"dagster/partition": dataset},
        )
    )
    made = dg.AssetMaterialization("image_manifest", f"{dataset} " * 50, partition=dataset)
    for _ in range(20):
        instance.report_dagster_event(
            dg.DagsterEvent(
                dg.DagsterEventType.ASSET_MATERIALIZATION.value,
                "ahn2019",
                event_specific_data=dg._core.events.StepMaterializationData(made, []),
            ),
            run_id=run.run_id,
        )


def test_what_is_forgotten_is_in_no_table_file(
    host: Callable[[str], Path], server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host("a")

    def files_that_name(dataset: str) -> list[str]:
        with home_instance() as instance, postgres_tables(instance) as (connection, _):
            connection.execute(text("CHECKPOINT"))
        files = (server.folder / "base").rglob("*")
        return [path.name for path in files if path.is_file() and dataset in str(path.read_bytes())]

    with home_instance() as instance:
        for dataset in ("wardofmine", "stays"):
            DatasetStore().save_spec(DatasetSpec(name=dataset, root=tmp_path))
            instance.add_dynamic_partitions("dataset", [dataset])
            remembered(instance, dataset)
    with home_instance() as instance, postgres_tables(instance) as (connection, _):
        connection.execute(text("ANALYZE"))  # as PostgreSQL does by itself, sooner or later
    assert len(files_that_name("wardofmine")) > 3
    monkeypatch.setattr(postgres, "LOCK_SECONDS", 1)
    with home_instance() as reader, postgres_tables(reader) as (connection, _):
        connection.execute(text("BEGIN"))
        connection.execute(text("SELECT count(*) FROM runs"))
        with pytest.raises(InputError, match=r"PostgreSQL is in use.*then forget again"):
            list(forget_dataset("wardofmine"))
        connection.execute(text("COMMIT"))
    done, remains = forget_dataset("wardofmine")
    assert (done.split(".")[0], remains) == ("wardofmine is forgotten", postgres.REMAINS)
    assert files_that_name("wardofmine") == []
    assert files_that_name("stays")
    list(forget_dataset("stays"))
    assert files_that_name("stays") == [], "tables that are empty now have statistics no more"


def test_a_run_has_no_password_anywhere_and_a_database_that_is_down_is_one_line(
    host: Callable[[str], Path],
    server: Server,
    make_images: Any,
    capfd: pytest.CaptureFixture[str],
) -> None:
    home = host("a")
    DatasetStore().save_spec(DatasetSpec(name="tiny", root=make_images(classes=2, each=2)))
    with progress_shown():
        assert run_job("ahn2019", "tiny", {}, only={"image_manifest"}).exit_code == DONE
    told = "".join(capfd.readouterr())
    assert "image_manifest: computed" in told
    with home_instance() as instance, postgres_tables(instance) as (connection, _):
        (found,) = instance.get_runs(dg.RunsFilter(job_name="ahn2019"))
        assert found.is_success
        assert found.tags[PROCESS].endswith(found.run_id)
        connection.execute(text("CHECKPOINT"))
    places = [*home.rglob("*"), *(server.folder / "base").rglob("*"), server.folder / "log"]
    read = [path.read_bytes() for path in places if path.is_file()]
    assert not any(PASSWORD.encode() in content for content in read)
    server.stop()
    try:
        command = [sys.executable, "-c", "from pipeline.cli import main; main()", "status"]
        down = subprocess.run(command, capture_output=True, text=True)
    finally:
        server.start()
    assert (down.returncode, down.stdout) == (2, "")
    waits, error = down.stderr.splitlines()
    assert waits == "Dagster's database does not answer; trying again for some seconds"
    assert error.startswith("error: Dagster's database in PostgreSQL cannot be used (connection to")
    assert PASSWORD not in down.stderr + told


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("postgresql://x@127.0.0.1/x", r"Begin it with postgresql\+psycopg2://"),
        ("{env: MEDFEAT_NOT_SET}", "MEDFEAT_NOT_SET"),
    ],
)
def test_an_address_that_cannot_be_used_is_one_line(
    host: Callable[[str], Path], address: str, reason: str
) -> None:
    yaml = host("a") / "dagster" / "dagster.yaml"
    yaml.write_text(settings(address).replace("'{", "{").replace("}'", "}"))
    with pytest.raises(InputError, match=reason), home_instance():
        pass


def test_a_package_that_is_missing_is_one_line(
    host: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    host("a")
    monkeypatch.setattr("pipeline.instance.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install 'medfeat\[postgres\]'"), home_instance():
        pass
