"""From the bytes of a TIFF file to 8-bit RGB pages.

tifffile parses the directories and imagecodecs decompresses; Pillow, whose raw modes lack many
kinds of TIFF and unpack some of them wrongly, sees none. A kind is read right or refused with its
true reason. What tifffile forgives is not forgiven here: missing strips and tiles are not filled,
and a strip that ends early is an error. Nothing but the given bytes is opened, in one thread, and
sizes are checked against the bytes of the file before anything is allocated.

Every page is an image. Pages that are marked as reduced or as masks, and the smaller levels of a
pyramid, are left out. Channels that are neither colour nor opacity make an image undecodable where
nothing says which of them are the picture.

Colour profiles, response curves and the resolution in print are ignored.
"""

from methods.imaging.tiff.reader import OpenedTiff

__all__ = ["OpenedTiff"]
