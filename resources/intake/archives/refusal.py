"""The reasons for which an archive is refused, which repeat nothing of what it holds."""

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
    """An archive is not unpacked; the message is a reason of this module or names a limit."""
