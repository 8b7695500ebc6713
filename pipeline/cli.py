"""The command line: parses, calls and prints; each command imports what it needs."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.facts import PredictionFacts
from data_contracts.slice_axis import DEFAULT_SLICE_AXIS
from data_contracts.studies.ahn2019 import AHN2019
from pipeline.interruption import StoppableGroup, Stopped, end_now, heed_signals, was_interrupted

if TYPE_CHECKING:
    from resources.store.dataset_store import DatasetStore

app = typer.Typer(
    name="medfeat",
    cls=StoppableGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="""From folders of medical images with few labels to features, classifiers and tables.

To see an example: `medfeat demo`. For your own folder: `medfeat add NAME FOLDER`, then
`medfeat run NAME`, then `medfeat report NAME`. Everything runs on the Dagster instance that
`medfeat ui` shows and is kept under MEDFEAT_HOME (default: .medfeat in a checkout, else the user's
folder of data). Tab completion: `medfeat --install-completion`.

Exit codes: 0 done, 1 a run failed, 2 the input is wrong.""",
)

Name = Annotated[str, typer.Argument(help="Dataset: 1 to 63 of a-z, 0-9, _ and -.")]
StudyName = Annotated[
    str | None,
    typer.Option(
        "--study",
        help="Study to run; NAME_tables runs every row of its tables. "
        "[default: lyndon2015 where images have several labels, else ahn2019]",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Settings as key=value (or stage.key=value), e.g. --set filters=1024 epochs=40; a "
        "list is written with commas, e.g. filter_sizes=32,64. All of them: medfeat settings.",
    ),
]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        "--weights",
        help='AlexNet weights: a .safetensors or .pth file, or "random". Without it: the folder '
        "MEDFEAT_WEIGHTS_DIR, then torch's cache, then a download. `demo` takes EfficientNet-Lite0 "
        "instead where there are none and the extra medfeat[demo] is installed.",
    ),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")]
SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        metavar="FILE",
        help="A YAML file of settings, as --print-settings writes it; --set wins over it.",
    ),
]
Defaults = Annotated[
    bool,
    typer.Option(
        "--defaults",
        help="Do not repeat the settings of the promoted run: those not given are the defaults.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Compute again although nothing changed.")]
Verify = Annotated[
    bool,
    typer.Option(
        "--verify",
        help="Read and check every stored feature again, not only what is new or was changed.",
    ),
]


def _print_version(wanted: bool) -> None:
    """Print the version and end, where it is asked for."""
    if wanted:
        from importlib.metadata import version

        print(f"medfeat {version('medfeat')}")
        raise typer.Exit


@app.callback()
def common_options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Hold the options that stand before a command."""


def _settings(
    pairs: list[str] | None, weights: str | None, force: bool, file: Path | None = None
) -> dict[str, object]:
    from pipeline.launch import overridden, parse_settings

    settings = parse_settings(pairs or [])
    if file is not None:
        from pipeline.commands.settings_file import read_settings

        settings = overridden(read_settings(file), settings)
    if weights is not None:
        settings["weights"] = (
            weights if weights == "random" else str(Path(weights).expanduser().resolve())
        )
    return {**settings, "force": True} if force else settings


def _pages(dataset: str) -> list[Path]:
    """Return the reports that exist for a dataset, one for each job."""
    from data_contracts.studies.registry import STUDY_JOBS
    from resources.store.home import medfeat_home

    pages = [medfeat_home() / "reports" / dataset / job / "report.html" for job in STUDY_JOBS]
    return [page for page in pages if page.is_file()]


