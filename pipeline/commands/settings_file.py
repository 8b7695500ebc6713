"""Settings as a YAML file: that of Dagster's Launchpad, or ``key: value`` lines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from assets.core.stage import definition_of
from data_contracts.errors import InputError
from pipeline.graph import GRAPH

FORM = (
    "Write lines such as `filters: 1024`, of one stage `cae_model: {filters: 1024}`, or the config "
    "of Dagster's Launchpad (`ops:`)"
)


def read_settings(path: Path) -> dict[str, Any]:
    """Return the settings of a file, by ``key`` or ``asset.key``.

    Raises:
        InputError: the file cannot be read, or is not of one of the two forms.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})", "Check the path") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" in line {where.line + 1}" if where is not None else ""
        raise InputError(f"{path} is not YAML{line}", FORM) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no settings", FORM)
    settings: dict[str, Any] = {}
    for key, value in content.items():
        if key == "ops" and isinstance(value, dict):
            for asset, op in value.items():
                settings |= {f"{asset}.{name}": one for name, one in _config_of(path, asset, op)}
        elif isinstance(value, dict):
            settings |= {f"{key}.{name}": one for name, one in value.items()}
        else:
            settings[str(key)] = value
    return settings


def _config_of(path: Path, asset: object, op: object) -> list[tuple[object, object]]:
    """Return the settings below one entry of ``ops``."""
    config = op.get("config") if isinstance(op, dict) else None
    if not isinstance(config, dict):
        raise InputError(f"{path}: ops: {asset} has no config", FORM)
    return list(config.items())


def settings_yaml(job: str, settings: Mapping[str, Any]) -> str:
    """Return every setting of a job as the config of Dagster's Launchpad.

    Args:
        job: name of the job.
        settings: those that are not the defaults, by ``key`` or ``asset.key``; they are known and
            valid.
    """
    ops = {}
    for key in sorted(GRAPH.resolve_job_def(job).asset_layer.executable_asset_keys):
        asset = key.path[-1]
        config = definition_of(GRAPH.resolve_assets_def(key)).config_type().settings()
        for name in config:
            config[name] = settings.get(f"{asset}.{name}", settings.get(name, config[name]))
        if config:
            ops[asset] = {"config": config}
    text: str = yaml.safe_dump({"ops": ops}, sort_keys=True, allow_unicode=True)
    return text
