"""Labels as users write them: their normal form, missing values, and labels that look alike."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable

from data_contracts.records.notices import CLASSES_LIKE_A_MISSING_VALUE, CLASSES_THAT_LOOK_ALIKE

_MISSING_AS_WRITTEN = frozenset({"NA", "None"})
"""Missing values that are words in another case: "none" is a common class."""

_MISSING_IN_ANY_CASE = frozenset(
    {"nan", "-nan", "null", "n/a", "<na>", "#n/a", "#n/a n/a", "#na"}
    | {"1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"}
)

_WHOLE_NUMBER = re.compile(r"(-?[0-9]+)\.0+")


def is_missing(text: str, literal: Collection[str] = ()) -> bool:
    """Return whether a cell of a user's manifest stands for a missing value.

    These are the words that ``pandas.read_csv`` takes for missing (its ``na_values``). All but NA
    and None count in any case, since programs write nan and null in several.

    Args:
        text: the cell.
        literal: words that are values all the same.
    """
    word = text.strip()
    if word in literal:
        return False
    return not word or word in _MISSING_AS_WRITTEN or word.casefold() in _MISSING_IN_ANY_CASE


def label_text(text: str) -> str | None:
    """Return a label in the form in which labels are compared; None where nothing is written.

    The form is Unicode NFC without spaces around it. A whole number is written without decimals,
    since a column of 0 and 1 that has a gap is saved as 0.0 and 1.0 by many programs.
    """
    label = unicodedata.normalize("NFC", text).strip()
    number = _WHOLE_NUMBER.fullmatch(label)
    return (number[1] if number else label) or None


def stated_label(text: str, literal: Collection[str] = ()) -> str | None:
    """Return the label that a cell of a user's manifest states; None where it is missing.

    Of several labels with bars between, those that are missing values are left out.

    Args:
        text: the cell.
        literal: words that are classes although they are written like a missing value.
    """
    parts = [part.strip() for part in text.split("|")]
    kept = [part for part in parts if not part or not is_missing(part, literal)]
    if not any(kept) and len(kept) < len(parts):
        return None
    return label_text("|".join(label_text(part) or "" for part in kept))


def alike(label: str) -> str:
    """Return what labels have in common that differ only by case, spaces or width of letters."""
    return "".join(unicodedata.normalize("NFKC", label).casefold().split())


def label_notices(labels: Iterable[str], literal: Collection[str] = ()) -> list[str]:
    """Say which labels look like one class, and which look like a missing value.

    Args:
        labels: the classes of a dataset, in the form of :func:`label_text`.
        literal: words that the user declared to be classes.
    """
    by_form: dict[str, set[str]] = defaultdict(set)
    for label in labels:
        by_form[alike(label)].add(label)
    notices = []
    pairs = sorted(sorted(forms) for forms in by_form.values() if len(forms) > 1)
    if pairs:
        named = "; ".join(" and ".join(map(repr, forms)) for forms in pairs)
        notices.append(
            CLASSES_THAT_LOOK_ALIKE.says(
                "these differ only by case, spaces or width of letters and "
                f"count as different classes: {named}"
            )
        )
    missing = sorted(
        {label for forms in by_form.values() for label in forms if is_missing(label, literal)}
    )
    if missing:
        notices.append(
            CLASSES_LIKE_A_MISSING_VALUE.says(
                "folders are called "
                f"{', '.join(map(repr, missing))}; a folder is a class whatever its name"
            )
        )
    return notices
