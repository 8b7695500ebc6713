"""How many labels each method needs: accuracy from a share of the training labels."""

import copy
import logging
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from assets.core.labelled_rows import LabelledRows, scorable_rows
from assets.core.plan import Output, Plan, Stage, UnavailableError, Work
from assets.core.scoring import MetricRows, packed, unpacked
from assets.core.settings import BootstrapSetting, SvmSettings
from assets.core.shards import READ_ROWS
from assets.core.stage import stage
from assets.evaluations.svm import GROUP, correct_on_test, gram_limit
from assets.evaluations.svm_rows import gram_of
from assets.features.fine_tuned_networks import ALEXNET, FineTuneAlexNetConfig, pixels_of
from assets.features.frozen_networks import FrozenNetwork, side_of
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.facts import LabelEfficiencyFacts
from data_contracts.records.feature_shard import FeatureSet
from data_contracts.studies.ahn2019 import AHN2019
from data_contracts.tables.evaluations import FIXED, METRICS
from data_contracts.tables.evaluations import TUNED as TUNED_C
from methods.arrays import l2_normalise
from resources.compute import reuse_freed_memory
from resources.progress import progress
from resources.store.feature_store import FeatureReader
from resources.store.partial_results import PartialResults
from resources.weights import WeightsMissingError

if TYPE_CHECKING:
    import torch

    from methods.settings import FineTuneSettings
    from methods.statistics.label_efficiency import CurvePoint
    from methods.training.fine_tuning import HeadedNetwork

log = logging.getLogger("medfeat.label_efficiency")
METRIC = "label_efficiency"
"""Metric of every row."""
CAE, RAW, TUNED = "cae", "raw", "fine_tuned"
"""Names of the methods: the auto-encoder, the backbone's own features, the fine-tuned network."""
TUNED_BATCH = 64
"""Number of images that the fine-tuned network takes at once when it gives features."""

CorrectFrom = Callable[[np.ndarray, int], dict[str, np.ndarray]]
"""(positions among the training images, seed) -> by regularisation whether each test image is
classified correctly."""


class LabelEfficiencyConfig(FineTuneAlexNetConfig, SvmSettings, BootstrapSetting):
    """Settings of `label_efficiency`: of the network, of the SVM, and what is varied."""

    label_fractions: list[PositiveFloat] = Field(default=[0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0])
    """Shares of the labelled training images; at least one image a class."""
    label_seeds: PositiveInt = 5
    """Draws of each share: seed, seed + 1, ..., the same for every method."""


@stage(
    LabelEfficiencyConfig,
    group=GROUP,
    order=6,
    kinds={"pytorch", "parquet"},
    code_version="5",
    inputs=(
        names.IMAGE_MANIFEST,
        names.PREPARED_IMAGES,
        names.BACKBONE_FEATURES,
        names.CAE_FEATURES,
    ),
    facts=LabelEfficiencyFacts,
    tables=(METRICS,),
    uses_device=True,
)
def label_efficiency(here: Stage[LabelEfficiencyConfig]) -> Plan:
    """Accuracy of the SVM from 1 to 100 % of the labels, on three kinds of features.

    These are CAE features, the backbone's own, and those of a fine-tuned AlexNet. Goes on after a
    kill from the last part that was finished.
    """
    config, device = here.config, here.device
    if max(config.label_fractions, default=0) != 1:
        raise InputError(
            f"label_fractions is {config.label_fractions}", "Set shares above 0, the last of them 1"
        )
    rows = scorable_rows(here.store, here.dataset, AHN2019)
    if reason := gram_limit(rows):
        raise UnavailableError(reason)
    try:
        body = ALEXNET.pre_trained(config.weights, side_of(here.store, here.dataset))
    except WeightsMissingError as error:
        raise UnavailableError(error.what) from error
    features = {
        CAE: here.features(names.CAE_FEATURES, rows.ids),
        RAW: here.features(names.BACKBONE_FEATURES, rows.ids),
    }
    images = here.features(names.PREPARED_IMAGES, rows.ids)

    def compute(work: Work) -> Output:
        parts = PartialResults(work.store, work.dataset, work.asset, work.fingerprint)
        methods: dict[str, CorrectFrom] = {
            name: _on_fixed_features(config, rows, gram_of(reader))
            for name, reader in features.items()
        }
        methods[TUNED] = _on_tuned_features(config, rows, images, body, device)
        results = _measure(config, rows, methods, parts)
        output = _summary(work, config, rows, results, features[RAW].feature_set)
        parts.drop()
        notices = [body.weights.notice] if body.weights.notice else []
        return replace(output, notices=notices, device=device)

    return Plan(
        compute,
        identity={
            "features": [reader.feature_set.key for reader in features.values()],
            "images": images.feature_set.key,
            "weights": body.weights.sha256,
            "rows": rows.version,
        },
    )


