"""Predictions for images that are not part of a dataset, by the dataset's own network, auto-encoder
and classifier.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assets.core.labelled_rows import labelled_rows
from assets.core.shards import open_features
from assets.features.frozen_networks import CONV5, frozen_network, side_of
from assets.predictions.predictions import (
    FEATURES,
    ImageToPredict,
    classifier_notices,
    load_classifier,
    predict_rows,
    publish,
)
from data_contracts.errors import InputError
from data_contracts.records.dataset import DatasetSpec
from data_contracts.records.hashing import content_hash
from data_contracts.studies.ahn2019 import AHN2019
from data_contracts.tables.manifest import frame_id
from methods.settings import CaeSettings
from resources.compute import Compute
from resources.intake.drops import Drop, file_stamps
from resources.intake.image_sources import Intake
from resources.intake.scan import locate, read_image, scan
from resources.intake.site_key import names_of
from resources.progress import progress
from resources.store.dataset_store import DatasetStore
from resources.store.model_store import load_model

SHOWN_LINES = 20
BATCH = 64


class _Encoder:
    """From prepared pixels to the codes that the classifier knows, with everything as the dataset's
    last run had it.
    """

    def __init__(self, store: DatasetStore, dataset: str, device: str) -> None:
        import torch

        from methods.training import cae

        maps, codes = (
            store.need_record(dataset, "backbone_features"),
            store.need_record(dataset, FEATURES),
        )
        _, classifier = load_model(store, dataset, "classifier")
        if codes.feature_set is None or classifier.settings[
            "features"
        ] != codes.feature_set.model_dump(mode="json"):
            raise InputError(
                f"the classifier of {dataset} is older than its features",
                f"Run first: medfeat predict {dataset}",
            )
        name, layer = maps.settings["backbone"], maps.settings["layer"]
        source = store.need_record(dataset, "alexnet_conv5").settings["weights"]
        if (name, layer) != CONV5:
            source = maps.settings["backbone_weights"]
        frozen = frozen_network(name, layer, source, side_of(store, dataset))
        if maps.feature_set is None or frozen.weights.sha256 != maps.feature_set.weights_sha256:
            raise InputError(
                f"the {name} weights found now are not those that the features of {dataset} were computed with",
                f"Put those back, or run first: medfeat predict {dataset}",
            )
        tensors, sidecar = load_model(store, dataset, "cae_model")
        self._device = torch.device(device)
        self._network = frozen.network.to(self._device)
        self._cae = cae.load_cae(tensors, CaeSettings(**sidecar.settings), self._device)
        self._maps_dtype, self._code_dtype = maps.feature_set.dtype, codes.feature_set.dtype
        self._precision, self._pool = (
            maps.feature_set.method.get("precision", "float32"),
            codes.settings["pool"],
        )

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Codes of (m, side, side, 3) uint8 pixels."""
        from methods.features import frozen_network
        from methods.training import cae

        features = frozen_network.extract(
            self._network, pixels, self._device, BATCH, self._precision
        ).astype(self._maps_dtype)
        return cae.encode(self._cae, features, self._device, self._pool).astype(self._code_dtype)


