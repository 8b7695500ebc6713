"""How the auto-encoder's accuracy varies over seeds, and with the images that train it."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from assets.core.labelled_rows import LabelledRows, groups_by_image, scorable_rows
from assets.core.manifest_rows import usable_images
from assets.core.plan import Output, Plan, Stage, UnavailableError, Work
from assets.core.scoring import MetricRows
from assets.core.settings import SeedSetting, SvmSettings
from assets.core.stage import stage
from assets.evaluations.cae_trials import (
    gram_of_codes,
    in_words,
    not_converged,
    right_of,
    scored_on,
    trained_cae,
)
from assets.evaluations.svm import GROUP, gram_limit
from assets.evaluations.svm_rows import gram_of
from assets.features.auto_encoder import (
    MORE_TO_FIT_ON,
    CaeModelConfig,
    EncodeConfig,
    fitting_ids,
    initial_weights,
)
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.facts import SeedStudyFacts
from data_contracts.studies.ahn2019 import AHN2019, RAW_ESTIMATE
from data_contracts.tables.evaluations import ALL_LABELS, FIXED, METRICS, OVER_SEEDS, TUNED
from resources.progress import progress
from resources.store.feature_store import FeatureReader
from resources.store.partial_results import PartialResults

if TYPE_CHECKING:
    import torch

    from methods.settings import CaeSettings
    from methods.statistics.seeds import SeedDifference
    from methods.training.cae import ConvAutoEncoder

log = logging.getLogger("medfeat.seed_study")

CAE, RANDOM = "trained_filters", "random_filters"
"""Methods of the rows of METRICS: the trained auto-encoder and its control."""
SEEDS = 3
"""Number of seeds where the setting names none."""
CHEAP_WORK = 10_000_000
"""Maximum filters x images x epochs of one training that a processor repeats without being asked:
256 filters on 1,000 images for 40 epochs, CHEAP_TIME."""
CHEAP_TIME = "about 40 seconds on one core"
"""What a training of CHEAP_WORK takes, in words."""


class SeedStudyConfig(SvmSettings, SeedSetting):
    """Settings of `seed_study`; the auto-encoder's own are those of `cae_model`."""

    seeds: PositiveInt | None = None
    """Trainings of the auto-encoder behind the means, the main one among them. Without a number
    they are 3 on a card or where they are short, else none; the report says which."""
    training_shares: list[PositiveFloat] = Field(default=[])
    """Shares of the images that train the auto-encoder that are tried as well, such as 0.1 and 0.5,
    whole patients at a time; each training sees as many images as the main one, some more often."""


@dataclass(frozen=True)
class _Trial:
    """One auto-encoder that is scored.

    Attributes:
        method: CAE or RANDOM.
        share: of the images that train it, or would.
        seed: of its weights, and of the draw of the images.
    """

    method: str
    share: float
    seed: int

    @property
    def key(self) -> str:
        """Name among the stored parts."""
        return f"{self.method}-{self.share:g}-{self.seed}"

    @property
    def in_words(self) -> str:
        """Name in the log."""
        of = "" if self.share == 1 else f" on {100 * self.share:g} % of the images"
        return f"{self.method.replace('_', ' ')}{of}, seed {self.seed}"


@dataclass(frozen=True)
class _Inputs:
    """What the trials are made from.

    Attributes:
        rows: the labelled images.
        trained: settings of the main training.
        pool: how its maps become codes.
        maps: those that train it.
        groups: (n,) group of each of them.
        scored: maps of the labelled images.
        codes: stored codes of the labelled images by method, those of the main seed.
        device: computes the trainings.
    """

    rows: LabelledRows
    trained: CaeModelConfig
    pool: EncodeConfig
    maps: FeatureReader
    groups: Sequence[str]
    scored: FeatureReader
    codes: Mapping[str, FeatureReader]
    device: str

    @property
    def work(self) -> int:
        """Filters x images x epochs of one training."""
        return self.trained.filters * len(self.maps) * self.trained.epochs

    def images(self, share: float) -> int:
        """Number of images of a share of those that train."""
        return round(share * len(self.maps))


