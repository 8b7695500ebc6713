"""How many labels each method needs: accuracy from a share of the training labels."""

import copy
import logging
import math
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pyarrow as pa
from pydantic import Field, PositiveFloat, PositiveInt

from assets.core.labelled_rows import LabelledRows, scorable_rows
from assets.core.partitions import DATASETS
from assets.core.scoring import metric_row
from assets.core.settings import BootstrapSetting, SvmSettings
from assets.core.shards import READ_ROWS, open_features
from assets.core.stage import Output, Work, materialize, materialize_nothing, plain_failures
from assets.evaluations.svm import GROUP, correct_on_test, gram_limit, gram_of
from assets.features.auto_encoder import cae_features
from assets.features.fine_tuned_networks import ALEXNET, FineTuneAlexNetConfig, pixels_of
from assets.features.frozen_networks import Frozen, backbone_features, side_of
from assets.images import image_manifest, prepared_images
from data_contracts.errors import InputError
from data_contracts.records.facts import LabelEfficiencyFacts
from data_contracts.studies.ahn2019 import AHN2019
from data_contracts.tables.evaluations import METRICS
from methods.arrays import l2_normalise
from resources.compute import Compute, reuse_freed_memory
from resources.progress import progress
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureReader
from resources.store.partial_results import PartialResults
from resources.weights import WeightsMissingError

if TYPE_CHECKING:
    from methods.training.fine_tuning import FineTuneSettings

log = logging.getLogger("medfeat.label_efficiency")
METRIC = "label_efficiency"
CAE, RAW, TUNED = "cae", "raw", "fine_tuned"
FromDraw = Callable[[np.ndarray, int], np.ndarray]
"""(positions among the training images, seed) -> whether each test image is classified
correctly."""


class LabelEfficiencyConfig(FineTuneAlexNetConfig, SvmSettings, BootstrapSetting):
    """Settings of `label_efficiency`: those of the fine-tuned network and of the SVM, and what is
    varied.
    """

    label_fractions: list[PositiveFloat] = Field(default=[0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0])
    """Shares of the labelled training images; at least one image a class."""
    label_seeds: PositiveInt = 5
    """Draws of each share: seed, seed + 1, ..., the same for every method."""


@dg.asset(
    partitions_def=DATASETS,
    group_name=GROUP,
    deps=[image_manifest, prepared_images, backbone_features, cae_features],
    kinds={"pytorch", "parquet"},
    code_version="3",
    pool="gpu",
    tags={"stage": "6"},
)
def label_efficiency(
    context: dg.AssetExecutionContext,
    config: LabelEfficiencyConfig,
    store: DatasetStore,
    compute: Compute,
) -> dg.MaterializeResult:
    """Accuracy of the SVM from 1 to 100 % of the labels: CAE features, the backbone's own, and
    those of a fine-tuned AlexNet.

    Goes on after a kill from the last part that was finished.
    """
    dataset, inputs = (
        context.partition_key,
        ("image_manifest", "prepared_images", "backbone_features", "cae_features"),
    )
    with plain_failures():
        device = compute.resolve()
        if max(config.label_fractions, default=0) != 1:
            raise InputError(
                f"label_fractions is {config.label_fractions}",
                "Set shares above 0, the last of them 1",
            )
        rows = scorable_rows(store, dataset, AHN2019)
        reason = gram_limit(rows)
        if reason:
            return materialize_nothing(context, store, config, reason, inputs)
        try:
            body = ALEXNET.pre_trained(config.weights, side_of(store, dataset))
        except WeightsMissingError as error:
            return materialize_nothing(context, store, config, error.what, inputs)
        features = {
            CAE: open_features(store, dataset, "cae_features", rows.ids),
            RAW: open_features(store, dataset, "backbone_features", rows.ids),
        }
        images = open_features(store, dataset, "prepared_images", rows.ids)

    def work_out(work: Work) -> Output:
        parts = PartialResults(store, dataset, work.asset, work.fingerprint)
        results = parts.load()
        methods: dict[str, FromDraw] = {
            name: _frozen(config, rows, gram_of(reader)) for name, reader in features.items()
        }
        methods[TUNED] = _tuned(config, rows, images, body, device)
        _measure(config, rows, methods, results, parts)
        output = _summarise(
            store, work, config, rows, results, body.weights.notice, device, features[RAW]
        )
        parts.drop()
        return output

    try:
        return materialize(
            context,
            store,
            config,
            work_out,
            inputs=inputs,
            known_by={
                "features": [reader.feature_set.key for reader in features.values()],
                "images": images.feature_set.key,
                "weights": body.weights.sha256,
                "rows": rows.version,
            },
        )
    finally:
        for reader in (*features.values(), images):
            reader.close()


