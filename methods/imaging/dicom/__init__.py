"""From the bytes of a DICOM file to 8-bit RGB frames.

A DICOM file names a patient and comes from anywhere, so two rules hold throughout. Nothing read
from the file leaves this package except the facts and the pixels: reasons are literal strings, at
most with the type name of a library's exception, and what the libraries would print, warn or log is
silenced. And sizes are checked against the bytes of the file, and against the compressed stream's
own header, before any decoder in C sees them.

pydicom parses, it and the codecs it finds (Pillow, OpenJPEG, GDCM, RLE) decompress, and it applies
windows. The rest of the grey pipeline (PS3.3 C.11.1, C.11.2) and the colour conversions are written
out here; each module says why. pydicom is imported inside functions because it takes 0.3 s.

Overlays, presentation states, ICC profiles, supplemental palettes and the dose grid scaling of RT
Dose are ignored.
"""

from methods.imaging.dicom.file import is_dicom
from methods.imaging.dicom.reader import OpenedDicom

__all__ = ["OpenedDicom", "is_dicom"]
