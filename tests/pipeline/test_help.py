"""What `--help` prints of every command: help.txt beside this file, which is read when it changes.

After a change of the commands: `python -m tests.pipeline.test_help` writes it anew.
"""

from __future__ import annotations

from pathlib import Path

import typer
from typer.testing import CliRunner

from pipeline.cli import app

GOLDEN = Path(__file__).with_name("help.txt")
TERMINAL = {"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1", "FORCE_COLOR": None}


def every_help() -> str:
    """The help of the program and of each command, one after another."""
    group = typer.main.get_command(app)
    commands = sorted(getattr(group, "commands", {}))
    parts = []
    for words in ([], *([name] for name in commands)):
        shown = CliRunner().invoke(app, [*words, "--help"], env=TERMINAL, prog_name="medfeat")
        assert shown.exit_code == 0, shown.output
        lines = [line.rstrip() for line in shown.output.strip().splitlines()]
        parts.append("\n".join([f"$ medfeat {' '.join([*words, '--help'])}", "", *lines, ""]))
    return "\n".join(parts)


def test_the_help_is_the_one_that_was_read() -> None:
    assert every_help() == GOLDEN.read_text(), (
        "read the difference, then run `python -m tests.pipeline.test_help`"
    )


def test_every_argument_and_option_says_what_it_is() -> None:
    group = typer.main.get_command(app)
    silent = [
        f"{name} {parameter.name}"
        for name, command in getattr(group, "commands", {}).items()
        for parameter in command.params
        if not getattr(parameter, "help", None)
    ]
    assert silent == []


if __name__ == "__main__":
    GOLDEN.write_text(every_help())
