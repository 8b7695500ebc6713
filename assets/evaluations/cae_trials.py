"""Trainings of the auto-encoder that are scored at once, without a store for their codes."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from assets.core.labelled_rows import LabelledRows
from assets.core.scoring import packed, unpacked
from assets.core.settings import SvmSettings
from assets.core.shards import READ_ROWS
from assets.evaluations.svm import few_labels, fits_on
from assets.evaluations.svm_rows import rows_at_once
from data_contracts.errors import InputError
from data_contracts.records.notices import NOT_CONVERGED
from data_contracts.tables.evaluations import ALL_LABELS, TUNED
from resources.progress import progress
from resources.store.feature_store import FeatureReader

if TYPE_CHECKING:
    import torch

    from methods.settings import CaeSettings
    from methods.training.cae import CaeEpoch, ConvAutoEncoder, ReadRows


def scored_on(
    gram: np.ndarray,
    rows: LabelledRows,
    config: SvmSettings,
    seed: int,
    label_budgets: Sequence[int] = (),
    label_repeats: int = 0,
) -> dict[str, Any]:
    """Which test images are right from all labels, and from few, at the fixed and the tuned C.

    Args:
        gram: (n, n) of all rows.
        rows: the labelled images.
        config: settings of the SVM.
        seed: of the folds that choose C, and of the draws of labels.
        label_budgets: labels a class that are also tried.
        label_repeats: draws for each budget.

    Returns:
        "scores", by regularisation C and, by what was learned from, the packed (n_test,) bool of
        each draw; and "converged".
    """
    fits = fits_on(gram, rows, config, seed)
    right = {}
    for regularisation, scores in fits.scores.items():
        predicted = scores.classes[scores.scores.argmax(axis=1)]
        few = few_labels(
            gram,
            rows,
            config,
            label_budgets,
            label_repeats,
            seed,
            regularisation == TUNED,
        )
        of_budgets = {f"{budget} labels a class": correct for budget, correct in few.items()}
        correct_of = {ALL_LABELS: (predicted == rows.labels[rows.test])[None], **of_budgets}
        right[regularisation] = {
            "c": scores.c,
            "right": {
                labels: [packed(draw) for draw in correct] for labels, correct in correct_of.items()
            },
        }
    return {"scores": right, "converged": fits.converged}


def right_of(line: Mapping[str, Any], regularisation: str, labels: str, n: int) -> np.ndarray:
    """Share of the draws from which each test image is right, (n,) float64."""
    draws = line["scores"][regularisation]["right"][labels]
    return np.asarray(np.mean([unpacked(draw, n) for draw in draws], axis=0))


def not_converged(lines: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """What a reader must know of solvers that stopped too early; ``lines`` are by method."""
    unfinished = [name for name, of in lines.items() if not all(line["converged"] for line in of)]
    if not unfinished:
        return []
    return [NOT_CONVERGED.says(f"the SVM stopped above its tolerance for {', '.join(unfinished)}")]


def in_words(line: Mapping[str, Any], n_test: int) -> str:
    """The accuracy at either C, for the log."""
    accuracy = {name: right_of(line, name, ALL_LABELS, n_test).mean() for name in line["scores"]}
    return ", ".join(
        f"accuracy {accuracy[name]:.4f} at {name} C {of['c']:g}"
        for name, of in line["scores"].items()
    )


def trained_cae(
    settings: CaeSettings, take: ReadRows, n: int, device: torch.device
) -> tuple[ConvAutoEncoder, CaeEpoch]:
    """The auto-encoder after its last epoch, and the record of that epoch.

    Args:
        settings: of the training.
        take: reads the maps that train it by position.
        n: number of these.
        device: computes it.

    Raises:
        InputError: the training diverged.
    """
    from methods.training import cae
    from methods.training.loop import DivergedError

    caption = f"{settings.filters} filters, seed {settings.seed}"
    try:
        epochs = cae.train_cae(take, n, settings, device)
        last, checkpoint = deque(
            progress(epochs, caption, settings.epochs, unit="epoch"), maxlen=1
        ).pop()
    except DivergedError as error:
        raise InputError(
            f"the training of {settings.filters} filters diverged: {error}",
            "Set a smaller learning_rate",
        ) from error
    return cae.load_cae(checkpoint().last_weights(), settings, device), last


def gram_of_codes(
    model: ConvAutoEncoder,
    scored: FeatureReader,
    pool: Literal["max", "mean"],
    device: torch.device,
) -> np.ndarray:
    """Gram matrix (n, n) of the codes of all rows of ``scored``, rounded as stored codes are."""
    from methods.arrays import gram_matrix
    from methods.training import cae

    def codes(start: int, stop: int) -> np.ndarray:
        blocks = [
            cae.encode(model, scored.rows(i, min(i + READ_ROWS, stop)), device, pool)
            for i in range(start, stop, READ_ROWS)
        ]
        return np.concatenate([block.astype(np.float16) for block in blocks])

    _, height, width = scored.feature_set.row_shape
    numbers = len(model.encoder_weight) * (height // 2) * (width // 2)
    return gram_matrix(codes, len(scored), rows_at_once(numbers))
