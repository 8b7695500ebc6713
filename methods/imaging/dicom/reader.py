"""The reader of DICOM files for the registry of formats."""

from __future__ import annotations

from PIL import Image

from methods.imaging.dicom.frames import DicomFrames
from methods.imaging.image_format import FileFacts, Frame, ImageFacts
from methods.imaging.preprocessing import PreprocessingSettings


class OpenedDicom:
    """A DICOM file of one or more frames.

    Args:
        data: bytes of the file.

    Attributes:
        facts: what the header says; all frames have the same size.

    Raises:
        UndecodableDicomError: as :class:`methods.imaging.dicom.frames.DicomFrames`.
    """

    facts: FileFacts

    def __init__(self, data: bytes) -> None:
        self._frames = DicomFrames(data)
        header = self._frames.facts
        facts = ImageFacts(header.width, header.height, header.photometric, "DICOM")
        self.facts = FileFacts(
            (Frame(facts),) * header.frames, header.patient, header.identifiers, header.burned_in
        )

    def decode(self, frame: int, settings: PreprocessingSettings | None = None) -> Image.Image:
        """Decode one frame, with the grey window of the settings ("file" where there are none)."""
        window = settings.voi if settings is not None else "file"
        return Image.fromarray(self._frames.decode(frame, window))
