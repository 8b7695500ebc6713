"""Pre-trained weights: an explicit file, ``MEDFEAT_WEIGHTS_DIR``, torch's cache, a download."""

import math
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from data_contracts.errors import InputError
from data_contracts.records.notices import RANDOM_WEIGHTS, UNVERIFIED_WEIGHTS
from resources.store.atomic_file import file_sha256

if TYPE_CHECKING:
    from torch import Tensor

    from methods.features.variants import Variant

Result = TypeVar("Result")

ALEXNET_FILE = "alexnet-owt-7be5be79.pth"
ALEXNET_URL = f"https://download.pytorch.org/models/{ALEXNET_FILE}"
"""Repeated from torchvision, which takes four seconds to import."""
HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,})\.pth$")
"""Start of a file's SHA-256 in the names of torch's published weights."""
DOWNLOAD_TIMEOUT_SECONDS = 15
"""Maximum wait for a server, in seconds."""
NO_DOWNLOAD_SECONDS = 600
"""Pause after a failed download, in seconds, so that an offline machine waits only once."""

_last_failure = -math.inf


class WeightsMissingError(InputError):
    """No weights of a network were found."""


@dataclass(frozen=True)
class Weights:
    """A network's weights, or AlexNet's convolutional layers alone.

    Attributes:
        tensors: state dict in the names of the network's library.
        sha256: of the file, or of the tensors where they did not come in one.
        origin: where they came from, for the report.
        notice: what a reader of the results must know, "" where they are the published ones.
    """

    tensors: Mapping[str, "Tensor"]
    sha256: str
    origin: str
    notice: str


def alexnet_weights(source: str = "auto") -> Weights:
    """Return the weights of AlexNet's convolutional layers.

    Args:
        source: "auto", "random", or a .safetensors or .pth file.

    Raises:
        WeightsMissingError: "auto" found nothing.
        InputError: the file cannot be read, or it holds another network.
    """
    from methods.features import frozen_network, variants

    if source == "random":
        tensors = frozen_network.random_alexnet()
        return Weights(
            tensors,
            frozen_network.tensors_digest(tensors),
            "random",
            RANDOM_WEIGHTS.says("AlexNet was not pre-trained"),
        )
    how_to_get = (
        f"Put torchvision's {ALEXNET_FILE} (or a .safetensors of it) into a folder and set "
        "MEDFEAT_WEIGHTS_DIR to it, name the file with --set weights=FILE, or ask for "
        "--weights random (tables then say RANDOM WEIGHTS)"
    )
    path = _torchvision_file("alexnet", "AlexNet", source, (ALEXNET_URL,), how_to_get)
    stored = _read(path, how_to_get)
    if variant := variants.variant_of(stored):
        return _of_variant(variant, stored, path)
    try:
        tensors = frozen_network.alexnet_convolutions(stored)
    except frozen_network.WrongWeightsError as error:
        raise InputError(f"{path} does not hold AlexNet: {error}", how_to_get) from error
    known = frozen_network.tensors_digest(tensors) == frozen_network.ALEXNET_IMAGENET_DIGEST
    notice = (
        ""
        if known
        else UNVERIFIED_WEIGHTS.says(f"{path.name} is not torchvision's AlexNet for ImageNet")
    )
    return Weights(tensors, file_sha256(path), path.name, notice)


def network_weights(name: str, source: str = "auto") -> Weights:
    """Return the weights of any network; ``load_tensors`` checks whether they fit it.

    "auto" takes the largest file in ``MEDFEAT_WEIGHTS_DIR`` that is named after the network, so
    that a file of all layers precedes one of some: for torchvision's networks NAME, NAME-anything,
    NAME_features or torchvision's file name, for timm's NAME or NAME.anything, as .safetensors or
    .pth ("vgg19_bn.pth" belongs to another network than "vgg19.pth"). Next come .safetensors files
    of any name whose tensors are of a variant of the network (``methods.features.variants``), then
    an installed package that ships them, then torch's hub cache and a download by torchvision or
    timm, each for its own networks.

    Args:
        name: of torchvision or timm, see ``methods.features.networks.library_of``.
        source: "auto", "random", or a .safetensors or .pth file.

    Raises:
        WeightsMissingError: "auto" found nothing.
        InputError: unknown network, or the file cannot be read.
    """
    from methods.features import frozen_network, networks, variants

    try:
        library, theirs = networks.library_of(name)
    except networks.UnknownNetworkError as error:
        raise InputError(str(error), "Name a network of torchvision.models or of timm") from None
    if source == "random":
        tensors = networks.new_network(name).state_dict()
        return Weights(
            tensors,
            frozen_network.tensors_digest(tensors),
            "random",
            RANDOM_WEIGHTS.says(f"{name} was not pre-trained"),
        )
    if library == "timm":
        return _timm_weights(theirs, source)
    urls, own = _torchvision_urls(theirs), _known(theirs)
    how_to_get = (
        f"Put torchvision's {_file_of(urls[0])}, or a .safetensors of it called "
        f"{theirs}.safetensors, into a folder and set MEDFEAT_WEIGHTS_DIR to it, or name a file in "
        "the settings" + (f"; the tensors of {own} are known, too (docs/studies.md)" if own else "")
    )
    path = _torchvision_file(theirs, theirs, source, urls, how_to_get)
    tensors, sha256 = _read(path, how_to_get), file_sha256(path)
    if variant := variants.variant_of(tensors):
        return _of_variant(variant, tensors, path)
    known = any(sha256.startswith(match[1]) for url in urls if (match := HASH_IN_NAME.search(url)))
    if not known and theirs in frozen_network.IMAGENET_DIGESTS:
        known = frozen_network.tensors_digest(tensors) in frozen_network.IMAGENET_DIGESTS[theirs]
    notice = (
        ""
        if known
        else UNVERIFIED_WEIGHTS.says(f"{path.name} is not torchvision's {theirs} for ImageNet")
    )
    return Weights(tensors, sha256, path.name, notice)


