"""Near-duplicates of training images among the test images, which make figures optimistic."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from assets.core.manifest_rows import manifest_of
from assets.core.plan import Output, Plan, Stage, Work
from assets.core.settings import StageConfig
from assets.core.stage import stage
from data_contracts import asset_names as names
from data_contracts.records.facts import NearDuplicateFacts
from data_contracts.tables.manifest import ok_rows
from data_contracts.tables.near_duplicates import NEAR_DUPLICATES

if TYPE_CHECKING:
    from methods.curation.near_duplicates import Pair

GROUP = "evaluation"
SHOWN_PAIRS = 12
"""Maximum number of pairs in the picture."""

Rows = Sequence[dict[str, Any]]
"""Rows of the manifest."""


@stage(
    StageConfig,
    group=GROUP,
    order=4,
    kinds={"python", "parquet"},
    code_version="2",
    inputs=(names.IMAGE_MANIFEST, names.PREPARED_IMAGES, names.ALEXNET_CONV5),
    facts=NearDuplicateFacts,
    tables=(NEAR_DUPLICATES,),
)
def near_duplicates(here: Stage[StageConfig]) -> Plan:
    """Test images that show nearly the same picture as a training image.

    They are found by perceptual hash and confirmed by the cosine of conv5 features. Where no image
    is on a side, as without any label, all images are compared with each other.
    """
    usable = ok_rows(manifest_of(here.store, here.dataset)).to_pylist()
    divided = [row for row in usable if row["split"] in ("train", "test")]
    train, test = ([row for row in divided if row["split"] == side] for side in ("train", "test"))
    if not divided:
        divided = train = test = usable
    of_train, of_test = (
        here.features(names.ALEXNET_CONV5, [row["image_id"] for row in side])
        for side in (train, test)
    )

    def compute(work: Work) -> Output:
        from methods.curation.near_duplicates import find_near_duplicates

        pairs = find_near_duplicates(_hashes(train), _hashes(test), of_train.take, of_test.take)
        if train is test:
            pairs = [pair for pair in pairs if pair.first < pair.second]
        lines = [_line(pair, train, test) for pair in pairs]
        affected = len({pair.second for pair in pairs})
        share = affected / len(test) if test else 0.0
        return Output(
            content=lines,
            files=[work.write_table(lines, NEAR_DUPLICATES)],
            pictures=_pictures(here, lines[:SHOWN_PAIRS]),
            summary={
                "pairs": len(pairs),
                "test images concerned": affected,
                "share of the test images": round(share, 4),
            },
            notices=_notices(
                0 if train is test else affected,
                len(test),
                bool(here.record(names.ALEXNET_CONV5).notices),
            ),
            rows=len(pairs),
            facts=NearDuplicateFacts(pairs=len(pairs), test_images=affected, share=share),
        )

    return Plan(
        compute,
        identity={
            "features": of_train.feature_set.key,
            "rows": [[row["image_id"], row["split"], row["path"]] for row in divided],
        },
    )


def _notices(affected: int, n_test: int, other_weights: bool) -> list[str]:
    """Whether test images resemble training images, and whether the weights can tell."""
    notices = []
    if affected:
        notices.append(
            f"NEAR-DUPLICATES: {affected} of {n_test} test images ({affected / n_test:.1%}) "
            "closely resemble a training image"
        )
    if other_weights:
        notices.append(
            "NEAR-DUPLICATES UNSURE: their thresholds were found with ImageNet weights, which were "
            "not used here"
        )
    return notices


def _hashes(rows: Rows) -> np.ndarray:
    """Perceptual hashes of images, (n,) uint64."""
    return np.array([row["perceptual_hash"] for row in rows], np.uint64)


def _line(pair: "Pair", train: Rows, test: Rows) -> dict[str, Any]:
    """A row of NEAR_DUPLICATES."""
    return {
        "train_id": train[pair.first]["image_id"],
        "test_id": test[pair.second]["image_id"],
        "train_path": train[pair.first]["path"],
        "test_path": test[pair.second]["path"],
        "distance": pair.distance,
        "similarity": pair.similarity,
        "mirrored": pair.mirrored,
    }


def _pictures(here: Stage[StageConfig], lines: Rows) -> list[tuple[str, bytes]]:
    """The most similar pairs side by side; none where there is no pair."""
    from methods.reporting import figures

    if not lines:
        return []
    ids = [line[side] for line in lines for side in ("train_id", "test_id")]
    images = here.features(names.PREPARED_IMAGES, ids)
    position = {image_id: i for i, image_id in enumerate(images.image_ids)}
    captions = [text for line in lines for text in ("train", f"test {line['similarity']:.3f}")]
    grid = figures.sample_grid(list(images.take([position[i] for i in ids])), captions)
    return [("most similar pairs across the split", grid)]
