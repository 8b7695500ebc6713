"""Kinds of notices: how much each weighs, what a reader can do about it, and where it matters.

A notice is stored as one text that begins with the words of its kind: "RANDOM WEIGHTS: AlexNet was
not pre-trained". :meth:`NoticeKind.says` writes that form and :meth:`Notice.read` reads it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class Weight(IntEnum):
    """How much a notice weighs; the heaviest is the smallest."""

    ALARM = 0
    """The figures mean nothing, or not what they seem to."""
    CAUTION = 1
    """The figures can be read, with this in mind."""
    REMARK = 2
    """Good to know; no figure is worse for it."""


@dataclass(frozen=True)
class NoticeKind:
    """One kind of notice.

    Attributes:
        words: first words of every notice of this kind, in capitals.
        weight: how much it weighs.
        remedy: what a reader can do about it, as a sentence; "" where nothing can be done.
        section: heading of the section of a report where it matters; "" where that is all of them.
    """

    words: str
    weight: Weight
    remedy: str = ""
    section: str = ""

    def says(self, detail: str) -> str:
        """A notice of this kind, as it is stored."""
        return f"{self.words}: {detail}"

    @property
    def title(self) -> str:
        """The words of the kind as the start of a sentence."""
        return self.words.capitalize().replace("c only", "C only")


ALARM, CAUTION, REMARK = Weight
_GROUPS = "Give patient ids: a column group_id in a manifest.csv beside the images."
_INTEGRITY, _STAGES, _RESULT = "Integrity", "The stages", "Result"
_PROBABILITIES, _LEFT_OUT, _SETTINGS = "Probabilities", "Files left out", "Settings"

RANDOM_WEIGHTS = NoticeKind(
    "RANDOM WEIGHTS",
    ALARM,
    "Give trained weights: set MEDFEAT_WEIGHTS_DIR to a folder that holds them, or name a file.",
    _STAGES,
)
LEAKS_KEPT = NoticeKind(
    "LEAKS KEPT",
    ALARM,
    "Register the dataset again without --keep-given-split.",
    _INTEGRITY,
)
TRANSDUCTIVE = NoticeKind("TRANSDUCTIVE", ALARM, "Run again with fit_on=train.", _SETTINGS)
PATIENTS_IN_TWO_FOLDS = NoticeKind(
    "PATIENTS IN TWO FOLDS", ALARM, "Run again with group_by=patient.", _INTEGRITY
)
STALE = NoticeKind("STALE", CAUTION, "Run the study again.", "Lineage")
PERMUTED_LABELS = NoticeKind(
    "PERMUTED LABELS",
    ALARM,
    "Look for something that gives the label away: groups that were not given, or copies.",
    _INTEGRITY,
)
NOTHING_LEARNED = NoticeKind("NOTHING LEARNED", CAUTION, "", _RESULT)
NOT_LEARNED = NoticeKind(
    "NOT LEARNED", CAUTION, "Add training images that have the label, and that lack it.", _RESULT
)
PARTLY_IMAGE_LEVEL_SPLIT = NoticeKind("IMAGE-LEVEL SPLIT IN PART", CAUTION, _GROUPS, _INTEGRITY)
IMAGE_LEVEL_SPLIT = NoticeKind("IMAGE-LEVEL SPLIT", CAUTION, _GROUPS, _INTEGRITY)
COPIES = NoticeKind(
    "NEAR-DUPLICATES",
    CAUTION,
    "Look at the pairs; remove the copies, or give their images one group_id.",
    _INTEGRITY,
)
SYNTHETIC_IMAGES = NoticeKind(
    "SYNTHETIC IMAGES", CAUTION, "Run the study on images of your own: medfeat add NAME FOLDER."
)
UNVERIFIED_WEIGHTS = NoticeKind(
    "UNVERIFIED WEIGHTS", CAUTION, "Use a published file of the network's weights.", _STAGES
)
OTHER_NETWORK = NoticeKind(
    "STAND-IN", CAUTION, "Put the weights of the network itself into MEDFEAT_WEIGHTS_DIR.", _STAGES
)
GROUPS_ARE_STUDIES = NoticeKind("GROUPS ARE STUDIES", CAUTION, _GROUPS, _INTEGRITY)
NO_PATIENT = NoticeKind("NO PATIENT", CAUTION, _GROUPS, _INTEGRITY)
PATIENTS_DISAGREE = NoticeKind(
    "PATIENTS DISAGREE", CAUTION, "Correct the column group_id of manifest.csv.", _INTEGRITY
)
NO_LESIONS_GIVEN = NoticeKind(
    "NO LESIONS GIVEN",
    CAUTION,
    "Give the lesion of each image: a column group_id in a manifest.csv beside the images.",
    _INTEGRITY,
)
LABELS_ON_ONE_SIDE = NoticeKind(
    "LABELS ON ONE SIDE", CAUTION, "Divide the images anew, or add images of these labels."
)
FLAT_GRID_SEARCH = NoticeKind(
    "FLAT GRID SEARCH", CAUTION, "Run again with grid_search=nested.", _SETTINGS
)
ZERO_VARIANCE_ON_ALL_IMAGES = NoticeKind(
    "ZERO VARIANCE ON ALL IMAGES", CAUTION, "Run again with zero_variance=train.", _SETTINGS
)
NOT_CONVERGED = NoticeKind("NOT CONVERGED", CAUTION, "", _SETTINGS)
BADLY_CALIBRATED = NoticeKind(
    "BADLY CALIBRATED", CAUTION, "Read the class, not the probability.", _PROBABILITIES
)
NOT_CALIBRATED = NoticeKind("NOT CALIBRATED", CAUTION, _GROUPS, _PROBABILITIES)
NO_EARLY_STOP = NoticeKind("NO EARLY STOP", CAUTION, "Add images of more patients.", _STAGES)
NOT_THE_PAPERS_VOTE = NoticeKind(
    "NOT THE PAPER'S VOTE", CAUTION, "Run again with vote=mean.", _SETTINGS
)
FIXED_C_ONLY = NoticeKind("FIXED C ONLY", REMARK, "", _RESULT)
FILES_LEFT_OUT = NoticeKind("FILES LEFT OUT", REMARK, "See which files, and why.", _LEFT_OUT)
IMAGES_HELD = NoticeKind("IMAGES HELD", REMARK, "", _LEFT_OUT)
LESIONS_WITHOUT_A_CONTOUR = NoticeKind("LESIONS WITHOUT A CONTOUR", REMARK, "", _STAGES)
SIZES_OF_PIXELS = NoticeKind("SIZES OF PIXELS FROM TWO SOURCES", REMARK, "", _STAGES)
CENTRES_OF_TURNED_IMAGES = NoticeKind("CENTRES OF TURNED IMAGES", REMARK, "", _LEFT_OUT)
IDENTIFIERS_JOINED = NoticeKind(
    "IDENTIFIERS JOINED", REMARK, "Add the dataset with --exact-ids to keep them apart.", _INTEGRITY
)
PATIENTS_AS_LISTED = NoticeKind("PATIENTS AS LISTED", REMARK, "", _INTEGRITY)
CLASSES_THAT_LOOK_ALIKE = NoticeKind(
    "CLASSES THAT LOOK ALIKE", CAUTION, "Write each class in one way in manifest.csv."
)
CLASSES_LIKE_A_MISSING_VALUE = NoticeKind(
    "CLASSES NAMED LIKE A MISSING VALUE", REMARK, "Rename the folders if they are no classes."
)
OTHER = NoticeKind("", CAUTION)
"""A text that begins with the words of no kind is of this one."""

KINDS = tuple(kind for kind in globals().values() if isinstance(kind, NoticeKind) and kind.words)
"""Every kind that has words of its own."""


@dataclass(frozen=True)
class Notice:
    """What a reader of a figure must know.

    Attributes:
        kind: weight, remedy and place.
        detail: what is so here, as the rest of a sentence.
    """

    kind: NoticeKind
    detail: str

    @classmethod
    def read(cls, text: str) -> Notice:
        """Read a notice in the form that is stored."""
        of = [kind for kind in KINDS if text.startswith(kind.words)]
        kind = max(of, key=lambda kind: len(kind.words), default=OTHER)
        return cls(kind, text[len(kind.words) :].lstrip(": "))


def by_kind(texts: Iterable[str]) -> dict[NoticeKind, list[Notice]]:
    """Notices by kind, each once: the heaviest kind first, then in the order given."""
    found: dict[NoticeKind, list[Notice]] = {}
    for notice in map(Notice.read, dict.fromkeys(texts)):
        found.setdefault(notice.kind, []).append(notice)
    return dict(sorted(found.items(), key=lambda item: item[0].weight))


def alarms(texts: Iterable[str]) -> tuple[str, ...]:
    """Titles of the kinds of notices for which the figures mean nothing, each once."""
    return tuple(kind.title for kind in by_kind(texts) if kind.weight is ALARM)


def marker(texts: Iterable[str]) -> str:
    """Say in a few words that there are notices: the alarms by name, the rest by number."""
    kinds = by_kind(texts)
    named = [kind.title for kind in kinds if kind.weight is ALARM]
    rest = len(kinds) - len(named)
    noun = "notice" if rest == 1 else "notices"
    return ", ".join([*named, *([f"{rest} {'more ' if named else ''}{noun}"] if rest else [])])