def predict_path(
    store: DatasetStore, dataset: str, path: Path, device: str, show_names: bool
) -> Iterator[str]:
    """Predict the images at ``path``; gives lines for the terminal, which show names, and writes
    files, which do not.

    Args:
        store: of the home.
        dataset: whose classifier is used.
        path: folder, archive, .npz or one image.
        device: as for a run.
        show_names: write file names into the files as well.

    Raises:
        InputError: nothing usable there, or the dataset has no classifier.
    """
    from methods.imaging.image_file import prepare_frames
    from methods.imaging.preprocessing import PreprocessingSettings

    if not path.exists():
        raise InputError(f"{path} does not exist", "Name a folder, an archive, a .npz or an image")
    registered = store.spec(dataset)
    rows = labelled_rows(store, dataset, AHN2019)
    fitted = load_classifier(store, dataset)
    if (
        store.need_record(dataset, "classifier").inputs["image_manifest"]
        != store.need_record(dataset, "image_manifest").data_version
    ):
        raise InputError(
            f"the classifier of {dataset} is older than its manifest",
            f"Run first: medfeat predict {dataset}",
        )
    encode = _Encoder(store, dataset, Compute(device=device).resolve())

    spec = DatasetSpec(
        name=dataset,
        root=path,
        unlabelled=True,
        task=registered.task,
        allow_burned_in=registered.allow_burned_in,
        show_names=show_names,
    )
    arrived = Drop(
        path.name, path, first_load=False, accepted_at=0.0, files=frozenset(file_stamps(path))
    )
    intake = Intake(
        spec,
        names_of(store.root, dataset, show_names),
        store.root / "unpacked" / dataset,
        (arrived,),
        True,
    )
    manifest = scan(intake, progress=lambda items: progress(items, "reading files")).to_pylist()
    images = {row["image_id"]: row for row in manifest if row["status"] == "ok"}
    # a folder that is none of them may be called after a patient
    classes = set(fitted.classes.tolist())

    def label_of(row: dict[str, Any]) -> str | None:
        return row["label"] if show_names or row["label"] in classes else None

    unknown = [
        ImageToPredict(i, row["path"], row["frame"], row["split"], label_of(row))
        for i, row in sorted(images.items())
    ]
    found = locate(intake, (image.path for image in unknown))
    prepared_by = store.need_record(dataset, "prepared_images").settings
    settings = PreprocessingSettings(**prepared_by)

    def prepared(image_id: str) -> NDArray[np.uint8]:
        row = images[image_id]
        frame = row["frame"]
        data = read_image(
            found[row["path"]],
            row["path"],
            lambda digest: image_id == frame_id(digest, frame),
        )
        return next(prepare_frames(data, [frame or 0], settings))

    training = open_features(store, dataset, FEATURES, rows.ids)
    stored = open_features(store, dataset, "prepared_images", rows.ids)
    position = {image_id: i for i, image_id in enumerate(rows.ids)}

    def pixels_of(ids: Iterable[str]) -> Iterator[NDArray[np.uint8]]:
        for image_id in ids:
            yield prepared(image_id) if image_id in images else stored.take([position[image_id]])[0]

    try:
        lines = predict_rows(
            fitted,
            unknown,
            lambda start, stop: encode(
                np.stack([prepared(image.image_id) for image in unknown[start:stop]])
            ),
            training,
            rows,
        )
        folder = store.root / "reports" / dataset / f"predictions-{content_hash(sorted(images))}"
        notices = classifier_notices(store, dataset)
        publish(
            store, folder, f"Predictions by the classifier of {dataset}", lines, notices, pixels_of
        )
    finally:
        training.close()
        stored.close()
    yield from (f"*** {notice}" for notice in notices)
    yield from _table(
        lines, {row["path"]: found[row["path"]].path.partition("/")[2] for row in images.values()}
    )
    for reason, number in Counter(
        row["reason"] for row in manifest if row["status"] != "ok"
    ).most_common():
        yield f"left out: {number} - {reason}"
    yield from (str(folder / f"predictions.{suffix}") for suffix in ("html", "csv", "parquet"))


def _table(lines: list[dict[str, Any]], name_of: dict[str, str]) -> Iterator[str]:
    """The least sure predictions, for the terminal."""
    yield f"{len(lines)} images, the least sure first" + (
        f" (the first {SHOWN_LINES})" if len(lines) > SHOWN_LINES else ""
    )
    yield f"{'predicted':<24}{'probability':>12}{'margin':>8}  {'':<8}image"
    for line in lines[:SHOWN_LINES]:
        mark = "UNLIKE" if line["out_of_distribution"] else ""
        name = name_of[line["path"]].removeprefix("/") or line["path"]
        frame = "" if line["frame"] is None else f", frame {line['frame']}"
        yield f"{line['predicted']:<24}{line['probability']:>12.3f}{line['margin']:>8.2f}  {mark:<8}{name}{frame}"