def _run(
    dataset: str,
    job: str,
    settings: dict[str, object],
    device: str,
    tags: dict[str, str] | None = None,
    up_to: str | None = None,
) -> int:
    """Run a job for one dataset, print how it ended in one line, and return the exit code."""
    from pipeline.launch import DONE, assets_up_to, run_job

    only = assets_up_to(job, up_to) if up_to is not None else None
    outcome = run_job(job, dataset, settings, device, tags, only)
    if outcome.exit_code == DONE:
        print(f"{dataset}: done (run {outcome.run_id[:8]})")
    else:
        print(f"{dataset}: {outcome.message} (run {outcome.run_id[:8]})", file=sys.stderr)
    return outcome.exit_code


def _run_study(dataset: str, job: str, settings: dict[str, object], device: str) -> typer.Exit:
    """Run a study for one dataset, print what it found, and return the command's exit."""
    from pipeline.commands.answer import answer_lines
    from pipeline.launch import DONE, refresh_summary
    from resources.store.dataset_store import DatasetStore

    code = _run(dataset, job, settings, device)
    if code == DONE:
        refresh_summary()
        store = DatasetStore()
        for line in answer_lines(store, dataset, job):
            print(line)
        print(f"report: {store.reports / dataset / job / 'report.html'}")
    return typer.Exit(code)


@app.command()
def demo(
    data: Annotated[
        Path | None,
        typer.Option("--data", help="A folder of images to use instead of generated phantoms."),
    ] = None,
    pairs: Settings = None,
    weights: WeightsOption = None,
    device: Device = "auto",
) -> None:
    """Run the study on generated phantoms (or --data FOLDER) and print where the report is."""
    from pipeline.commands.demo import NAME, demo_settings, register_demo
    from pipeline.launch import progress_shown
    from resources.store.dataset_store import DatasetStore

    with progress_shown():
        settings, note = demo_settings(_settings(pairs, weights, force=False), data is None)
        for line in note.splitlines():
            print(f"*** {line}")
        register_demo(DatasetStore(), data)
        raise _run_study(NAME, AHN2019.name, settings, device)


Images = Annotated[
    Path,
    typer.Argument(
        metavar="PATH",
        help="A folder (class folders, train/ and test/, or manifest.csv or .parquet), "
        "a zip or tar, or a .npz.",
    ),
]
Unlabelled = Annotated[bool, typer.Option("--unlabelled", help="Allow images without a label.")]
MultiLabel = Annotated[
    bool, typer.Option("--multi-label", help="An image may have several labels, written a|b.")
]
Split = Annotated[
    str,
    typer.Option("--split", help="auto, given or stratified (ignore what is given and draw one)."),
]
TestFraction = Annotated[
    float, typer.Option("--test-fraction", help="Share of a drawn test split.")
]
SplitSeed = Annotated[int, typer.Option("--split-seed", help="Seed of a drawn split.")]
NewLabels = Annotated[
    str,
    typer.Option(
        "--new-labels",
        help="Labelled images of drops: hold (predict only), train, or given (own split).",
    ),
]
ShowNames = Annotated[
    bool,
    typer.Option("--show-names", help="Write file names as they are (public data), no pseudonyms."),
]
ExactIds = Annotated[
    bool,
    typer.Option(
        "--exact-ids",
        help="Take group_id, patient_id and PatientID as they are written: forms such as 7 and "
        "0007 are two patients, ANONYMOUS is one, and a listed group stands before PatientID.",
    ),
]
KeepGivenSplit = Annotated[
    bool,
    typer.Option(
        "--keep-given-split",
        help="Keep a given split although images or patients are on both sides; every result "
        "says how many.",
    ),
]
AllowBurnedIn = Annotated[
    bool,
    typer.Option(
        "--allow-burned-in",
        help="Accept DICOM files whose header says that annotations are burned into the pixels.",
    ),
]
SliceAxisOption = Annotated[
    str,
    typer.Option(
        "--slice-axis",
        help="Slices into which volumes (NIfTI) are cut: axial, coronal or sagittal.",
    ),
]
FollowLinks = Annotated[
    Path | None,
    typer.Option(
        "--follow-links",
        metavar="FOLDER",
        exists=True,
        file_okay=False,
        help="Allow links into this folder, e.g. the store of git-annex, DVC or Hugging Face.",
    ),
]
Literal = Annotated[
    list[str] | None,
    typer.Option(
        "--literal",
        metavar="WORD",
        help="A class that is written like a missing value in a manifest, e.g. NA. Repeatable.",
    ),
]