def _measure(
    config: LabelEfficiencyConfig,
    rows: LabelledRows,
    methods: dict[str, FromDraw],
    results: dict[str, dict[str, Any]],
    parts: PartialResults,
) -> None:
    """Accuracy of every method on every draw; a part that is in ``results`` is not computed
    again.
    """
    from methods.statistics.label_efficiency import fraction_draw

    labels, groups = rows.labels[rows.train], [rows.groups[i] for i in rows.train]
    units = [
        (f, config.seed + k)
        for f in sorted(set(config.label_fractions))
        for k in range(config.label_seeds)
    ]
    for fraction, seed in progress(units, "shares of the labels x seeds"):
        drawn = fraction_draw(labels, groups, fraction, seed)
        for name, correct_from in methods.items():
            key = f"{name}-{fraction}-{seed}"
            if key not in results:
                correct = correct_from(drawn, seed)
                results[key] = {
                    "method": name,
                    "fraction": fraction,
                    "labels": len(drawn),
                    "seed": seed,
                    "correct": np.packbits(correct).tobytes().hex(),
                }
                parts.save(results)
                log.info(
                    "%s from %d labels, seed %d: accuracy %.4f",
                    name,
                    len(drawn),
                    seed,
                    correct.mean(),
                )


def _correct_of(line: dict[str, Any], n_test: int) -> np.ndarray:
    """Whether each test image is classified correctly, (n_test,) bool, of a stored part."""
    bits = np.frombuffer(bytes.fromhex(line["correct"]), np.uint8)
    return np.unpackbits(bits, count=n_test).astype(bool)


def _frozen(config: LabelEfficiencyConfig, rows: LabelledRows, gram: np.ndarray) -> FromDraw:
    """The SVM on features that need no labels, (n, n) ``gram`` of all rows."""

    def correct(drawn: np.ndarray, seed: int) -> np.ndarray:
        return correct_on_test(gram, rows, rows.train[drawn], config.c, config.tolerance)

    return correct


def _tuned(
    config: LabelEfficiencyConfig,
    rows: LabelledRows,
    images: FeatureReader,
    body: Frozen,
    device: str,
) -> FromDraw:
    """The SVM on the penultimate features of AlexNet fine-tuned on the same labels, as in table
    2.
    """
    import torch

    from methods.classifiers import linear_svm as svm
    from methods.training import fine_tuning as method
    from methods.training.loop import DivergedError

    target, train_pixels = torch.device(device), pixels_of(images, rows.train)

    def correct(drawn: np.ndarray, seed: int) -> np.ndarray:
        settings = _as_many_steps(
            replace(config.fine_tune_settings(), seed=seed), len(drawn), len(rows.train)
        )
        known = rows.train[drawn]
        classes, codes = np.unique(rows.labels[known], return_inverse=True)
        held = method.validation_slice(
            rows.labels[known],
            [rows.groups[i] for i in known],
            settings.validation_fraction,
            settings.seed,
        )
        network = method.HeadedNetwork(
            copy.deepcopy(body.network),
            math.prod(body.row_shape),
            len(classes),
            ALEXNET.dropout,
            seed,
        )
        try:
            epochs = method.fine_tune(
                network,
                lambda positions: train_pixels(drawn[positions]),
                codes,
                np.flatnonzero(~held),
                np.flatnonzero(held),
                settings,
                target,
            )
            _, take = deque(reuse_freed_memory(epochs), maxlen=1).pop()
        except DivergedError as error:
            raise InputError(
                f"the fine-tuning on {len(known)} labels diverged: {error}",
                "Set a smaller fine_tune_learning_rate",
            ) from error
        network.load_state_dict(take().best_weights())
        network.to(target)

        def features(positions: np.ndarray) -> np.ndarray:
            return l2_normalise(
                method.penultimate_features(network, images.take(positions), target, 64)
            )

        starts = range(0, len(known), READ_ROWS)
        learned = np.concatenate([features(known[start : start + READ_ROWS]) for start in starts])
        fit = svm.fit_gram(learned @ learned.T, rows.labels[known], config.c, config.tolerance)
        predicted = [
            fit.predict(features(rows.test[start : start + READ_ROWS]) @ learned.T)
            for start in range(0, len(rows.test), READ_ROWS)
        ]
        return np.asarray(np.concatenate(predicted) == rows.labels[rows.test])

    return correct


