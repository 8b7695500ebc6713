"""Stages on images: the manifest of a dataset's folder, and the prepared 227 x 227 pictures."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from pydantic import Field

from assets.core.manifest_rows import label_in_words, usable_ids, usable_images
from assets.core.originals import Originals
from assets.core.plan import Output, Plan, Stage, Work
from assets.core.settings import DicomWindowSetting, StageConfig
from assets.core.stage import stage
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.dataset import DatasetSpec
from data_contracts.records.facts import ManifestFacts
from data_contracts.records.feature_shard import FeatureSet
from data_contracts.records.hashing import content_hash
from data_contracts.records.notices import (
    CENTRES_OF_TURNED_IMAGES,
    FILES_LEFT_OUT,
    IMAGES_HELD,
    LABELS_ON_ONE_SIDE,
    SYNTHETIC_IMAGES,
)
from data_contracts.tables.attributes import ATTRIBUTES
from data_contracts.tables.manifest import MANIFEST
from methods.curation.attributes import MAX_VALUES, Attribute
from methods.curation.independence import split_facts, split_notices
from methods.curation.labels import label_notices
from methods.curation.lesion_centres import AMBIGUOUS, CONVERTED
from methods.curation.manifest_rows import labels_of, one_sided_labels
from methods.curation.overview import overview
from methods.imaging.preprocessing import PreprocessingSettings
from resources.intake.arrivals import find_arrivals
from resources.intake.dataset_scan import attributes_of_files, scan
from resources.intake.outcomes import StoredOutcomes
from resources.progress import progress
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureStore

log = logging.getLogger("medfeat.images")

GROUP = "images"
SAMPLE = 24
"""Number of images in the picture of a sample."""
LOGGED_FILES = 100
"""Maximum number of rejected files in one message of the log."""
MANIFEST_CODE_VERSION = "4"
PREPARED_CODE_VERSION = "4"

Rows = Sequence[Mapping[str, Any]]
"""Rows of the manifest."""


class ManifestConfig(StageConfig):
    """Settings of `image_manifest` beside those of the dataset's specification."""

    allow_constant: bool = False
    """Use images whose pixels are all of one grey level or colour, which have nothing to learn
    from."""


class PreparedImagesConfig(DicomWindowSetting):
    """Settings of `prepared_images`."""

    resize: Literal["direct", "pad"] = PreprocessingSettings.resize
    """"direct" stretches to the square (the paper); "pad" keeps the aspect ratio on black."""
    decode: Literal["scaled", "exact"] = "scaled"
    """For JPEGs at least four times as large as needed: "scaled" has libjpeg shrink them while it
    decodes, "exact" makes every pixel."""


def decoded_before(
    store: DatasetStore, spec: DatasetSpec, forgetting: bool = False
) -> StoredOutcomes:
    """What was decoded of a dataset's files by this code version, along the same axis of volumes.

    Args:
        store: of the home.
        spec: of the dataset, which need not be registered.
        forgetting: start with none, and replace what is stored.
    """
    folder = store.folder(spec.name, names.IMAGE_MANIFEST)
    return StoredOutcomes(folder, f"{MANIFEST_CODE_VERSION}-{spec.slice_axis}", forgetting)


@stage(
    ManifestConfig,
    group=GROUP,
    order=1,
    kinds={"parquet"},
    code_version=MANIFEST_CODE_VERSION,
    facts=ManifestFacts,
    tables=(MANIFEST,),
)
def image_manifest(here: Stage[ManifestConfig]) -> Plan:
    """Every file of the dataset and its drops, with label, split, group and size.

    Each row also has the SHA-256 of the file, its mode, and whether it can be used. Files that
    cannot be used are listed with the reason. Known bytes are hashed again but not decoded again.
    """
    spec = here.store.spec(here.dataset)

    def compute(work: Work) -> Output:
        from methods.reporting import figures

        arrival = find_arrivals(here.store, spec)
        for drop in arrival.waits:
            log.info("not in this run: %s/%s", here.dataset, drop)
        table = scan(
            arrival.intake,
            decoded_before(here.store, spec, forgetting=here.config.force),
            here.config.allow_constant,
            lambda items: progress(items, "reading files", unit="file"),
        )
        rows = table.to_pylist()
        _log_rejected(rows)
        facts = _manifest_facts(rows, spec, arrival)
        name = f"{content_hash(rows)}{MANIFEST.suffix}"
        return Output(
            content=rows,
            files=[here.store.write_table(here.dataset, here.asset, name, table, MANIFEST)],
            pictures=[("class balance", figures.class_balance(_class_counts(rows)))],
            summary={**manifest_summary(facts), "read": "\n".join(overview(rows))},
            notices=_manifest_notices(rows, spec, facts),
            rows=len(rows),
            facts=facts,
        )

    return Plan(compute, identity={"spec": spec.model_dump(mode="json")}, always=True)


def _frame(row: Mapping[str, Any]) -> str:
    return "" if row["frame"] is None else f", frame {row['frame']}"


