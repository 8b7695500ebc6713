"""The one way in which a DICOM file is refused."""


class UndecodableDicomError(ValueError):
    """The bytes are not a whole DICOM image that can be shown.

    The message is one of the literal strings of this package, at most with the type name of a
    library's exception: no tag value, no file name, no library's words, since those repeat what a
    tag holds.
    """
