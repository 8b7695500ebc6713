"""Usable images of a dataset, read from the files as they arrived and resized to a square of any
size.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from data_contracts.errors import InputError
from data_contracts.tables.manifest import frame_id
from resources.cores import cores
from resources.intake.arrivals import find_arrivals
from resources.intake.scan import locate, read_image
from resources.store.dataset_store import DatasetStore

if TYPE_CHECKING:
    from methods.imaging.preprocessing import PreprocessingSettings

Prepared: TypeAlias = list[tuple[str, np.ndarray]]


def _as_it_comes(files: Iterable[Prepared], total: int) -> Iterator[Prepared]:
    del total
    return iter(files)


class Originals:
    """The files of some usable images.

    Args:
        store: of the home.
        dataset: partition key.
        rows: of the manifest.
    """

    def __init__(
        self, store: DatasetStore, dataset: str, rows: Sequence[Mapping[str, Any]]
    ) -> None:
        self._dataset = dataset
        self._row_of = {row["image_id"]: row for row in rows}
        self._found = locate(
            find_arrivals(store, store.spec(dataset)).intake, (row["path"] for row in rows)
        )

    def squares(
        self,
        image_ids: Sequence[str],
        settings: "PreprocessingSettings",
        show: Callable[[Iterable[Prepared], int], Iterable[Prepared]] = _as_it_comes,
    ) -> np.ndarray:
        """Images in the order asked for, (n, size, size, 3) uint8; a file of several frames is read
        once.

        Args:
            image_ids: of images among the rows.
            settings: side, aspect ratio, grey window.
            show: wraps the files as they are done, of which the number is given.

        Raises:
            InputError: a file is not there any more, or can no longer be decoded.
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

        if path not in self._found:
            raise InputError(
                f"{path} of {self._dataset} is not there any more",
                "Put it back, or materialise image_manifest again",
            )
        first = image_ids[0]
        try:
            data = read_image(
                self._found[path],
                path,
                lambda digest: first == frame_id(digest, self._row_of[first]["frame"]),
            )
            frames = [self._row_of[image_id]["frame"] or 0 for image_id in image_ids]
            return list(zip(image_ids, prepare_frames(data, frames, settings), strict=True))
        except UndecodableImageError as error:
            raise InputError(
                f"{path} can no longer be decoded ({error})", "Materialise image_manifest again"
            ) from None
