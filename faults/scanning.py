"""Scanning of folders of images as a user gives them."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from data_contracts.records.dataset import DatasetSpec
from resources.intake.dataset_scan import scan
from resources.intake.image_sources import Intake
from resources.intake.outcomes import Outcomes
from resources.intake.site_key import Names
from tests.conftest import draw


def encoded(image: Image.Image, format_: str, **options: Any) -> bytes:
    """Return the bytes of an image file."""
    stream = BytesIO()
    image.save(stream, format_, **options)
    return stream.getvalue()


def good_images(root: Path, each: int = 4) -> None:
    """Write PNG and JPEG files in two class folders, enough for any split."""
    for kind in range(2):
        for number in range(each):
            path = root / f"class{kind}" / f"good{number}.{('png', 'jpg')[number % 2]}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw(kind, number)).save(path)


def scanned(root: Path, known: Outcomes | None = None) -> pa.Table:
    """Return the manifest of a folder of images, some of which may have no label."""
    spec = DatasetSpec(name="faults", root=root, show_names=True, unlabelled=True)
    return scan(
        Intake(spec, Names("faults", True, bytes(32)), root.parent / "unpacked", (), False), known
    )
