"""The key of this site: names and groups are stored as keyed hashes, which nobody without the key
can guess back.

The key lies outside the store, so that a copy of the store does not carry it.
"""

import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from data_contracts.errors import InputError
from methods.imaging.readers import known_suffixes
from resources.store.atomic_file import fsync_folder, make_folder, temporary_name, write_atomically
from resources.store.home import site_key_path

DIGITS = 16
FINGERPRINT = "site_key.fingerprint"
_OTHER_SUFFIXES = frozenset(
    {".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz"}
    | {".csv", ".parquet", ".txt", ".json", ".md", ".db"}
)
"""Suffixes that a pseudonym keeps beside those of the image formats."""


@dataclass(frozen=True)
class Names:
    """What names of one dataset are written as.

    Attributes:
        show: file names are written as they are.
    """

    dataset: str
    show: bool
    _key: bytes = field(repr=False)

    def _digest(self, kind: str, value: str) -> str:
        message = "\0".join((kind, self.dataset, value)).encode("utf-8", "surrogateescape")
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()[:DIGITS]

    def path(self, path: str) -> str:
        """A relative path as it may be written: itself, or a pseudonym with the suffix where that
        is a common one.
        """
        if self.show:
            return path
        suffix = PurePosixPath(path).suffix.lower()
        return self._digest("path", path) + (
            suffix if suffix in known_suffixes() | _OTHER_SUFFIXES else ""
        )

    def drop(self, name: str) -> str:
        """A drop's name as it may be written."""
        return name if self.show else self._digest("drop", name)

    def label(self, label: str) -> str:
        """A class that the dataset does not know, as it may be written: it may be a folder named
        after a person.
        """
        return label if self.show else f"class-{self._digest('label', label)}"

    def group(self, group: str) -> str:
        """A group (patient, lesion) as it is written, always a pseudonym."""
        return self._digest("group", group)

    def signature(self, text: str) -> str:
        """A keyed hash of a listing: equal listings have equal ones, and names cannot be guessed
        back.
        """
        return self._digest("listing", text)


def names_of(home: Path, dataset: str, show: bool) -> Names:
    """What names of ``dataset`` are written as; makes the site key where there is none yet.

    Raises:
        InputError: the key cannot be read or made, or it is not the one that this home was made
            with.
    """
    key = _read_or_make(site_key_path(), home / FINGERPRINT)
    return Names(dataset, show, key)


def _read_or_make(path: Path, fingerprint: Path) -> bytes:
    was_made = fingerprint.exists()  # asked first: another process may be making both
    try:
        if not path.exists():
            if was_made:
                raise InputError(
                    f"the site key {path} is gone, and groups and names in {fingerprint.parent} were hashed with it",
                    "Put it back from your backup, or set MEDFEAT_SITE_KEY to where it lies",
                )
            _make(path)
        key = bytes.fromhex(path.read_text().strip())
    except OSError as error:
        raise InputError(
            f"the site key {path} cannot be read or made ({error.strerror})",
            "Give this user permission, or set MEDFEAT_SITE_KEY to a file outside the store",
        ) from None
    except ValueError:
        key = b""
    if len(key) < 16:
        raise InputError(
            f"the site key {path} does not hold at least 32 hexadecimal digits",
            "Restore it, or write the output of: openssl rand -hex 32",
        )
    mark = hmac.new(key, b"fingerprint", hashlib.sha256).hexdigest()[:DIGITS]
    if not fingerprint.exists():
        write_atomically(fingerprint, f"{mark}\n".encode())
    elif fingerprint.read_text().strip() != mark:
        raise InputError(
            f"the site key {path} is not the one that {fingerprint.parent} was made with",
            "Put the former key back, or set MEDFEAT_SITE_KEY to where it lies",
        )
    return key


def _make(path: Path) -> None:
    """Write a new key, whole or not at all, unless another process makes one at the same time."""
    make_folder(path.parent, mode=0o700)
    temporary = temporary_name(path)
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(secrets.token_hex(32) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        with suppress(FileExistsError):
            os.link(temporary, path)  # unlike a rename, it never replaces a key that is there
        fsync_folder(path.parent)
    finally:
        temporary.unlink()