@stage(
    SeedStudyConfig,
    group=GROUP,
    order=6,
    kinds={"pytorch", "parquet"},
    code_version="3",
    inputs=(
        names.IMAGE_MANIFEST,
        names.BACKBONE_FEATURES,
        names.CAE_MODEL,
        names.RANDOM_CAE_MODEL,
        names.CAE_FEATURES,
        names.RANDOM_CAE_FEATURES,
    ),
    facts=SeedStudyFacts,
    tables=(METRICS,),
    uses_device=True,
)
def seed_study(here: Stage[SeedStudyConfig]) -> Plan:
    """Accuracy of the CAE and of random filters over several seeds, against the raw maps.

    With shares of the images, also by the number of images that train the CAE (what Ahn et al.
    2019, section 3.2, leave to future work). Goes on after a kill from the last finished training.
    """
    config = here.config
    made_from = _inputs(here)
    n = len(made_from.maps)
    if not all(share < 1 and made_from.images(share) >= 2 for share in config.training_shares):
        raise InputError(
            f"training_shares is {config.training_shares}, of {n} images",
            "Set shares below 1, as all images are always there, of at least two images each",
        )
    if reason := gram_limit(made_from.rows):
        raise UnavailableError(reason)
    seeds = config.seeds or SEEDS
    if config.seeds is None and here.device == "cpu" and made_from.work > CHEAP_WORK:
        raise UnavailableError(
            f"{made_from.trained.filters} filters on {n} images for "
            f"{made_from.trained.epochs} epochs take longer on a processor than what is repeated "
            f"without being asked ({CHEAP_TIME}): set seeds={SEEDS}, or a smaller number of "
            "filters"
        )
    if seeds == 1 and not config.training_shares:
        raise UnavailableError("one seed was asked for (seeds=1)")

    def compute(work: Work) -> Output:
        parts = PartialResults(work.store, work.dataset, work.asset, work.fingerprint)
        results = parts.load()
        trials = _trials(config, made_from, seeds)
        for trial in progress(trials, "the seed study", unit="training"):
            if trial.key not in results:
                gram = _gram(made_from, trial)
                results[trial.key] = scored_on(gram, made_from.rows, config, config.seed)
                words = in_words(results[trial.key], len(made_from.rows.test))
                log.info("%s: %s", trial.in_words, words)
                parts.save(results)
        if RAW_ESTIMATE not in results:
            raw = gram_of(made_from.scored)
            results[RAW_ESTIMATE] = scored_on(raw, made_from.rows, config, config.seed)
            parts.save(results)
        output = _summary(work, config, made_from, trials, results)
        parts.drop()
        return output

    return Plan(
        compute,
        identity={
            "seeds": seeds,
            "features": {name: reader.feature_set.key for name, reader in made_from.codes.items()},
            "rows": made_from.rows.version,
        },
    )


def _inputs(here: Stage[SeedStudyConfig]) -> _Inputs:
    """What the trials are made from; the settings are those that the main training really had."""
    for asset in (names.CAE_FEATURES, names.RANDOM_CAE_FEATURES):
        here.needs(asset)
    rows = scorable_rows(here.store, here.dataset, AHN2019)
    trained = CaeModelConfig(**here.record(names.CAE_MODEL).settings)
    ids = fitting_ids(here.store, here.dataset, trained.fit_on, "the auto-encoder", MORE_TO_FIT_ON)
    group_of = groups_by_image(usable_images(here.store, here.dataset))
    maps = here.features(names.BACKBONE_FEATURES, ids)
    return _Inputs(
        rows=rows,
        trained=trained,
        pool=EncodeConfig(**here.record(names.CAE_FEATURES).settings),
        maps=maps,
        groups=[group_of[image] for image in maps.image_ids],
        scored=here.features(names.BACKBONE_FEATURES, rows.ids),
        codes={
            CAE: here.features(names.CAE_FEATURES, rows.ids),
            RANDOM: here.features(names.RANDOM_CAE_FEATURES, rows.ids),
        },
        device=here.device,
    )


def _trials(config: SeedStudyConfig, made_from: _Inputs, seeds: int) -> list[_Trial]:
    """Every auto-encoder: of each seed on all images, then of each seed on each share of them."""
    numbers = range(made_from.trained.seed, made_from.trained.seed + seeds)
    shares = sorted(set(config.training_shares), reverse=True)
    return [
        *(_Trial(method, 1.0, seed) for method in (CAE, RANDOM) for seed in numbers),
        *(_Trial(CAE, share, seed) for share in shares for seed in numbers),
    ]


def _gram(made_from: _Inputs, trial: _Trial) -> np.ndarray:
    """Gram matrix of the codes of all labelled images by one auto-encoder."""
    import torch

    from methods.training import cae

    if trial.share == 1 and trial.seed == made_from.trained.seed:
        return gram_of(made_from.codes[trial.method])
    device = torch.device(made_from.device)
    settings = made_from.trained.cae_settings(made_from.trained.filters, trial.seed)
    if trial.method == RANDOM:
        model = cae.load_cae(initial_weights(settings, made_from.maps, device), settings, device)
    else:
        model = _trained_on_some(settings, made_from, trial, device)
    return gram_of_codes(model, made_from.scored, made_from.pool.pool, device)


def _trained_on_some(
    settings: "CaeSettings", made_from: _Inputs, trial: _Trial, device: "torch.device"
) -> "ConvAutoEncoder":
    """The auto-encoder after a training on a share of the images, each seen more often."""
    from methods.statistics.label_efficiency import fraction_draw

    one_class = np.zeros(len(made_from.maps), np.str_)
    drawn = fraction_draw(one_class, made_from.groups, trial.share, trial.seed)
    epochs = replace(settings, epochs=max(round(settings.epochs / trial.share), 1))
    return trained_cae(
        epochs, lambda positions: made_from.maps.take(drawn[positions]), len(drawn), device
    )[0]


