"""Archives (zip and tar) that a user hands over: unpacked whole below a new folder, or refused with
nothing left behind.

What is inside is not trusted: every name, size and kind is checked, and the limits count what is
really written. Reasons of a refusal are from a fixed vocabulary and repeat nothing of the archive.
"""

from resources.intake.archives.limits import ArchiveLimits
from resources.intake.archives.refusal import RefusedArchiveError
from resources.intake.archives.unpacking import ARCHIVE_SUFFIXES, is_archive, unpack

__all__ = ["ARCHIVE_SUFFIXES", "ArchiveLimits", "RefusedArchiveError", "is_archive", "unpack"]