def _log_rejected(rows: Rows) -> None:
    """Name every rejected file in the log of the run, as the manifest writes it, with the reason.

    Many share a message: each is a row of Dagster's database.
    """
    lines = [
        f"{row['path']}{_frame(row)}: {row['reason']}"
        for row in rows
        if row["status"] == "rejected"
    ]
    for start in range(0, len(lines), LOGGED_FILES):
        log.info("rejected: %s", "\n  ".join(lines[start : start + LOGGED_FILES]))


def _manifest_facts(rows: Rows, spec: DatasetSpec, arrival: Any) -> ManifestFacts:
    """Counts of a manifest's rows, and what had arrived."""
    status = Counter(row["status"] for row in rows)
    usable = [row for row in rows if row["status"] == "ok"]
    splits = Counter(row["split"] for row in usable)
    return ManifestFacts(
        usable_images=status["ok"],
        training_images=splits["train"],
        test_images=splits["test"],
        unlabelled_images=splits["unlabelled"],
        held_images=splits["held"],
        images_from_drops=sum(row["drop"] is not None for row in usable),
        drops=len(arrival.intake.drops),
        unsettled_drops=arrival.waiting,
        classes=len({name for row in usable for name in labels_of(row["label"], spec.task)}),
        duplicates=status["duplicate"],
        rejected_files=status["rejected"],
        arrival=arrival.signature,
        split=split_facts(rows, spec),
    )


def manifest_summary(facts: ManifestFacts) -> dict[str, float | int | str]:
    """The counts of a manifest under their captions, for the UI and for reports."""
    return {
        "usable images": facts.usable_images,
        "training images": facts.training_images,
        "test images": facts.test_images,
        "unlabelled images": facts.unlabelled_images,
        "held images": facts.held_images,
        "images from drops": facts.images_from_drops,
        "drops": facts.drops,
        "drops not settled": facts.unsettled_drops,
        "classes": facts.classes,
        "duplicates": facts.duplicates,
        "rejected files": facts.rejected_files,
    }


def _class_counts(rows: Rows) -> dict[str, dict[str, int]]:
    """Images of each label by split, or by status where they cannot be used."""
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        column = row["split"] if row["status"] == "ok" else row["status"]
        counts.setdefault(label_in_words(row["label"]), Counter())[column] += 1
    return {label: dict(of_label) for label, of_label in sorted(counts.items())}


def _manifest_notices(rows: Rows, spec: DatasetSpec, facts: ManifestFacts) -> list[str]:
    """What a reader of any result on these images must know."""
    notices = []
    if spec.synthetic:
        notices.append(SYNTHETIC_IMAGES.says("these are generated phantoms, not medical data"))
    divided = [row for row in rows if row["status"] == "ok" and row["split"] in ("train", "test")]
    notices += split_notices(facts.split)
    if divided and spec.task == "multi-label":
        one_sided = one_sided_labels(
            [row["label"] for row in divided], [row["split"] for row in divided]
        )
        if one_sided:
            notices.append(
                LABELS_ON_ONE_SIDE.says(
                    f"only training or only test images have, or lack, {', '.join(one_sided)}"
                )
            )
    classes = {name for row in rows for name in labels_of(row["label"], spec.task)}
    notices += label_notices(classes, spec.literal)
    if facts.rejected_files or facts.duplicates:
        unit = "files" if all(row["frame"] is None for row in rows) else "files and frames"
        notices.append(
            FILES_LEFT_OUT.says(
                f"{facts.rejected_files} rejected, {facts.duplicates} duplicates of "
                f"{len(rows)} {unit}"
            )
        )
    for turned in (CONVERTED, AMBIGUOUS):
        count = sum(turned in (row["notice"] or "") for row in rows if row["status"] == "ok")
        if count:
            notices.append(CENTRES_OF_TURNED_IMAGES.says(f"{count} images: {turned}"))
    if facts.held_images:
        notices.append(
            IMAGES_HELD.says(
                f"{facts.held_images} labelled images of drops neither train nor test "
                f"(new_labels={spec.new_labels})"
            )
        )
    return notices


