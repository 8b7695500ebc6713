"""Finding the pre-trained weights: an explicit file, ``MEDFEAT_WEIGHTS_DIR``, torch's hub cache, torchvision's download."""

import os
import socket
import urllib.error
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data_contracts.errors import InputError
from resources.atomic_file import file_sha256

if TYPE_CHECKING:
    from torch import Tensor

ALEXNET_FILE = "alexnet-owt-7be5be79.pth"
DOWNLOAD_TIMEOUT_SECONDS = 15
HOW_TO_GET = (
    f"Put torchvision's {ALEXNET_FILE} (or a .safetensors of it) into a folder and set MEDFEAT_WEIGHTS_DIR to it, name the file "
    "with --set weights=FILE, or ask for --weights random (tables then say RANDOM WEIGHTS)"
)


@dataclass(frozen=True)
class Weights:
    """AlexNet's convolutional layers.

    Attributes:
        tensors: state dict in torchvision's names.
        sha256: of the file, or of the tensors where they are random.
        origin: where they came from, for the report.
        notice: what a reader of the results must know, "" where they are the known ImageNet weights.
    """

    tensors: Mapping[str, "Tensor"]
    sha256: str
    origin: str
    notice: str


def _read(path: Path) -> dict[str, "Tensor"]:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    import torch

    tensors: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return tensors


def _found(source: str) -> Path:
    if source != "auto":
        path = Path(source).expanduser()
        if not path.is_file():
            raise InputError(f"the weights file {path} does not exist", HOW_TO_GET)
        return path
    folder = os.environ.get("MEDFEAT_WEIGHTS_DIR")
    if folder:
        files = sorted(p for p in Path(folder).glob("alexnet*") if p.suffix in (".safetensors", ".pth"))
        if files:
            return files[0]
    import torch

    cached = Path(torch.hub.get_dir()) / "checkpoints" / ALEXNET_FILE
    return cached if cached.is_file() else _download()


def _download() -> Path:
    import torch
    import torchvision

    url = torchvision.models.AlexNet_Weights.IMAGENET1K_V1.url
    target = Path(torch.hub.get_dir()) / "checkpoints" / ALEXNET_FILE
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(target), hash_prefix="7be5be79", progress=False)
    except (OSError, urllib.error.URLError, RuntimeError) as error:
        where = os.environ.get("MEDFEAT_WEIGHTS_DIR")
        looked = f"in MEDFEAT_WEIGHTS_DIR ({where})" if where else "(MEDFEAT_WEIGHTS_DIR is not set)"
        raise InputError(
            f"no AlexNet weights were found {looked} nor in torch's cache, and the download failed", HOW_TO_GET
        ) from error
    finally:
        socket.setdefaulttimeout(before)
    return target


def alexnet_weights(source: str = "auto") -> Weights:
    """The weights that ``source`` names.

    Args:
        source: "auto", "random", or a .safetensors or .pth file.

    Raises:
        InputError: nothing found, the file cannot be read, or it holds another network.
    """
    from methods import backbones

    if source == "random":
        tensors = backbones.random_alexnet()
        return Weights(tensors, backbones.tensors_digest(tensors), "random", "RANDOM WEIGHTS: AlexNet was not pre-trained")
    path = _found(source)
    try:
        tensors = backbones.alexnet_convolutions(_read(path))
    except backbones.WrongWeightsError as error:
        raise InputError(f"{path} does not hold AlexNet: {error}", HOW_TO_GET) from error
    except Exception as error:  # whatever a reader raises on foreign bytes
        raise InputError(f"{path} cannot be read as weights ({type(error).__name__})", HOW_TO_GET) from error
    known = backbones.tensors_digest(tensors) == backbones.ALEXNET_IMAGENET_DIGEST
    notice = "" if known else f"UNVERIFIED WEIGHTS: {path.name} is not torchvision's AlexNet for ImageNet"
    return Weights(tensors, file_sha256(path), path.name, notice)