def _measure(
    config: LabelEfficiencyConfig,
    rows: LabelledRows,
    methods: Mapping[str, CorrectFrom],
    parts: PartialResults,
) -> list[dict[str, Any]]:
    """Results of every method on every draw; a stored part is not computed again."""
    from methods.statistics.label_efficiency import fraction_draw

    results = parts.load()
    labels, groups = rows.labels[rows.train], [rows.groups[i] for i in rows.train]
    draws = [
        (fraction, config.seed + k)
        for fraction in sorted(set(config.label_fractions))
        for k in range(config.label_seeds)
    ]
    for fraction, seed in progress(draws, "shares of the labels x seeds", unit="draw"):
        drawn = fraction_draw(labels, groups, fraction, seed)
        for name, correct_from in methods.items():
            key = f"{name}-{fraction}-{seed}"
            if key in results:
                continue
            correct = correct_from(drawn, seed)
            results[key] = {
                "method": name,
                "fraction": fraction,
                "labels": len(drawn),
                "seed": seed,
                "correct": {reg: packed(right) for reg, right in correct.items()},
            }
            parts.save(results)
            accuracy = correct[TUNED_C].mean()
            log.info("%s from %d labels, seed %d: accuracy %.4f", name, len(drawn), seed, accuracy)
    return list(results.values())


def _on_fixed_features(
    config: LabelEfficiencyConfig, rows: LabelledRows, gram: np.ndarray
) -> CorrectFrom:
    """The SVM on features that need no labels; ``gram`` (n, n) is of all rows."""

    def correct(drawn: np.ndarray, seed: int) -> dict[str, np.ndarray]:
        labelled = rows.train[drawn]
        return {
            regularisation: correct_on_test(
                gram, rows, labelled, config, regularisation == TUNED_C, seed
            )
            for regularisation in (FIXED, TUNED_C)
        }

    return correct


def _on_tuned_features(
    config: LabelEfficiencyConfig,
    rows: LabelledRows,
    images: FeatureReader,
    body: FrozenNetwork,
    device: str,
) -> CorrectFrom:
    """The SVM on features of AlexNet fine-tuned on the same labels (Ahn et al. 2019, table 2)."""
    import torch

    tuning = _Tuning(config, rows, pixels_of(images, rows.train), body, torch.device(device))

    def correct(drawn: np.ndarray, seed: int) -> dict[str, np.ndarray]:
        network = tuning.tuned(drawn, seed)
        return _correct_with(network, config, rows, images, rows.train[drawn])

    return correct


@dataclass(frozen=True)
class _Tuning:
    """What is the same for every fine-tuning.

    Attributes:
        config: settings.
        rows: the labelled images.
        train_pixels: from positions among the training images to their pixels.
        body: the pre-trained network.
        device: where it is trained.
    """

    config: LabelEfficiencyConfig
    rows: LabelledRows
    train_pixels: Callable[[np.ndarray], np.ndarray]
    body: FrozenNetwork
    device: "torch.device"

    def tuned(self, drawn: np.ndarray, seed: int) -> "HeadedNetwork":
        """The network fine-tuned on the training images ``drawn``.

        Raises:
            InputError: the fine-tuning diverged.
        """
        from methods.training import fine_tuning
        from methods.training.loop import DivergedError

        rows, labelled = self.rows, self.rows.train[drawn]
        settings = as_many_steps(
            replace(self.config.fine_tune_settings(), seed=seed), len(drawn), len(rows.train)
        )
        classes, codes = np.unique(rows.labels[labelled], return_inverse=True)
        validates = fine_tuning.validation_slice(
            rows.labels[labelled],
            [rows.groups[i] for i in labelled],
            settings.validation_fraction,
            settings.seed,
        )
        network = fine_tuning.HeadedNetwork(
            copy.deepcopy(self.body.network),
            math.prod(self.body.row_shape),
            len(classes),
            ALEXNET.dropout,
            seed,
        )
        try:
            epochs = fine_tuning.fine_tune(
                network,
                lambda positions: self.train_pixels(drawn[positions]),
                codes,
                np.flatnonzero(~validates),
                np.flatnonzero(validates),
                settings,
                self.device,
            )
            _, take = deque(reuse_freed_memory(epochs), maxlen=1).pop()
        except DivergedError as error:
            raise InputError(
                f"the fine-tuning on {len(drawn)} labels diverged: {error}",
                "Set a smaller fine_tune_learning_rate",
            ) from error
        network.load_state_dict(take().best_weights())
        return network.to(self.device)


