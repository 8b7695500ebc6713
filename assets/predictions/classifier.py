"""The classifier of a dataset, which is kept and predicts labels of images that have none."""

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from assets.core.labelled_rows import LabelledRows, labelled_rows
from assets.core.plan import Output, Plan, Stage, Work
from assets.core.stage import stage
from assets.predictions.fitting import ClassifierConfig, FittedClassifier, fit_classifier
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.facts import ClassifierFacts
from data_contracts.records.model_sidecar import ModelSidecar
from data_contracts.studies.registry import PREDICTING, usual_study
from data_contracts.studies.study import Study
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureReader
from resources.store.model_store import load_model, save_model

if TYPE_CHECKING:
    from methods.classifiers.linear_classifier import LinearClassifier
    from methods.reporting.prediction_files import ModelFacts

GROUP = "predictions"

FEATURES = names.CAE_FEATURES
"""Asset whose rows are classified, whatever the task: the codes of the dataset's auto-encoder.

Both usual studies compute them, and a new image passes one network and one auto-encoder. With
several labels SVMs on raw conv5 features would need no auto-encoder, but another encoder."""

LABEL_TENSORS = ("thresholds", "temperatures", "highest")
"""Tensors (L,) of a classifier of several labels: the fields of its calibration of that name."""


def study_of(store: DatasetStore, dataset: str) -> Study:
    """The study whose labels the classifier of a dataset predicts."""
    return usual_study(store.spec(dataset).task)


