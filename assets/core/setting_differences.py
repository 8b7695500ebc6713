"""How the settings of a run differ from the defaults, or from those of another run."""

from collections.abc import Mapping, Sequence
from typing import Any

from assets.core.stage import DEFINITIONS

SHOWN_SETTINGS = 8
"""Maximum number of settings that one line names."""


def default_settings(assets: Sequence[str]) -> dict[str, Any]:
    """The default of every setting of these assets, by ``asset.key``."""
    return {
        f"{asset}.{key}": value
        for asset in assets
        if asset in DEFINITIONS
        for key, value in DEFINITIONS[asset].config_type().settings().items()
    }


def differences(settings: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are not as in ``base``; ``key`` where all assets have the same value.

    Settings that only one of the two has are left out: another asset was part of the run.
    """
    other = {key: value for key, value in settings.items() if key in base and base[key] != value}
    short: dict[str, list[tuple[str, Any]]] = {}
    for key, value in sorted(other.items()):
        short.setdefault(key.rpartition(".")[2], []).append((key, value))
    named: dict[str, Any] = {}
    for name, entries in short.items():
        values = [value for _, value in entries]
        if all(value == values[0] for value in values):
            named[name] = values[0]
        else:
            named.update(entries)
    return named


def settings_in_words(different: Mapping[str, Any]) -> str:
    """Settings as they are written on a command line."""
    words = [f"{key}={value}" for key, value in different.items()]
    more = len(words) - SHOWN_SETTINGS
    return " ".join(words[:SHOWN_SETTINGS]) + (f" and {more} more" if more > 0 else "")
