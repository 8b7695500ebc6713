"""A whole archive, unpacked below a new folder."""

import os
from pathlib import Path

from resources.intake.archives.extraction import ExtractionFolder
from resources.intake.archives.limits import DEFAULT_LIMITS, ArchiveLimits
from resources.intake.archives.reading import open_archive
from resources.intake.archives.tar_file import unpack_tar
from resources.intake.archives.writing import new_folder
from resources.intake.archives.zip_file import unpack_zip
from resources.store.atomic_file import Opener

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


def is_archive(path: Path) -> bool:
    """Whether the name ends like that of an archive, in any case."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def unpack(
    archive: Path,
    target: Path,
    limits: ArchiveLimits = DEFAULT_LIMITS,
    opener: Opener | None = None,
) -> None:
    """Unpack all of an archive below ``target``, which appears whole or not at all.

    Files get mode 0644 less the user's umask and the modification time 0, whatever the archive
    says.

    Args:
        archive: a zip or tar file. How a tar file is compressed is told by its first bytes:
            browsers and servers unpack .gz without renaming.
        target: folder to make; must not exist.
        limits: what the archive may hold.
        opener: as of :func:`open`; what it raises is passed on.

    Raises:
        RefusedArchiveError: one member or the archive as a whole is not acceptable; nothing is left
            behind.
        InputError: the archive cannot be opened, the target exists, or the disk is full or not
            writable.
    """
    with open_archive(archive, opener) as stream, new_folder(target) as folder:
        extraction = ExtractionFolder(folder, limits, os.fstat(stream.fileno()).st_size)
        if archive.name.lower().endswith(".zip"):
            unpack_zip(stream, extraction)
        else:
            unpack_tar(stream, extraction)
        extraction.finish()
