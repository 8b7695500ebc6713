"""The study of Lyndon et al. 2015."""

from __future__ import annotations

from data_contracts import asset_names as names
from data_contracts.studies.study import DICOM_WINDOW, Choice, Method, PaperRow, PaperTable, Study

SQUARE_PIXELS = 256
"""Side of the padded, grey image, in pixels."""
LENET = Method(
    "lenet",
    "One-vs-all CNNs",
    "lenet_one_vs_all",
    in_main_job=True,
    scored_by="multilabel_evaluation_lenet",
)
MODERN = Method(
    "lenet_modern",
    "One-vs-all CNNs with ReLU, dropout, augmentation, early stop",
    "lenet_modern",
    in_main_job=True,
    scored_by="multilabel_evaluation_lenet_modern",
)


def _part(name: str, title: str) -> Method:
    """Return the paper's networks with one part of its future work."""
    return Method(
        f"lenet_{name}",
        f"One-vs-all CNNs, {title}",
        f"lenet_{name}",
        scored_by=f"multilabel_evaluation_lenet_{name}",
    )


RELU = _part("relu", "ReLU alone")
DROPOUT = _part("dropout", "dropout alone")
AUGMENTED = _part("augmented", "augmentation alone")
DEEPER = _part("deeper", "deeper")
PRETRAINED = _part("pretrained", "first layer pre-trained as an auto-encoder")
NETWORKS = (LENET, MODERN, RELU, DROPOUT, AUGMENTED, DEEPER, PRETRAINED)
"""The networks that are trained from scratch; the first is the paper's."""
CONV5 = Method(
    "conv5",
    "AlexNet conv5 + SVMs",
    names.ALEXNET_CONV5,
    in_main_job=True,
    scored_by="multilabel_evaluation_conv5",
)
CAE = Method(
    "cae",
    "Zero-bias CAE + SVMs",
    names.CAE_FEATURES,
    in_main_job=True,
    scored_by="multilabel_evaluation_cae",
)

LYNDON2015 = Study(
    name="lyndon2015",
    title="One-vs-all CNNs for several labels",
    citation=(
        "D. Lyndon, A. Kumar, J. Kim, P. H. W. Leong, D. Feng. Convolutional Neural Networks for "
        "Medical Clustering. CLEF 2015 Working Notes."
    ),
    protocol="several labels",
    methods=(*NETWORKS, CONV5, CAE),
    main=LENET.name,
    main_in_words="the paper's network",
    references=({CONV5.name: "SVMs on raw conv5 features"},),
    stages_shown=(
        names.IMAGE_MANIFEST,
        names.SQUARE_IMAGES,
        *(method.features for method in NETWORKS),
        names.ALEXNET_CONV5,
        names.CAE_MODEL,
    ),
    tables=(
        PaperTable(
            number="3",
            title="Test results",
            measure="share of the test images, %",
            data="ImageCLEF 2015 medical clustering: X-rays of 4 body parts and images of none; "
            "how many, the paper does not state",
            rows=(
                PaperRow("Exact match", 49.7, "exact_match"),
                PaperRow("Any match", 59.6, "any_match"),
                PaperRow("Hamming similarity", 84.9, "hamming_similarity"),
            ),
        ),
    ),
    choices=(
        Choice("Initial weights", "not stated", "as the LeNet tutorial of deeplearning.net", "-"),
        Choice(
            "Order of the images",
            "not stated",
            "drawn anew in each epoch, the last batch may be smaller",
            "seed",
        ),
        Choice("Channel", '"red"', "the first channel; a grey image has one", "-"),
        Choice(
            "Place of the padding",
            '"filling any empty space with black"',
            "half of it on either side; the image is in the middle",
            "-",
        ),
        Choice("Resize", "to 256 x 256, how not stated", "bilinear, antialiased", "-"),
        Choice("Input scale", "not stated", "grey values divided by 255, nothing subtracted", "-"),
        Choice(
            "Optimiser",
            "a learning rate and a batch size",
            "plain SGD at a constant rate, no weight decay, mean negative log-likelihood",
            "-",
        ),
        Choice(
            "Padding of the convolutions",
            "not stated",
            "none, as in the tutorial: maps of 242, 121, 107 and 53 pixels a side",
            "-",
        ),
        Choice("Weights kept", "not stated", "those after the last epoch", "-"),
        Choice(
            "Place of the bias and of tanh",
            "not stated",
            "after the pooling, as in the tutorial",
            "-",
        ),
        DICOM_WINDOW,
        Choice("Threshold of the CNNs", "0.5 implied", "0.5", "-"),
        Choice(
            "Threshold of the SVMs",
            "not a method of the paper",
            "best F1 of each label on out-of-fold training scores",
            "-",
        ),
        Choice(
            "Any match", "not defined", "a true label is predicted, or both sets are empty", "-"
        ),
        Choice(
            "No label",
            "negative of all four networks",
            "a valid answer; its share of the matches is stated",
            "-",
        ),
        Choice(
            "Clustering and retrieval",
            "the title asks for them; no figure",
            "of the 500 hidden units of all networks together, scored among the test images: mAP, "
            "precision at 1, 5 and 10 without images of the query's own group, NMI of k-means",
            "-",
        ),
        Choice(
            "Modern variant",
            "future work",
            "ReLU, dropout 0.5, random views, momentum 0.9, early stop on a slice by group",
            "validation_fraction, lenet_patience",
        ),
        Choice(
            "ReLU, dropout, augmentation",
            "future work",
            "each alone is a row of its own, the rest as in the paper",
            "-",
        ),
        Choice(
            "Random views",
            '"data augmentation"',
            "crops of 85 to 100 % of a side, turns of up to 10 degrees, not mirrored",
            "-",
        ),
        Choice(
            "Deeper network",
            "future work, along the lines of Krizhevsky et al. 2012",
            "a row of its own: three more convolutions of 50 filters of 3x3 behind the second pool "
            "and a second dense layer of 500, tanh",
            "-",
        ),
        Choice(
            "Unsupervised pre-training",
            "future work",
            "a row of its own: the first layer starts as a convolutional auto-encoder with a pool "
            "(Masci et al. 2011), 10 passes of Adam at 0.001 over the training images",
            "-",
        ),
    ),
)
