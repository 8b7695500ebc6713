"""The command line: thin, and with every heavy import inside the command that needs it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from data_contracts.errors import InputError
from data_contracts.study import AHN2019

app = typer.Typer(
    name="medfeat",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="""From folders of medical images with few labels to features, classifiers and honest tables.

A first look: `medfeat demo`. Your own folder: `medfeat add NAME FOLDER`, then `medfeat run NAME`, then `medfeat report NAME`.
Everything runs on the Dagster instance that `medfeat ui` shows and is kept under MEDFEAT_HOME (default: .medfeat in the project).

Exit codes: 0 done, 1 a run failed, 2 the input is wrong.""",
)

Name = Annotated[str, typer.Argument(help="Dataset: 1 to 63 of a-z, 0-9, _ and -.")]
StudyName = Annotated[str, typer.Option("--study", help="Which paper's study.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting as key=value (or asset.key=value), e.g. --set filters=1024. Repeatable."),
]
WeightsOption = Annotated[
    str | None, typer.Option("--weights", help='AlexNet weights: a .safetensors or .pth file, or "random".')
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")]
Force = Annotated[bool, typer.Option("--force", help="Compute again although nothing changed.")]


def _settings(pairs: list[str] | None, weights: str | None, force: bool) -> dict[str, object]:
    from pipeline.launch import parse_settings

    settings = parse_settings(pairs or [])
    if weights is not None:
        settings["weights"] = weights if weights == "random" else str(Path(weights).expanduser().resolve())
    return {**settings, "force": True} if force else settings


def _say_where(dataset: str) -> None:
    from resources.home import medfeat_home

    print(f"report: {medfeat_home() / 'reports' / dataset / 'report.html'}")


def _run(dataset: str, study: str, settings: dict[str, object], device: str, tags: dict[str, str] | None = None) -> int:
    """Run one dataset, print how it ended in one line, give the exit code."""
    from pipeline.launch import DONE, run_study

    outcome = run_study(study, dataset, settings, device, tags)
    if outcome.exit_code == DONE:
        print(f"{dataset}: done (run {outcome.run_id[:8]})")
    else:
        print(f"{dataset}: {outcome.message} (run {outcome.run_id[:8]})", file=sys.stderr)
    return outcome.exit_code


@app.command()
def demo(
    data: Annotated[Path | None, typer.Option("--data", help="A folder of images to use instead of generated phantoms.")] = None,
    pairs: Settings = None,
    weights: WeightsOption = None,
    device: Device = "auto",
) -> None:
    """Run the main job end to end on generated phantoms (or --data FOLDER) and print where the report is."""
    from pipeline.demo import NAME, SETTINGS, register_demo, weights_or_random
    from pipeline.launch import refresh_summary, show_progress
    from resources.dataset_store import DatasetStore

    show_progress()
    settings = {**SETTINGS, **_settings(pairs, weights, force=False)}
    if "weights" not in settings:
        settings["weights"], why = weights_or_random()
        if why:
            print(f"\n*** RANDOM WEIGHTS: {why}.\n*** It goes on with an untrained AlexNet; the figures mean nothing.\n")
    register_demo(DatasetStore(), data)
    code = _run(NAME, AHN2019.name, settings, device)
    if code == 0:
        refresh_summary()
        _say_where(NAME)
    raise typer.Exit(code)


@app.command()
def add(
    name: Name,
    path: Annotated[Path, typer.Argument(help="Folder of the images: class folders, train/ and test/, or a manifest.csv.")],
    unlabelled: Annotated[bool, typer.Option("--unlabelled", help="Allow images without a label.")] = False,
    split: Annotated[
        str, typer.Option("--split", help="auto, given or stratified (ignore what is given and draw one).")
    ] = "auto",
    test_fraction: Annotated[float, typer.Option("--test-fraction", help="Share of a drawn test split.")] = 0.25,
    split_seed: Annotated[int, typer.Option("--split-seed", help="Seed of a drawn split.")] = 0,
) -> None:
    """Register a dataset: look through its folder, write its specification, add its partition."""
    from collections import Counter

    import dagster as dg
    from pydantic import ValidationError

    from data_contracts.dataset import DatasetSpec, check_dataset_name
    from pipeline.launch import prepare_instance
    from resources.dataset_store import DatasetStore
    from resources.image_folder import scan
    from resources.progress import progress

    try:
        spec = DatasetSpec.model_validate(
            {
                "name": check_dataset_name(name),
                "root": path.expanduser().resolve(),
                "unlabelled": unlabelled,
                "split": split,
                "test_fraction": test_fraction,
                "split_seed": split_seed,
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", "See medfeat add --help") from None
    rows = scan(spec, decode=False, progress=lambda items: progress(items, "reading files")).to_pylist()
    store = DatasetStore()
    store.save_spec(spec)
    with dg.DagsterInstance.get() as instance:
        prepare_instance(instance, store)
    usable = [row for row in rows if row["status"] == "ok"]
    splits = Counter(row["split"] for row in usable)
    counts = ", ".join(f"{splits[s]} {s}" for s in ("train", "test", "unlabelled") if splits[s])
    print(f"{name}: {len(usable)} images of {len({r['label'] for r in usable if r['label']})} classes ({counts})")
    for reason, number in Counter(str(row["reason"]).partition(" as ")[0] for row in rows if row["status"] != "ok").most_common():
        print(f"  left out: {number} - {reason}")
    print(f"next: medfeat run {name}")


@app.command()
def run(
    name: Name,
    study: StudyName = AHN2019.name,
    pairs: Settings = None,
    weights: WeightsOption = None,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Materialise a study for one dataset, in the foreground."""
    from pipeline.launch import refresh_summary, show_progress

    show_progress()
    code = _run(name, study, _settings(pairs, weights, force), device)
    if code == 0:
        refresh_summary()
        _say_where(name)
    raise typer.Exit(code)