@stage(
    PreparedImagesConfig,
    group=GROUP,
    order=2,
    kinds={"hdf5", "python"},
    code_version=PREPARED_CODE_VERSION,
    inputs=(names.IMAGE_MANIFEST,),
    features_of=usable_ids,
)
def prepared_images(here: Stage[PreparedImagesConfig]) -> Plan:
    """Usable images as 227 x 227 RGB (Ahn et al. 2019, section 2.4).

    (N, 227, 227, 3) uint8 in HDF5 shards.
    """
    config = here.config
    settings = PreprocessingSettings(resize=config.resize, voi=config.voi, decode=config.decode)
    images = usable_images(here.store, here.dataset).to_pylist()
    ids = sorted(row["image_id"] for row in images)
    shards = FeatureStore(
        here.store,
        here.dataset,
        FeatureSet(
            kind=here.asset,
            dtype="uint8",
            row_shape=(settings.size, settings.size, 3),
            preprocessing=config.settings(),
            code_version=PREPARED_CODE_VERSION,
        ),
    )

    def compute(work: Work) -> Output:
        originals = Originals(here.store, here.dataset, images)

        def produce(batch: list[str]) -> np.ndarray:
            return originals.squares(
                batch, settings, lambda files, n: progress(files, "preparing images", n)
            )

        computed = shards.fill(
            ids, produce, {}, force=config.force, file_of=first_image_of_file(images)
        )
        return Output.of_shards(
            shards,
            ids,
            pictures=[("sample of prepared images", _sample_grid(shards, ids, images))],
            summary={
                "images": len(ids),
                "newly prepared": computed,
                "stored MB": shards.stored_megabytes(),
            },
        )

    return Plan(compute, identity={"images": ids}, is_complete=lambda: not shards.missing(ids))


def first_image_of_file(images: Rows) -> dict[str, str]:
    """The smallest image id of each image's file: a name of the file that its content decides."""
    first: dict[str, str] = {}
    for row in images:
        path, image_id = row["path"], row["image_id"]
        first[path] = min(first.get(path, image_id), image_id)
    return {row["image_id"]: first[row["path"]] for row in images}


def _sample_grid(shards: FeatureStore, ids: list[str], images: Rows) -> bytes:
    """PNG of some prepared images, evenly spaced among all, with their labels."""
    from methods.reporting import figures

    reader = shards.reader(ids)
    shown = np.linspace(0, len(ids) - 1, min(SAMPLE, len(ids))).astype(np.int64)
    label_of = {row["image_id"]: label_in_words(row["label"]) for row in images}
    grid = figures.sample_grid(list(reader.take(shown)), [label_of[ids[i]] for i in shown])
    reader.close()
    return grid


class AttributesConfig(StageConfig):
    """Settings of `image_attributes`."""

    subgroups: list[str] = Field(default=[])
    """Columns of the user's manifest by which reports divide the test images; NAME:WIDTH makes bins
    of a number (age:10). What is not named is never stored."""


@stage(
    AttributesConfig,
    group=GROUP,
    order=2,
    kinds={"parquet"},
    code_version="1",
    inputs=(names.IMAGE_MANIFEST,),
    tables=(ATTRIBUTES,),
)
def image_attributes(here: Stage[AttributesConfig]) -> Plan:
    """What the user's manifest states of each image in the columns that are named as subgroups.

    It is empty unless some are named.
    """
    wanted = [Attribute.parse(text) for text in here.config.subgroups]

    def compute(work: Work) -> Output:
        stated: Mapping[str, Mapping[str, str]] = {}
        if wanted:
            intake = find_arrivals(here.store, here.store.spec(here.dataset)).intake
            columns = tuple(dict.fromkeys(attribute.name for attribute in wanted))
            stated = attributes_of_files(replace(intake, attributes=columns))
        images = usable_images(here.store, here.dataset).to_pylist()
        rows = attribute_rows(images, stated, wanted)
        return Output(
            content=rows,
            files=[work.write_table(rows, ATTRIBUTES)],
            summary={
                f"values of {name}": len({row["value"] for row in rows if row["name"] == name})
                for name in dict.fromkeys(attribute.name for attribute in wanted)
            },
            rows=len(rows),
        )

    # a column that the image manifest does not hold may have changed unseen
    return Plan(compute, always=bool(wanted))


def attribute_rows(
    images: Rows, stated: Mapping[str, Mapping[str, str]], wanted: Sequence[Attribute]
) -> list[dict[str, str]]:
    """Rows of ATTRIBUTES of the usable images, by image and name.

    Args:
        images: rows of the manifest that are ok.
        stated: text of each named column, by file.
        wanted: the columns, with their bins.

    Raises:
        InputError: no manifest fills a column, a cell has no bin, or a column has more values than
            subgroups can have.
    """
    rows = []
    for attribute in {attribute.name: attribute for attribute in wanted}.values():
        of_column = [
            {
                "image_id": row["image_id"],
                "name": attribute.name,
                "value": attribute.value(stated[row["path"]][attribute.name]),
            }
            for row in images
            if attribute.name in stated.get(row["path"], {})
        ]
        values = len({row["value"] for row in of_column})
        if not values:
            raise InputError(
                f"no manifest of the dataset fills a column {attribute.name} of a usable image",
                "Add the column to manifest.csv beside path, or leave the subgroup out",
            )
        if values > MAX_VALUES:
            raise InputError(
                f"the column {attribute.name} has {values} different values, more than the "
                f"{MAX_VALUES} that a table of subgroups may show",
                f"Give bins for a number (--subgroups {attribute.name}:10), or another column",
            )
        rows += of_column
    return sorted(rows, key=lambda row: (row["name"], row["image_id"]))


ASSETS = [image_manifest, image_attributes, prepared_images]
