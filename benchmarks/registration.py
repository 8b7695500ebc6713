"""Measure `medfeat add`, which decodes, against a former header scan plus decoding by libraries.

    .venv/bin/python -m benchmarks.registration FORMER [--share 0.1]

FORMER is a checkout of a version whose `add` read headers alone (its `scan` has ``decode=False``).
Both run in turn on the same 5,000 small PNG and 500 DICOM files, each in a process of its own, and
processor seconds of all their processes are printed beside the wall time, since other work on the
machine disturbs them less. Then `add` runs on 1,000 and on 10,000 files for its peak memory. Some
minutes; ``--share`` takes a part of the files.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

PNG_FILES, DICOM_FILES, ROUNDS = 5000, 500, 3
FEW, MANY = 1000, 10_000
"""Numbers of files between which peak memory is compared."""

COMMON = """
import resource, sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from data_contracts.records.dataset import DatasetSpec
from resources.cores import cores
from resources.intake.arrivals import find_arrivals
from resources.store.dataset_store import DatasetStore
root, home = Path(sys.argv[1]), Path(sys.argv[2])
intake = find_arrivals(
    DatasetStore(home=str(home)), DatasetSpec(name="x", root=root, show_names=True)
).intake
started = time.perf_counter()
"""
OURS = """
from resources.intake.dataset_scan import scan
from resources.intake.outcomes import StoredOutcomes
scan(intake, StoredOutcomes(home / "outcomes", "1"))
"""
THEIRS = """
import numpy, pydicom
from PIL import Image
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from resources.intake.scan import scan
def plain(path):
    if path.suffix == ".png":
        return numpy.asarray(Image.open(path).convert("RGB"))
    data = pydicom.dcmread(path)
    shown = apply_voi_lut(apply_modality_lut(data.pixel_array, data), data).astype(float)
    shown -= shown.min()
    return (shown * (255 / max(1, shown.max()))).round().astype(numpy.uint8)
scan(intake, decode=False)
with ThreadPoolExecutor(cores()) as pool:
    for _ in pool.map(plain, sorted(root.glob("*/*"))):
        pass
"""
PRINTED = """
wall = time.perf_counter() - started
own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
processor = own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime
print(wall, processor, own.ru_maxrss / 1024, others.ru_maxrss / 1024)
"""


def picture(number: int, side: int) -> np.ndarray:
    """Draw smooth shapes with grain, (side, side) uint8."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (side // 8 + 1, side // 8 + 1), np.uint8))
    smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)).astype(np.int16)
    return np.clip(smooth + rng.integers(-6, 7, (side, side)), 0, 255).astype(np.uint8)


def write_png(path: Path, number: int) -> None:
    """Write a grey PNG of 64 x 64 pixels."""
    Image.fromarray(picture(number, 64)).save(path.with_suffix(".png"))


def write_dicom(path: Path, number: int) -> None:
    """Write an uncompressed DICOM file of 512 x 512 pixels, 12 bits in 16."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = SecondaryCaptureImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = f"1.2.3.{number + 1}"
    data.PatientID, data.Rows, data.Columns = f"P{number}", 512, 512
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.PixelData = (picture(number, 512).astype("<u2") * 12).tobytes()
    data.save_as(path.with_suffix(".dcm"), enforce_file_format=True)


def measured(checkout: Path, program: str, root: Path, home: Path) -> list[float]:
    """Return wall and processor seconds, and peak memory in MB of the process and of a decoder."""
    environment = os.environ | {"MEDFEAT_HOME": str(home), "MEDFEAT_SITE_KEY": str(home / "key")}
    command = [sys.executable, "-c", COMMON + program + PRINTED, str(root), str(home)]
    done = subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, text=True, check=True
    )
    return [float(word) for word in done.stdout.split()]


def main() -> None:
    """Print both figures of each round, their ratio, and the peak memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("former", type=Path)
    parser.add_argument("--share", type=float, default=1.0)
    arguments = parser.parse_args()
    here = Path(__file__).parents[1]
    kinds = (("PNG", write_png, PNG_FILES), ("DICOM", write_dicom, DICOM_FILES))
    for kind, write, number in kinds:
        count = max(8, int(number * arguments.share))
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            make(folder / "images", write, count)
            for turn in range(ROUNDS):
                ours = measured(here, OURS, folder / "images", folder / f"home{turn}")
                theirs = measured(arguments.former, THEIRS, folder / "images", folder / "former")
                print(
                    f"{count} {kind}, load {os.getloadavg()[0]:.1f}: wall {ours[0]:.2f} and "
                    f"{theirs[0]:.2f} s ({ours[0] / theirs[0]:.2f}), processor {ours[1]:.2f} and "
                    f"{theirs[1]:.2f} s ({ours[1] / theirs[1]:.2f})",
                    flush=True,
                )
    for number in (FEW, MANY):
        count = max(8, int(number * arguments.share))
        with tempfile.TemporaryDirectory() as name:
            make(Path(name) / "images", write_png, count)
            *_, own, decoder = measured(here, OURS, Path(name) / "images", Path(name) / "home")
            print(f"{count} PNG: peak {own:.0f} MB, a decoder {decoder:.0f} MB", flush=True)


def make(root: Path, write: Callable[[Path, int], None], count: int) -> None:
    """Write so many files into two class folders."""
    for number in range(count):
        path = root / "ab"[number % 2] / f"{number:05}"
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, number)


if __name__ == "__main__":
    main()
