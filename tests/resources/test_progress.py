"""Progress goes to the log where there is no terminal, at most every so many seconds."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from resources import progress as module
from resources.progress import enter_stage, in_shards, place, progress, seldom


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Each look at the clock is six seconds after the one before."""
    ticks: Iterator[float] = iter(range(0, 600, 6))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(ticks))
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: False, raising=False)
    monkeypatch.setattr(module, "_PLACE", module.Place())
    caplog.set_level(logging.INFO, "medfeat.progress")


def test_items_pass_in_order_and_what_is_left_is_said_every_ten_seconds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert list(progress([3, 1, 2, 0], "rows", unit="row")) == [3, 1, 2, 0]
    assert caplog.messages == [
        "rows: 2 of 4 rows, 12 s left",
        "rows: 4 of 4 rows, 0 s left",
    ]


def test_an_unknown_number_is_said(caplog: pytest.LogCaptureFixture) -> None:
    assert list(progress(iter("ab"), "rows")) == ["a", "b"]
    assert list(progress(iter("ab"), "rows", total=2)) == ["a", "b"]
    assert caplog.messages == ["rows: 2 of ?", "rows: 2 of 2 images, 0 s left"]


def test_blocks_are_counted_in_images_and_a_resumed_training_from_where_it_was(
    caplog: pytest.LogCaptureFixture,
) -> None:
    list(progress(range(0, 150, 64), "network", 150, size=64))
    list(progress([7, 8], "training", 8, unit="epoch", done=6, describe=lambda e: f"error {e}"))
    assert caplog.messages == [
        "network: 128 of 150 images, 2 s left",
        "training: 8 of 8 epochs, 0 s left; error 8",
    ]


def test_the_images_of_all_shards_are_one_work(caplog: pytest.LogCaptureFixture) -> None:
    with in_shards(2_000) as stored:
        list(progress(range(2), "network", 1_000, size=500))
        stored(1_000)
        list(progress(range(2), "network", 1_000, size=500))
    list(progress(range(2), "network", 1_000, size=500))
    assert caplog.messages == [
        "network: 1,000 of 2,000 images, 12 s left",
        "network: 2,000 of 2,000 images, 0 s left",
        "network: 1,000 of 1,000 images, 0 s left",
    ]


def test_stages_are_counted_within_a_run() -> None:
    assert str(place()) == ""
    enter_stage("first", "chest", 12)
    place().kept = "epoch 3"
    enter_stage("first", "chest", 12)
    assert (str(place()), place().kept) == ("[ 2/12] ", "")
    enter_stage("second", "chest", 2)
    assert str(place()) == "[1/2] "


def test_what_is_said_seldom_is_said_first_and_after_ten_seconds() -> None:
    said: list[int] = []
    say = seldom(said.append)
    for number in range(5):  # the clock goes on by six or twelve seconds
        say(number)
    assert said[0] == 0
    assert 1 not in said
    assert len(said) == 3
