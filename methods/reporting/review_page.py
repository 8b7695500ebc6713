"""The page on which a person checks predictions by eye.

Data in, strings and bytes out; nothing is read or stored here. A :class:`Review` holds plain text
and small pictures; the page escapes every text and holds every picture, so a class called
``<script>`` is shown and never run, and the file can be sent on by itself.
"""

from __future__ import annotations

import base64
import hashlib
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from methods.reporting.document import MISSING
from methods.reporting.page_template import page_template

ID_DIGITS = 12
"""Number of digits of an image's id that are shown: enough to find it in predictions.csv."""

_JPEG_QUALITY = 80


@dataclass(frozen=True)
class Neighbour:
    """A training image near the predicted one.

    Attributes:
        thumbnail: a whole JPEG or PNG file.
        label: its class, as given by the training data.
        similarity: to the predicted image, the higher the nearer; shown with three decimals.
    """

    thumbnail: bytes
    label: str
    similarity: float


@dataclass(frozen=True)
class LabelChance:
    """One of several labels that an image may have.

    Attributes:
        label: the label.
        probability: that the image has it, 0 to 1; None where unknown.
        given: whether the image is given it.
    """

    label: str
    probability: float | None
    given: bool


@dataclass(frozen=True)
class Card:
    """One predicted image.

    Attributes:
        image_id: digits of its checksum; the page shows the first :data:`ID_DIGITS`.
        name: of the file.
        answer: what is said of it: ``predicted``, or that it is unlike the training images.
        predicted: the most probable class, or the labels that the image is given.
        probability: of ``predicted``, 0 to 1; of several labels that the least sure decision is
            right.
        margin: by how much the best class leads the second, in the classifier's own unit; of
            several labels the smallest distance from a threshold.
        out_of_distribution: unlike the training images, so that ``probability`` means little.
        nearest_similarity: to the nearest training image; not a number where there is none.
        runner_up: the second most probable class; None where there is none.
        runner_up_probability: 0 to 1; None where unknown.
        thumbnail: a whole JPEG or PNG file.
        neighbours: the nearest training images, nearest first.
        labels: several labels with their probabilities, in the order of the page; empty with one
            label an image.

    Raises:
        ValueError: a probability is not within 0 to 1.
    """

    image_id: str
    name: str
    answer: str
    predicted: str
    probability: float
    margin: float
    out_of_distribution: bool
    nearest_similarity: float
    runner_up: str | None
    runner_up_probability: float | None
    thumbnail: bytes
    neighbours: tuple[Neighbour, ...]
    labels: tuple[LabelChance, ...] = ()

    def __post_init__(self) -> None:
        several = (label.probability for label in self.labels)
        for probability in (self.probability, self.runner_up_probability, *several):
            if probability is not None and not 0 <= probability <= 1:
                raise ValueError(f"{self.image_id}: probability {probability} is not within 0 to 1")


@dataclass(frozen=True)
class Review:
    """The whole page.

    Attributes:
        title: of the page.
        notices: what must be read before any prediction; a red banner.
        explanation: paragraphs; the first is set large.
        model: facts on the classifier, each with its caption.
        classes: labels that a reader can choose.
        counts: answer, or each of several labels, -> number of images.
        cards: the images to check, in any order; the page puts the doubtful first.
        total: all predicted images, of which ``cards`` may be only the least sure.
        footer: versions, licence of the data, what the page is not.
        several_labels: whether an image may have several labels, or none.

    Raises:
        ValueError: there are more cards than predicted images.
    """

    title: str
    notices: tuple[str, ...]
    explanation: tuple[str, ...]
    model: tuple[tuple[str, str], ...]
    classes: tuple[str, ...]
    counts: Mapping[str, int]
    cards: tuple[Card, ...]
    total: int
    footer: str
    several_labels: bool = False

    def __post_init__(self) -> None:
        if len(self.cards) > self.total:
            raise ValueError(f"{len(self.cards)} cards, but only {self.total} predicted images")


def by_doubt(cards: Iterable[Card]) -> list[Card]:
    """Sort ``cards``: those unlike the training images first, then the least probable.

    Ties are sorted by margin, then by id and name.
    """
    return sorted(
        cards,
        key=lambda card: (
            not card.out_of_distribution,
            card.probability,
            card.margin,
            card.image_id,
            card.name,
        ),
    )