@app.command()
def add(
    name: Name,
    path: Images,
    unlabelled: Unlabelled = False,
    multi_label: MultiLabel = False,
    split: Split = "auto",
    test_fraction: TestFraction = 0.25,
    split_seed: SplitSeed = 0,
    new_labels: NewLabels = "hold",
    show_names: ShowNames = False,
    exact_ids: ExactIds = False,
    keep_given_split: KeepGivenSplit = False,
    allow_burned_in: AllowBurnedIn = False,
    slice_axis: SliceAxisOption = DEFAULT_SLICE_AXIS,
    follow_links: FollowLinks = None,
    literal: Literal = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Put this in the place of a dataset of that name; says which results are then "
            "stale.",
        ),
    ] = False,
) -> None:
    """Register a dataset: read its files, store its specification, add its partition."""
    from pipeline.commands.registration import register

    spec = {
        "name": name,
        "root": path.expanduser().resolve(),
        "task": "multi-label" if multi_label else "single-label",
        "unlabelled": unlabelled,
        "split": split,
        "test_fraction": test_fraction,
        "split_seed": split_seed,
        "new_labels": new_labels,
        "show_names": show_names,
        "exact_ids": exact_ids,
        "keep_given_split": keep_given_split,
        "allow_burned_in": allow_burned_in,
        "slice_axis": slice_axis,
        "follow_links": follow_links.expanduser().resolve() if follow_links else None,
        "literal": literal or (),
    }
    for line in register(spec, replace):
        print(line)


@app.command("list")
def list_datasets() -> None:
    """List the registered datasets: task, images, classes and last run."""
    from pipeline.commands.listing import dataset_lines
    from resources.store.dataset_store import DatasetStore

    for line in dataset_lines(DatasetStore()):
        print(line)


@app.command()
def settings(
    study: Annotated[str, typer.Argument(help="Study, as `run --study` takes it.")] = AHN2019.name,
    like: Annotated[
        str, typer.Option("--like", metavar="WORD", help="Only those whose name has this word.")
    ] = "",
) -> None:
    """Print every setting of a study: name, type, default and meaning."""
    from pipeline.commands.settings import settings_of, settings_text

    shown = [one for one in settings_of(study) if like in one.name]
    for line in settings_text(shown, study):
        print(line)


@app.command()
def inspect(
    path: Images,
    unlabelled: Unlabelled = False,
    multi_label: MultiLabel = False,
    split: Split = "auto",
    exact_ids: ExactIds = False,
    keep_given_split: KeepGivenSplit = False,
    allow_burned_in: AllowBurnedIn = False,
    slice_axis: SliceAxisOption = DEFAULT_SLICE_AXIS,
    follow_links: FollowLinks = None,
    literal: Literal = None,
) -> None:
    """Say what `add` would take of a folder, an archive or a file, what not and why; store nothing.

    File names are shown as they are. The exit code is 2 where `add` would refuse it as it is.
    """
    from pipeline.commands.inspection import inspect_path
    from pipeline.launch import progress_shown

    fields = {
        "root": path.expanduser().resolve(),
        "task": "multi-label" if multi_label else "single-label",
        "unlabelled": unlabelled,
        "split": split,
        "exact_ids": exact_ids,
        "keep_given_split": keep_given_split,
        "allow_burned_in": allow_burned_in,
        "slice_axis": slice_axis,
        "follow_links": follow_links.expanduser().resolve() if follow_links else None,
        "literal": literal or (),
    }
    with progress_shown():
        for line in inspect_path(fields):
            print(line)


