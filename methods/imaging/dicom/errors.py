"""The one error with which a DICOM file is refused."""

from methods.imaging.image_format import UndecodableImageError


class UndecodableDicomError(UndecodableImageError):
    """The bytes are not a complete DICOM image that can be shown.

    The message is one of the literal strings of this package, at most with the type name of a
    library's exception: no tag value, no file name, no library's words, since those repeat what a
    tag holds.
    """
