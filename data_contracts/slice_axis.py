"""The axis along which a volume is cut into images."""

from __future__ import annotations

from typing import Literal

SliceAxis = Literal["axial", "coronal", "sagittal"]
"""Kind of the slices into which a volume of known orientation is cut (NIfTI)."""

DEFAULT_SLICE_AXIS: SliceAxis = "axial"
"""Kind of the slices where a dataset states none."""
