"""Predicts images that are not part of a dataset by its network, auto-encoder and classifier."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from assets.core.labelled_rows import LabelledRows
from assets.core.originals import Originals
from assets.core.shards import open_features
from assets.features.frozen_networks import CONV5, frozen_network, side_of
from assets.images import decoded_before, first_image_of_file
from assets.predictions.classifier import (
    FEATURES,
    classifier_notices,
    load_classifier,
    model_facts,
    rows_of,
)
from assets.predictions.predictions import ImageToPredict, predict_rows, publish
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.dataset import DatasetSpec
from data_contracts.records.hashing import content_hash
from methods.curation.manifest_rows import labels_of
from methods.curation.overview import overview
from methods.settings import CaeSettings
from resources.compute import Compute
from resources.intake.dataset_scan import locate, scan
from resources.intake.drops import Drop, file_stamps
from resources.intake.image_sources import Intake
from resources.intake.outcomes import Outcomes
from resources.intake.site_key import names_of
from resources.progress import progress
from resources.store.dataset_store import DatasetStore
from resources.store.model_store import load_model

if TYPE_CHECKING:
    from methods.classifiers.linear_classifier import LinearClassifier

SHOWN_LINES = 20
"""Maximum number of predictions printed on the terminal."""
BATCH = 64
"""Number of images that pass the network at a time."""


class _Encoder:
    """Encodes prepared pixels with the networks and settings of the dataset's last run."""

    def __init__(self, store: DatasetStore, dataset: str, device: str) -> None:
        import torch

        from methods.training import cae

        maps, codes = (
            store.need_record(dataset, names.BACKBONE_FEATURES),
            store.need_record(dataset, FEATURES),
        )
        _, classifier = load_model(store, dataset, names.CLASSIFIER)
        if codes.feature_set is None or classifier.settings[
            "features"
        ] != codes.feature_set.model_dump(mode="json"):
            raise InputError(
                f"the classifier of {dataset} is older than its features",
                f"Run first: medfeat predict {dataset}",
            )
        name, layer = maps.settings["backbone"], maps.settings["layer"]
        source = store.need_record(dataset, names.ALEXNET_CONV5).settings["weights"]
        if (name, layer) != CONV5:
            source = maps.settings["backbone_weights"]
        frozen = frozen_network(name, layer, source, side_of(store, dataset))
        if maps.feature_set is None or frozen.weights.sha256 != maps.feature_set.weights_sha256:
            raise InputError(
                f"the present {name} weights are not those that the features of {dataset} were "
                "computed with",
                f"Put those back, or run first: medfeat predict {dataset}",
            )
        tensors, sidecar = load_model(store, dataset, names.CAE_MODEL)
        self._device = torch.device(device)
        self._network = frozen.network.to(self._device)
        self._cae = cae.load_cae(tensors, CaeSettings(**sidecar.settings), self._device)
        self._maps_dtype, self._code_dtype = maps.feature_set.dtype, codes.feature_set.dtype
        self._precision, self._pool = (
            maps.feature_set.method.get("precision", "float32"),
            codes.settings["pool"],
        )

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Return the codes of (m, side, side, 3) uint8 pixels, one row for each image."""
        from methods.features import frozen_network
        from methods.training import cae

        features = frozen_network.extract(
            self._network, pixels, self._device, BATCH, self._precision
        ).astype(self._maps_dtype)
        return cae.encode(self._cae, features, self._device, self._pool).astype(self._code_dtype)


class _ImagesOfPath:
    """The images at a path, prepared as those of a dataset; they do not become part of it."""

    def __init__(
        self, store: DatasetStore, dataset: str, path: Path, classes: set[str], show_names: bool
    ) -> None:
        from methods.imaging.preprocessing import PreprocessingSettings

        registered = store.spec(dataset)
        spec = DatasetSpec(
            name=dataset,
            root=path,
            unlabelled=True,
            task=registered.task,
            allow_burned_in=registered.allow_burned_in,
            slice_axis=registered.slice_axis,
            show_names=show_names,
            literal=registered.literal,
            follow_links=registered.follow_links,
        )
        files = frozenset(file_stamps(path, registered.follow_links))
        arrived = Drop(path.name, path, first_load=False, accepted_at=0.0, files=files)
        pseudonyms = names_of(store.root, dataset, show_names)
        unpacked = store.root / "unpacked" / dataset
        intake = Intake(spec, pseudonyms, unpacked, (arrived,), True, frozenset(classes))
        # images that stay outside the dataset leave nothing behind
        known = Outcomes(decoded_before(store, registered).known)
        settings = store.need_record(dataset, names.IMAGE_MANIFEST).settings
        table = scan(
            intake,
            known,
            settings.get("allow_constant", False),
            lambda items: progress(items, "reading files", unit="file"),
        )
        self._manifest = table.to_pylist()
        self._row_of = {row["image_id"]: row for row in self._manifest if row["status"] == "ok"}
        self._file_of = locate(intake, (row["path"] for row in self._row_of.values()))
        rows = list(self._row_of.values())
        self._originals = Originals(store, dataset, rows, self._file_of)
        self._settings = PreprocessingSettings(
            **store.need_record(dataset, names.PREPARED_IMAGES).settings
        )
        # a folder that is no class of the dataset may bear a patient's name
        self._task, self._shown_labels = registered.task, None if show_names else classes

    @property
    def ids(self) -> list[str]:
        """Ids of the usable images, sorted."""
        return sorted(self._row_of)

    def to_predict(self) -> list[ImageToPredict]:
        """Return the usable images, those of one file together, sorted by the ids of the files."""
        file_of = first_image_of_file(list(self._row_of.values()))
        return [
            ImageToPredict(i, row["path"], row["frame"], row["split"], self._label_of(row))
            for i, row in sorted(self._row_of.items(), key=lambda item: (file_of[item[0]], item[0]))
        ]

    def _label_of(self, row: dict[str, Any]) -> str | None:
        label: str | None = row["label"]
        known = self._shown_labels
        return label if known is None or known.issuperset(labels_of(label, self._task)) else None

    def __contains__(self, image_id: str) -> bool:
        return image_id in self._row_of

    def pixels(self, image_ids: Sequence[str]) -> NDArray[np.uint8]:
        """Return images as prepared pixels, (n, side, side, 3) uint8; each file is read once."""
        return self._originals.squares(image_ids, self._settings)

    def names(self) -> dict[str, str]:
        """Return the name of each file below the path, by its path in the manifest."""
        return {
            row["path"]: self._file_of[row["path"]].path.partition("/")[2]
            for row in self._row_of.values()
        }

    def overview(self) -> list[str]:
        """Return lines that say what was read and what was left out."""
        return overview(self._manifest)


def predict_path(
    store: DatasetStore, dataset: str, path: Path, device: str, show_names: bool
) -> Iterator[str]:
    """Predict the images at a path and write the predictions below the dataset's reports.

    Args:
        store: store of the home.
        dataset: name of the dataset whose classifier is used.
        path: a folder, an archive, a .npz or one image.
        device: "auto", "cpu", "cuda" or "mps".
        show_names: whether the written files show file names.

    Yields:
        lines for the terminal, which show file names.

    Raises:
        InputError: the path holds nothing usable, or the dataset has no current classifier.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist", "Name a folder, an archive, a .npz or an image")
    rows = rows_of(store, dataset)
    fitted = load_classifier(store, dataset)
    if (
        store.need_record(dataset, names.CLASSIFIER).inputs[names.IMAGE_MANIFEST]
        != store.need_record(dataset, names.IMAGE_MANIFEST).data_version
    ):
        raise InputError(
            f"the classifier of {dataset} is older than its manifest",
            f"Run first: medfeat predict {dataset}",
        )
    encode = _Encoder(store, dataset, Compute(device=device).resolve())
    images = _ImagesOfPath(store, dataset, path, set(fitted.classes.tolist()), show_names)
    notices = classifier_notices(store, dataset)
    folder = store.reports / dataset / f"predictions-{content_hash(images.ids)}"
    lines = _predicted(store, dataset, fitted, rows, images, encode, folder)
    yield from (f"*** {notice}" for notice in notices)
    yield from _table(lines, images.names())
    yield from images.overview()
    yield from (str(folder / f"predictions.{suffix}") for suffix in ("html", "csv", "parquet"))


