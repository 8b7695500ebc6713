"""The wheel, installed into an environment of its own, works from any folder."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import MakeImages

ROOT = Path(__file__).parents[1]
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel; the other packages are those of this one.

    A path in a .pth file does not have its own .pth files read, so the checkout that is installed
    in place here is not there.
    """
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("medfeat-*.whl")
    venv.create(folder / "venv", with_pip=False)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = str(folder / "venv" / "bin" / "python")
    install = ["--python", python, "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True, capture_output=True)
    return folder / "venv"


@pytest.fixture
def command(environment: Path, tmp_path: Path) -> Command:
    """Runs a program of the environment in an empty folder, as a user who has set nothing."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MEDFEAT", "DAGSTER", "XDG"))}
    variables = {**kept, "HOME": str(tmp_path / "user")}
    work = tmp_path / "work"
    work.mkdir()

    def run(program: str, *words: str) -> subprocess.CompletedProcess[str]:
        path = environment / "bin" / program
        return subprocess.run(
            [str(path), *words], cwd=work, env=variables, capture_output=True, text=True
        )

    return run


def test_the_wheel_holds_what_is_no_code(environment: Path, command: Command) -> None:
    code = "import pipeline, methods; print(pipeline.__path__[0]); print(methods.__path__[0])"
    pipeline, methods = map(Path, command("python", "-c", code).stdout.split())
    assert pipeline.is_relative_to(environment)
    assert (pipeline / "workspace.yaml").is_file()
    assert {path.name for path in (ROOT / "methods/reporting").glob("*.jinja")} == {
        path.name for path in (methods / "reporting").glob("*.jinja")
    }


def test_commands_work_from_any_folder(
    command: Command, tmp_path: Path, make_images: MakeImages
) -> None:
    assert command("medfeat", "--version").stdout.startswith("medfeat ")
    assert "demo" in command("medfeat", "--help").stdout
    added = command("medfeat", "add", "tiny", str(make_images(classes=2, each=4)))
    assert added.returncode == 0, added.stderr
    ran = command("medfeat", "run", "tiny", "--weights", "random", "--up-to", "alexnet_conv5")
    assert ran.returncode == 0, ran.stderr
    if sys.platform == "linux":
        home = tmp_path / "user" / ".local" / "share" / "medfeat"
        assert str(home / "store" / "tiny" / "alexnet_conv5") in ran.stdout
    assert list((tmp_path / "work").iterdir()) == []