UpTo = Annotated[
    str | None,
    typer.Option(
        "--up-to",
        metavar="ASSET",
        help="Only this asset of the study and what it needs, e.g. alexnet_conv5 (features).",
    ),
]
Subgroups = Annotated[
    str | None,
    typer.Option(
        "--subgroups",
        metavar="COLUMNS",
        help="Columns of the manifest by which the report divides the test images, e.g. "
        "sex,site,age:10 (bins of ten).",
    ),
]
PrintSettings = Annotated[
    bool,
    typer.Option(
        "--print-settings", help="Print every setting of the run as YAML, and run nothing."
    ),
]


@app.command()
def run(
    name: Name,
    study: StudyName = None,
    pairs: Settings = None,
    weights: WeightsOption = None,
    device: Device = "auto",
    force: Force = False,
    up_to: UpTo = None,
    subgroups: Subgroups = None,
    defaults: Defaults = False,
    verify: Verify = False,
    file: SettingsFile = None,
    print_settings: PrintSettings = False,
) -> None:
    """Run a study for one dataset, in the foreground.

    Settings that are not given are those of the promoted run: the first one, or the one that
    `medfeat promote` named.
    """
    if subgroups is not None:
        columns = [text.strip() for text in subgroups.split(",")]
        pairs = [*(pairs or []), f"subgroups={json.dumps(columns)}"]
    from pipeline.launch import check_labels, progress_shown, study_for
    from resources.store.dataset_store import DatasetStore

    store = DatasetStore()
    job = study_for(store.spec(name), study)
    given = _settings(pairs, weights, force, file)
    if print_settings:
        _print_settings(store, name, job, given, defaults)
        return
    if verify:
        from resources.store.checked_shards import forget_checks

        forget_checks(store, name)
    with progress_shown():
        if up_to is not None:
            raise _run_up_to(store, name, job, given, device, up_to)
        check_labels(store, name)
        if not defaults:
            from pipeline.commands.stored_runs import repeated_settings

            given, line = repeated_settings(store, name, job, given)
            if line is not None:
                print(line)
        if job in AHN2019.jobs:
            from pipeline.commands.estimate import estimate_line

            line = estimate_line(store, name, given, device)
            if line is not None:
                print(line)
        raise _run_study(name, job, given, device)


def _run_up_to(
    store: DatasetStore,
    name: str,
    job: str,
    given: dict[str, object],
    device: str,
    up_to: str,
) -> typer.Exit:
    """Run the stages up to an asset and print its summary; gives how the command ends."""
    code = _run(name, job, given, device, up_to=up_to)
    if code == 0:
        for caption, value in store.need_record(name, up_to).summary.items():
            print(f"  {caption}: {value}")
        print(store.folder(name, up_to))
    return typer.Exit(code)


def _print_settings(
    store: DatasetStore, name: str, job: str, given: dict[str, object], defaults: bool
) -> None:
    """Print the settings with which a run would start."""
    from pipeline.automation.backfills import with_repeated_settings
    from pipeline.automation.requests import study_assets
    from pipeline.commands.settings_file import settings_yaml
    from pipeline.launch import run_config

    settings = given if defaults else with_repeated_settings(store, name, job, given)
    run_config(study_assets(job), settings, "auto")  # refuses what is unknown or out of range
    print(settings_yaml(job, settings), end="")


Everything = Annotated[bool, typer.Option("--all", help="Every registered dataset.")]
OnlyStale = Annotated[
    bool,
    typer.Option(
        "--only-stale",
        help="Only datasets whose results are older than their files, settings or code.",
    ),
]
FromDrop = Annotated[
    str | None,
    typer.Option(
        "--from-drop",
        metavar="DATE",
        help="Only datasets with a drop on this day or later (YYYY-MM-DD, UTC).",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be run, and run nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="As a JSON array.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print only the table at the end.")]


