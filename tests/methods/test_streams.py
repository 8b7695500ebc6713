from __future__ import annotations

import threading
from itertools import count

import pytest
import torch

from methods.streams import side_by_side


@pytest.fixture(autouse=True)
def _two_threads() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_are_in_the_order_of_the_items() -> None:
    meet = threading.Barrier(2, timeout=30)

    def work(item: int) -> tuple[int, int]:
        if item < 2:
            meet.wait()  # both run at the same time
        return item * item, torch.get_num_threads()

    assert side_by_side(work, range(5)) == [(item * item, 1) for item in range(5)]
    assert torch.get_num_threads() == 2


def test_one_stream_keeps_all_threads_and_nothing_is_nothing() -> None:
    assert side_by_side(lambda _: torch.get_num_threads(), [0, 1], at_once=1) == [2, 2]
    assert side_by_side(lambda _: torch.get_num_threads(), [0]) == [2]
    assert side_by_side(str, []) == []


@pytest.mark.parametrize("context", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_gradients_are_as_the_caller_has_them(context: type) -> None:
    def modes(_: int) -> tuple[bool, bool]:
        return torch.is_grad_enabled(), torch.is_inference_mode_enabled()

    with context():
        assert side_by_side(modes, range(3)) == [modes(0)] * 3


def test_an_error_is_raised_and_the_threads_are_given_back() -> None:
    numbers = count()

    def fails(_: int) -> None:
        next(numbers)
        raise ValueError("as it was")

    with pytest.raises(ValueError, match="as it was"):
        side_by_side(fails, range(4))
    assert next(numbers)
    assert torch.get_num_threads() == 2
