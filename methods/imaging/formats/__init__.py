"""The readers of formats that need more than Pillow opening them.

Belongs here: one module for each such format, what animations share, names of unreadable files.
Does not belong here: the registry of readers (``methods.imaging.readers``), DICOM, TIFF and volumes
    (packages of their own).
"""