def _correct_with(
    network: "HeadedNetwork",
    config: LabelEfficiencyConfig,
    rows: LabelledRows,
    images: FeatureReader,
    labelled: np.ndarray,
) -> dict[str, np.ndarray]:
    """Whether the SVM on penultimate features classifies each test image correctly, at either C."""
    from methods.classifiers import linear_svm as svm
    from methods.classifiers.tuning import tune_c
    from methods.training.fine_tuning import penultimate_features

    device = next(network.parameters()).device

    def features(positions: np.ndarray) -> np.ndarray:
        pixels = images.take(positions)
        return l2_normalise(penultimate_features(network, pixels, device, TUNED_BATCH))

    def blocks(positions: np.ndarray) -> list[np.ndarray]:
        return [positions[i : i + READ_ROWS] for i in range(0, len(positions), READ_ROWS)]

    learned = np.concatenate([features(block) for block in blocks(labelled)])
    gram, labels = learned @ learned.T, rows.labels[labelled]
    groups = [rows.groups[i] for i in labelled]
    tuned = tune_c(gram, labels, groups, config.tolerance, config.seed)
    tested = np.concatenate([features(block) @ learned.T for block in blocks(rows.test)])
    c_of = {FIXED: config.c, TUNED_C: config.c if tuned is None else tuned.c}
    fits = {c: svm.fit_gram(gram, labels, c, config.tolerance) for c in set(c_of.values())}
    truth = rows.labels[rows.test]
    return {reg: np.asarray(fits[c].predict(tested) == truth) for reg, c in c_of.items()}


def as_many_steps(settings: "FineTuneSettings", n_labels: int, n_all: int) -> "FineTuneSettings":
    """Settings with more epochs for fewer labels, so that every draw gets as many steps.

    That is the number of optimisation steps that all labels get.
    """
    ratio = math.ceil(n_all / settings.batch_size) / math.ceil(n_labels / settings.batch_size)
    return replace(
        settings,
        epochs=math.ceil(settings.epochs * ratio),
        patience=math.ceil(settings.patience * ratio),
    )


def _curves(
    config: LabelEfficiencyConfig, rows: LabelledRows, lines: Sequence[Mapping[str, Any]]
) -> "dict[str, list[CurvePoint]]":
    """Accuracy over the number of labels for each method, from the results of all draws.

    Each classifier is at the C tuned among its own labels: methods are compared like for like.
    """
    from methods.statistics.label_efficiency import curve_point

    curves: dict[str, list[CurvePoint]] = {}
    for name in (CAE, RAW, TUNED):
        of_method = [line for line in lines if line["method"] == name]
        sizes = sorted({(line["fraction"], line["labels"]) for line in of_method})
        curves[name] = [
            curve_point(
                fraction,
                labels,
                np.stack(
                    [
                        unpacked(line["correct"][TUNED_C], len(rows.test))
                        for line in of_method
                        if line["fraction"] == fraction
                    ]
                ),
                rows.test_groups,
            )
            for fraction, labels in sizes
        ]
    return curves


def _metrics(
    work: Work, config: LabelEfficiencyConfig, lines: Sequence[Mapping[str, Any]], n_test: int
) -> list[dict[str, Any]]:
    """Rows of METRICS, one for each method, draw and regularisation."""
    return [
        MetricRows(
            work,
            AHN2019,
            line["method"],
            line["seed"],
            {**config.settings(), "fraction": line["fraction"], "labels": line["labels"]},
            regularisation,
        ).row(
            METRIC,
            f"{line['labels']} labels ({100 * line['fraction']:g} %)",
            float(unpacked(correct, n_test).mean()),
            n_test,
        )
        for line in lines
        for regularisation, correct in line["correct"].items()
    ]


def _summary(
    work: Work,
    config: LabelEfficiencyConfig,
    rows: LabelledRows,
    results: Sequence[Mapping[str, Any]],
    raw: FeatureSet,
) -> Output:
    """The figures of all draws, the labels saved in words, and the curves."""
    from methods.reporting import figures
    from methods.statistics.label_efficiency import label_saving, saving_sentence

    lines = sorted(results, key=lambda line: (line["method"], line["fraction"], line["seed"]))
    metrics = _metrics(work, config, lines, len(rows.test))
    curves = _curves(config, rows, lines)
    titles = {
        CAE: "CAE features + SVM",
        RAW: f"{raw.backbone} {raw.layer} features + SVM",
        TUNED: "fine-tuned AlexNet + SVM",
    }

    def saving(other: str, in_words: str) -> str:
        saved = label_saving(curves[CAE], curves[other], config.seed, config.bootstrap_resamples)
        return saving_sentence(saved, "the CAE", in_words)

    sentences = {
        "sentence": saving(TUNED, "the fine-tuned network"),
        "sentence, raw features": saving(RAW, "the same backbone without it"),
    }
    drawn = {
        titles[name]: [(point.labels, point.mean, point.low, point.high) for point in points]
        for name, points in curves.items()
    }
    picture = figures.label_efficiency_curve(drawn, "Accuracy by number of labels")
    return Output(
        content=[metrics, sentences],
        files=[work.write_table(metrics, METRICS)],
        pictures=[("accuracy by number of labels", picture)],
        summary={**sentences, "seeds": config.label_seeds},
        facts=LabelEfficiencyFacts(
            rows_version=rows.version,
            titles=titles,
            sentence=sentences["sentence"],
            sentence_raw=sentences["sentence, raw features"],
        ),
        rows=len(metrics),
    )
