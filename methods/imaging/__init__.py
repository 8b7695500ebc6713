"""From the bytes of a file to pixels, and pictures made or varied on purpose.

Belongs here: decoding, resizing, augmentation, phantoms.
Does not belong here: finding files (``resources.intake``), features of pixels
    (``methods.features``).
"""