# Page
# -------------------------------------------------------------------------------------------------


def review_html(review: Review) -> str:
    """One self-contained page: no outside resource, pictures inside, and the one script below.

    The script collects the labels that a reader chooses and hands them over as a manifest. The
    page's policy names its hash, so that the browser runs no other.

    Raises:
        ValueError: a thumbnail is neither JPEG nor PNG.
    """
    template = page_template(
        "review_page", percent=_percent, width=_width, number=_number, data_uri=_data_uri
    )
    cards, counts = by_doubt(review.cards), _counts(review.counts, review.total)
    script = corrections_script()
    return template.render(
        review=review,
        cards=cards,
        counts=counts,
        extent=_extent(review),
        id_digits=ID_DIGITS,
        script=Markup(script),  # noqa: S704 - a file of this package, with no text of the user
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


@cache
def corrections_script() -> str:
    """The script of the page, ``corrections.js`` of this folder."""
    return resources.files("methods.reporting").joinpath("corrections.js").read_text("utf-8")


def _counts(counts: Mapping[str, int], total: int) -> list[tuple[str, int, float]]:
    """(class, number, share of ``total`` images), the most frequent first, ties by name."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [(name, count, count / total if total else 0.0) for name, count in ordered]


def _extent(review: Review) -> str:
    """Say which part of the predictions the page shows."""
    shown, total = len(review.cards), review.total
    if not total:
        return "No image was predicted, so there is nothing to check."
    if not shown:
        return f"No image is shown here; all {total:,} predictions are in predictions.csv."
    unlike = sum(card.out_of_distribution for card in review.cards)
    those = "1 is" if unlike == 1 else f"{unlike:,} are"
    first = f" {those} unlike the training images; these come first." if unlike else ""
    if shown < total:
        return f"The {shown:,} least sure of {total:,}; all are in predictions.csv.{first}"
    number = (
        "The only prediction" if total == 1 else f"All {total:,} predictions, the least sure first"
    )
    return f"{number}; also in predictions.csv.{first}"


def _percent(share: float | None) -> str:
    """Write ``share`` (0 to 1) with one decimal.

    A figure that is not certain does not read 100 %, one that is not excluded not 0 %.
    """
    if share is None:
        return MISSING
    percent = 100 * share
    if 99.95 <= percent < 100:
        return "> 99.9 %"
    return "< 0.1 %" if 0 < percent < 0.05 else f"{percent:.1f} %"


def _width(share: float) -> str:
    """``share`` (0 to 1) as a CSS length."""
    return f"{100 * share:.1f}%"


def _number(value: float) -> str:
    """``value`` with three decimals and a true minus sign; a dash where it is not finite."""
    return f"{value + 0.0:.3f}".replace("-", "\u2212") if math.isfinite(value) else MISSING


def _data_uri(picture: bytes) -> str:
    """A JPEG or PNG file as text that a page can hold."""
    for start, kind in ((b"\xff\xd8\xff", "jpeg"), (b"\x89PNG\r\n\x1a\n", "png")):
        if picture.startswith(start):
            return f"data:image/{kind};base64," + base64.b64encode(picture).decode("ascii")
    raise ValueError("a thumbnail is neither JPEG nor PNG")


def thumbnail(pixels: NDArray[np.uint8], side: int = 128) -> bytes:
    """Make a small JPEG file without metadata; the same pixels give the same bytes.

    Args:
        pixels: (height, width, 3) uint8, RGB.
        side: pixels that neither edge exceeds. The proportions stay; a smaller image is not
            enlarged.

    Raises:
        ValueError: ``pixels`` has another shape or type or is empty, or ``side`` is below 1.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
        raise ValueError(f"expected (height, width, 3) uint8, got {pixels.shape} {pixels.dtype}")
    if side < 1:
        raise ValueError(f"side is {side}, must be at least 1")
    height, width = pixels.shape[:2]
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if max(height, width) > side:
        scale = side / max(height, width)
        image = image.resize(
            (max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.LANCZOS
        )
    out = io.BytesIO()
    image.save(out, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return out.getvalue()


# CSV
# -------------------------------------------------------------------------------------------------
