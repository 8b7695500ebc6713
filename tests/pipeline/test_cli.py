"""The command line as a person meets it: exit codes, one clear line for each mistake, nothing
half-written."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file
from typer import Exit
from typer.testing import CliRunner

from data_contracts.records.dataset import DatasetSpec
from methods.features.frozen_network import random_alexnet
from pipeline.cli import app, one_set_each
from resources.store.dataset_store import DatasetStore
from tests.forked_command import forked_command

TINY = [
    "--set=filters=8",
    "--set=epochs=2",
    "--set=batch_size=8",
    "--set=label_repeats=2",
    "--set=bootstrap_resamples=100",
]
Medfeat = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def medfeat(home: Path) -> Medfeat:
    def call(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return forked_command(list(words), **environment)

    return call


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    """The only line on stderr of a command that refused its input."""
    assert result.returncode == 2, result.stdout + result.stderr
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.stderr
    return lines[0]


def stored(home: Path) -> list[str]:
    """Every stored file, but what decoding found: it is known by content and matters to nothing."""
    return sorted(str(p.relative_to(home)) for p in (home / "datasets").rglob("*")) + sorted(
        str(p.relative_to(home))
        for p in (home / "store").rglob("*")
        if p.is_file() and p.suffix != ".outcomes"
    )


def picture(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (32, 32), dtype=np.uint8)).save(
        path
    )


def empty(root: Path) -> None:
    root.mkdir()


def one_class(root: Path) -> None:
    for i in range(4):
        picture(root / "a" / f"{i}.png", i)


def lonely(root: Path) -> None:
    for i in range(4):
        picture(root / "a" / f"{i}.png", i)
    picture(root / "b" / "x.png", 9)


def no_label(root: Path) -> None:
    for i in range(8):
        picture(root / "ab"[i % 2] / f"{i}.png", i)
    picture(root / "stray.png", 99)


def shared_image(root: Path) -> None:
    for i in range(8):
        picture(root / ("train", "test")[i // 4] / "ab"[i % 2] / f"{i}.png", i)
    picture(root / "test" / "a" / "again.png", 0)


def nothing_valid(root: Path) -> None:
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        (root / name / "x.png").write_bytes(b"not a picture")


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (empty, ["is empty", "Give the folder"]),
        (one_class, ["one class"]),
        (lonely, ["b"]),
        (no_label, ["1 of 9 images", "--unlabelled"]),
        (shared_image, ["have the same bytes", "--split stratified"]),
        (nothing_valid, ["2"]),
    ],
)
def test_a_folder_that_cannot_be_used(
    medfeat: Medfeat, home: Path, tmp_path: Path, build: Callable[[Path], None], words: list[str]
) -> None:
    build(tmp_path / "folder")
    line = one_line(medfeat("add", "mine", str(tmp_path / "folder")))
    assert line.startswith("error: ")
    for word in words:
        assert word in line, line
    assert stored(home) == []


def test_the_file_that_a_message_means_can_be_found(
    medfeat: Medfeat, home: Path, tmp_path: Path
) -> None:
    no_label(tmp_path / "folder")
    line = one_line(medfeat("add", "mine", str(tmp_path / "folder")))
    assert "stray" not in line
    name = re.search(r"first: (\S+)\)", line)
    assert name is not None
    assert f"medfeat find mine PSEUDONYM --folder {tmp_path / 'folder'}" in line
    found = medfeat("find", "mine", name[1], "--folder", str(tmp_path / "folder"))
    assert found.stdout.splitlines() == [str(tmp_path / "folder" / "stray.png")]
    assert "stray.png" in one_line(medfeat("add", "mine", str(tmp_path / "folder"), "--show-names"))
    assert "no file of mine is called" in one_line(
        medfeat("find", "mine", "0" * 16, "--folder", str(tmp_path / "folder"))
    )


@pytest.mark.parametrize("name", ["Upper", "a/b", "a,b", "-a", "", "x" * 64, "a\nb"])
def test_a_name_that_is_not_allowed(
    medfeat: Medfeat, home: Path, make_images: Any, name: str
) -> None:
    line = one_line(medfeat("add", "--", name, str(make_images())))
    assert "is not allowed" in line
    assert "Use 1 to 63 of" in line
    assert stored(home) == []


def test_a_folder_that_is_not_there(medfeat: Medfeat, tmp_path: Path) -> None:
    assert str(tmp_path / "gone") in one_line(medfeat("add", "mine", str(tmp_path / "gone")))


def test_weights_missing_and_of_another_network(
    medfeat: Medfeat, home: Path, make_images: Any, tmp_path: Path
) -> None:
    assert medfeat("add", "mine", str(make_images(classes=2))).returncode == 0
    assert "no AlexNet weights were found" in one_line(medfeat("run", "mine", *TINY)).replace(
        "\n", " "
    )
    tensors = random_alexnet()
    tensors.pop("features.10.bias")
    save_file(tensors, tmp_path / "wrong.safetensors")
    line = one_line(medfeat("run", "mine", *TINY, "--weights", str(tmp_path / "wrong.safetensors")))
    assert "tensor features.10.bias is missing" in line
    begun = {name for name in stored(home) if "/store/mine/" in f"/{name}"}
    assert not [name for name in begun if "images" in name or "conv5" in name], (
        "it fails before the first stage"
    )


def test_a_store_that_cannot_be_written(medfeat: Medfeat, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    line = one_line(medfeat("doctor", MEDFEAT_HOME=str(tmp_path / "file" / "home")))
    assert "MEDFEAT_HOME is " in line
    assert f"{tmp_path / 'file'} is a file. Set it to a folder that this user may write to" in line


def test_a_run_with_verify_forgets_what_was_checked(
    home: Path, make_images: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    DatasetStore().save_spec(DatasetSpec(name="mine", root=make_images(classes=2)))
    checked = home / "store" / "mine" / "prepared_images" / "0123456789abcdef.checked"
    checked.parent.mkdir(parents=True)
    checked.write_text("{}")
    ran: list[str] = []
    monkeypatch.setattr("pipeline.cli._run_study", lambda name, *_: ran.append(name) or Exit(0))
    for words, is_kept in (([], True), (["--verify"], False)):
        assert CliRunner().invoke(app, ["run", "mine", *words]).exit_code == 0
        assert checked.exists() == is_kept
    assert ran == ["mine", "mine"]


def test_mistakes_in_words(medfeat: Medfeat, make_images: Any) -> None:
    assert "medfeat add nobody FOLDER" in one_line(medfeat("run", "nobody"))
    medfeat("add", "mine", str(make_images(classes=2)))
    assert "has no results yet" in one_line(medfeat("results", "mine"))
    assert "has no report yet" in one_line(medfeat("report", "mine"))
    assert "there is no setting 'filtres'" in one_line(medfeat("run", "mine", "--set", "filtres=3"))
    assert "not of the form key=value" in one_line(medfeat("run", "mine", "--set", "filters"))
    assert "there is no study 'nope'" in one_line(medfeat("run", "mine", "--study", "nope"))
    assert "filters is many. It should be a valid integer" in one_line(
        medfeat("run", "mine", "--set", "filters=many")
    )
    assert "wrong kind" in one_line(medfeat("run", "mine", "--set", "filters=3.0"))
    assert "filters is 0. It should be greater than 0" in one_line(
        medfeat("run", "mine", "--set", "filters=0")
    )
    assert "no dataset is named" in one_line(medfeat("backfill"))


def test_a_study_for_other_labels_is_refused_before_anything_is_computed(
    medfeat: Medfeat, home: Path, make_images: Any
) -> None:
    folder = str(make_images(classes=2))
    assert medfeat("add", "one", folder).returncode == 0
    assert medfeat("add", "several", folder, "--multi-label").returncode == 0
    before = stored(home)
    assert "several has several labels an image" in one_line(
        medfeat("run", "several", "--study", "farhat_vlad")
    )
    assert "one has one label an image, and lyndon2015 wants several" in one_line(
        medfeat("run", "one", "--study", "lyndon2015")
    )
    assert stored(home) == before
    assert "no setting 'label_repeats' in this study" in one_line(
        medfeat("run", "several", "--set", "label_repeats=1")
    ), "the usual study is another one"


def test_three_commands_and_a_backfill(medfeat: Medfeat, home: Path, make_images: Any) -> None:
    good = make_images(classes=3, each=8, name="good")
    bad = make_images(classes=2, each=8, name="bad")
    added = medfeat("add", "good", str(good))
    assert "good: 24 images of 3 classes (18 train, 6 test)" in added.stdout
    assert medfeat("add", "bad", str(bad)).returncode == 0
    for path in bad.rglob("*.png"):
        path.write_bytes(b"gone")
    filled = medfeat("backfill", "--all", "--weights", "random", *TINY)
    assert filled.returncode == 1, "one of the two failed"
    assert "good: done" in filled.stdout
    assert filled.stderr.startswith("bad: ")
    assert "Traceback" not in filled.stderr

    shown = medfeat("results", "good")
    assert "RANDOM WEIGHTS" in shown.stdout
    rows = json.loads(medfeat("results", "good", "--json").stdout)
    baselines = {"majority", "conv5", "conv5_max", "conv5_mean"}
    over_seeds = {"raw", "trained_filters", "random_filters"}
    assert {row["method"] for row in rows} == baselines | over_seeds | {"random_cae", "cae"}
    page = Path(medfeat("report", "good", "--no-open").stdout.strip())
    assert page == home / "reports" / "good" / "ahn2019" / "report.html"
    assert (home / "reports" / "summary" / "report.html").is_file()
    nothing_new = medfeat("backfill", "--all", "--only-stale")
    assert "good: nothing to do" in nothing_new.stdout
    assert (nothing_new.returncode, nothing_new.stderr.startswith("bad: ")) == (1, True), (
        "the bad one is tried again"
    )
    predicted = medfeat("predict", "good")
    assert predicted.returncode == 0, predicted.stderr
    assert "0 images predicted" in predicted.stdout
    assert str(home / "reports" / "good" / "predictions.csv") in predicted.stdout
    assert predicted.stdout.count("up to date") == 7, "with the settings of the last run"
    again = medfeat("run", "good", "--weights", "random", *TINY)
    assert again.returncode == 0
    assert (again.stdout.count("up to date"), again.stdout.count("skipped: ")) == (21, 1)
    last = again.stdout.splitlines()
    assert last[-1] == f"report: {page}"
    assert any("Zero-bias CAE + SVM" in line and "accuracy" in line for line in last), last
    assert any(line.startswith("On this data the auto-encoder (CAE)") for line in last), last
    assert any("on the page: " in line and "RANDOM WEIGHTS" in line for line in last), last

    # a trial stands beside the promoted run, which what is told nothing else repeats
    trial = medfeat("run", "good", "--set", "filters=5")
    assert trial.returncode == 0, trial.stderr
    assert "good: with the settings of the promoted run" in trial.stdout
    runs = [line for line in medfeat("results", "good").stdout.splitlines() if "ahn2019  " in line]
    assert ["promoted" in line for line in runs] == [True, False], runs
    assert "[filters=5]" in runs[1], runs
    first, second = (line.split()[0] for line in runs)
    assert len(list(page.parent.glob("runs/*/report.html"))) == 2, "no page is overwritten"
    compared = medfeat("compare", "good").stdout
    assert "filters  8         5" in compared, compared
    assert f"{second} minus {first}: " in compared, compared
    planned = medfeat("backfill", "good", "--dry-run")
    assert f"promoted run {first}" in planned.stdout
    assert "good: would run" in planned.stdout
    assert medfeat("promote", "good", second).returncode == 0
    outcomes = json.loads(medfeat("backfill", "good", "--json").stdout)
    assert [(one["dataset"], one["outcome"]) for one in outcomes] == [("good", "done")]
    assert (
        json.loads((home / "store/good/cae_model/current.json").read_text())["settings"]["filters"]
        == 5
    )


def test_the_demonstration(medfeat: Medfeat, home: Path) -> None:
    shown = medfeat("demo", *TINY)
    assert shown.returncode == 0, shown.stderr
    assert "named AlexNet have RANDOM WEIGHTS" in shown.stdout
    assert "works on the installed EfficientNet-Lite0" in shown.stdout
    assert "these figures mean nothing" not in shown.stdout, "no random network is compared"
    page = (home / "reports" / "demo" / "ahn2019" / "report.html").read_text()
    assert "<strong>Synthetic images</strong>" in page
    assert "<strong>Random weights</strong>" in page


def test_the_doctor_finds_and_releases_an_orphaned_run(medfeat: Medfeat, home: Path) -> None:
    import dagster as dg

    from resources.run_owner import STARTED_HERE, command_tags

    with dg.DagsterInstance.get() as instance:
        tags = {**command_tags(), STARTED_HERE: "1073741824"}
        run = instance.add_run(
            dg.DagsterRun(job_name="ahn2019", status=dg.DagsterRunStatus.STARTED, tags=tags)
        )
    found = medfeat("doctor")
    assert found.returncode == 1
    assert f"run {run.run_id[:8]} is STARTED but its process is gone" in found.stdout
    assert "is now marked failed" in medfeat("doctor", "--fix").stdout
    with dg.DagsterInstance.get() as instance:
        assert instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.FAILURE
    assert "no orphaned runs" in medfeat("doctor").stdout


def test_several_settings_may_follow_one_set() -> None:
    words = [
        "run",
        "chest",
        "--set",
        "backbone=resnet50",
        "layer=layer4",
        "--weights",
        "random",
        "a=b",
    ]
    assert one_set_each(words) == [
        "run",
        "chest",
        "--set",
        "backbone=resnet50",
        "--set",
        "layer=layer4",
        "--weights",
        "random",
        "a=b",
    ]
    assert one_set_each(["--set", "a=1", "chest", "b=2"]) == ["--set", "a=1", "chest", "b=2"]
    assert one_set_each([]) == []