@app.command()
def backfill(
    names: Annotated[list[str] | None, typer.Argument(help="Datasets.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every registered dataset.")] = False,
    study: StudyName = AHN2019.name,
    pairs: Settings = None,
    weights: WeightsOption = None,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """One run for each dataset, one after another; a failed one does not stop the others."""
    import uuid

    from pipeline.launch import refresh_summary, show_progress
    from resources.dataset_store import DatasetStore

    store = DatasetStore()
    chosen = store.datasets() if everything else list(dict.fromkeys(names or []))
    if not chosen:
        raise InputError("no dataset is named", "Name datasets, or give --all (register some with medfeat add)")
    for name in chosen:
        store.spec(name)
    show_progress()
    settings = _settings(pairs, weights, force)
    tags = {"medfeat/backfill": uuid.uuid4().hex[:8]}
    codes = [_run(name, study, settings, device, tags) for name in chosen]
    if 0 in codes:
        refresh_summary()
    raise typer.Exit(1 if any(codes) else 0)


@app.command()
def results(name: Name, as_json: Annotated[bool, typer.Option("--json", help="Tidy rows as JSON.")] = False) -> None:
    """The metrics of a dataset's evaluations."""
    from data_contracts.metrics import METRICS
    from resources.dataset_store import DatasetStore

    store = DatasetStore()
    store.spec(name)
    evaluated = [asset for asset in store.assets_of(name) if asset.startswith("svm_evaluation_")]
    if not evaluated:
        raise InputError(f"{name} has no results yet", f"Run a study first: medfeat run {name}")
    rows = [row for asset in evaluated for row in store.main_table(name, asset, ".metrics.parquet", METRICS).to_pylist()]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    notices = dict.fromkeys(n for asset in store.assets_of(name) for n in (store.need_record(name, asset).notices))
    for notice in notices:
        print(f"*** {notice}")
    print(f"{'method':<14}{'metric':<22}{'of':<24}{'value':>8}{'95 % interval':>20}{'n':>8}")
    for row in rows:
        interval = f"{row['ci_low']:.4f} - {row['ci_high']:.4f}" if row["ci_low"] is not None else ""
        print(f"{row['method']:<14}{row['metric']:<22}{row['subject']:<24}{row['value']:>8.4f}{interval:>20}{row['n']:>8}")


@app.command()
def report(name: Name, show: Annotated[bool, typer.Option("--open/--no-open", help="Open it in the browser.")] = True) -> None:
    """Where a dataset's report is; opens it."""
    from data_contracts.dataset import check_dataset_name
    from resources.home import medfeat_home

    page = medfeat_home() / "reports" / check_dataset_name(name) / "report.html"
    if not page.is_file():
        raise InputError(f"{name} has no report yet", f"Run a study first: medfeat run {name}")
    print(page)
    if show and sys.stdout.isatty():
        typer.launch(str(page))


@app.command()
def ui(port: Annotated[int, typer.Option("--port", help="On 127.0.0.1, which no other machine reaches.")] = 3000) -> None:
    """Dagster's web UI and daemon, on this machine only (Dagster's server has no login)."""
    import dagster as dg

    from pipeline.launch import prepare_instance
    from resources.dataset_store import DatasetStore
    from resources.home import PROJECT_ROOT

    with dg.DagsterInstance.get() as instance:
        prepare_instance(instance, DatasetStore())
    print(f"http://127.0.0.1:{port}  (Ctrl-C ends it)", flush=True)
    os.chdir(PROJECT_ROOT)
    command = [sys.executable, "-W", "ignore", "-m", "dagster", "dev", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)]
    os.execv(sys.executable, command)  # noqa: S606 - this very interpreter, fixed arguments


@app.command()
def doctor(fix: Annotated[bool, typer.Option("--fix", help="Mark runs whose process is gone as failed.")] = False) -> None:
    """Check environment, store, weights and runs."""
    from pipeline.doctor import examine

    problems = 0
    for finding in examine(fix):
        print(f"{finding.state:<8} {finding.text}")
        problems += finding.state == "problem"
    raise typer.Exit(1 if problems else 0)


def main() -> None:
    """Entry point of the ``medfeat`` command."""
    from resources.home import prepare_home

    try:
        if set(sys.argv[1:]) - {"--help"}:
            prepare_home()
        app()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted; what was finished is stored, and the next run goes on from there", file=sys.stderr)
        sys.exit(130)
