from __future__ import annotations

import os
import threading
from itertools import count

import pytest
import torch

from methods.kernels.streams import side_by_side


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


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_threads_are_used_again_and_a_fork_makes_its_own() -> None:
    before = threading.active_count()
    for _ in range(3):
        side_by_side(str, range(8))
    assert threading.active_count() <= before + 2
    child = os.fork()
    if not child:  # with the threads of its parent, which it has not, it would wait for ever
        os._exit(0 if side_by_side(lambda item: item, range(4)) == [0, 1, 2, 3] else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_thread_that_had_another_number_of_torchs_threads_takes_the_right_one() -> None:
    torch.set_num_threads(3)
    side_by_side(lambda _: torch.set_num_threads(2), range(9))
    torch.set_num_threads(3)
    assert side_by_side(lambda _: torch.get_num_threads(), range(9)) == [1] * 9
