"""The home folder: everything that the pipeline writes lies below it."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from data_contracts.errors import InputError
from resources.store.atomic_file import (
    make_folder,
    remove_unfinished,
    temporary_name,
    write_atomically,
)

PROJECT_ROOT = Path(__file__).resolve().parents[2]
"""The folder of the packages: a checkout, or the site-packages of an installation."""

DAGSTER_YAML = """\
# Settings of the embedded Dagster instance; written once, yours to change.
telemetry: {enabled: false}
nux: {enabled: false}                         # no sign-up window over the page
concurrency:
  runs: {max_concurrent_runs: 2}               # runs take turns on a card by themselves
run_monitoring: {enabled: true, start_timeout_seconds: 300, max_runtime_seconds: 86400}
run_retries: {enabled: true, max_retries: 1, retry_on_asset_or_op_failure: false}
python_logs: {managed_python_loggers: [medfeat], python_log_level: INFO}
# Several machines with one history, in PostgreSQL (docs/scale.md): the extra medfeat[postgres], the
# password in the environment (PGPASSWORD), and in the place of this
# storage: {postgres: {postgres_url: postgresql+psycopg2://USER@HOST/DATABASE?sslmode=verify-full}}
storage:
  custom:
    {module: pipeline.dagster_internals, class: OpenSqliteStorage,
     config: {base_dir: {env: DAGSTER_HOME}}}
"""


FORMER_STORAGE_MODULES = ("resources.run_record", "resources.dagster_storage")
"""Modules of earlier versions that dagster.yaml of an older home names for the storage class."""
FORMER_OWNERS = "run_owners"
"""Folder in Dagster's home where earlier versions wrote the process of each run."""
STORAGE_MODULE = "pipeline.dagster_internals"
"""Module of the storage class that dagster.yaml names."""


def medfeat_home() -> Path:
    """Return ``MEDFEAT_HOME``, or ``.medfeat`` in a checkout, or the user's folder of data."""
    return Path(os.environ.get("MEDFEAT_HOME") or _usual_home()).expanduser().absolute()


def _usual_home() -> Path:
    """Return the home of a process without ``MEDFEAT_HOME``."""
    if (PROJECT_ROOT / "pyproject.toml").is_file():
        return PROJECT_ROOT / ".medfeat"
    from platformdirs import user_data_path

    return user_data_path("medfeat", appauthor=False)


def dagster_home() -> Path:
    """Return ``DAGSTER_HOME``, or ``dagster`` in the home."""
    return (
        Path(os.environ.get("DAGSTER_HOME") or medfeat_home() / "dagster").expanduser().absolute()
    )


def site_key_path() -> Path:
    """``MEDFEAT_SITE_KEY``, or ``~/.config/medfeat/site.key``."""
    return (
        Path(os.environ.get("MEDFEAT_SITE_KEY") or "~/.config/medfeat/site.key")
        .expanduser()
        .absolute()
    )


def prepare_home() -> Path:
    """Make the home's folders and Dagster's settings, and return the home.

    ``DAGSTER_HOME`` is set to the home's ``dagster`` folder unless the user has set it.

    Raises:
        InputError: the folder cannot be made or written.
    """
    home = medfeat_home()
    try:
        for name in ("store", "datasets", "reports", "dagster"):
            make_folder(home / name)
        settings = home / "dagster" / "dagster.yaml"
        if not settings.exists() or not settings.stat().st_size:
            write_atomically(settings, DAGSTER_YAML.encode())
        else:
            _name_present_storage(settings)
        shutil.rmtree(home / "dagster" / FORMER_OWNERS, ignore_errors=True)
        for folder in (home, home / "datasets", home / "dagster"):
            remove_unfinished(folder)
        probe = temporary_name(home / "store" / "probe")
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"the store {home} is not writable ({error.strerror or error})",
            "Set MEDFEAT_HOME to a folder you may write to",
        ) from error
    os.environ["MEDFEAT_HOME"] = str(home)
    os.environ.setdefault("DAGSTER_HOME", str(home / "dagster"))
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
    key = site_key_path()
    # the key's folder may be closed to this user; reading the key reports that
    with suppress(OSError):
        remove_unfinished(key.parent, f"{key.name}.")
    return home


def _name_present_storage(settings: Path) -> None:
    """Replace the former module of the storage class in dagster.yaml; nothing else is changed."""
    text = settings.read_text()
    present = text
    for module in FORMER_STORAGE_MODULES:
        present = present.replace(f"module: {module},", f"module: {STORAGE_MODULE},")
    if present != text:
        write_atomically(settings, present.encode())


def free_bytes(folder: Path) -> int:
    """Return the free space on the file system of ``folder``, in bytes."""
    return shutil.disk_usage(folder).free


NETWORK_FILE_SYSTEMS = (
    "nfs",
    "cifs",
    "smb",
    "9p",
    "afs",
    "ceph",
    "gluster",
    "lustre",
    "gpfs",
    "beegfs",
    "fuse.sshfs",
    "fuse.s3fs",
)


def network_file_system(folder: Path) -> str | None:
    """Return the type of the network file system that holds ``folder``; None if it is local."""
    import psutil

    mounts = [
        m for m in psutil.disk_partitions(all=True) if folder.resolve().is_relative_to(m.mountpoint)
    ]
    kind = max(mounts, key=lambda m: len(m.mountpoint)).fstype.lower() if mounts else ""
    return kind if kind.startswith(NETWORK_FILE_SYSTEMS) else None
