"""Synthetic stained tissue whose classes overlap, as a small study of patients at two sites.

For the demonstration: its classes can be learned, but not without errors. None of the pictures is a
medical image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from methods.imaging.phantoms import Float64, Picture, draw_nuclei, to_byte

PATIENTS_PER_CLASS = {"train": {"north": 10}, "test": {"north": 4, "south": 4}}
"""Number of patients of each class by side of the split and site; `south` is only tested on."""
IMAGES_PER_PATIENT = (2, 4)
"""Smallest and largest number of images of a patient."""
WRONG_LABELS = 0.04
"""Share of the images that carry the label of another class."""
BETWEEN_PATIENTS = 0.2
"""Deviation of a patient from the class, as a share of the spread of the class means."""
WITHIN_PATIENT = 0.15
"""Deviation of an image from its patient, as a share of the spread of the class means."""


@dataclass(frozen=True)
class Tissue:
    """What a picture of tissue looks like.

    Attributes:
        nuclei: number of nuclei in the picture.
        radius: of a nucleus, as a share of half the picture's side.
        roundness: smaller over larger diameter of a nucleus, 0.2 .. 1.
        fibres: contrast of the fibres, 0 .. 1.
    """

    nuclei: float
    radius: float
    roundness: float
    fibres: float


CLASSES: dict[str, Tissue] = {
    "atypical": Tissue(nuclei=75, radius=0.058, roundness=0.7, fibres=0.35),
    "fibrotic": Tissue(nuclei=45, radius=0.042, roundness=0.45, fibres=0.7),
    "inflamed": Tissue(nuclei=110, radius=0.036, roundness=0.9, fibres=0.25),
    "normal": Tissue(nuclei=60, radius=0.044, roundness=0.75, fibres=0.35),
}
"""Mean look of each class."""


@dataclass(frozen=True)
class Site:
    """How a site stains and scans.

    Attributes:
        stain: (3,) factors of red, green and blue.
        blur: standard deviation of the scanner's blur, as a share of the picture's side.
        noise: standard deviation of the scanner's noise, of 0 .. 1.
    """

    stain: tuple[float, float, float]
    blur: float
    noise: float


SITES: dict[str, Site] = {
    "north": Site((1.0, 1.0, 1.0), 0.0, 0.015),
    "south": Site((0.95, 1.06, 0.9), 0.004, 0.03),
}


@dataclass(frozen=True)
class TissuePicture:
    """One image of the study.

    Attributes:
        name: file name without suffix.
        label: class that it is labelled with, which is wrong for some.
        patient: pseudonym of the patient.
        site: one of ``SITES``.
        split: "train" or "test".
        seed: numbers that its random numbers are seeded with.
        tissue: what it shows.
        fibre_angle: direction of the patient's fibres in radians.
    """

    name: str
    label: str
    patient: str
    site: str
    split: str
    seed: tuple[int, ...]
    tissue: Tissue
    fibre_angle: float

    def draw(self, size: int = 256) -> Picture:
        """Draw the picture, (size, size, 3) uint8 RGB; the same bytes every time."""
        return draw_tissue(
            self.tissue,
            SITES[self.site],
            self.fibre_angle,
            np.random.default_rng(self.seed),
            size,
        )


def _smooth_field(rng: np.random.Generator, size: int) -> Float64:
    """Return (size, size) smooth random numbers of mean 0 and deviation about 1."""
    cells = 6
    field: Float64 = zoom(rng.normal(size=(cells, cells)), size / cells, order=3)
    return field


def draw_tissue(
    tissue: Tissue, site: Site, fibre_angle: float, rng: np.random.Generator, size: int
) -> Picture:
    """Draw pink stroma with fibres along an angle, and purple nuclei, (size, size, 3) uint8 RGB."""
    axis = np.linspace(-1, 1, size)
    x, y = np.meshgrid(axis, axis)
    along = x * np.cos(fibre_angle) + y * np.sin(fibre_angle)
    across = y * np.cos(fibre_angle) - x * np.sin(fibre_angle)
    waves = _smooth_field(rng, size)
    bands = np.sin(across * rng.uniform(28, 40) + waves + 0.5 * np.sin(3 * along))
    fibres = 0.5 + 0.5 * tissue.fibres * bands + 0.1 * _smooth_field(rng, size)
    fibres = np.clip(fibres, 0, 1)[..., None]
    picture: Float64 = (1 - fibres) * np.array([0.96, 0.78, 0.88]) + fibres * np.array(
        [0.84, 0.47, 0.69]
    )
    count = max(round(tissue.nuclei), 5)
    radius = (0.8 * tissue.radius, 1.2 * tissue.radius)
    roundness = (0.9 * tissue.roundness, min(1.1 * tissue.roundness, 1))
    draw_nuclei(picture, x, y, rng, count, radius, roundness)
    picture *= np.asarray(site.stain) * rng.normal(1, 0.03, 3)
    if site.blur:
        picture = gaussian_filter(picture, (site.blur * size, site.blur * size, 0))
    return to_byte(picture + rng.normal(0, site.noise, picture.shape))


def tissue_study(seed: int = 0) -> Iterator[TissuePicture]:
    """Yield the images of the study, class by class and patient by patient.

    Each patient has one class and a look of its own around that of the class, and each image a look
    of its own around that of the patient, so that the classes overlap.
    """
    means = np.array([astuple(look) for look in CLASSES.values()])
    spread = means.std(axis=0)
    for number, (label, look) in enumerate(CLASSES.items()):
        patient = 0
        for split, sites in PATIENTS_PER_CLASS.items():
            for site, count in sites.items():
                for _ in range(count):
                    rng = np.random.default_rng([seed, number, patient])
                    own = np.array(astuple(look)) + BETWEEN_PATIENTS * spread * rng.normal(size=4)
                    yield from _patient_pictures(
                        (seed, number, patient), rng, label, own, spread, site, split
                    )
                    patient += 1


def _patient_pictures(
    seed: tuple[int, int, int],
    rng: np.random.Generator,
    label: str,
    look: NDArray[np.float64],
    spread: NDArray[np.float64],
    site: str,
    split: str,
) -> Iterator[TissuePicture]:
    """Yield the images of one patient, whose mean look is ``look``."""
    patient = f"{label[0].upper()}{seed[2]:02d}"
    angle = float(rng.uniform(0, np.pi))
    others = [name for name in CLASSES if name != label]
    for image in range(int(rng.integers(IMAGES_PER_PATIENT[0], IMAGES_PER_PATIENT[1] + 1))):
        own = look + WITHIN_PATIENT * spread * rng.normal(size=4)
        wrong = rng.random() < WRONG_LABELS
        yield TissuePicture(
            name=f"{patient}-{image}",
            label=others[int(rng.integers(len(others)))] if wrong else label,
            patient=patient,
            site=site,
            split=split,
            seed=(*seed, image),
            tissue=_within_limits(own),
            fibre_angle=angle + float(rng.normal(0, 0.2)),
        )


def _within_limits(look: NDArray[np.float64]) -> Tissue:
    """Return a look whose numbers can be drawn."""
    nuclei, radius, roundness, fibres = map(float, look)
    return Tissue(
        nuclei=max(nuclei, 10),
        radius=max(radius, 0.02),
        roundness=min(max(roundness, 0.25), 1),
        fibres=min(max(fibres, 0), 1),
    )
