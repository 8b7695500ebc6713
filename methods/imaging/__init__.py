"""From the bytes of a file to pixels, and synthetic or randomly changed pictures.

Belongs here: decoding, resizing, augmentation, phantoms.
Does not belong here: finding files (``resources.intake``), features of pixels
    (``methods.features``).
"""
