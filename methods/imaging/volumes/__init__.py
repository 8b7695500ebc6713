"""Readers of files that store arrays of numbers: NIfTI volumes and NumPy arrays.

Belongs here: one module for each such format. Does not belong here: formats of pictures, and how
deep values become 8 bits (:mod:`methods.imaging.deep`).
"""

from methods.imaging.volumes.nifti import OpenedNifti, is_nifti
from methods.imaging.volumes.npy import NPY_SIGNATURE, OpenedNpy

__all__ = ["NPY_SIGNATURE", "OpenedNifti", "OpenedNpy", "is_nifti"]
