"""Near-duplicates of training images among the test images, which make figures optimistic."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from assets.core.lesion_rows import FoldConfig, lesion_rows
from assets.core.manifest_rows import usable_images
from assets.core.plan import Output, Plan, Stage, Work
from assets.core.settings import StageConfig
from assets.core.stage import stage
from data_contracts import asset_names as names
from data_contracts.records.facts import NearDuplicateFacts
from data_contracts.records.notices import COPIES
from data_contracts.tables.near_duplicates import NEAR_DUPLICATES

if TYPE_CHECKING:
    from methods.curation.near_duplicates import Pair, Side

GROUP = "evaluation"
SHOWN_PAIRS = 12
"""Maximum number of pairs in the picture."""
MADE_FROM = (names.IMAGE_MANIFEST, names.PREPARED_IMAGES)
"""Assets that both searches read."""

Rows = Sequence[dict[str, Any]]
"""Rows of the manifest."""


@stage(
    StageConfig,
    group=GROUP,
    order=3,
    kinds={"python", "parquet"},
    code_version="4",
    inputs=MADE_FROM,
    facts=NearDuplicateFacts,
    tables=(NEAR_DUPLICATES,),
)
def near_duplicates(here: Stage[StageConfig]) -> Plan:
    """Test images that show nearly the same picture as a training image.

    Candidates are the nearest in gradients and in a perceptual hash; a pair counts where the
    details agree once the two are laid over each other. Where no image is on a side, as without any
    label, all images are compared with each other.
    """
    usable = usable_images(here.store, here.dataset).to_pylist()
    divided = [row for row in usable if row["split"] in ("train", "test")]
    train, test = ([row for row in divided if row["split"] == side] for side in ("train", "test"))

    def compute(work: Work) -> Output:
        from methods.curation import near_duplicates as search

        if not divided:
            sole = _side(here, usable, range(len(usable)))
            pairs = search.find_near_duplicates_within(sole)
            return _output(here, work, [_line(pair, usable, usable) for pair in pairs], 0, 0, "")
        pairs = search.find_near_duplicates(
            _side(here, train, [0] * len(train)), _side(here, test, [1] * len(test))
        )
        lines = [_line(pair, train, test) for pair in pairs]
        affected = len({pair.second for pair in pairs})
        return _output(here, work, lines, affected, len(test), "a training image")

    return Plan(compute, identity=_identity(here, divided or usable, "split"))


@stage(
    FoldConfig,
    group=GROUP,
    order=3,
    kinds={"python", "parquet"},
    code_version="2",
    inputs=MADE_FROM,
    facts=NearDuplicateFacts,
    tables=(NEAR_DUPLICATES,),
)
def near_duplicates_in_folds(here: Stage[FoldConfig]) -> Plan:
    """Images that show nearly the same picture as an image of another fold.

    They are found as those of the split are. Every image of a pair is tested by a classifier that
    was trained on the other.
    """
    folds = lesion_rows(here.store, here.dataset, here.config)
    fold_of = dict(zip(folds.ids, folds.fold.tolist(), strict=True))
    usable = usable_images(here.store, here.dataset).to_pylist()
    rows = [
        row | {"fold": fold_of[row["image_id"]]} for row in usable if row["image_id"] in fold_of
    ]

    def compute(work: Work) -> Output:
        from methods.curation import near_duplicates as search

        side = _side(here, rows, [row["fold"] for row in rows])
        pairs = search.find_near_duplicates_within(side)
        affected = len({i for pair in pairs for i in (pair.first, pair.second)})
        lines = [_line(pair, rows, rows) for pair in pairs]
        return _output(here, work, lines, affected, len(rows), "an image of another fold")

    return Plan(compute, identity=_identity(here, rows, "fold"))


def _identity(here: Stage[Any], rows: Rows, side: str) -> dict[str, object]:
    """What a search is known by: the images, and the column that says where each is."""
    return {
        "images": here.features(names.PREPARED_IMAGES, []).feature_set.key,
        "rows": [[row["image_id"], row[side], row["path"]] for row in rows],
    }


def _side(here: Stage[Any], rows: Rows, groups: Sequence[int]) -> "Side":
    """The images of some rows, to be compared with those of other groups."""
    from methods.curation.near_duplicates import Side

    images = here.features(names.PREPARED_IMAGES, [row["image_id"] for row in rows])
    hashes = np.array([row["perceptual_hash"] for row in rows], np.uint64)
    return Side(hashes, np.array(groups, np.int64), images.take)


def _output(
    here: Stage[Any], work: Work, lines: Rows, affected: int, n_tested: int, other: str
) -> Output:
    """What a search stores.

    Args:
        here: the stage.
        work: its work.
        lines: rows of NEAR_DUPLICATES.
        affected: tested images in a pair; 0 where none is tested.
        n_tested: images that are tested.
        other: what they nearly equal.
    """
    share = affected / n_tested if n_tested else 0.0
    return Output(
        content=lines,
        files=[work.write_table(lines, NEAR_DUPLICATES)],
        pictures=_pictures(here, lines[:SHOWN_PAIRS]),
        summary={
            "pairs": len(lines),
            "test images concerned": affected,
            "share of the test images": round(share, 4),
        },
        notices=_notices(affected, n_tested, other),
        rows=len(lines),
        facts=NearDuplicateFacts(pairs=len(lines), test_images=affected, share=share),
    )


def _notices(affected: int, n_tested: int, other: str) -> list[str]:
    """Whether test images nearly equal images that are trained on."""
    if not affected:
        return []
    return [
        COPIES.says(
            f"{affected} of {n_tested} test images ({affected / n_tested:.1%}) "
            f"nearly equal {other}. Copies that were re-encoded, cropped, moved, rotated a "
            "little, turned, mirrored, inverted, framed or written on are found; images with "
            "little structure and stronger changes are not (docs/near_duplicates.md)"
        )
    ]


def _line(pair: "Pair", first: Rows, second: Rows) -> dict[str, Any]:
    """A row of NEAR_DUPLICATES."""
    return {
        "first_id": first[pair.first]["image_id"],
        "second_id": second[pair.second]["image_id"],
        "first_path": first[pair.first]["path"],
        "second_path": second[pair.second]["path"],
        "likeness": pair.likeness,
        "mirrored": pair.mirrored,
        "quarter_turns": pair.quarter_turns,
        "inverted": pair.inverted,
    }


def _pictures(here: Stage[Any], lines: Rows) -> list[tuple[str, bytes]]:
    """The most alike pairs side by side; none where there is no pair."""
    from methods.reporting import figures

    if not lines:
        return []
    ids = [line[side] for line in lines for side in ("first_id", "second_id")]
    images = here.features(names.PREPARED_IMAGES, ids)
    position = {image_id: i for i, image_id in enumerate(images.image_ids)}
    captions = [text for line in lines for text in ("first", f"second {line['likeness']:.3f}")]
    grid = figures.sample_grid(list(images.take([position[i] for i in ids])), captions)
    return [("most alike pairs", grid)]