def rows_of(store: DatasetStore, dataset: str) -> LabelledRows:
    """The labelled rows that the classifier of a dataset is fitted to and scored on.

    Raises:
        InputError: as :func:`labelled_rows`.
    """
    return labelled_rows(store, dataset, study_of(store, dataset))


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

    The calibration gives probabilities and a threshold for images unlike the training images. Of
    several labels each has an SVM of its own and a threshold from which on it is given.
    """
    study, rows = study_of(here.store, here.dataset), rows_of(here.store, here.dataset)
    several = study.protocol == "several labels"
    if len(set(rows.labels[rows.train])) < 2:
        what = "two different sets of labels" if several else "two classes"
        raise InputError(
            f"{here.dataset} has fewer than {what} to learn",
            f"Add labelled training images of a second {'set' if several else 'class'}",
        )
    reader = here.features(FEATURES, rows.ids)
    title = study.method(PREDICTING).title

    def compute(work: Work) -> Output:
        model = fit_classifier(here.config, title, rows, reader, several)
        version = work.inputs[FEATURES].data_version
        sidecar = _sidecar(here.config, model, reader, version)
        tensors = _tensors(model.classifier)
        files = save_model(work.store, work.dataset, work.asset, work.fingerprint, tensors, sidecar)
        return Output(
            content=files[0].sha256,
            files=files,
            pictures=_pictures(model),
            summary=_summary(model, len(rows.train)),
            facts=model.facts,
            notices=model.notices,
            rows=len(rows.train),
        )

    given = [rows.ids, rows.labels.tolist(), rows.train.tolist(), rows.test.tolist(), rows.groups]
    return Plan(compute, identity={"features": reader.feature_set.key, "rows": given})


def _sidecar(
    config: ClassifierConfig,
    model: FittedClassifier,
    reader: FeatureReader,
    features_version: str,
) -> ModelSidecar:
    """The sidecar of the stored model."""
    read_by = asdict(model.classifier.calibration)
    return ModelSidecar(
        architecture="methods.classifiers.linear_classifier.LinearClassifier",
        settings={
            **config.settings(),
            "classes": model.classifier.classes.tolist(),
            **{key: value for key, value in read_by.items() if isinstance(value, float)},
            "features": reader.feature_set.model_dump(mode="json"),
        },
        input_shape=reader.feature_set.row_shape,
        fitted_on=features_version,
        curve=[],
    )


def _pictures(model: FittedClassifier) -> list[tuple[str, bytes]]:
    """The reliability diagram of the test images, where there are any with a probability."""
    from methods.reporting import figures

    if model.stated is None or not len(model.stated[0]):
        return []
    title = "stated probability against accuracy, test images"
    return [(title, figures.reliability({"test images": model.stated}))]


def _summary(model: FittedClassifier, n_train: int) -> dict[str, float | int | str]:
    """Captions of the classifier."""
    from methods.classifiers.calibration import Calibration

    fitted, test, exact = model.classifier, model.facts.test, model.facts.exact_match
    read_by = fitted.calibration
    summary: dict[str, float | int | str] = {"training images": n_train}
    if isinstance(read_by, Calibration):
        summary["classes"] = len(fitted.classes)
        summary["temperature"] = read_by.temperature
        summary["highest probability"] = read_by.highest
    else:
        summary["labels"] = len(fitted.classes)
    summary["unlike below cosine"] = read_by.unlike_below
    if test is not None:
        summary["calibration error on test images"] = test.ece
        summary["calibration slope on test images"] = (
            "not known" if test.slope is None else test.slope
        )
        if exact is None:
            summary["accuracy on test images"] = test.right.value
    if exact is not None:
        summary["all labels right on test images"] = exact.value
    return summary


def _tensors(fitted: "LinearClassifier") -> dict[str, Any]:
    """The stored tensors of a classifier."""
    import torch

    from methods.classifiers.label_probabilities import LabelCalibration

    tensors = {
        "weights": torch.from_numpy(fitted.weights),
        "intercept": torch.from_numpy(fitted.intercept),
    }
    if isinstance(fitted.calibration, LabelCalibration):
        read_by = vars(fitted.calibration)
        tensors |= {name: torch.from_numpy(read_by[name]) for name in LABEL_TENSORS}
    return tensors


def load_classifier(store: DatasetStore, dataset: str) -> "LinearClassifier":
    """The current classifier of a dataset."""
    from methods.classifiers.calibration import Calibration
    from methods.classifiers.label_probabilities import LabelCalibration
    from methods.classifiers.linear_classifier import LinearClassifier

    tensors, sidecar = load_model(store, dataset, names.CLASSIFIER)
    calibration: Calibration | LabelCalibration
    if set(LABEL_TENSORS) <= set(tensors):
        calibration = LabelCalibration(
            **{name: tensors[name].numpy() for name in LABEL_TENSORS},
            unlike_below=float(sidecar.settings["unlike_below"]),
        )
    else:
        calibration = Calibration(
            **{f.name: float(sidecar.settings[f.name]) for f in fields(Calibration)}
        )
    return LinearClassifier(
        np.array(sidecar.settings["classes"], dtype=np.str_),
        tensors["weights"].numpy(),
        tensors["intercept"].numpy(),
        calibration,
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
    from methods.classifiers.label_probabilities import LabelCalibration
    from methods.reporting.prediction_files import LabelFacts, ModelFacts

    record = store.need_record(dataset, names.CLASSIFIER)
    facts = record.facts_as(ClassifierFacts)
    groups = len({rows.groups[i] for i in rows.train}) if rows.has_groups else None
    read_by, classes = fitted.calibration, tuple(fitted.classes.tolist())
    labels: tuple[LabelFacts, ...] | None = None
    if isinstance(read_by, LabelCalibration):
        highest = float(read_by.highest[~np.isnan(read_by.temperatures)].max())
        labels = tuple(
            LabelFacts(label, read_by.given_from(k), facts.labels.get(label))
            for k, label in enumerate(classes)
        )
    else:
        highest = read_by.highest
    return ModelFacts(
        title=study_of(store, dataset).method(PREDICTING).title,
        day=record.created[:10],
        classes=classes,
        images=len(rows.train),
        groups=groups,
        highest=highest,
        out_of_fold=facts.out_of_fold,
        test=facts.test,
        exact_match=facts.exact_match,
        labels=labels,
    )


def classifier_notices(store: DatasetStore, dataset: str) -> list[str]:
    """The notices of everything that the classifier was made from, each once."""
    made_from = store.upstream(dataset, names.CLASSIFIER).values()
    return list(dict.fromkeys(notice for record in made_from for notice in record.notices))
