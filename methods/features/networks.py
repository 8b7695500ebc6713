"""Any pre-trained network of torchvision or timm by name, up to any of its layers.

torchvision's classification networks are asked for by their name ("resnet50"), timm's by
"timm/NAME" or, where torchvision has none of that name, by the name alone. timm is an optional
extra. Both take seconds to import, so that happens inside functions.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from methods.features.frozen_network import ImageNetwork, WrongWeightsError

GLOBAL_AVERAGE = {"pool5": "avgpool"}
"""Caffe's name of the global average before the last layer."""


def _vgg_aliases(pools: tuple[int, ...]) -> dict[str, str]:
    """Return Keras's names of the layers of a VGG, whose max-pools have these indices."""
    blocks = {f"block{i}_pool": f"features.{pool}" for i, pool in enumerate(pools, start=1)}
    return {**blocks, "fc1": "classifier.1", "fc2": "classifier.4"}


LAYER_ALIASES = {
    "alexnet": {"conv5": "features.12", "fc6": "classifier.2", "fc7": "classifier.5"},
    "caffe_alexnet": {"conv5": "pool5", "fc6": "relu6", "fc7": "relu7"},
    "googlenet": GLOBAL_AVERAGE,
    "bvlc_googlenet": GLOBAL_AVERAGE,
    "resnet50": GLOBAL_AVERAGE,
    "caffe_resnet50": GLOBAL_AVERAGE,
    "vgg16": _vgg_aliases((4, 9, 16, 23, 30)),
    "oxford_vgg16": _vgg_aliases((4, 9, 16, 23, 30)),
    "vgg19": _vgg_aliases((4, 9, 18, 27, 36)),
    "oxford_vgg19": _vgg_aliases((4, 9, 18, 27, 36)),
}
"""Layer names of the literature and their paths: conv5 after ReLU and max-pool, fc6 and fc7 (VGG:
fc1 and fc2) after ReLU, pool5 the global average, block1_pool to block5_pool the max-pools of a
VGG. Networks of torchvision, and the variants of :mod:`methods.features.variants`."""

DENSENET_OLD_NAME = re.compile(r"(.*denselayer\d+\.(?:norm|conv))\.([12]\..*)")
"""Names in torchvision's files of DenseNet that differ in its code, ``norm.1`` for ``norm1``."""
INCEPTION = {"init_weights": True, "aux_logits": False, "transform_input": True}
"""Arguments with which torchvision builds these networks for its weights, without the heads that
only its own training used."""
COUNTER = ".num_batches_tracked"
"""End of the names of batch normalisation's counters, which older files lack and nothing reads."""
LISTED = 8
"""Maximum layers that an error message names."""


class UnknownNetworkError(ValueError):
    """No library has a network of that name.

    Neither torchvision nor timm, or timm would be needed and is not installed.
    """


class UnknownLayerError(ValueError):
    """The network has no such layer, or its output is not one row of features for each image."""


@dataclass(frozen=True)
class NetworkInput:
    """Normalisation and size of the images that a network expects.

    Attributes:
        size: height and width in pixels, or None where any will do.
        mean: of each RGB channel, on the scale 0..1; subtracted.
        std: of each RGB channel, on the scale 0..1; divided by.
    """

    size: int | None
    mean: tuple[float, ...]
    std: tuple[float, ...]


def library_of(name: str) -> tuple[Literal["torchvision", "timm"], str]:
    """Return the library that has the network ``name``, and its name there.

    Raises:
        UnknownNetworkError: neither has it, or timm would be needed and is not installed.
    """
    import torchvision

    available = torchvision.models.list_models(module=torchvision.models)
    if name in available:
        return "torchvision", name
    theirs = name.removeprefix("timm/")
    try:
        import timm
    except ImportError:
        close = _close(name, available)
        raise UnknownNetworkError(
            f"torchvision has no network {name}{close}, and timm, which may, is not installed (pip "
            "install 'medfeat[timm]')"
        ) from None
    if timm.is_model(theirs):
        try:
            timm.get_pretrained_cfg(theirs)
        except RuntimeError:  # the part after the dot
            architecture = theirs.partition(".")[0]
            tagged = timm.list_models(f"{architecture}.*", pretrained=True)
            raise UnknownNetworkError(
                f"timm has no weights {theirs}, only {', '.join(tagged)}"
            ) from None
        return "timm", theirs
    close = _close(theirs, sorted({*available, *timm.list_models()}))
    raise UnknownNetworkError(f"neither torchvision nor timm has a network {name}{close}")


def _close(name: str, available: list[str]) -> str:
    """Suggest names that are close to ``name``, as the end of an error message."""
    names = difflib.get_close_matches(name, available, n=LISTED)
    return f" (close: {', '.join(names)})" if names else ""