def _summary(
    work: Work,
    config: SeedStudyConfig,
    made_from: _Inputs,
    trials: Sequence[_Trial],
    results: Mapping[str, dict[str, Any]],
) -> Output:
    """The means over the seeds, and how far the trained filters are from the others."""
    from methods.reporting.repeat_tables import difference_sentence

    lines: dict[tuple[str, float], list[dict[str, Any]]] = {
        (RAW_ESTIMATE, 1.0): [results[RAW_ESTIMATE]]
    }
    for trial in trials:
        lines.setdefault((trial.method, trial.share), []).append(results[trial.key])
    metrics = [
        row
        for (method, share), of in lines.items()
        for row in _metrics(work, config, made_from, method, share, of)
    ]
    means = [row for row in metrics if row["metric"] == OVER_SEEDS]
    by_method: dict[str, list[dict[str, Any]]] = {}
    for (method, _), of in sorted(lines.items()):
        by_method.setdefault(method, []).extend(of)
    return Output(
        content=metrics,
        files=[work.write_table(metrics, METRICS)],
        pictures=_curve(made_from, [share for method, share in lines if method == CAE], means),
        summary={
            "seeds": len(lines[CAE, 1.0]),
            **{
                f"{row['method']}, {row['subject']}, {row['regularisation']} C": row["value"]
                for row in means
            },
        },
        facts=SeedStudyFacts(
            rows_version=made_from.rows.version,
            sentence=difference_sentence(_differences(made_from, lines)),
        ),
        notices=not_converged(by_method),
        rows=len(metrics),
        device=made_from.device,
    )


def _curve(
    made_from: _Inputs, shares: Sequence[float], means: Sequence[Mapping[str, Any]]
) -> list[tuple[str, bytes]]:
    """The picture of the accuracy at the fixed C by training images, where some were left out."""
    from methods.reporting.figures import training_images_curve

    if len(shares) < 2:
        return []
    mean_of = {
        row["subject"]: row
        for row in means
        if (row["method"], row["regularisation"]) == (CAE, FIXED)
    }
    points = [
        (made_from.images(share), row["value"], row["ci_low"], row["ci_high"])
        for share in sorted(shares)
        for row in [mean_of[_subject(made_from, share)]]
    ]
    caption = "accuracy by the images that train the auto-encoder"
    return [(caption, training_images_curve(points))]


def _subject(made_from: _Inputs, share: float) -> str:
    """What the figures of a share of the images are of."""
    return ALL_LABELS if share == 1 else f"{made_from.images(share)} images"


def _right(made_from: _Inputs, lines: Sequence[dict[str, Any]], regularisation: str) -> np.ndarray:
    """Whether each test image is right for each seed, (seeds, n_test) float64."""
    n = len(made_from.rows.test)
    return np.stack([right_of(line, regularisation, ALL_LABELS, n) for line in lines])


def _metrics(
    work: Work,
    config: SeedStudyConfig,
    made_from: _Inputs,
    method: str,
    share: float,
    of: Sequence[dict[str, Any]],
) -> list[dict[str, Any]]:
    """Rows of METRICS of one method and share: of each seed, and the mean over the seeds."""
    from methods.statistics.significance import accuracy_interval

    rows = made_from.rows
    subject, n, metrics = _subject(made_from, share), len(rows.test), []
    for regularisation in of[0]["scores"]:
        settings = {**config.settings(), "filters": made_from.trained.filters, "share": share}
        right = _right(made_from, of, regularisation)
        for k, line in enumerate(of):
            settings["c"] = line["scores"][regularisation]["c"]
            seed = made_from.trained.seed + k
            of_seed = MetricRows(work, AHN2019, method, seed, settings, regularisation)
            interval = accuracy_interval(right[k] > 0, rows.test_groups)
            metrics.append(of_seed.row("accuracy", subject, float(right[k].mean()), n, interval))
        settings["c"] = regularisation
        of_all = MetricRows(work, AHN2019, method, config.seed, settings, regularisation)
        over_seeds = accuracy_interval(right > 0, rows.test_groups)
        metrics.append(of_all.row(OVER_SEEDS, subject, float(right.mean()), n, over_seeds))
    return metrics


def _differences(
    made_from: _Inputs, lines: Mapping[tuple[str, float], list[dict[str, Any]]]
) -> "dict[str, SeedDifference]":
    """How much better trained filters are than others, at the tuned C where there is one.

    Those that cannot be compared, as all test images are of one patient, are left out.
    """
    from methods.statistics.seeds import seed_difference

    of = {method: lines[method, 1.0] for method in (CAE, RANDOM, RAW_ESTIMATE)}
    c = TUNED if all(TUNED in line["scores"] for each in of.values() for line in each) else FIXED
    right = {method: _right(made_from, each, c) for method, each in of.items()}
    found = {
        words: seed_difference(right[CAE], right[other], made_from.rows.test_groups)
        for other, words in ((RANDOM, "random filters"), (RAW_ESTIMATE, "the maps themselves"))
    }
    return {words: difference for words, difference in found.items() if difference is not None}
