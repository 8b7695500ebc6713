"""Agreement of the classifiers of lesions, and a network's features beside physical descriptors.

Source: the future work of Huynh et al. 2016, section 4.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from assets.core.lesion_rows import FoldConfig, LesionRows, lesion_rows
from assets.core.plan import Output, Plan, Stage, Work
from assets.core.stage import stage
from assets.evaluations.cross_validation import GROUP, LAYER_METHODS, out_of_fold, rows_of_method
from data_contracts import asset_names as names
from data_contracts.records.facts import FoldFacts
from data_contracts.studies.huynh2016 import ANALYTIC, ENSEMBLE, HUYNH2016, LAYER_SHAPES
from data_contracts.studies.study import Method
from data_contracts.tables.agreement import CLASSIFIER_AGREEMENT, DESCRIPTOR_CORRELATIONS
from resources.progress import progress

Probabilities = Mapping[Method, np.ndarray]
"""Out-of-fold probabilities (n,) of the same images, by method."""


@stage(
    FoldConfig,
    group=GROUP,
    order=8,
    kinds={"scipy", "parquet"},
    code_version="1",
    inputs=(
        *(method.evaluation for method in HUYNH2016.methods),
        names.ALEXNET_LAYERS,
        ANALYTIC.features,
    ),
    tables=(CLASSIFIER_AGREEMENT, DESCRIPTOR_CORRELATIONS),
)
def classifier_agreement(here: Stage[FoldConfig]) -> Plan:
    """Agreement of each layer's classifier with that of the analytic features, on the same images.

    And the features of the ensemble's layer that go with each analytic feature.
    """
    layer = here.facts(ENSEMBLE.evaluation, FoldFacts).ensemble_layer
    scored = [m for m in HUYNH2016.methods if not here.record(m.evaluation).unavailable]
    labelled = lesion_rows(here.store, here.dataset, here.config)
    scores = {m: out_of_fold(here.store, here.dataset, m, labelled) for m in scored}

    def compute(work: Work) -> Output:
        from methods.reporting.document import SIGNIFICANT

        rows = labelled.only(list(scores[ANALYTIC]))
        probabilities = {
            method: np.array([of[image_id].probability for image_id in rows.ids])
            for method, of in scores.items()
        }
        network = LAYER_METHODS[layer]
        agreements = agreement_rows(rows, probabilities, here.config.seed)
        maps = layer_maps(rows_of_method(here.features(network.features, rows.ids), network), layer)
        described = rows_of_method(here.features(ANALYTIC.features, rows.ids), ANALYTIC)
        descriptors = descriptor_rows(
            rows, described, maps, (probabilities[network], probabilities[ANALYTIC]), layer,
            here.config.seed,
        )  # fmt: skip
        return Output(
            content=[agreements, descriptors],
            files=[
                work.write_table(agreements, CLASSIFIER_AGREEMENT),
                work.write_table(descriptors, DESCRIPTOR_CORRELATIONS),
            ],
            pictures=_pictures(rows, probabilities, network, descriptors),
            summary={
                "images": len(rows.ids),
                **{
                    f"kappa of {row['method_b']} and {row['method_a']}": row["kappa"]
                    for row in agreements
                    if row["kappa"] is not None
                },
                "descriptors that go with a feature": sum(
                    row["p_value"] < SIGNIFICANT for row in descriptors
                ),
            },
            rows=len(rows.ids),
        )

    return Plan(
        compute,
        inputs=(*(m.evaluation for m in scored), names.ALEXNET_LAYERS, ANALYTIC.features),
    )


def agreement_rows(
    rows: LesionRows, probabilities: Probabilities, seed: int
) -> list[dict[str, Any]]:
    """Rows of CLASSIFIER_AGREEMENT: each layer against the analytic features.

    Args:
        rows: the images that have a contour.
        probabilities: of their classifiers.
        seed: of the bootstrap over patients.
    """
    from methods.statistics.agreement import agreement

    found = []
    layers = [method for method in LAYER_METHODS.values() if method in probabilities]
    for method in progress(layers, "agreement of classifiers", unit="method"):
        pair = agreement(
            probabilities[method], probabilities[ANALYTIC], rows.positive, rows.patients, seed
        )
        kappa, between = pair.kappa_interval, pair.spearman_interval
        found.append(
            {
                "method_a": method.name,
                "method_b": ANALYTIC.name,
                "n_images": len(rows.ids),
                "both_right": pair.both_right,
                "only_a": pair.only_a,
                "only_b": pair.only_b,
                "both_wrong": pair.both_wrong,
                "kappa": _known(pair.kappa),
                "kappa_low": None if kappa is None else min(kappa.low, pair.kappa),
                "kappa_high": None if kappa is None else max(kappa.high, pair.kappa),
                "correlation": _known(pair.spearman),
                "correlation_low": None if between is None else min(between.low, pair.spearman),
                "correlation_high": None if between is None else max(between.high, pair.spearman),
                "within_classes": _known(pair.within_classes),
            }
        )
    return found


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def layer_maps(features: np.ndarray, layer: str) -> np.ndarray:
    """Features (n, p) of a layer as one number for each of its units or maps, (n, units)."""
    shape = LAYER_SHAPES[layer]
    means: np.ndarray = features.reshape(len(features), shape[0], -1).mean(axis=2)
    return means


def descriptor_rows(
    rows: LesionRows,
    described: np.ndarray,
    maps: np.ndarray,
    probabilities: tuple[np.ndarray, np.ndarray],
    layer: str,
    seed: int,
) -> list[dict[str, Any]]:
    """Rows of DESCRIPTOR_CORRELATIONS, over the means of each patient's images.

    Args:
        rows: the images that have a contour.
        described: (n, D) their analytic features.
        maps: (n, units) from :func:`layer_maps`.
        probabilities: (n,) of the classifier on the layer, and of that on the analytic features.
        layer: the layer.
        seed: of the permutations.
    """
    from methods.features.radiomics import FEATURES
    from methods.statistics.descriptor_correlations import (
        standard_ranks,
        strongest_correlations,
        unit_means,
    )

    descriptors, features, scores = (
        unit_means(values, rows.patients)
        for values in (described, maps, np.stack(probabilities, axis=1))
    )
    strongest = strongest_correlations(descriptors, features, seed)
    with_scores = (standard_ranks(descriptors).T @ standard_ranks(scores)).clip(-1, 1)
    return [
        {
            "descriptor": feature.name,
            "family": feature.family,
            "layer": layer,
            "feature": int(strongest.feature[k]),
            "correlation": float(strongest.rho[k]),
            "p_value": float(strongest.p_value[k]),
            "chance": strongest.chance,
            "of_network": float(with_scores[k, 0]),
            "of_analytic": float(with_scores[k, 1]),
            "units": strongest.units,
        }
        for k, feature in enumerate(FEATURES)
    ]


def _pictures(
    rows: LesionRows,
    probabilities: Probabilities,
    network: Method,
    descriptors: Sequence[Mapping[str, Any]],
) -> list[tuple[str, bytes]]:
    """Two classifiers' probabilities, all classifiers' correlations, and the descriptors."""
    from methods.reporting import figures
    from methods.statistics.descriptor_correlations import standard_ranks

    scatter = figures.probability_scatter(
        probabilities[ANALYTIC],
        probabilities[network],
        rows.positive,
        (ANALYTIC.title, network.title),
        rows.classes,
    )
    ranks = standard_ranks(np.stack(list(probabilities.values()), axis=1))
    titles = [method.title.removesuffix(" + SVM") for method in probabilities]
    strongest = figures.strongest_correlations(
        [row["descriptor"] for row in descriptors],
        [row["family"] for row in descriptors],
        np.array([row["correlation"] for row in descriptors]),
        descriptors[0]["chance"],
    )
    return [
        ("probabilities of two classifiers", scatter),
        ("rank correlation of the probabilities", figures.correlation_matrix(titles, ranks)),
        (f"descriptors and the features of {descriptors[0]['layer']}", strongest),
    ]
