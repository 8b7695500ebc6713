"""The root and the drops of a dataset that count now, with a signature that shows any change."""

from dataclasses import dataclass

from data_contracts.errors import InputError
from data_contracts.records.dataset import DatasetSpec
from resources.intake.drops import (
    WaitingDrop,
    check_drops,
    drops_root,
    file_stamps,
    signature_of,
)
from resources.intake.image_sources import Intake
from resources.intake.site_key import names_of
from resources.store.dataset_store import DatasetStore

SHOWN_WAITS = 5
"""Maximum number of waiting drops of one dataset that are named."""


@dataclass(frozen=True)
class Arrivals:
    """The parts of a dataset that count at one moment.

    Attributes:
        intake: the dataset and its drops, to be scanned.
        waiting: how many drops have not settled yet.
        signature: keyed hash of the names, sizes and times of all files that count.
        waits: the drops that have not settled yet.
    """

    intake: Intake
    waiting: int
    signature: str
    waits: tuple[WaitingDrop, ...] = ()

    def waits_in_words(self) -> list[str]:
        """What of the drops waits and why, a line for each of the first drops."""
        dataset = self.intake.spec.name
        lines = [f"{dataset}/{drop}" for drop in self.waits[:SHOWN_WAITS]]
        more = len(self.waits) - SHOWN_WAITS
        return [*lines, f"{dataset}: {more} more drops wait"] if more > 0 else lines


def find_arrivals(store: DatasetStore, spec: DatasetSpec, now: float | None = None) -> Arrivals:
    """List a dataset's root and drops, without opening a file.

    Raises:
        InputError: a folder cannot be read, the drop folder is missing although drops have counted,
            or there is no usable site key.
    """
    names = names_of(store.root, spec.name, spec.show_names)
    in_drops_only = spec.root.resolve() == (drops_root() / spec.name).resolve()
    drops = check_drops(store, spec.name, names, in_drops_only, now, spec.follow_links)
    base = ""
    if not in_drops_only and spec.root.exists():
        try:
            base = signature_of(names, file_stamps(spec.root.resolve(), spec.follow_links))
        except OSError as error:
            raise InputError(
                f"a folder of {spec.name} cannot be read ({error.strerror})",
                "Give this user permission to read it (chmod -R u+rX), "
                "or move it out of the dataset",
            ) from None
    intake = Intake(spec, names, store.root / "unpacked" / spec.name, drops.drops, in_drops_only)
    signature = names.signature(f"{base} {drops.signature}")
    return Arrivals(intake, drops.waiting, signature, drops.waits)