def _known(network: str) -> str:
    """Return the titles of the variants of a network, in words; "" where there are none."""
    from methods.features.variants import VARIANTS

    return " and ".join(variant.title for variant in VARIANTS if variant.is_called(network))


def _of_variant(variant: "Variant", tensors: Mapping[str, "Tensor"], path: Path) -> Weights:
    """Return weights that their tensors tell to be of a variant of the literature."""
    notice = (
        ""
        if variant.is_published(tensors)
        else UNVERIFIED_WEIGHTS.says(f"{path.name} is not a known file of {variant.title}")
    )
    return Weights(tensors, file_sha256(path), path.name, notice)


def _torchvision_urls(name: str) -> tuple[str, ...]:
    """Return the addresses of torchvision's weights of a network, its default first.

    Weights that need another normalisation than the default's are left out.
    """
    import torchvision

    def normalisation(weights: Any) -> tuple[float, ...]:
        transforms = weights.transforms()
        return (*transforms.mean, *transforms.std)

    members = torchvision.models.get_model_weights(name)
    default = members.DEFAULT
    rest = [
        member
        for member in members
        if member is not default and normalisation(member) == normalisation(default)
    ]
    return tuple(member.url for member in (default, *rest))


def _timm_weights(name: str, source: str) -> Weights:
    from methods.features.variants import in_known_names, variant_of

    how_to_get = (
        f"Put {name}.safetensors in timm's names into a folder and set MEDFEAT_WEIGHTS_DIR to it, "
        "or name a file"
    )
    stem = re.compile(rf"{re.escape(name)}(\..+)?")
    path = _given(source, how_to_get) or _in_folder(name, stem, ()) or packaged_weights(name)
    if path is not None:
        tensors = in_known_names(_read(path, how_to_get))
        if variant := variant_of(tensors):
            return _of_variant(variant, tensors, path)
        notice = UNVERIFIED_WEIGHTS.says(f"{path.name} cannot be told to be timm's {name}")
        return Weights(tensors, file_sha256(path), path.name, notice)
    import timm
    import torch
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

    repository = timm.get_pretrained_cfg_value(name, "hf_hub_id")
    if not repository:
        raise WeightsMissingError(
            f"timm has no pre-trained weights of {name} on the hub, and none were found "
            f"{_where_searched()}",
            how_to_get,
        )

    def fetch() -> str:
        # the download alone tries for a minute
        HfApi().model_info(repository, timeout=DOWNLOAD_TIMEOUT_SECONDS)
        return hf_hub_download(repository, "model.safetensors")

    cached = try_to_load_from_cache(repository, "model.safetensors")
    file = (
        cached
        if isinstance(cached, str)
        else _downloaded(fetch, f"timm/{name}", "in the hub's cache", how_to_get)
    )
    with torch.random.fork_rng(devices=[]):  # timm initialises the network first
        own_file = {"file": file, "custom_load": False}
        network = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=own_file)
    return Weights(network.state_dict(), file_sha256(Path(file)), repository, "")


def packaged_weights(network: str) -> Path | None:
    """Return the weights file of a network that an installed package ships, or None.

    The package is not imported, only its folder is looked up.
    """
    from methods.features.variants import VARIANTS

    for variant in VARIANTS:
        if variant.package and variant.is_called(network):
            spec = find_spec(variant.package)
            for folder in (spec and spec.submodule_search_locations) or ():
                for path in sorted(Path(folder).glob("models/*.pth")):
                    return path
    return None