def _as_many_steps(settings: "FineTuneSettings", n_labels: int, n_all: int) -> "FineTuneSettings":
    """Settings with more epochs for fewer labels, so that every draw gets the optimisation steps
    that all labels get.
    """
    ratio = math.ceil(n_all / settings.batch_size) / math.ceil(n_labels / settings.batch_size)
    return replace(
        settings,
        epochs=math.ceil(settings.epochs * ratio),
        patience=math.ceil(settings.patience * ratio),
    )


def _summarise(
    store: DatasetStore,
    work: Work,
    config: LabelEfficiencyConfig,
    rows: LabelledRows,
    results: dict[str, dict[str, Any]],
    notice: str,
    device: str,
    raw: FeatureReader,
) -> Output:
    from methods.reporting import figures
    from methods.statistics.label_efficiency import (
        CurvePoint,
        curve_point,
        label_saving,
        saving_sentence,
    )

    n_test = len(rows.test)
    lines = sorted(
        results.values(), key=lambda line: (line["method"], line["fraction"], line["seed"])
    )
    metrics = [
        metric_row(
            work,
            AHN2019,
            line["method"],
            METRIC,
            f"{line['labels']} labels ({100 * line['fraction']:g} %)",
            float(_correct_of(line, n_test).mean()),
            n_test,
            line["seed"],
            {**config.settings(), "fraction": line["fraction"], "labels": line["labels"]},
        )
        for line in lines
    ]
    titles = {
        CAE: "CAE features + SVM",
        RAW: f"{raw.feature_set.backbone} {raw.feature_set.layer} features + SVM",
        TUNED: "fine-tuned AlexNet + SVM",
    }
    curves: dict[str, list[CurvePoint]] = {}
    for name in titles:
        of_method = [line for line in lines if line["method"] == name]
        curves[name] = []
        for fraction, labels in sorted({(line["fraction"], line["labels"]) for line in of_method}):
            correct = np.stack(
                [_correct_of(line, n_test) for line in of_method if line["fraction"] == fraction]
            )
            curves[name].append(
                curve_point(
                    fraction,
                    labels,
                    correct,
                    rows.test_groups,
                    config.seed,
                    config.bootstrap_resamples,
                )
            )
    others = {
        "sentence": (TUNED, "the fine-tuned network"),
        "sentence, raw features": (RAW, "the same backbone without it"),
    }
    sentences = {
        place: saving_sentence(
            label_saving(curves[CAE], curves[name], config.seed, config.bootstrap_resamples),
            "the CAE",
            in_words,
        )
        for place, (name, in_words) in others.items()
    }
    drawn = {
        titles[name]: [(p.labels, p.mean, p.low, p.high) for p in points]
        for name, points in curves.items()
    }
    table = pa.Table.from_pylist(metrics, schema=METRICS.schema)
    return Output(
        content=[metrics, sentences],
        files=[
            store.write_table(
                work.dataset, work.asset, f"{work.fingerprint}.metrics.parquet", table, METRICS
            )
        ],
        pictures=[
            (
                "accuracy by number of labels",
                figures.label_efficiency_curve(drawn, "Accuracy by number of labels"),
            )
        ],
        summary={
            **sentences,
            "seeds": config.label_seeds,
        },
        facts=LabelEfficiencyFacts(
            rows_version=rows.version,
            titles=titles,
            sentence=sentences["sentence"],
            sentence_raw=sentences["sentence, raw features"],
        ),
        notices=[notice] if notice else [],
        rows=len(metrics),
        device=device,
    )
