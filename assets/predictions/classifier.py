"""The classifier of a dataset, which is kept and predicts labels of images that have none."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from assets.core.labelled_rows import LabelledRows, labelled_rows
from assets.core.plan import Output, Plan, Stage, Work
from assets.core.settings import SeedSetting, SvmSettings
from assets.core.shards import READ_ROWS
from assets.core.stage import stage
from assets.evaluations.svm_rows import rows_at_once, stored_width
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.assessment import CalibrationFigures
from data_contracts.records.facts import ClassifierFacts
from data_contracts.records.model_sidecar import ModelSidecar
from data_contracts.records.notices import NOT_CALIBRATED, NOT_CONVERGED
from data_contracts.studies.ahn2019 import AHN2019
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureReader
from resources.store.model_store import load_model, save_model

if TYPE_CHECKING:
    from methods.classifiers.calibration import Calibration
    from methods.classifiers.linear_classifier import LinearClassifier
    from methods.reporting.prediction_files import ModelFacts

GROUP = "predictions"

FEATURES = AHN2019.method(AHN2019.main).features
"""Asset whose rows are classified: the features of the study's own method."""

CALIBRATION_ROWS = 5_000
"""Number of training images behind the calibration where all are too many for one Gram matrix."""

READ_TRAINING_ROWS = 1024
"""Number of training rows read at once; bounds the memory."""


class ClassifierConfig(SeedSetting, SvmSettings):
    """Settings of `classifier`; the seed draws the folds behind the calibration."""


@stage(
    ClassifierConfig,
    group=GROUP,
    order=6,
    kinds={"scikitlearn", "safetensors"},
    code_version="4",
    inputs=(names.IMAGE_MANIFEST, FEATURES),
    facts=ClassifierFacts,
    is_model=True,
)
def classifier(here: Stage[ClassifierConfig]) -> Plan:
    """Linear SVM on all training images, calibrated on training folds.

    The calibration gives probabilities and a threshold for images unlike the training images.
    """
    rows = labelled_rows(here.store, here.dataset, AHN2019)
    if len(set(rows.labels[rows.train])) < 2:
        raise InputError(
            f"{here.dataset} has fewer than two classes to learn",
            "Add labelled training images of a second class",
        )
    reader = here.features(FEATURES, rows.ids)

    def compute(work: Work) -> Output:
        from methods.reporting.assessments.calibration import calibration_notices

        model = fit_classifier(here.config, rows, reader)
        version = work.inputs[FEATURES].data_version
        sidecar = _sidecar(here.config, model, reader, version)
        tensors = _tensors(model.classifier)
        files = save_model(work.store, work.dataset, work.asset, work.fingerprint, tensors, sidecar)
        of_test, pictures = _on_test_images(here.config, model.classifier, rows, reader)
        shown = {} if of_test is None else _summary(of_test)
        return Output(
            content=files[0].sha256,
            files=files,
            pictures=pictures,
            summary={
                "training images": len(rows.train),
                "classes": len(model.classifier.classes),
                "temperature": model.classifier.calibration.temperature,
                "highest probability": model.classifier.calibration.highest,
                "unlike below cosine": model.classifier.calibration.unlike_below,
                **shown,
            },
            facts=ClassifierFacts(out_of_fold=model.out_of_fold, test=of_test),
            notices=[*model.notices, *calibration_notices(of_test)],
            rows=len(rows.train),
        )

    given = [rows.ids, rows.labels.tolist(), rows.train.tolist(), rows.test.tolist(), rows.groups]
    return Plan(compute, identity={"features": reader.feature_set.key, "rows": given})


def unit_blocks(reader: FeatureReader, positions: np.ndarray, step: int) -> Iterator[np.ndarray]:
    """The rows at ``positions`` scaled to unit length, in blocks of ``step`` rows."""
    from methods.arrays import l2_normalise

    for start in range(0, len(positions), step):
        yield l2_normalise(reader.take(positions[start : start + step]))


@dataclass(frozen=True)
class FittedClassifier:
    """A classifier, and what a reader of its predictions must know.

    Attributes:
        classifier: fitted and calibrated.
        notices: what a reader must know.
        out_of_fold: calibration on the training images; None where no folds could be made.
    """

    classifier: "LinearClassifier"
    notices: list[str]
    out_of_fold: CalibrationFigures | None


def fit_classifier(
    config: ClassifierConfig, rows: LabelledRows, reader: FeatureReader
) -> FittedClassifier:
    """The SVM on all training rows of ``reader``, calibrated on folds of them."""
    from methods.arrays import gram_matrix
    from methods.classifiers import calibration
    from methods.classifiers import linear_svm as svm

    n = len(rows.train)
    calibrated = np.arange(n)
    if n > svm.MAX_GRAM_ROWS:
        calibrated = np.sort(np.random.default_rng(config.seed).permutation(n)[:CALIBRATION_ROWS])
    of_gram = rows.train[calibrated]
    gram = gram_matrix(
        lambda start, stop: reader.take(of_gram[start:stop]),
        len(of_gram),
        rows_at_once(stored_width(reader)),
    )
    labels, groups = rows.labels[of_gram], [rows.groups[i] for i in of_gram]
    seen = calibration.out_of_fold(gram, labels, groups, config.c, config.tolerance, config.seed)
    read_by = calibration.calibrate(seen, labels)
    out_of_fold = None
    if seen is not None and read_by is not None:
        out_of_fold = calibration.out_of_fold_calibration(
            seen, labels, groups if rows.has_groups else None, config.seed
        )
    fitted, converged = _fit_svm(config, rows, reader, gram, read_by or calibration.UNCALIBRATED)
    notices = []
    if not converged:
        notices.append(NOT_CONVERGED.says("the SVM of the classifier stopped above its tolerance"))
    if read_by is None:
        notices.append(
            NOT_CALIBRATED.says(
                "too few groups for folds; probabilities and the mark of unlike images mean nothing"
            )
        )
    return FittedClassifier(fitted, notices, out_of_fold)


