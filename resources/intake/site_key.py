"""The site key, with which names and groups are stored as keyed hashes (pseudonyms).

Without the key nobody can guess the names back. It lies outside the store, so that a
copy of the store does not hold it.
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
"""Hexadecimal digits of a pseudonym (64 bits)."""

FINGERPRINT = "site_key.fingerprint"
"""Name of the file in a home that tells whether a key is the one the home was made with."""

_OTHER_SUFFIXES = frozenset(
    {".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz"}
    | {".csv", ".parquet", ".txt", ".json", ".md", ".db"}
)
"""Suffixes that a pseudonym keeps beside those of the image formats."""


@dataclass(frozen=True)
class Names:
    """The written forms of the names of one dataset.

    Attributes:
        dataset: its name, which is part of what is hashed.
        show: whether file names are written as they are.
    """

    dataset: str
    show: bool
    _key: bytes = field(repr=False)

    def _digest(self, kind: str, value: str) -> str:
        message = "\0".join((kind, self.dataset, value)).encode("utf-8", "surrogateescape")
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()[:DIGITS]

    def path(self, path: str) -> str:
        """Written form of a relative path: itself, or a pseudonym that keeps a common suffix."""
        if self.show:
            return path
        suffix = PurePosixPath(path).suffix.lower()
        return self._digest("path", path) + (
            suffix if suffix in known_suffixes() | _OTHER_SUFFIXES else ""
        )

    def drop(self, name: str) -> str:
        """Written form of a drop's name."""
        return name if self.show else self._digest("drop", name)

    def label(self, label: str) -> str:
        """Written form of a class that the first load lacks, which may be a person's name."""
        return label if self.show else f"class-{self._digest('label', label)}"

    def group(self, group: str) -> str:
        """Written form of a group (patient, lesion), always a pseudonym."""
        return self._digest("group", group)

    def signature(self, text: str) -> str:
        """Keyed hash of a listing, equal for equal listings."""
        return self._digest("listing", text)


def names_of(home: Path, dataset: str, show: bool) -> Names:
    """Load the names of a dataset; makes the site key where none exists yet.

    Raises:
        InputError: the key cannot be read or made, or it is not the one that this home was made
            with.
    """
    key = _read_or_make(site_key_path(), home / FINGERPRINT)
    return Names(dataset, show, key)


def _read_or_make(path: Path, fingerprint: Path) -> bytes:
    was_made = fingerprint.exists()  # looked up first: another process may be making both
    try:
        if not path.exists():
            if was_made:
                raise InputError(
                    f"the site key {path} is gone, "
                    f"and groups and names in {fingerprint.parent} were hashed with it",
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
            os.link(temporary, path)  # unlike a rename, it never replaces an existing key
        fsync_folder(path.parent)
    finally:
        temporary.unlink()