@app.command()
def backfill(
    datasets: Annotated[
        list[str] | None, typer.Argument(metavar="[NAMES]...", help="Names of datasets.")
    ] = None,
    everything: Everything = False,
    only_stale: OnlyStale = False,
    from_drop: FromDrop = None,
    study: StudyName = None,
    pairs: Settings = None,
    weights: WeightsOption = None,
    device: Device = "auto",
    force: Force = False,
    defaults: Defaults = False,
    file: SettingsFile = None,
    dry_run: DryRun = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the outcomes as JSON and nothing else.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Run a study for several datasets, one after another; a failure does not stop the others.

    Settings that are not given are those of each dataset's promoted run. Ctrl-C ends the whole
    backfill.
    """
    from contextlib import nullcontext

    from pipeline.commands import several_datasets
    from pipeline.launch import DONE, progress_shown, refresh_summary, study_for
    from resources.store.dataset_store import DatasetStore

    store = DatasetStore()
    everything = everything or (not datasets and (only_stale or from_drop is not None))
    listed = store.datasets() if everything else list(dict.fromkeys(datasets or []))
    if not listed:
        raise InputError(
            "no dataset is named", "Name datasets, or give --all (register some with medfeat add)"
        )
    jobs = {name: study_for(store.spec(name), study) for name in listed}
    what = several_datasets.Backfill(
        jobs, only_stale, from_drop, _settings(pairs, weights, force, file), defaults, device
    )
    is_silent = quiet or as_json
    with nullcontext() if is_silent else progress_shown():
        say = (lambda _: None) if is_silent else print
        ended = several_datasets.run_backfill(store, what, say, dry_run)
        if any(one.run_id and one.exit_code == DONE for one in ended):
            refresh_summary()
    if as_json:
        print(several_datasets.as_json(ended))
    else:
        for line in several_datasets.table_lines(ended):
            print(line)
        for one in ended:
            if one.message:
                print(f"{one.dataset}: {one.message}", file=sys.stderr)
    raise typer.Exit(1 if any(one.exit_code for one in ended) else 0)


@app.command()
def predict(
    name: Name,
    path: Annotated[
        Path | None,
        typer.Argument(
            help="Images to predict without adding them: a folder, an archive, a .npz or one file."
        ),
    ] = None,
    pairs: Settings = None,
    weights: WeightsOption = None,
    device: Device = "auto",
    show_names: Annotated[
        bool, typer.Option("--show-names", help="Write file names of PATH into the files.")
    ] = False,
) -> None:
    """Predict the unlabelled and held images of a dataset, or those of PATH, the least sure first.

    Without PATH the dataset is brought up to date first, with the settings of its promoted run
    where none are given.
    """
    from pipeline.launch import progress_shown
    from resources.store.dataset_store import DatasetStore

    store = DatasetStore()
    store.spec(name)
    with progress_shown():
        if path is not None:
            from pipeline.commands.predict_path import predict_path
            from pipeline.commands.stored_runs import promoted_run_to_bring_back

            run = promoted_run_to_bring_back(store, name)
            if run is not None:
                print(f"{name}: the last run was a trial; the promoted run {run} is brought back")
                code = _predict_dataset(store, name, {}, device).exit_code
                if code:
                    raise typer.Exit(code)
            for line in predict_path(store, name, path.expanduser().resolve(), device, show_names):
                print(line)
            return
        raise _predict_dataset(store, name, _settings(pairs, weights, force=False), device)


def _predict_dataset(
    store: DatasetStore, name: str, given: dict[str, object], device: str
) -> typer.Exit:
    """Bring the predictions of a dataset up to date, print where they are, and return the exit."""
    from pipeline.automation.backfills import with_repeated_settings
    from pipeline.launch import DONE, check_labels

    check_labels(store, name)
    code = _run(name, "predict", with_repeated_settings(store, name, "predict", given), device)
    if code == DONE:
        facts = store.facts(name, names.PREDICTIONS, PredictionFacts)
        print(
            f"{facts.images} images predicted, {facts.unlike_training} unlike the training images"
        )
        for suffix in ("html", "csv", "parquet"):
            print(store.reports / name / f"predictions.{suffix}")
    return typer.Exit(code)


@app.command()
def find(
    name: Name,
    what: Annotated[
        str,
        typer.Argument(
            help="A pseudonym or the beginning of an image id, as a manifest or report has it."
        ),
    ],
    folder: Annotated[
        Path | None,
        typer.Option("--folder", help="Folder of a dataset that could not be registered."),
    ] = None,
) -> None:
    """Print which file a pseudonym of a report or a message means; it is written nowhere."""
    from pipeline.commands.registration import locate_files

    for line in locate_files(
        name, what, folder.expanduser().resolve() if folder is not None else None
    ):
        print(line)


@app.command()
def forget(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a dataset for good: all that is stored of it, and Dagster's record of its runs.

    That is features, models, results, reports, unpacked copies and the specification. The images
    themselves (the folder that was registered, and drops) are yours and stay; no run starts for
    drops of this name until `medfeat add NAME FOLDER`.
    """
    from pipeline.care.forgetting import forget_dataset, what_is_forgotten

    lines = what_is_forgotten(name)
    for line in lines:
        print(line)
    if not yes and not typer.confirm(f"Delete all of this for {name}?"):
        raise typer.Exit(1)
    for line in forget_dataset(name):
        print(line)


@app.command()
def results(
    name: Name, as_json: Annotated[bool, typer.Option("--json", help="Tidy rows as JSON.")] = False
) -> None:
    """Print the stored runs of a dataset with what differs, and the metrics of the last one."""
    from pipeline.commands.results import results_frame, results_json, results_text
    from pipeline.commands.stored_runs import run_lines
    from resources.store.dataset_store import DatasetStore

    store = DatasetStore()
    frame = results_frame(store, name)
    if as_json:
        print(results_json(frame))
        return
    notices = dict.fromkeys(
        n for asset in store.assets_of(name) for n in (store.need_record(name, asset).notices)
    )
    for notice in notices:
        print(f"*** {notice}")
    print(results_text(frame))
    print()
    for line in run_lines(store, name):
        print(line)


@app.command()
def compare(
    name: Name,
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...",
            help="Beginnings of run ids, as `medfeat results` lists them; by default the promoted "
            "run and all others of the study that ran last.",
        ),
    ] = None,
) -> None:
    """Show stored runs beside each other: settings that differ, figures, paired tests."""
    from pipeline.commands.stored_runs import comparison_lines
    from resources.store.dataset_store import DatasetStore

    for line in comparison_lines(DatasetStore(), name, runs or []):
        print(line)


