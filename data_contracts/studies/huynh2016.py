"""The study of Huynh et al. 2016."""

from __future__ import annotations

from data_contracts import asset_names as names
from data_contracts.studies.study import DICOM_WINDOW, Choice, Method, PaperRow, PaperTable, Study

ROI_PIXELS = 512
"""Side of a region of interest, in pixels."""
PIXEL_MM = 0.1
"""Side of a pixel of a region of interest, in millimetres."""
NETWORK_PIXELS = 256
"""Side of the image that AlexNet takes, in pixels."""
LAYER_SHAPES: dict[str, tuple[int, ...]] = {
    "conv1": (64, 63, 63),
    "pool1": (64, 31, 31),
    "conv2": (192, 31, 31),
    "pool2": (192, 15, 15),
    "conv3": (384, 15, 15),
    "conv4": (256, 15, 15),
    "conv5": (256, 15, 15),
    "pool5": (256, 7, 7),
    "fc6": (4096,),
    "fc7": (4096,),
    "fc8": (1000,),
}
"""Shape of each AlexNet layer's output for an image of 256 pixels a side, in network order."""
CHOSEN_LAYERS = ("fc6", "conv4")
"""Layers of the paper's classifier, in order of preference.

The paper chose the first; the second, with its highest AUC, is used where the weights lack the
first.
"""


def layer_method(layer: str) -> str:
    """Return the name of the classifier on a layer."""
    return f"alexnet_{layer}"


ANALYTIC = Method(
    "analytic",
    "Analytic features + SVM",
    names.ANALYTIC_FEATURES,
    in_main_job=True,
    scored_by="cv_evaluation_analytic",
)
ENSEMBLE = Method(
    "ensemble", "Ensemble (soft voting)", in_main_job=True, scored_by="ensemble_evaluation"
)

HUYNH2016 = Study(
    name="huynh2016",
    title="AlexNet's layers, analytic lesion features, and their ensemble",
    citation=(
        "B. Q. Huynh, H. Li, M. L. Giger. Digital mammographic tumor classification using "
        "transfer learning from deep convolutional neural networks. "
        "Journal of Medical Imaging 3(3), 034501 (2016)."
    ),
    protocol="cross-validation",
    methods=(
        *(
            Method(
                layer_method(layer),
                f"AlexNet {layer} + SVM",
                names.ALEXNET_LAYERS,
                in_main_job=True,
                scored_by=f"cv_evaluation_{layer}",
            )
            for layer in LAYER_SHAPES
        ),
        ANALYTIC,
        ENSEMBLE,
    ),
    main=ENSEMBLE.name,
    main_in_words="the ensemble",
    references=({ANALYTIC.name: "the analytic features"},),
    stages_shown=(
        names.IMAGE_MANIFEST,
        names.LESION_SEGMENTATION,
        names.ANALYTIC_FEATURES,
        names.ALEXNET_LAYERS,
    ),
    tables=(
        PaperTable(
            number="figure 3",
            title="AlexNet's layers (those whose figure the text gives)",
            measure="AUC x 100, mean over five folds by lesion",
            data="607 regions of interest of 219 lesions, full-field digital mammography",
            rows=(
                PaperRow("Conv4", 83, layer_method("conv4")),
                PaperRow("Fc6", 81, layer_method("fc6")),
            ),
        ),
        PaperTable(
            number="1",
            title="Model performance",
            measure="AUC x 100, mean over five folds by lesion",
            data="607 regions of interest of 219 lesions, full-field digital mammography",
            rows=(
                PaperRow("Pretrained CNN features (SVM1)", 81, "cnn", sd=4, time="~7 min"),
                PaperRow(
                    "Analytically extracted features (SVM2)", 81, ANALYTIC.name, sd=3, time="~5 min"
                ),
                PaperRow(
                    "Ensemble classifier (SVM1 and SVM2)", 86, ENSEMBLE.name, sd=1, time="~10 min"
                ),
            ),
        ),
    ),
    choices=(
        Choice(
            "AlexNet variant",
            "a publicly available one",
            "torchvision, one tower 64-192-384-256-256",
            "weights",
        ),
        Choice("Output of a layer", "not stated", "after the ReLU; fc8 before the softmax", "-"),
        Choice(
            "Layer of the ensemble",
            "fc6, after a look at all of them",
            "fc6; conv4 where the weights lack it",
            "ensemble_layer",
        ),
        Choice(
            "Region of interest",
            "a box of 512 x 512 around the centre; what is done at the border is not stated",
            "the whole image of a file, resized to 512 x 512: nothing is cropped",
            "-",
        ),
        Choice("Resize", "down-sampled to 256 x 256", "bilinear, antialiased", "-"),
        Choice(
            "Input scale of the network",
            "three channels, values not stated",
            "grey in three channels, less ImageNet's mean and divided by its deviation",
            "-",
        ),
        Choice(
            "Standardisation",
            "zero mean and unit variance, over which images is not stated",
            "over the training folds alone",
            "-",
        ),
        Choice(
            "Zero-variance columns",
            "eliminated, likely on all images",
            "found on the training folds alone",
            "zero_variance",
        ),
        Choice(
            "Grid search of a, c, d",
            "five folds, nested or not unclear",
            "nested: five inner folds by group inside each training fold, best mean AUC",
            "grid_search",
        ),
        Choice(
            "Values of a, c, d",
            "not stated",
            "a of 1/16, 1/4, 1 and 4 over the number of columns, c of 0 and 1, d of 1, 2 and 3",
            "-",
        ),
        Choice("SVM cost", "not stated", "C = 1", "-"),
        Choice(
            "Feature selection",
            "future work",
            "none; the switch keeps the columns of the largest ANOVA F, their number chosen in the "
            "inner folds",
            "select_features",
        ),
        Choice(
            "Vote of the ensemble",
            "soft voting; advanced ensembles are future work",
            "mean of the probabilities; the switch averages ranks or stacks the members",
            "vote",
        ),
        Choice(
            "Fine-tuned comparison",
            "tried, worse than fixed features; no figures",
            "none: five trainings of AlexNet, whose fully connected weights few have",
            "-",
        ),
        Choice(
            "Probabilities",
            "not stated",
            "Platt's sigmoid on out-of-fold decisions of the training folds",
            "-",
        ),
        Choice(
            "Folds",
            "by lesion",
            "by lesion, stratified; by patient is the stricter switch",
            "group_by, seed",
        ),
        Choice(
            "Centre of a lesion",
            "marked by an expert",
            "as the manifest says, else the middle of the image",
            "-",
        ),
        Choice(
            "Segmentation",
            "region growing with multiple transition points, details elsewhere",
            "the contour before the strongest leak over falling thresholds; an image without one "
            "is left out, not guessed",
            "-",
        ),
        Choice(
            "Analytic features",
            "size, shape, intensity, margin",
            "those of the table below",
            "pixel_mm",
        ),
        Choice(
            "What an AUC counts",
            "regions of interest",
            "images; that of each lesion's mean probability stands beside it",
            "-",
        ),
        Choice(
            "ROC curve",
            "a fitted binormal one, how is not stated",
            "maximum likelihood on the probabilities of all folds together, the empirical curve "
            "beside it",
            "-",
        ),
        Choice(
            "Test of two AUCs",
            "paired t over folds, Bonferroni",
            "that, and DeLong for clustered data beside it",
            "-",
        ),
        DICOM_WINDOW,
        Choice(
            "Positive class",
            "malignant",
            "malignant where there is such a class, else the second by name",
            "positive_class",
        ),
    ),
    measurements=(names.LABEL_PERMUTATION, names.CLASSIFIER_AGREEMENT),
)
