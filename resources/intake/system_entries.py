"""Files and folders that systems, storage devices and tools make beside a user's own."""

from fnmatch import fnmatchcase

SYSTEM_ENTRY = "system or hidden file or folder (@eaDir, .DS_Store and the like)"
"""Reason for which such a file is left out, or such a folder, once with all that is in it."""

_NAMES = frozenset(
    # Synology, QNAP, Buffalo, NetApp and other network storage
    {"@eadir", "@tmp", "@recycle", "@recently-snapshot", "@sharesnap", "@__thumb", ".@__thumb"}
    | {".@upload_cache", "#recycle", "#snapshot", "~snapshot", ".snapshot", ".snapshots"}
    | {".zfs", ".recycle", "trashbox", ".wdmc", ".wdcache", ".@metadata"}
    # Windows
    | {"$recycle.bin", "recycler", "system volume information", "thumbs.db", "ehthumbs.db"}
    | {"ehthumbs_vista.db", "desktop.ini"}
    # macOS, and Netatalk for it
    | {"__macosx", ".ds_store", ".spotlight-v100", ".fseventsd", ".temporaryitems", "icon\r"}
    | {".documentrevisions-v100", ".appledouble", ".appledb", ".appledesktop", ".localized"}
    | {".com.apple.timemachine.donotpresent", ".volumeicon.icns", ".apdisk"}
    | {"network trash folder", "temporary items", "thevolumesettingsfolder"}
    # Linux, Android
    | {"lost+found", "lost.dir", ".directory", ".thumbnails", ".nomedia"}
    # tools
    | {"__pycache__", ".ipynb_checkpoints", ".git", ".gitignore", ".gitattributes", ".svn", ".hg"}
    | {".dvc", ".dvcignore", ".datalad", ".cache", ".dropbox", ".dropbox.cache"}
    | {".tmp.driveupload", ".tmp.drivedownload", ".picasa.ini", "picasa.ini", ".picasaoriginals"}
)
"""Names, casefolded."""

_PATTERNS = (
    *("._*", ".trash*", ".nfs*", ".fuse_hidden*", "~$*", ".~lock.*", "found.[0-9][0-9][0-9]"),
    *("synoindex_*", "synophoto_*", "*@synoeastream", "*@synoresource"),
)
"""Patterns of names, casefolded."""


def is_system_entry(name: str) -> bool:
    """Whether a file or folder of this name is known to be made by a system, in any case."""
    folded = name.casefold()
    return folded in _NAMES or any(fnmatchcase(folded, pattern) for pattern in _PATTERNS)


def is_left_out(name: str) -> bool:
    """Whether a file or folder of this name is left out: made by a system, or hidden."""
    return name.startswith(".") or is_system_entry(name)
