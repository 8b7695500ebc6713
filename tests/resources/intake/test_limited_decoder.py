"""Decoding in processes that die, hang and run out of memory: what is said of the file, and that
nothing else is harmed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import psutil
import pytest
from PIL import Image

from data_contracts.errors import InputError
from faults.sabotage import harmful, sabotaged_decoders
from faults.scanning import encoded, good_images
from methods.imaging.image_file import inspect_file
from methods.imaging.image_format import UndecodableImageError
from resources.intake import limited_decoder
from resources.intake.limited_decoder import LimitedDecoder
from tests.conftest import draw
from tests.methods.imaging.dicom.dicom_files import grey, save

ROOT = Path(__file__).parents[3]


def picture(number: int) -> bytes:
    return encoded(Image.fromarray(draw(0, number)), "PNG")


def children() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def until(happens: Callable[[], bool]) -> bool:
    """Whether it happens, on a machine that may be busy."""
    end = time.monotonic() + 300
    while not happens() and time.monotonic() < end:
        time.sleep(0.05)
    return happens()


@pytest.fixture
def decoder() -> Iterator[LimitedDecoder]:
    with LimitedDecoder() as decoder:
        yield decoder


@pytest.fixture
def tries(tmp_path: Path) -> Iterator[Path]:
    with sabotaged_decoders(tmp_path, seconds=2) as tries:
        yield tries


def test_the_facts_are_those_of_the_file(decoder: LimitedDecoder) -> None:
    scan = save(
        grey([[[1, 2], [3, 4]], [[5, 6], [7, 8]]], PatientID="Z-4711", BurnedInAnnotation="YES")
    )
    for data in (picture(1), scan):
        assert decoder.inspect(data) == inspect_file(data)
    assert decoder.inspect(scan).patient is not None
    assert decoder.inspect(scan).identifiers


def test_a_refusal_is_in_the_decoder_s_words(decoder: LimitedDecoder) -> None:
    with pytest.raises(UndecodableImageError, match="the file is truncated"):
        decoder.inspect(picture(1)[:-40])


def test_nothing_is_started_before_something_is_asked_and_one_process_serves_one_thread() -> None:
    before = children()
    with LimitedDecoder() as decoder:
        assert children() == before
        for number in range(3):
            decoder.inspect(picture(number))
        assert len(children() - before) == 1
    assert children() == before


def test_a_decoder_imports_little() -> None:
    heavy = "{'torch', 'dagster', 'pandas', 'pyarrow', 'pydantic', 'scipy', 'h5py'}"
    code = (
        f"import sys, resources.intake.decoder_process; sys.exit(str({heavy} & set(sys.modules)))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.stderr.strip() == "set()"


@pytest.mark.parametrize(
    ("kind", "reason", "times"),
    [
        ("crash", "its decoder died of it 2 times (SIGSEGV)", 2),
        ("exit", "its decoder died of it 2 times (exit status 3)", 2),
        ("hang", "decoding it takes more than 8 s", 1),
        ("loop", "decoding it takes more than 2 s of processor time", 1),
        ("memory", "decoding it takes more than 4 GiB of memory", 1),
    ],
)
def test_a_harmful_file_is_refused_and_the_next_is_decoded(
    decoder: LimitedDecoder,
    tries: Path,
    kind: str,
    reason: str,
    times: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if kind != "hang":
        # on a busy machine two seconds of its processor take long
        monkeypatch.setattr(limited_decoder, "PATIENCE", 100)
    before = children()
    with pytest.raises(UndecodableImageError) as refused:
        decoder.inspect(harmful(kind, 1))
    assert str(refused.value) == reason
    assert tries.read_text().splitlines() == [f"{kind}:1"] * times
    assert decoder.inspect(picture(2)) == inspect_file(picture(2))
    assert len(children() - before) == 1


def test_a_process_that_others_killed_is_not_held_against_the_file(decoder: LimitedDecoder) -> None:
    before = children()
    decoder.inspect(picture(1))
    (process,) = children() - before
    process.kill()
    assert decoder.inspect(picture(2)) == inspect_file(picture(2))


def test_closing_cancels_what_is_asked(tries: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limited_decoder, "SECONDS", 60)
    before, raised = children(), []

    def ask() -> None:
        try:
            decoder.inspect(harmful("hang", 1))
        except CancelledError as error:
            raised.append(error)

    with LimitedDecoder() as decoder:
        thread = threading.Thread(target=ask)
        thread.start()
        assert until(lambda: tries.read_text() != "")
    thread.join(10)
    assert len(raised) == 1
    assert children() == before
    with pytest.raises(CancelledError):
        decoder.inspect(picture(1))
    assert children() == before


@pytest.mark.parametrize("executable", ["/nowhere/python", "/bin/false"])
def test_no_process_is_an_error_and_speaks_against_no_file(
    decoder: LimitedDecoder, executable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    with pytest.raises(InputError, match="no process could be started to decode images in"):
        decoder.inspect(picture(1))


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_a_scan_that_is_ended(
    tmp_path: Path, tries: Path, sent: signal.Signals
) -> None:
    """Ctrl-C goes to the whole group of processes, as from a terminal."""
    root = tmp_path / "images"
    good_images(root)
    for number in range(2):
        (root / f"hang{number}").write_bytes(harmful("hang", number))
    code = (
        "import signal, sys; from pathlib import Path; from faults.scanning import scanned; "
        # ignored where the tests run in the background
        "signal.signal(signal.SIGINT, signal.default_int_handler); "
        "scanned(Path(sys.argv[1]))"
    )
    scan = subprocess.Popen(
        [sys.executable, "-c", code, str(root)],
        cwd=ROOT,
        env=os.environ,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert until(lambda: "hang" in tries.read_text())
    decoders = psutil.Process(scan.pid).children(recursive=True)
    assert decoders
    os.killpg(scan.pid, sent)
    words = scan.communicate(timeout=300)[1]
    assert scan.returncode == -sent
    assert words.strip().endswith("KeyboardInterrupt" if sent is signal.SIGINT else "")
    assert until(lambda: not any(process.is_running() for process in decoders))
