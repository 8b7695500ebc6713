from __future__ import annotations

import hashlib
import math
import urllib.error
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file

from data_contracts.errors import InputError
from methods.features.frozen_network import IMAGENET_DIGESTS, random_alexnet, tensors_digest
from methods.features.networks import new_network
from resources import weights
from resources.weights import WeightsMissingError, alexnet_weights, network_weights


@pytest.fixture(autouse=True)
def no_failure_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_last_failure", -math.inf)


@pytest.fixture
def folder(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """MEDFEAT_WEIGHTS_DIR."""
    path = tmp_path / "weights"
    path.mkdir()
    monkeypatch.setenv("MEDFEAT_WEIGHTS_DIR", str(path))
    return path


def test_nothing_found_says_how_to_get_them(home: Path) -> None:
    with pytest.raises(
        WeightsMissingError,
        match=r"no AlexNet weights were found.*MEDFEAT_WEIGHTS_DIR is not set.*--weights random",
    ):
        alexnet_weights()


def test_random_is_shouted_and_seeded(home: Path) -> None:
    first, second = alexnet_weights("random"), alexnet_weights("random")
    assert first.notice.startswith("RANDOM WEIGHTS")
    assert first.sha256 == second.sha256


def test_the_order_is_file_then_folder_then_cache(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    with pytest.raises(
        InputError,
        match=r"does not hold AlexNet: tensor features\.3\.weight has shape \(7, 64, 5, 5\)",
    ):
        alexnet_weights(str(tmp_path / "other.safetensors"))


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("executed"),))  # type: ignore[return-value]


