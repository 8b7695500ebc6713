"""Archives (zip and tar) that a user gives: unpacked whole into a new folder, or refused.

Belongs here: reading an archive within limits, checking names, kinds and sizes of its members, and
writing them. Nothing in an archive is trusted: the limits count what is really written, and the
reason of a refusal comes from a fixed vocabulary that repeats nothing of the archive.
Does not belong here: what the files mean (``resources.intake.image_sources``), and the arrays of a
``.npz`` (``resources.intake.npz_images``), which is read through the functions exported here.
"""

from resources.intake.archives.reading import ArchiveLimits, open_archive, parsing
from resources.intake.archives.refusal import RefusedArchiveError
from resources.intake.archives.unpacking import (
    ARCHIVE_SUFFIXES,
    is_archive,
    new_folder,
    unpack,
    write_new_file,
)
from resources.intake.archives.zip_file import ZipMember, zip_members

__all__ = [
    "ARCHIVE_SUFFIXES",
    "ArchiveLimits",
    "RefusedArchiveError",
    "ZipMember",
    "is_archive",
    "new_folder",
    "open_archive",
    "parsing",
    "unpack",
    "write_new_file",
    "zip_members",
]