@app.command()
def promote(
    name: Name,
    run: Annotated[str, typer.Argument(metavar="RUN", help="Beginning of a run id.")],
) -> None:
    """Let schedules, predictions and later runs repeat the settings of a stored run."""
    from pipeline.commands.stored_runs import all_results
    from resources.store.dataset_store import DatasetStore
    from resources.store.stored_results import promote as promote_result
    from resources.store.stored_results import result_of

    store = DatasetStore()
    result = result_of(all_results(store, name), run)
    promote_result(store, name, result)
    print(f"{name}: {result.job} repeats the settings of run {result.run_id[:8]} from now on")


@app.command()
def report(
    name: Name,
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open it in the browser.")] = True,
) -> None:
    """Print where a dataset's reports are, and open the one that was written last."""
    from data_contracts.records.dataset import check_dataset_name

    pages = _pages(check_dataset_name(name))
    if not pages:
        raise InputError(f"{name} has no report yet", f"Run a study first: medfeat run {name}")
    for page in pages:
        print(page)
    if show and sys.stdout.isatty():
        typer.launch(str(max(pages, key=lambda page: page.stat().st_mtime)))


@app.command()
def ui(
    port: Annotated[int, typer.Option("--port", help="Port to listen on.")] = 3000,
    host: Annotated[
        str,
        typer.Option(
            "--host", help="Address to listen on; by default one that no other machine reaches."
        ),
    ] = ("127.0.0.1"),
    behind_proxy: Annotated[
        bool,
        typer.Option(
            "--behind-proxy",
            help="Allow an address that other machines reach. Dagster's server has no login: "
            "whoever reaches it starts runs with any settings, sees pictures and figures, and "
            "deletes records. Use it only behind a proxy with a login, where nothing else reaches "
            "the port.",
        ),
    ] = False,
) -> None:
    """Start Dagster's web UI and daemon, for this machine only (the server has no login)."""
    from pipeline.web.address import ANY_NAME, listening_address, url_of

    address = listening_address(host, behind_proxy)
    from pipeline.instance import home_instance, prepare_instance
    from resources.store.dataset_store import DatasetStore
    from resources.store.home import PROJECT_ROOT

    with home_instance() as instance:
        prepare_instance(instance, DatasetStore())
    print(f"{url_of(address, port)}  (Ctrl-C ends it)")
    print(f"{url_of(address, port)}/reports/  (the reports)", flush=True)
    os.chdir(PROJECT_ROOT)
    os.environ[ANY_NAME] = "1" if behind_proxy else "0"
    # Scripts let what they start with `&` ignore SIGINT, and Dagster does with SIGTERM as with
    # SIGINT.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "pipeline.web.ui",
        "dev",
        "-w",
        str(Path(__file__).with_name("workspace.yaml")),
    ]
    os.execv(sys.executable, [*command, "-h", address, "-p", str(port)])  # noqa: S606 - this very interpreter, fixed arguments