def _fit_svm(
    config: ClassifierConfig,
    rows: LabelledRows,
    reader: FeatureReader,
    gram: np.ndarray,
    calibration: "Calibration",
) -> "tuple[LinearClassifier, bool]":
    """The SVM on all training rows, and whether it reached its tolerance.

    ``gram`` is that of all training rows where they are few enough for one, and is not read
    otherwise.
    """
    from methods.classifiers import linear_svm as svm
    from methods.classifiers.linear_classifier import LinearClassifier, weights_of

    def blocks() -> Iterator[np.ndarray]:
        return unit_blocks(reader, rows.train, READ_TRAINING_ROWS)

    labels = rows.labels[rows.train]
    if len(labels) <= svm.MAX_GRAM_ROWS:
        fit = svm.fit_gram(gram, labels, config.c, config.tolerance)
        weights = weights_of(fit.coefficients, blocks())
    else:
        fit = svm.fit_primal(blocks, labels, stored_width(reader), config.c, config.tolerance)
        weights = fit.coefficients.astype(np.float32)
    fitted = LinearClassifier(
        fit.classes,
        weights,
        fit.intercept.astype(np.float32),
        calibration,
    )
    return fitted, fit.converged


def _sidecar(
    config: ClassifierConfig,
    model: FittedClassifier,
    reader: FeatureReader,
    features_version: str,
) -> ModelSidecar:
    """The sidecar of the stored model."""
    return ModelSidecar(
        architecture="methods.classifiers.linear_classifier.LinearClassifier",
        settings={
            **config.settings(),
            "classes": model.classifier.classes.tolist(),
            **asdict(model.classifier.calibration),
            "features": reader.feature_set.model_dump(mode="json"),
        },
        input_shape=reader.feature_set.row_shape,
        fitted_on=features_version,
        curve=[],
    )


def _on_test_images(
    config: ClassifierConfig, fitted: "LinearClassifier", rows: LabelledRows, reader: FeatureReader
) -> tuple[CalibrationFigures | None, list[tuple[str, bytes]]]:
    """Calibration on the test images, with a picture; None without any."""
    from methods.classifiers.calibration import class_columns
    from methods.reporting import figures
    from methods.statistics.calibration_figures import calibration_figures

    if not len(rows.test):
        return None, []
    scores = np.concatenate(
        [
            block @ fitted.weights + fitted.intercept
            for block in unit_blocks(reader, rows.test, READ_ROWS)
        ]
    ).astype(np.float64)
    stated = fitted.calibration.probabilities(scores)
    codes = class_columns(fitted.classes, rows.labels[rows.test])
    title = "stated probability against accuracy, test images"
    sides = stated.max(axis=1), stated.argmax(axis=1) == codes
    picture = figures.reliability({"test images": sides})
    measured = calibration_figures(stated, codes, rows.test_groups, seed=config.seed)
    return measured, [(title, picture)]


def _summary(test: CalibrationFigures) -> dict[str, float | int | str]:
    """Captions of the calibration on test images."""
    return {
        "calibration error on test images": test.ece,
        "calibration slope on test images": "not known" if test.slope is None else test.slope,
        "accuracy on test images": test.right.value,
    }


def _tensors(fitted: "LinearClassifier") -> dict[str, Any]:
    """The stored tensors of a classifier."""
    import torch

    return {
        "weights": torch.from_numpy(fitted.weights),
        "intercept": torch.from_numpy(fitted.intercept),
    }


def load_classifier(store: DatasetStore, dataset: str) -> "LinearClassifier":
    """The current classifier of a dataset."""
    from methods.classifiers.calibration import Calibration
    from methods.classifiers.linear_classifier import LinearClassifier

    tensors, sidecar = load_model(store, dataset, names.CLASSIFIER)
    return LinearClassifier(
        np.array(sidecar.settings["classes"], dtype=np.str_),
        tensors["weights"].numpy(),
        tensors["intercept"].numpy(),
        Calibration(**{f.name: float(sidecar.settings[f.name]) for f in fields(Calibration)}),
    )


def model_facts(
    store: DatasetStore, dataset: str, rows: LabelledRows, fitted: "LinearClassifier"
) -> "ModelFacts":
    """What a page of predictions says of the current classifier.

    Args:
        store: of the home.
        dataset: partition key.
        rows: the labelled rows that it was fitted to.
        fitted: the classifier.
    """
    from methods.reporting.prediction_files import ModelFacts

    record = store.need_record(dataset, names.CLASSIFIER)
    facts = record.facts_as(ClassifierFacts)
    groups = len({rows.groups[i] for i in rows.train}) if rows.has_groups else None
    return ModelFacts(
        title=AHN2019.method(AHN2019.main).title,
        day=record.created[:10],
        classes=tuple(fitted.classes.tolist()),
        images=len(rows.train),
        groups=groups,
        highest=fitted.calibration.highest,
        out_of_fold=facts.out_of_fold,
        test=facts.test,
    )


def classifier_notices(store: DatasetStore, dataset: str) -> list[str]:
    """The notices of everything that the classifier was made from, each once."""
    made_from = store.upstream(dataset, names.CLASSIFIER).values()
    return list(dict.fromkeys(notice for record in made_from for notice in record.notices))
