"""What an archive may hold."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ArchiveLimits:
    """What an archive may hold.

    Attributes:
        members: files and folders.
        total_bytes: of all files together, unpacked.
        member_bytes: of one file, unpacked.
        ratio: bytes unpacked for each byte of the archive.
        depth: folders and the file, from the top.
        name_bytes: of a member's path.
    """

    members: int = 1_000_000
    total_bytes: int = 200 * 2**30
    member_bytes: int = 2**30
    ratio: float = 200.0
    depth: int = 32
    name_bytes: int = 1024


DEFAULT_LIMITS = ArchiveLimits()
