"""Why an archive is refused: a fixed vocabulary that repeats nothing of what the archive holds."""

import contextlib
from collections.abc import Iterator

from data_contracts.errors import InputError

DAMAGED = "the archive is damaged or cut off"
EMPTY = "the archive is empty"
ENCRYPTED = "it is encrypted"
LINK = "the archive holds a link"
NOT_REGULAR = "a member is not a regular file"
SPARSE = "a member is a sparse file"
NO_NAME = "a member has no name"
NUL_NAME = "a member's name contains a zero byte"
NOT_UTF8 = "a member's name is not valid UTF-8"
BACKSLASH = "a member's name contains a backslash or a drive"
LEAVES = "a member's name is absolute or contains .."
LONG_NAME = "a member's name is too long"
TOO_DEEP = "a member lies too deep in folders"
SAME_NAME = "two members have the same name"
FILE_AND_FOLDER = "a member is a file where another needs a folder"
OVERLAP = "members overlap"
METHOD = "it is packed by a method that is not accepted"
TOO_MANY = "too many members"


class RefusedArchiveError(Exception):
    """An archive is not unpacked. The message is a short reason that repeats nothing of what the
    archive holds.
    """


@contextlib.contextmanager
def parsing() -> Iterator[None]:
    """Around calls into libraries that parse what an archive holds: whatever they raise says that
    it is damaged.

    Raises:
        RefusedArchiveError: instead of any other error, without its text.
        InputError: as raised inside; it says that the disk failed.
    """
    try:
        yield
    except (RefusedArchiveError, InputError):
        raise
    except Exception:  # OSError, ValueError, struct.error, RecursionError ...: they differ between releases of Python
        raise RefusedArchiveError(DAMAGED) from None
