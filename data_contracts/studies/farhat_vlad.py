"""The study of Farhat and Sicre."""

from __future__ import annotations

from data_contracts import asset_names as names
from data_contracts.studies.study import Choice, Method, PaperRow, PaperTable, Study

SCALES = (0, 1, 2)
"""Scales s of Farhat and Sicre: images have 224 + 320 s pixels a side."""
CODEBOOK_SIZES = (64, 256)
"""Numbers of centroids in figure 6 of Farhat and Sicre."""


def side_of_scale(scale: int) -> int:
    """Return the height and width of an image at a scale, in pixels."""
    return 224 + 320 * scale


def average_at(scale: int) -> str:
    """Return the name of the baseline at a scale: average-pooled descriptors."""
    return f"average_scale{scale}"


def vlad_at(clusters: int, scale: int) -> str:
    """Return the name of VLAD with a number of centroids at a scale."""
    return f"vlad{clusters}_scale{scale}"


def codebook_asset(clusters: int, scale: int) -> str:
    """Asset of the codebook of so many centroids at a scale."""
    return f"vlad{clusters}_codebook_scale{scale}"


def _farhat_tables() -> tuple[PaperTable, ...]:
    """Return figures 5 and 6, which show three data sets each, as one table for each data set."""
    data = {
        "mini MIT": "mini MIT: 3 indoor scenes, 120 training and 120 test images",
        "chest X-ray": "chest X-ray (pneumonia): 2 classes, 5,232 training and 624 test images",
        "Kvasir": "Kvasir: 8 classes of endoscopy, 6,400 training and 1,600 test images",
    }
    averages = {"mini MIT": (78, 82, 78), "chest X-ray": (80, 81, 78), "Kvasir": (87, 87, 86)}
    vlads = {"mini MIT": (82, 84), "chest X-ray": (77, 78), "Kvasir": (88, 88)}
    figure5 = [
        PaperTable(
            number=f"figure 5, {name}",
            title="Average pooling at three scales",
            measure="accuracy, %",
            data=data[name],
            rows=tuple(
                PaperRow(
                    f"Scale {scale} ({side_of_scale(scale)} pixels)", percent, average_at(scale)
                )
                for scale, percent in zip(SCALES, percents, strict=True)
            ),
        )
        for name, percents in averages.items()
    ]
    figure6 = [
        PaperTable(
            number=f"figure 6, {name}",
            title="VLAD by number of centroids",
            measure="accuracy, %, at a scale that the paper does not state (here scale 0)",
            data=data[name],
            rows=tuple(
                PaperRow(f"{clusters} centroids", percent, vlad_at(clusters, 0))
                for clusters, percent in zip(CODEBOOK_SIZES, percents, strict=True)
            ),
        )
        for name, percents in vlads.items()
    ]
    return (*figure5, *figure6)


FARHAT_VLAD = Study(
    name="farhat_vlad",
    title="Average pooling and VLAD of a pre-trained CNN's local descriptors",
    citation=(
        "H. Farhat, R. Sicre. Convolutional Neural Networks for Medical Image Transfer Learning + "
        "VLAD aggregation. Aix-Marseille University."
    ),
    methods=tuple(
        method
        for scale in SCALES
        for method in (
            Method(
                average_at(scale),
                f"Average, {side_of_scale(scale)} pixels + SVM",
                f"average_descriptors_scale{scale}",
                source=("vgg19", "block5_pool"),
                in_main_job=scale == 0,
            ),
            *(
                Method(
                    vlad_at(clusters, scale),
                    f"VLAD, {clusters} centroids, {side_of_scale(scale)} pixels + SVM",
                    f"vlad{clusters}_descriptors_scale{scale}",
                    source=("vgg19", "block5_pool"),
                    in_main_job=scale == 0,
                    allows_pca=True,
                )
                for clusters in CODEBOOK_SIZES
            ),
        )
    ),
    main=vlad_at(256, 0),
    main_in_words="VLAD with 256 centroids",
    references=({average_at(0): "the average of the same descriptors"},),
    stages_shown=(
        names.IMAGE_MANIFEST,
        names.PREPARED_IMAGES,
        names.ALEXNET_CONV5,
        *(codebook_asset(clusters, scale) for clusters in CODEBOOK_SIZES for scale in SCALES),
    ),
    tables=_farhat_tables(),
    choices=(
        Choice(
            "Network",
            "VGG-19 up to block5_pool, weights of ImageNet",
            "torchvision's VGG-19 and its normalisation",
            "backbone, layer, backbone_weights",
        ),
        Choice(
            "Aspect ratio",
            "square inputs, how not stated",
            "not kept; bilinear, antialiased, from the original file",
            "resize, decode",
        ),
        Choice("Scale of VLAD", "not stated", "each of the three, side by side", "-"),
        Choice(
            "k-means",
            "not stated",
            "k-means++ start, Lloyd to convergence, on a seeded sample of training descriptors",
            "descriptor_sample, fit_on, seed, max_iterations",
        ),
        Choice("VLAD normalisation", "L2", "L2", "signed_sqrt, intra_normalisation"),
        Choice("PCA after VLAD", '"can"', "none", "pca_components, pca_whiten"),
        Choice(
            "SVM",
            "linear, nothing else stated",
            "one against all, squared hinge weighted by the setting c, free bias",
            "c, tolerance, convention",
        ),
        Choice(
            "Grey values of DICOM", "not stated", "the first window that the file states", "voi"
        ),
    ),
)
