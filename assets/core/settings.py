"""Settings that several assets have, each with its default and its help text.

Belongs here: the base of every asset's run config, and one mix-in for each setting that two or more
assets share. The docstring below a field is its help text in the web UI. A default that a function
of ``methods`` also has is taken from there.
"""

import re
import types
from dataclasses import fields
from functools import cache
from typing import Any, ClassVar, Literal, TypeVar, cast

import dagster as dg
from pydantic import (
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)

from data_contracts.errors import InputError
from data_contracts.records.feature_shard import FeatureDtype
from data_contracts.records.notices import TRANSDUCTIVE
from methods.imaging.preprocessing import PreprocessingSettings
from methods.settings import SVM_C, CaeSettings


class StageConfig(dg.Config):
    """Run config that every asset has."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    speed_only: ClassVar[frozenset[str]] = frozenset({"force"})
    """Fields that cannot change a result, and so are not part of an output's fingerprint."""

    force: bool = False
    """Compute again although nothing changed."""

    def __init__(self, **values: Any) -> None:
        """Raises InputError where a value is out of range."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            raise InputError(
                f"{name} is {first['input']}", first["msg"].replace("Input", "It", 1)
            ) from None

    def settings(self) -> dict[str, Any]:
        """The fields that decide the result."""
        return {k: v for k, v in self.model_dump(mode="json").items() if k not in self.speed_only}

    def notices(self) -> list[str]:
        """What these settings make a reader of any result know; every output of theirs has it."""
        return []


ConfigT = TypeVar("ConfigT", bound=StageConfig)


class SeedSetting(StageConfig):
    """The seed of everything that an asset draws at random."""

    seed: NonNegativeInt = 0
    """Seed of every random draw."""


class BootstrapSetting(StageConfig):
    """The number of bootstrap resamples behind an interval."""

    bootstrap_resamples: PositiveInt = 10_000
    """Number of bootstrap resamples behind each interval."""


class SvmSettings(StageConfig):
    """The linear SVM."""

    c: PositiveFloat = SVM_C
    """Weight of the loss of the SVM: the paper's regularisation parameter."""
    tolerance: PositiveFloat = 1e-5
    """The SVM stops at this gradient norm, relative to that at zero, and at this duality gap,
    relative to the objective."""


class DicomWindowSetting(StageConfig):
    """Which grey values of a DICOM image are shown."""

    voi: Literal["file", "full"] = PreprocessingSettings.voi
    """Grey values of DICOM: "file" takes the file's own window, "full" all of its range."""


class FeaturePrecisionSetting(StageConfig):
    """The stored precision of a network's features."""

    dtype: FeatureDtype = "float32"
    """Stored precision."""


class CodePrecisionSetting(StageConfig):
    """The stored precision of codes, which are sparse and bounded."""

    dtype: FeatureDtype = "float16"
    """Stored precision."""


