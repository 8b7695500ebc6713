"""What is seen on the pictures of stages, and whose they are, in words."""

from data_contracts import asset_names as names
from data_contracts.studies.registry import STUDIES

SEEN: dict[str, str] = {
    "accuracy of the methods": "A dot a method at its accuracy on the test images, with a line as "
    "long as its 95 % interval.",
    "accuracy from few labels": "A curve a method: accuracy over the labelled images of each "
    "class, with a band for the 95 % interval.",
    "accuracy by number of labels": "A curve a method: accuracy over the number of labelled "
    "training images, with a band for the 95 % interval.",
    "accuracy by number of filters": "Accuracy over the number of filters, here and in the paper.",
    "confusion matrix": "A grid of counts: a row a true class, a column a predicted one; darker "
    "cells hold more of their row.",
    "stated probability against accuracy": "Left, the share that is right over the stated "
    "probability, with the diagonal of honest ones; right, how many images state it.",
    "class balance": "A bar a class: how many of its images train, test or are left out.",
    "sample of prepared images": "Some of the images as the networks see them, with their classes.",
    "sample of square images": "Some of the images as the networks see them, with their classes.",
    "most alike pairs": "Pairs of images side by side, the most alike first.",
    "learning curve": "The error of the reconstructions over the epochs, of training and of "
    "held-out images.",
    "loss over the epochs": "The loss over the epochs, of training and of validation images.",
    "reconstructions of held-out images": "Feature maps above, and what the auto-encoder makes of "
    "them below.",
    "how the filters respond": "Three histograms: how often filters are active, how strongly, and "
    "their norms.",
    "codes of a few images": "A band an image: its code, brighter where a filter responds more.",
    "features by class": "The values of the features, a colour a class.",
    "ROC curves": "A curve a method: the share of malignant images found over the share of others "
    "called malignant; the diagonal is chance.",
    "ROC curve": "The share of malignant images found over the share of others called malignant; "
    "the diagonal is chance.",
    "AUC by layer": "The area under the ROC curve of each layer, here and in the paper.",
    "matches": "A dot a measure with its 95 % interval: all labels right, any right, each "
    "decision.",
}
"""What a person sees, by the title of a picture up to its first comma."""
SUBJECTS: dict[str, str] = {
    names.CAE_MODEL: "the auto-encoder",
    names.RANDOM_CAE_MODEL: "the auto-encoder with random filters",
}
"""Whose picture it is, by asset, where that is not a method."""


def caption_of(asset: str, title: str) -> str:
    """Caption of a picture: its title, and the method that it is of.

    Args:
        asset: that made the picture.
        title: of the picture.
    """
    methods = [method for study in STUDIES.values() for method in study.methods]
    of_evaluation = [method.title for method in methods if method.evaluation == asset]
    of_features = [method.title for method in methods if method.features == asset]
    subject = SUBJECTS.get(asset) or next(iter([*of_evaluation, *of_features]), "")
    words = f"{title[:1].upper()}{title[1:]}"
    return f"{words}: {subject}" if subject else words


def seen_on(title: str) -> str:
    """What is seen on a picture, for those who do not see it; "" where only the title says so."""
    return SEEN.get(title.split(",", maxsplit=1)[0], "")