def _given(source: str, how_to_get: str) -> Path | None:
    if source == "auto":
        return None
    path = Path(source).expanduser()
    if not path.is_file():
        raise InputError(f"the weights file {path} does not exist", how_to_get)
    return path


def _in_folder(network: str, stem: re.Pattern[str], names: tuple[str, ...]) -> Path | None:
    """Return the largest file of a network in ``MEDFEAT_WEIGHTS_DIR``, or None.

    Files that are named after it come first, then .safetensors files of any name whose tensors tell
    that they are a variant of it.

    Args:
        network: name of the network.
        stem: matches the whole name without the suffix.
        names: whole file names that match too.
    """
    folder = os.environ.get("MEDFEAT_WEIGHTS_DIR")
    if not folder:
        return None
    files = [
        path
        for path in Path(folder).glob("*")
        if path.suffix in (".safetensors", ".pth") and path.is_file()
    ]
    ours = [path for path in files if stem.fullmatch(path.stem) or path.name in names]
    if not ours:
        ours = [path for path in files if _is_variant_of(network, path)]
    return min(ours, key=lambda path: (-path.stat().st_size, path.name), default=None)


def _is_variant_of(network: str, path: Path) -> bool:
    """Return whether the tensors of a .safetensors file are of a variant of a network."""
    from safetensors import SafetensorError, safe_open

    from methods.features.variants import variant_of

    if path.suffix != ".safetensors":
        return False
    try:
        with safe_open(path, framework="pt") as file:
            variant = variant_of(_StoredTensors(file))
    except (SafetensorError, OSError):  # other files of the folder are not asked for
        return False
    return variant is not None and variant.is_called(network)


class _StoredTensors(Mapping[str, "Tensor"]):
    """The tensors of an open .safetensors file, each read when it is asked for."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._names = frozenset(file.keys())

    def __getitem__(self, name: str) -> "Tensor":
        if name not in self._names:
            raise KeyError(name)
        tensor: Tensor = self._file.get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _torchvision_file(
    name: str, title: str, source: str, urls: tuple[str, ...], how_to_get: str
) -> Path:
    stem = re.compile(rf"{re.escape(name)}(_features)?(-.*)?")
    files = tuple(_file_of(url) for url in urls)
    path = _given(source, how_to_get) or _in_folder(name, stem, files)
    if path is not None:
        return path
    import torch

    cached = Path(torch.hub.get_dir()) / "checkpoints" / _file_of(urls[0])
    if cached.is_file():
        return cached

    def fetch() -> Path:
        cached.parent.mkdir(parents=True, exist_ok=True)
        match = HASH_IN_NAME.search(urls[0])
        torch.hub.download_url_to_file(
            urls[0], str(cached), hash_prefix=match[1] if match else None, progress=False
        )
        return cached

    return _downloaded(fetch, title, "in torch's cache", how_to_get)


def _file_of(url: str) -> str:
    return url.rsplit("/", 1)[1]


def _where_searched() -> str:
    folder = os.environ.get("MEDFEAT_WEIGHTS_DIR")
    return f"in MEDFEAT_WEIGHTS_DIR ({folder})" if folder else "(MEDFEAT_WEIGHTS_DIR is not set)"


def _downloaded(fetch: Callable[[], Result], title: str, cache: str, how_to_get: str) -> Result:
    """Return the result of ``fetch``, unless a download failed a short while ago.

    Raises:
        WeightsMissingError: a download failed now or a short while ago.
    """
    global _last_failure
    missing = (
        f"no {title} weights were found {_where_searched()} nor {cache}, and the download failed"
    )
    if time.monotonic() - _last_failure < NO_DOWNLOAD_SECONDS:
        raise WeightsMissingError(missing, how_to_get)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)
    try:
        return fetch()
    except Exception as error:  # each library's client has its own
        _last_failure = time.monotonic()
        raise WeightsMissingError(missing, how_to_get) from error
    finally:
        socket.setdefaulttimeout(before)


def _read(path: Path, how_to_get: str) -> dict[str, "Tensor"]:
    """Return the tensors of a weights file or of a training checkpoint.

    A checkpoint may hold them under ``state_dict``, and named as by ``DataParallel``.

    Raises:
        InputError: the file cannot be read as weights.
    """
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        stored = torch.load(path, map_location="cpu", weights_only=True)
        tensors = stored.get("state_dict", stored).items()
        return {
            name.removeprefix("module."): tensor
            for name, tensor in tensors
            if isinstance(tensor, torch.Tensor)
        }
    except Exception as error:  # whatever a reader raises on foreign bytes
        raise InputError(
            f"{path} cannot be read as weights ({type(error).__name__})", how_to_get
        ) from error