def test_a_pickle_is_not_executed(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"features.0.weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(InputError, match="cannot be read as weights"):
        alexnet_weights(str(tmp_path / "evil.pth"))
    assert not (tmp_path / "executed").exists()


def test_missing_file(home: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.pth does not exist"):
        alexnet_weights(str(tmp_path / "gone.pth"))


def test_one_failed_download_is_enough_for_a_while(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def refuse(url: str, *_: object, **__: object) -> None:
        tried.append(url.rsplit("/", 1)[1])
        raise urllib.error.URLError("offline")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    for load in (
        alexnet_weights,
        lambda: network_weights("googlenet"),
        lambda: network_weights("timm/test_vit"),
    ):
        with pytest.raises(WeightsMissingError, match="the download failed"):
            load()
    assert tried == ["alexnet-owt-7be5be79.pth"]
    monkeypatch.setattr(weights, "_last_failure", weights._last_failure - 601)
    with pytest.raises(
        WeightsMissingError,
        match=r"no googlenet weights.*Put torchvision's googlenet-1378be20\.pth.*tensors of BVLC",
    ):
        network_weights("googlenet")
    assert tried == ["alexnet-owt-7be5be79.pth", "googlenet-1378be20.pth"]


def test_a_download_is_checked_against_its_name(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = {"conv1.weight": torch.ones(2)}

    def fetch(url: str, target: str, hash_prefix: str, progress: bool) -> None:
        assert (url, hash_prefix) == (
            "https://download.pytorch.org/models/resnet18-f37072fd.pth",
            "f37072fd",
        )
        torch.save(tensors, target)

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    found = network_weights("resnet18")
    assert (found.origin, set(found.tensors)) == ("resnet18-f37072fd.pth", {"conv1.weight"})
    assert (
        found.notice
        == "UNVERIFIED WEIGHTS: resnet18-f37072fd.pth is not torchvision's resnet18 for ImageNet"
    )
    monkeypatch.setattr(torch.hub, "download_url_to_file", None)
    assert network_weights("resnet18").sha256 == found.sha256  # out of the cache


@pytest.mark.parametrize(
    ("network", "file", "found"),
    [
        ("vgg19", "vgg19.pth", True),
        ("vgg19", "vgg19-dcbb9e9d.pth", True),
        ("vgg19", "vgg19_features.pth", True),
        ("vgg19", "vgg19_bn.pth", False),
        ("vgg19", "vgg19_bn-c79401a0.pth", False),
        ("vgg19", "vgg19_features_block1-3.pth", False),
        ("vgg19", "vgg190.pth", False),
        ("vgg19", "my_vgg19.pth", False),
        ("vgg19", "vgg19.txt", False),
        ("vgg19_bn", "vgg19_bn-c79401a0.pth", True),
        ("inception_v3", "inception_v3_google-0cc3c7bd.pth", True),
        ("resnet50", "resnet50.a1_in1k.pth", False),
        ("timm/resnet50", "resnet50.a1_in1k.pth", True),
        ("timm/resnet50", "resnet50_gn.a1h_in1k.pth", False),
        ("timm/resnet50", "resnet50-0676ba61.pth", False),
    ],
)
def test_files_that_are_a_networks_own(folder: Path, network: str, file: str, found: bool) -> None:
    torch.save({"a": torch.ones(1)}, folder / file)
    weights._last_failure = math.inf  # no download is tried
    if found:
        assert network_weights(network).origin == file
    else:
        with pytest.raises(WeightsMissingError):
            network_weights(network)


def test_a_whole_network_goes_before_a_part(folder: Path) -> None:
    # first by name
    save_file({"features.0.weight": torch.ones(9)}, folder / "vgg19-part.safetensors")
    save_file(
        {"features.0.weight": torch.ones(9), "classifier.0.weight": torch.ones(9)},
        folder / "vgg19.safetensors",
    )
    assert network_weights("vgg19").origin == "vgg19.safetensors"
    assert (
        network_weights("vgg19", str(folder / "vgg19-part.safetensors")).origin
        == "vgg19-part.safetensors"
    )


def test_a_file_of_the_published_hash_needs_no_notice(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"a": torch.ones(1)}, folder / "resnet18.pth")
    sha256 = hashlib.sha256((folder / "resnet18.pth").read_bytes()).hexdigest()
    assert network_weights("resnet18").notice.startswith(
        "UNVERIFIED WEIGHTS: resnet18.pth is not torchvision's resnet18"
    )
    monkeypatch.setattr(
        weights, "_torchvision_urls", lambda name: (f"https://x/{name}-{sha256[:8]}.pth",)
    )
    assert network_weights("resnet18").notice == ""
    assert network_weights("resnet18").sha256 == sha256


def test_weights_that_want_another_normalisation_are_not_published_for_ours() -> None:
    assert [url.rsplit("/", 1)[1] for url in weights._torchvision_urls("vgg16")] == [
        "vgg16-397923af.pth"
    ]
    files = [url.rsplit("/", 1)[1] for url in weights._torchvision_urls("resnet50")]
    assert files == ["resnet50-11ad3fa6.pth", "resnet50-0676ba61.pth"]


def test_a_variant_is_found_by_its_tensors_whatever_its_file_is_called(folder: Path) -> None:
    weights._last_failure = math.inf  # no download is tried
    kernels = {
        "conv1.weight": torch.zeros(96, 3, 11, 11),
        "conv2.weight": torch.zeros(256, 48, 5, 5),
    }
    save_file(kernels, folder / "my network.safetensors")
    (folder / "another.safetensors").write_bytes(b"no weights")
    for found in (network_weights("alexnet"), alexnet_weights()):
        assert found.origin == "my network.safetensors"
        assert found.notice.startswith("UNVERIFIED WEIGHTS: my network.safetensors is not a known")
        assert set(found.tensors) == set(kernels)
    with pytest.raises(WeightsMissingError):
        network_weights("googlenet")


def test_checkpoints_of_a_training_are_read(folder: Path) -> None:
    torch.save(
        {"epoch": 3, "state_dict": {"module.fc.bias": torch.ones(2)}}, folder / "resnet18.pth"
    )
    assert set(network_weights("resnet18").tensors) == {"fc.bias"}
    torch.save([1, 2], folder / "resnet18.pth")
    with pytest.raises(
        InputError, match=r"resnet18\.pth cannot be read as weights \(AttributeError\)"
    ):
        network_weights("resnet18")


def test_a_pickle_of_any_network_is_not_executed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for name in ("resnet18", "timm/test_vit"):
        file = folder / f"{name.removeprefix('timm/')}.pth"
        torch.save({"a": Evil()}, file)
        with pytest.raises(InputError, match="cannot be read as weights"):
            network_weights(name)
    assert not (folder / "executed").exists()


def test_random_networks_say_so(home: Path) -> None:
    found = network_weights("squeezenet1_1", "random")
    assert found.notice == "RANDOM WEIGHTS: squeezenet1_1 was not pre-trained"
    assert found.origin == "random"
    assert found.sha256 == tensors_digest(new_network("squeezenet1_1").state_dict())


def test_an_unknown_network(home: Path) -> None:
    with pytest.raises(
        InputError, match=r"has a network squeezenet9.*Name a network of torchvision"
    ):
        network_weights("squeezenet9")


def test_the_hubs_cache_is_read_without_asking_the_hub(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "hub" / "models--timm--test_vit.r160_in1k"
    snapshot = repository / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    given = {
        name: tensor.contiguous()
        for name, tensor in new_network("timm/test_vit", seed=5).state_dict().items()
    }
    save_file(given, snapshot / "model.safetensors")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    before = torch.random.get_rng_state()
    found = network_weights("timm/test_vit")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert (found.origin, found.notice) == ("timm/test_vit.r160_in1k", "")
    assert found.sha256 == hashlib.sha256((snapshot / "model.safetensors").read_bytes()).hexdigest()
    assert set(found.tensors) == set(given)
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in given.items())


def test_a_network_that_timm_has_no_weights_of(home: Path) -> None:
    assert not timm.is_model_pretrained("mixer_s32_224")
    with pytest.raises(
        WeightsMissingError, match="timm has no pre-trained weights of mixer_s32_224"
    ):
        network_weights("mixer_s32_224")
    assert weights._last_failure == -math.inf


@pytest.mark.real_data
def test_the_real_weights_are_known(
    home: Path, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = alexnet_weights(str(real_data / "weights" / "alexnet_features.safetensors"))
    assert found.notice == ""
    monkeypatch.setenv("MEDFEAT_WEIGHTS_DIR", str(real_data / "weights"))
    assert network_weights("alexnet").origin == "alexnet_features.safetensors"
    assert network_weights("alexnet").notice == ""
    whole = network_weights("squeezenet1_1")
    assert (whole.origin, whole.notice) == ("squeezenet1_1.safetensors", "")
    part = network_weights(
        "squeezenet1_1", str(real_data / "weights" / "squeezenet1_1_features.safetensors")
    )
    assert part.notice == ""
    features = {
        name: tensor for name, tensor in whole.tensors.items() if name.startswith("features.")
    }
    assert tensors_digest(features) == tensors_digest(part.tensors)
    assert tensors_digest(part.tensors) in IMAGENET_DIGESTS["squeezenet1_1"]
    for network, file in (
        ("googlenet", "googlenet_bvlc"),
        ("vgg16", "vgg16_features"),
        ("vgg19", "vgg19_features_block1-3"),
        ("resnet50", "resnet50_caffe_to_layer3"),
        ("efficientnet_lite0", "efficientnet_lite0"),
        ("timm/tf_efficientnet_lite0", "efficientnet_lite0"),
    ):
        found = network_weights(network)
        assert (found.origin, found.notice) == (f"{file}.safetensors", "")


def test_weights_of_an_installed_package_are_the_published_ones(home: Path) -> None:
    for name in ("efficientnet_lite0", "timm/tf_efficientnet_lite0"):
        found = network_weights(name)
        assert (found.origin, found.notice) == ("efficientnet-lite0-57934424.pth", "")
        assert "conv_stem.weight" in found.tensors
    assert weights.packaged_weights("efficientnet_b0") is None