def new_network(name: str, seed: int = 0) -> nn.Module:
    """Build the network ``name`` with fresh weights, for evaluation and channels last.

    GoogLeNet and Inception v3 come as torchvision's weights want them, without their auxiliary
    heads.

    Args:
        name: of torchvision or timm, see :func:`library_of`.
        seed: of the initial weights; the global random state is left alone.

    Raises:
        UnknownNetworkError: see :func:`library_of`.
    """
    library, theirs = library_of(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _timm_network(theirs) if library == "timm" else _torchvision_network(theirs)
    return network.eval().to(memory_format=torch.channels_last)


def _timm_network(name: str) -> nn.Module:
    import timm

    network: nn.Module = timm.create_model(name, pretrained=False)
    return network


def _torchvision_network(name: str) -> nn.Module:
    import torchvision

    settings: dict[str, Any] = INCEPTION if name in ("googlenet", "inception_v3") else {}
    if name.startswith("vit_"):
        settings = {"image_size": network_input(name).size}
    network: nn.Module = torchvision.models.get_model(name, weights=None, **settings)
    return network


def network_input(name: str) -> NetworkInput:
    """Return the images that the network ``name`` expects.

    By torchvision's transforms for its default weights, or timm's data configuration.

    Raises:
        UnknownNetworkError: see :func:`library_of`.
    """
    library, theirs = library_of(name)
    if library == "timm":
        import timm

        data: Any = timm.get_pretrained_cfg(theirs)
        return NetworkInput(
            data.input_size[-1] if data.fixed_input_size else None,
            tuple(data.mean),
            tuple(data.std),
        )
    import torchvision

    weights = torchvision.models.get_model_weights(theirs).DEFAULT
    transforms = weights.transforms()
    fixed = theirs.startswith(("vit_", "maxvit_"))  # the rest convolve, or pad their windows
    return NetworkInput(
        weights.meta["min_size"][0] if fixed else None,
        tuple(transforms.mean),
        tuple(transforms.std),
    )


def load_tensors(network: nn.Module, tensors: Mapping[str, Tensor]) -> frozenset[str]:
    """Load the tensors that belong to ``network``; the rest of either is left as it is.

    Returns:
        names of the network's parameters and buffers that ``tensors`` does not hold, but for the
        counters of batch normalisation, which older files lack and nothing reads.

    Raises:
        WrongWeightsError: a tensor has another shape, or none is one of the network's; nothing was
            loaded then.
    """
    renamed = {DENSENET_OLD_NAME.sub(r"\1\2", name): tensor for name, tensor in tensors.items()}
    own = network.state_dict()
    fitting = {name: tensor for name, tensor in renamed.items() if name in own}
    if not fitting:
        raise WrongWeightsError(
            f"none of its tensors ({', '.join(sorted(renamed)[:LISTED])}, ...) is one of the "
            "network's"
        )
    for name, tensor in fitting.items():
        if tensor.shape != own[name].shape:
            raise WrongWeightsError(
                f"tensor {name} has shape {tuple(tensor.shape)}, the network's has "
                f"{tuple(own[name].shape)}"
            )
    network.load_state_dict(fitting, strict=False)
    return frozenset(name for name in own if name not in fitting and not name.endswith(COUNTER))


class _ReachedError(Exception):
    """The tapped layer has been computed; carries its output past the rest of the network."""

    def __init__(self, output: object) -> None:
        super().__init__()
        self.output = output


def _stop(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
    """Raise the output of a layer as :class:`_ReachedError`, as a forward hook."""
    raise _ReachedError(output)


class _UsedTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Record which parameters and buffers of a network take part in a computation.

    Hooks would miss the parameters that a module reads from a part which it never calls, as
    multi-head attention does.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._unused = {id(tensor) for tensor in (*network.parameters(), *network.buffers())}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        self._unused -= {id(leaf) for leaf in tree_leaves((args, kwargs))}
        return func(*args, **(kwargs or {}))

    def __contains__(self, tensor: Tensor) -> bool:
        return id(tensor) not in self._unused


class LayerTap(ImageNetwork):
    """Network up to one layer; nothing after the layer is computed or kept.

    Takes ``network`` over: parts whose parameters the layer does not need are replaced by
    identities. It starts in evaluation mode; in training mode gradients flow to what is left. Where
    a module runs more than once, its first output counts.

    Args:
        network: with its weights loaded, on the CPU or the device that is to compute.
        layer: a module's path as in ``named_modules()`` ("layer4", "blocks.11"), or an alias of
            :data:`LAYER_ALIASES`.
        wants: see :func:`network_input`; images of another size are resized to its size (bilinear,
            antialiased).
        missing: names of tensors of the network that were not loaded, see :func:`load_tensors`.
        name: of the network, for its aliases and for messages.

    Raises:
        UnknownLayerError: no such layer, it does not run when the network does, or its output is
            neither maps, nor tokens of a square grid, nor a vector for each image.
        WrongWeightsError: the layer's output depends on a tensor of ``missing``.
    """

    def __init__(
        self,
        network: nn.Module,
        layer: str,
        wants: NetworkInput,
        missing: frozenset[str] = frozenset(),
        name: str = "the network",
    ) -> None:
        super().__init__(wants.mean, wants.std)
        self._size = wants.size
        self.network = network
        aliases = LAYER_ALIASES.get(name, {})
        modules = dict(network.named_modules(remove_duplicate=False))
        path = aliases.get(layer, layer)
        if not path or path not in modules:
            top = [*aliases, *(child for child, _ in network.named_children())]
            raise UnknownLayerError(
                f"{name} has no layer {layer!r}: there are {', '.join(top)} and their "
                f"parts{_close(path, list(modules))}"
            )
        modules[path].register_forward_hook(_stop)
        self.eval()
        used = _UsedTensors(network)
        device = next(network.parameters()).device
        with torch.no_grad(), used:
            output = self._tapped(
                torch.zeros(
                    1, wants.size or 227, wants.size or 227, 3, dtype=torch.uint8, device=device
                )
            )
        if output is None:
            raise UnknownLayerError(
                f"{name}'s layer {layer} is not run by itself: choose the layer that it is part of"
            )
        self._channels_last, self._prefix = _form(output, network, f"{name}'s layer {layer}")
        needed = [
            tensor_name
            for tensor_name, tensor in network.state_dict(keep_vars=True).items()
            if tensor_name in missing and tensor in used
        ]
        if needed:
            raise WrongWeightsError(
                f"{name}'s layer {layer} needs {_what_lacks(network, needed, missing)}"
            )
        _prune(network, used)

    def _tapped(self, images: Tensor) -> Any:
        """Compute the layer's output, or None where the layer does not run."""
        x = self.normalised(images, self._size)
        try:
            self.network(x)
        except _ReachedError as reached:
            return reached.output
        return None

    def forward(self, images: Tensor) -> Tensor:
        """Compute features, (N, H, W, 3) uint8 RGB -> (N, C, h, w) or (N, D) float32.

        Maps of 1 x 1 become vectors. The tokens of a transformer, (N, L, D), become maps (N, D, s,
        s) without those that stand for no part of the image (class, registers).
        """
        y: Tensor = self._tapped(images).to(torch.float32)
        if self._prefix is not None:
            side = math.isqrt(y.shape[1] - self._prefix)
            return y[:, self._prefix :].transpose(1, 2).reshape(len(y), -1, side, side)
        if self._channels_last:
            y = y.permute(0, 3, 1, 2)
        return y.flatten(1) if y.shape[2:] == (1, 1) else y


def _what_lacks(network: nn.Module, needed: list[str], missing: frozenset[str]) -> str:
    """Say which part of a network a file lacks, and with which of its layers it ends.

    ``needed`` and ``missing`` are names of tensors that a layer needs, and that the file lacks.
    """
    names = [name for name in network.state_dict() if not name.endswith(COUNTER)]
    part = needed[0].split(".")[0]
    whole = all(name in missing for name in names if name.split(".")[0] == part)
    before = [name for name in names[: names.index(needed[0])] if name not in missing]
    last = f": it ends with {before[-1].rpartition('.')[0]}" if before else ""
    return f"{part if whole else needed[0]}, which the file does not hold{last}"


def _form(output: object, network: nn.Module, layer: str) -> tuple[bool, int | None]:
    """Decide how to read the output of a layer for one square image.

    Returns whether channels come last, and the number of prefix tokens.

    The second is None where the output is not tokens.
    """
    shape = tuple(output.shape) if isinstance(output, Tensor) else ()
    if len(shape) == 3:
        # torchvision's have a class token
        for prefix in (int(getattr(network, "num_prefix_tokens", 1)), 0):
            patches = shape[1] - prefix
            if shape[0] == 1 and patches > 0 and math.isqrt(patches) ** 2 == patches:
                return False, prefix
    elif len(shape) in (2, 4) and shape[0] == 1:
        return len(shape) == 4 and shape[1] == shape[2] != shape[3], None
    what = f"shape {shape}" if shape else type(output).__name__
    raise UnknownLayerError(
        f"{layer} gives {what} for one image: neither maps, nor tokens of a square grid, nor a "
        "vector"
    )


def _prune(module: nn.Module, used: _UsedTensors) -> None:
    """Replace the parts of a module whose tensors are not used by identities."""
    for name, child in module.named_children():
        tensors = [*child.parameters(), *child.buffers()]
        if any(tensor in used for tensor in tensors):
            _prune(child, used)
        elif tensors:
            setattr(module, name, nn.Identity())