class CaeTrainingSettings(SeedSetting):
    """A training of the auto-encoder; the names are those of `methods.settings.CaeSettings`."""

    epochs: PositiveInt = CaeSettings.epochs
    """Passes of the auto-encoder over its training images."""
    batch_size: PositiveInt = CaeSettings.batch_size
    """Images in a step of the auto-encoder's training."""
    learning_rate: PositiveFloat = CaeSettings.learning_rate
    """Initial learning rate of the auto-encoder, for a loss summed over an image."""
    momentum: float = Field(default=CaeSettings.momentum, ge=0, lt=1)
    """Momentum of SGD; Adam ignores it."""
    optimizer: Literal["sgd", "adam"] = CaeSettings.optimizer
    """Optimiser of the auto-encoder: "sgd" (the paper) or "adam"."""
    plateau_patience: NonNegativeInt = CaeSettings.plateau_patience
    """Epochs without a lower held-out error before the learning rate is divided by 10."""
    held_out_fraction: float = Field(default=CaeSettings.held_out_fraction, gt=0, lt=1)
    """Share of the training images that only measures the error, to find plateaus."""
    zero_bias: Literal["encoding", "never", "always"] = CaeSettings.zero_bias
    """When the biases are zero: "encoding" learns them and encodes without them (the paper),
    "never" also encodes with them, "always" learns none."""
    tied: bool = CaeSettings.tied
    """Let the decoder share the encoder's kernels."""
    decoder_activation: Literal["relu", "linear"] = CaeSettings.decoder_activation
    """Activation of the decoder: "relu" (the paper) or "linear"."""
    init_scale: Literal["least_squares", "kaiming"] = CaeSettings.init_scale
    """Scale of the initial kernels: fitted to one batch by least squares, or by their fan-in."""
    fit_on: Literal["train", "train+drops", "train+unlabelled", "all"] = "train"
    """Which images train the auto-encoder. "train" is the training images of the first load, so
    that a drop trains nothing anew; "train+drops" has those of drops as well. "all" includes test
    images (transductive); the report then says so."""

    def notices(self) -> list[str]:
        """Whether the auto-encoder has seen test images."""
        transductive = TRANSDUCTIVE.says(
            "test images, without their labels, were among those that the "
            "auto-encoder was fitted on (fit_on=all)"
        )
        return [*super().notices(), *([transductive] if self.fit_on == "all" else [])]

    def cae_settings(self, filters: int, seed: int) -> CaeSettings:
        """The settings of a training of so many filters with this seed."""
        values = self.model_dump() | {"filters": filters, "seed": seed}
        return CaeSettings(**{field.name: values[field.name] for field in fields(CaeSettings)})


class CodePoolSetting(StageConfig):
    """How the maps of the auto-encoder become its code."""

    pool: Literal["max", "mean"] = "max"
    """Pooling of the auto-encoder's maps, over 2 x 2."""


class ForwardBatchSetting(StageConfig):
    """The number of images that a network computes at once."""

    speed_only: ClassVar[frozenset[str]] = frozenset({"force", "batch_size"})

    batch_size: PositiveInt = 64
    """Images in a forward pass; changes speed, not results beyond rounding."""


class AlexNetWeightsSetting(StageConfig):
    """The weights of AlexNet."""

    weights: str = "auto"
    """Weights of AlexNet: "auto" (MEDFEAT_WEIGHTS_DIR, torch's cache, download), a .safetensors or
    .pth file, or "random"."""


def weights_field(network: str) -> str:
    """Name of the setting that names a network's weights: "weights" for AlexNet."""
    stem = re.sub(r"\W", "_", network.removeprefix("timm/"))
    return "weights" if network == "alexnet" else f"{stem}_weights"


@cache
def weights_setting(network: str) -> type[StageConfig]:
    """The mix-in with the one setting that names the weights of ``network``."""
    if network == "alexnet":
        return AlexNetWeightsSetting
    help_text = (
        f'Weights of {network}: "auto" (MEDFEAT_WEIGHTS_DIR, torch\'s cache, download), a '
        '.safetensors or .pth file, or "random".'
    )
    name = weights_field(network)
    field = {"__annotations__": {name: str}, name: Field("auto", description=help_text)}
    return _without_source("WeightsSetting", (StageConfig,), field)


def with_weights_of(network: str, config_type: type[ConfigT]) -> type[ConfigT]:
    """The settings ``config_type`` with the one that names the weights of ``network``."""
    bases = (weights_setting(network), config_type)
    name = f"{config_type.__name__}_{weights_field(network)}"
    return cast(type[ConfigT], _without_source(name, bases, {}))


def _without_source(
    name: str, bases: tuple[type[StageConfig], ...], namespace: dict[str, Any]
) -> type[StageConfig]:
    """A settings class that no source file holds.

    pydantic would look for the docstrings of its fields in the source of every caller, which takes
    a third of a second for all of them at each start; the help of inherited fields stays.
    """
    namespace = {"model_config": ConfigDict(use_attribute_docstrings=False), **namespace}
    return types.new_class(name, bases, exec_body=lambda body: body.update(namespace))


def weights_named_in(config: StageConfig, network: str) -> str:
    """The weights of ``network`` that its settings name."""
    return str(getattr(config, weights_field(network)))
