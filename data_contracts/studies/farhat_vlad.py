"""The study of Farhat and Sicre."""

from __future__ import annotations

from data_contracts import asset_names as names
from data_contracts.studies.study import DICOM_WINDOW, Choice, Method, PaperRow, PaperTable, Study

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


def at_scales(*scales: int) -> str:
    """Return the end of the names of what is made at a scale, or of all scales pooled."""
    return f"scale{scales[0]}" if len(scales) == 1 else "all_scales"


def vlad_at(clusters: int, *scales: int) -> str:
    """Return the name of VLAD with a number of centroids at a scale, or of all scales pooled."""
    return f"vlad{clusters}_{at_scales(*scales)}"


def codebook_asset(clusters: int, *scales: int) -> str:
    """Asset of the codebook of so many centroids at a scale, or of all scales pooled."""
    return f"vlad{clusters}_codebook_{at_scales(*scales)}"


def _vlad_method(clusters: int, *scales: int) -> Method:
    """Return the row of VLAD with a number of centroids at a scale, or of all scales pooled."""
    sizes = ", ".join(str(side_of_scale(scale)) for scale in scales)
    pooled = " pooled" if len(scales) > 1 else ""
    return Method(
        vlad_at(clusters, *scales),
        f"VLAD, {clusters} centroids, {sizes} pixels{pooled} + SVM",
        f"vlad{clusters}_descriptors_{at_scales(*scales)}",
        source=("vgg19", "block5_pool"),
        in_main_job=scales == (0,),
        allows_pca=True,
    )


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
            *(_vlad_method(clusters, scale) for clusters in CODEBOOK_SIZES),
        )
    )
    + tuple(_vlad_method(clusters, *SCALES) for clusters in CODEBOOK_SIZES)
    + (
        Method.of_network("vgg19_fc1", "VGG-19 fc1, 227 pixels + SVM", "vgg19", "fc1"),
        Method.of_network("vgg19_fc2", "VGG-19 fc2, 227 pixels + SVM", "vgg19", "fc2"),
    ),
    main=vlad_at(256, 0),
    main_in_words="VLAD with 256 centroids",
    references=({average_at(0): "the average of the same descriptors"},),
    measurements=(names.SPLIT_REPEATS,),
    stages_shown=(
        names.IMAGE_MANIFEST,
        names.PREPARED_IMAGES,
        names.ALEXNET_CONV5,
        *(
            codebook_asset(clusters, *scales)
            for clusters in CODEBOOK_SIZES
            for scales in (*((scale,) for scale in SCALES), SCALES)
        ),
    ),
    tables=_farhat_tables(),
    choices=(
        Choice(
            "Network",
            "VGG-19 up to block5_pool, weights of ImageNet",
            "torchvision's or Oxford's VGG-19, each with its own normalisation; VGG-16 where there "
            "are no weights of VGG-19 up to the layer",
            "backbone, layer, backbone_weights, vgg19_weights",
        ),
        Choice(
            "Aspect ratio",
            "square inputs, how not stated",
            "not kept (pad keeps it, on black); bilinear, antialiased, from the original file",
            "resize, decode",
        ),
        Choice(
            "Scale of VLAD",
            "not stated",
            "each of the three side by side, and the descriptors of all three pooled",
            "-",
        ),
        Choice(
            "k-means",
            "not stated",
            "k-means++ start, Lloyd to convergence, on a seeded sample of training descriptors",
            "descriptor_sample, fit_on, seed, max_iterations",
        ),
        Choice(
            "Local descriptors",
            "as the network gives them",
            "as the network gives them",
            "local_l2, local_components, local_whiten, vlad_plus",
        ),
        Choice("VLAD normalisation", "L2", "L2", "signed_sqrt, intra_normalisation, vlad_plus"),
        Choice(
            "Random split (Kvasir)",
            "one, seed not stated",
            "whole groups, stratified by class; repeated, with mean, deviation and interval",
            "split_repeats",
        ),
        Choice("PCA after VLAD", '"can"', "none", "pca_components, pca_whiten"),
        Choice("Scaling before the SVM", "not stated", "each row to unit L2 norm", "scale"),
        Choice(
            "SVM",
            "linear, nothing else stated",
            "one against all, squared hinge weighted by the setting c, free bias",
            "c, tolerance, convention",
        ),
        DICOM_WINDOW,
    ),
)
