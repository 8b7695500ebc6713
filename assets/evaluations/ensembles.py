"""Ensembles: the mean class probabilities of fine-tuned networks, and of an SVM where one joins."""

from dataclasses import replace

import dagster as dg
import numpy as np

from assets.core.labelled_rows import LabelledRows, scorable_rows
from assets.core.plan import Output, Plan, Stage, UnavailableError, Work
from assets.core.scoring import ScoreConfig, Scored, Scores, score
from assets.core.settings import SvmSettings
from assets.core.stage import stage
from assets.evaluations.svm import GROUP, fits_on, gram_limit
from assets.evaluations.svm_rows import gram_of
from data_contracts import asset_names as names
from data_contracts.records.facts import EvaluationFacts
from data_contracts.studies.registry import studies_of
from data_contracts.studies.study import Method, Study
from data_contracts.tables.evaluations import FIXED, METRICS, PREDICTIONS, TUNED
from resources.store.feature_store import FeatureReader
from resources.store.model_store import load_model


class SvmEnsembleConfig(ScoreConfig, SvmSettings):
    """Settings of an ensemble with an SVM among its members."""


def ensemble_evaluation(study: Study, method: Method) -> dg.AssetsDefinition:
    """The evaluation of an ensemble: its members' mean class probabilities on the test split."""
    models = [f"fine_tuned_{member}" for member in method.members]
    features = [f"{model}_features" for model in models]
    joining = [study.method(method.svm_member).features] if method.svm_member else []
    svm = (
        f" and of the SVM of {study.method(method.svm_member).title}, calibrated out of fold"
        if joining
        else ""
    )

    @stage(
        SvmEnsembleConfig if joining else ScoreConfig,
        name=method.evaluation,
        description=f"{method.title}: the mean of the softmax probabilities of the fine-tuned "
        f"networks{svm}, on the test split.",
        group=GROUP,
        order=6,
        kinds={"numpy", "parquet"},
        code_version="5",
        inputs=(names.IMAGE_MANIFEST, *models, *features, *joining),
        facts=EvaluationFacts,
        tables=(METRICS, PREDICTIONS),
    )
    def evaluation(here: Stage[ScoreConfig]) -> Plan:
        rows = scorable_rows(here.store, here.dataset, study)
        here.needs(*models, *features, *joining)
        if joining and (limit := gram_limit(rows)):
            raise UnavailableError(limit)
        inputs = (*models, *features, *joining)
        versions = [here.record(name).data_version for name in inputs]
        readers = [here.features(name, rows.ids) for name in joining]

        def compute(work: Work) -> Output:
            classes, networks = _of_networks(here, models, features, rows)
            config = here.config
            of_svm: dict[str, Scores] = {}
            if isinstance(config, SvmEnsembleConfig):
                of_svm = svm_probabilities(readers[0], rows, config, classes)
            means = mean_scores(classes, networks, of_svm)
            scored = Scored(method.title, means[FIXED], means.get(TUNED))
            return score(work, here.config, study, method, rows, scored)

        return Plan(compute, identity={"members": versions, "rows": rows.version})

    return evaluation


def _of_networks(
    here: Stage[ScoreConfig], models: list[str], features: list[str], rows: LabelledRows
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The classes, and each fine-tuned network's (n_test, K) probabilities of them."""
    from methods.training.fine_tuning import class_probabilities

    probabilities, classes = [], np.array([])
    for model, rows_of in zip(models, features, strict=True):
        tensors, sidecar = load_model(here.store, here.dataset, model)
        head = (tensors["head.weight"].numpy(), tensors["head.bias"].numpy())
        test_rows = here.features(rows_of, rows.ids).take(rows.test)
        probabilities.append(class_probabilities(test_rows, *head))
        classes = np.array(sidecar.settings["classes"], dtype=np.str_)
    return classes, probabilities


def svm_probabilities(
    reader: FeatureReader, rows: LabelledRows, config: SvmEnsembleConfig, classes: np.ndarray
) -> dict[str, Scores]:
    """The (n_test, K) probabilities of an SVM on the rows of ``reader``, by regularisation.

    Its scores become probabilities by a temperature that is fitted on the training images, each
    scored by an SVM that did not see its group; where no folds can be made, the temperature is 1.

    Args:
        reader: features of all labelled images.
        rows: the labelled images.
        config: settings of the SVM; its seed draws the folds.
        classes: (K,) names, in the order of the columns.
    """
    from methods.classifiers.calibration import UNCALIBRATED, calibrate

    labels = rows.labels[rows.train]
    found = {}
    for regularisation, of in fits_on(gram_of(reader), rows, config, config.seed).scores.items():
        read_by = calibrate(of.out_of_fold, labels) or UNCALIBRATED
        columns = np.searchsorted(of.classes, classes)
        shares = read_by.probabilities(of.scores)[:, columns]
        found[regularisation] = Scores(classes, shares, of.c)
    return found


def mean_scores(
    classes: np.ndarray, networks: list[np.ndarray], of_svm: dict[str, Scores]
) -> dict[str, Scores]:
    """The mean probabilities by regularisation; without an SVM there is the fixed one alone."""
    from methods.training.fine_tuning import mean_probabilities

    if not of_svm:
        return {FIXED: Scores(classes, mean_probabilities(networks))}
    return {
        regularisation: replace(of, scores=mean_probabilities([*networks, of.scores]))
        for regularisation, of in of_svm.items()
    }


ensemble_evaluations = [
    ensemble_evaluation(study, method)
    for study in studies_of("test split")
    for method in study.methods
    if method.members
]
