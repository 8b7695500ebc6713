"""Usable images of a dataset, decoded from its own files at any size."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from assets.core.manifest_rows import usable_images
from data_contracts.errors import InputError
from data_contracts.slice_axis import DEFAULT_SLICE_AXIS
from data_contracts.tables.manifest import frame_id
from resources.cores import cores
from resources.intake.arrivals import find_arrivals
from resources.intake.dataset_scan import locate, read_image
from resources.intake.image_sources import SourceFile
from resources.store.dataset_store import DatasetStore

if TYPE_CHECKING:
    from methods.imaging.preprocessing import PreprocessingSettings

Prepared: TypeAlias = list[tuple[str, np.ndarray]]
"""(image id, (size, size, 3) uint8) of every frame that was asked for in one file."""


def _unchanged(files: Iterable[Prepared], total: int) -> Iterator[Prepared]:
    del total
    return iter(files)


class Originals:
    """The files of usable images, found when the first of them is read.

    Finding them lists every archive and drop, which takes time; a stage whose shards are all stored
    does not need it.

    Args:
        store: of the home.
        dataset: partition key.
        rows: rows of the manifest; every usable image of it by default.
        files: where the files of the rows lie, by their paths there; those of the dataset by
            default.
    """

    def __init__(
        self,
        store: DatasetStore,
        dataset: str,
        rows: Sequence[Mapping[str, Any]] | None = None,
        files: Mapping[str, SourceFile] | None = None,
    ) -> None:
        self._store, self._dataset, self._rows, self._given_files = store, dataset, rows, files

    @cached_property
    def _row_of(self) -> dict[str, Mapping[str, Any]]:
        """Rows of the manifest by image id."""
        rows = self._rows
        if rows is None:
            rows = usable_images(self._store, self._dataset).to_pylist()
        return {row["image_id"]: row for row in rows}

    @cached_property
    def _files(self) -> Mapping[str, SourceFile]:
        """Where the files of the rows lie, by their paths in the manifest."""
        if self._given_files is not None:
            return self._given_files
        intake = find_arrivals(self._store, self._store.spec(self._dataset)).intake
        return locate(intake, (row["path"] for row in self._row_of.values()))

    def squares(
        self,
        image_ids: Sequence[str],
        settings: "PreprocessingSettings",
        show: Callable[[Iterable[Prepared], int], Iterable[Prepared]] = _unchanged,
    ) -> np.ndarray:
        """Decode images in the order asked for, (n, size, size, 3) uint8.

        A file of several frames is read once.

        Args:
            image_ids: ids of images among the rows.
            settings: side, aspect ratio, grey window.
            show: wraps the files as they are decoded, to show progress; gets their number as well.

        Raises:
            InputError: a file is missing or changed, or can no longer be decoded.
        """
        files: dict[str, list[str]] = {}
        for image_id in image_ids:
            files.setdefault(self._row_of[image_id]["path"], []).append(image_id)
        prepared: dict[str, np.ndarray] = {}
        with ThreadPoolExecutor(cores()) as pool:
            done = pool.map(lambda path: self._frames_of(path, files[path], settings), files)
            for frames in show(done, len(files)):
                prepared.update(frames)
        return np.stack([prepared[image_id] for image_id in image_ids])

    def _frames_of(
        self, path: str, image_ids: list[str], settings: "PreprocessingSettings"
    ) -> Prepared:
        from methods.imaging.image_file import prepare_frames
        from methods.imaging.image_format import UndecodableImageError

        if path not in self._files:
            raise InputError(
                f"{path} of {self._dataset} is not there any more",
                "Put it back, or materialise image_manifest again",
            )
        first, row = image_ids[0], self._row_of[image_ids[0]]
        try:
            data = read_image(
                self._files[path],
                path,
                lambda digest: (
                    (row["copy_of"] or first) == frame_id(digest, row["frame"], row["slice_axis"])
                ),
            )
            frames = [self._row_of[image_id]["frame"] or 0 for image_id in image_ids]
            axis = row["slice_axis"] or DEFAULT_SLICE_AXIS
            return list(zip(image_ids, prepare_frames(data, frames, settings, axis), strict=True))
        except UndecodableImageError as error:
            raise InputError(
                f"{path} can no longer be decoded ({error})", "Materialise image_manifest again"
            ) from None