@app.command()
def status(
    as_json: AsJson = False,
) -> None:
    """Print how each dataset stands: its last run, the drops that wait, and stale results."""
    from pipeline.commands.status import dataset_states, status_json, status_text

    found = dataset_states()
    print(status_json(found) if as_json else status_text(found))


@app.command()
def doctor(
    fix: Annotated[
        bool,
        typer.Option(
            "--fix", help="Mark runs whose process is gone as failed; compute damaged files again."
        ),
    ] = False,
    days: Annotated[
        int, typer.Option("--days", min=0, help="Days for which failed runs are looked for.")
    ] = 7,
) -> None:
    """Check the runs, the drops, the environment, and every stored file against its SHA-256.

    The exit code is 1 where something is not well.
    """
    from pipeline.care.doctor import examine

    problems = 0
    for finding in examine(fix, days):
        print(f"{finding.state:<8} {finding.text}")
        problems += finding.state == "problem"
    raise typer.Exit(1 if problems else 0)


STORES_NOTHING = {"--help", "--version", "--show-completion", "--install-completion"}
"""Words that do not need a home."""


def one_set_each(words: Sequence[str]) -> list[str]:
    """Return words with ``--set a=1 b=2`` written as ``--set a=1 --set b=2`` for the parser."""
    parsed: list[str] = []
    for word in words:
        after_a_setting = len(parsed) > 1 and parsed[-2] == "--set"
        parsed += (
            ["--set", word]
            if after_a_setting and "=" in word and not word.startswith("-")
            else [word]
        )
    return parsed


def main() -> None:
    """Run the ``medfeat`` command."""
    heed_signals()
    try:
        from pipeline.environment import check_environment
        from resources.store.home import prepare_home

        if set(sys.argv[1:]) - STORES_NOTHING:
            check_environment()
            if "inspect" not in sys.argv[1:2]:  # it writes nothing, not even an empty home
                prepare_home()
        app(args=one_set_each(sys.argv[1:]))
    except InputError as error:
        if was_interrupted():  # what the interruption closed could not be used any more
            end_now()
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, Stopped):
        end_now()
    except Exception:
        if was_interrupted():
            end_now()
        raise
