from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from data_contracts.errors import InputError
from methods.backbones import random_alexnet
from resources.weights import alexnet_weights


def test_nothing_found_says_how_to_get_them(home: Path) -> None:
    with pytest.raises(InputError, match=r"no AlexNet weights were found.*MEDFEAT_WEIGHTS_DIR is not set.*--weights random"):
        alexnet_weights()


def test_random_is_shouted_and_seeded(home: Path) -> None:
    first, second = alexnet_weights("random"), alexnet_weights("random")
    assert first.notice.startswith("RANDOM WEIGHTS")
    assert first.sha256 == second.sha256


def test_the_order_is_file_then_folder_then_cache(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = random_alexnet()
    cache = tmp_path / "no_cache" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    torch.save(tensors, cache / "alexnet-owt-7be5be79.pth")
    assert alexnet_weights().origin == "alexnet-owt-7be5be79.pth"
    folder = tmp_path / "weights"
    folder.mkdir()
    save_file(tensors, folder / "alexnet_features.safetensors")
    monkeypatch.setenv("MEDFEAT_WEIGHTS_DIR", str(folder))
    assert alexnet_weights().origin == "alexnet_features.safetensors"
    save_file(tensors, tmp_path / "mine.safetensors")
    assert alexnet_weights(str(tmp_path / "mine.safetensors")).origin == "mine.safetensors"
    assert alexnet_weights().notice.startswith("UNVERIFIED WEIGHTS")


def test_another_network_is_refused_by_tensor(home: Path, tmp_path: Path) -> None:
    tensors = random_alexnet()
    tensors["features.3.weight"] = torch.zeros(7, 64, 5, 5)
    save_file(tensors, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"does not hold AlexNet: tensor features\.3\.weight has shape \(7, 64, 5, 5\)"):
        alexnet_weights(str(tmp_path / "other.safetensors"))


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("executed"),))  # type: ignore[return-value]


def test_a_pickle_is_not_executed(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"features.0.weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(InputError, match="cannot be read as weights"):
        alexnet_weights(str(tmp_path / "evil.pth"))
    assert not (tmp_path / "executed").exists()


def test_missing_file(home: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.pth does not exist"):
        alexnet_weights(str(tmp_path / "gone.pth"))


@pytest.mark.real_data
def test_the_real_weights_are_known(home: Path, real_data: Path) -> None:
    found = alexnet_weights(str(real_data / "weights" / "alexnet_features.safetensors"))
    assert found.notice == ""
