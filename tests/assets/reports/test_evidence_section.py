"""Maps of evidence from an evaluation of small arrays, whose channels light up at known places."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from assets.core.labelled_rows import labelled_rows
from assets.core.plan import Stage
from assets.core.settings import StageConfig
from assets.evaluations.svm import SvmConfig, svm_evaluation
from assets.reports.classifier_sections import Classifiers
from assets.reports.evidence_section import _chosen, _evidence, evidence_section
from data_contracts import asset_names as names
from data_contracts.studies.ahn2019 import AHN2019
from tests.assets.plans import (
    DATASET,
    image_id,
    manifest_row,
    new_store,
    run_plan,
    store_features,
    store_manifest,
)

CONV5 = AHN2019.method("conv5")
LABELS = ["a", "b"] * 8


def test_the_evidence_lies_where_the_classes_differ(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store_manifest(
        store,
        [manifest_row(i, "train" if i < 10 else "test", of) for i, of in enumerate(LABELS)],
    )
    ids = [image_id(i) for i in range(16)]
    maps = np.random.default_rng(0).random((16, 2, 3, 3), np.float32) * 0.1
    maps[::2, 0, 0, 0] += 1  # class a lights up above on the left,
    maps[1::2, 1, 2, 2] += 1  # class b below on the right
    store_features(store, CONV5.features, ids, maps, backbone="alexnet", layer="conv5")
    store_features(store, names.PREPARED_IMAGES, ids, np.zeros((16, 8, 8, 3), np.uint8))
    quick = SvmConfig(label_budgets=[1], label_repeats=2, bootstrap_resamples=20)
    run_plan(svm_evaluation(AHN2019, CONV5), store, quick)

    here = Stage(DATASET, "report", StageConfig(), store)
    of = Classifiers(here, AHN2019, {CONV5: "conv5"}, ())
    (section,) = evidence_section(of)
    (figure,) = section.figures
    assert "test images that are right" in figure.title
    rows = labelled_rows(store, DATASET, AHN2019)
    reader = here.features(CONV5.features, rows.ids)
    for found in _evidence(of, _chosen(of, CONV5), rows, reader):
        place = (0, 0) if found.predicted == "a" else (2, 2)
        assert np.unravel_index(found.parts.argmax(), (3, 3)) == place
    assert evidence_section(Classifiers(here, AHN2019, {}, ())) == []
    here.close()