def _predicted(
    store: DatasetStore,
    dataset: str,
    fitted: LinearClassifier,
    rows: LabelledRows,
    images: _ImagesOfPath,
    encode: _Encoder,
    folder: Path,
) -> list[dict[str, Any]]:
    """Return the rows of predictions, the least sure first, after publishing them in ``folder``."""
    to_predict = images.to_predict()
    position = {image_id: i for i, image_id in enumerate(rows.ids)}
    with (
        closing(open_features(store, dataset, FEATURES, rows.ids)) as training,
        closing(open_features(store, dataset, names.PREPARED_IMAGES, rows.ids)) as stored,
    ):

        def codes(start: int, stop: int) -> NDArray[Any]:
            batch = to_predict[start:stop]
            return encode(images.pixels([image.image_id for image in batch]))

        def pixels_of(ids: Iterable[str]) -> Iterator[NDArray[np.uint8]]:
            for i in ids:
                yield images.pixels([i])[0] if i in images else stored.take([position[i]])[0]

        lines = predict_rows(fitted, to_predict, codes, training, rows)
        title = f"Predictions by the classifier of {dataset}"
        publish(
            store,
            folder,
            title,
            lines,
            classifier_notices(store, dataset),
            model_facts(store, dataset, rows, fitted),
            pixels_of,
        )
    return lines


def _table(lines: list[dict[str, Any]], name_of: dict[str, str]) -> Iterator[str]:
    """Yield the least sure predictions as lines for the terminal."""
    yield f"{len(lines)} images, the least sure first" + (
        f" (the first {SHOWN_LINES})" if len(lines) > SHOWN_LINES else ""
    )
    shown = lines[:SHOWN_LINES]
    answers = [
        "unlike training images" if line["out_of_distribution"] else line["predicted"]
        for line in shown
    ]
    width = max([24, *(len(answer) + 2 for answer in answers)])
    yield f"{'predicted':<{width}}{'probability':>12}{'margin':>8}  {'':<8}image"
    for line, answer in zip(shown, answers, strict=True):
        unlike = line["out_of_distribution"]
        mark = "UNLIKE" if unlike else ""
        name = name_of[line["path"]].removeprefix("/") or line["path"]
        frame = "" if line["frame"] is None else f", frame {line['frame']}"
        probability = "" if unlike else f"{line['probability']:.3f}"
        numbers = f"{probability:>12}{line['margin']:>8.2f}"
        yield f"{answer:<{width}}{numbers}  {mark:<8}{name}{frame}"
