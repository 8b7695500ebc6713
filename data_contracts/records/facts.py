"""Typed facts of an output: what code reads of another stage, beside its tables and arrays.

Belongs here: one model for each kind of output whose facts are read by code. ``kind`` tells them
apart in the stored record. The captions of ``OutputRecord.summary`` are for people and are never
read back.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from data_contracts.records.assessment import Assessment, CalibrationFigures, Estimate


class Facts(BaseModel):
    """Base of all facts."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SplitFacts(Facts):
    """Counts of how independent the test side is of the training side.

    Attributes:
        images: usable images of both sides.
        without_group: those of no group and no patient.
        alone_in_group: those whose group and patient no other file has.
        by_study: those whose group is a study (StudyInstanceUID).
        placeholder_images: usable images whose identifier stands for nobody, by its column.
        one_value_images: usable images whose identifier all images have, by its column.
        header_not_consulted: usable images whose header's patient stands behind what is listed.
        ids_joined: groups and patients that are written in several forms.
        listed_of_several_headers: listed groups and patients with several patients in headers.
        headers_of_several_listed: patients of headers that are listed as several.
        kept_same_bytes: test images whose bytes are also trained on, kept by the user.
        kept_same_pixels: test images whose pixels are also trained on, in other bytes.
        kept_same_group: test images of a group that is also trained on.
        kept_same_patient: test images of a patient who is also trained on.
    """

    images: int = 0
    without_group: int = 0
    alone_in_group: int = 0
    by_study: int = 0
    placeholder_images: dict[str, int] = {}
    one_value_images: dict[str, int] = {}
    header_not_consulted: int = 0
    ids_joined: int = 0
    listed_of_several_headers: int = 0
    headers_of_several_listed: int = 0
    kept_same_bytes: int = 0
    kept_same_pixels: int = 0
    kept_same_group: int = 0
    kept_same_patient: int = 0


class ManifestFacts(Facts):
    """Facts of the image manifest.

    Attributes:
        usable_images: images that can be decoded.
        training_images: usable images of the training split.
        test_images: usable images of the test split.
        unlabelled_images: usable images without a label.
        held_images: labelled images of drops that neither train nor test.
        images_from_drops: usable images that arrived in drops.
        drops: drops that were read.
        unsettled_drops: drops that were left for a later run.
        classes: different labels of usable images.
        duplicates: files with the bytes or pixels of another.
        rejected_files: files that cannot be used.
        arrival: signature of the folder and the drops as they were read.
        split: how independent the test side is.
    """

    kind: Literal["manifest"] = "manifest"
    usable_images: int
    training_images: int
    test_images: int
    unlabelled_images: int
    held_images: int
    images_from_drops: int
    drops: int
    unsettled_drops: int
    classes: int
    duplicates: int
    rejected_files: int
    arrival: str
    split: SplitFacts = SplitFacts()


class NetworkFacts(Facts):
    """Facts of features that a pre-trained network gave.

    Attributes:
        network: name in torchvision or timm.
        layer: the layer whose output was stored.
        weights: where the weights came from.
        weights_sha256: SHA-256 of the weights.
    """

    kind: Literal["network"] = "network"
    network: str
    layer: str
    weights: str
    weights_sha256: str


class PixelSizeFacts(Facts):
    """Facts of the sizes of pixels with which lengths and areas were measured.

    Attributes:
        from_setting: images measured with the size of the setting.
        from_files: images measured with the size that their own file states.
        assumed: images measured with the study's size, as neither states one.
        assumed_mm: that size, in millimetres.
    """

    kind: Literal["pixel_sizes"] = "pixel_sizes"
    from_setting: int
    from_files: int
    assumed: int
    assumed_mm: float

    def sentence(self) -> str:
        """Return what a reader of the measurements must know, in one sentence."""
        sources = (
            (self.from_setting, "the setting pixel_mm"),
            (self.from_files, "their files"),
            (self.assumed, f"the paper ({self.assumed_mm:g} mm), as their files state none"),
        )
        parts = [f"of {count} images from {source}" for count, source in sources if count]
        return f"The size of a pixel was taken {' and '.join(parts)}."


class ScoredFacts(Facts):
    """What every scored method or measurement states.

    Attributes:
        rows_version: version of the labelled rows that it was scored on; equal versions can be
            compared.
        title: the method in words; empty for a measurement of several methods.
    """

    rows_version: str
    title: str = ""


class EvaluationFacts(ScoredFacts):
    """Facts of a method that was scored on the test split.

    Attributes:
        training_images: images that the classifier was fitted to.
        test_images: images that it was scored on.
        classes: different labels.
        test_version: version of the test images and their labels; empty in older records.
        assessments: how good it is, by its regularisation; empty in older records.
        domain_auc: area under the ROC curve of the domain classifier; None where that was not
            measured.
    """

    kind: Literal["evaluation"] = "evaluation"
    training_images: int
    test_images: int
    classes: int
    test_version: str = ""
    assessments: dict[str, Assessment] = {}
    domain_auc: Estimate | None = None


class MultilabelFacts(ScoredFacts):
    """Facts of a method that was scored on several labels an image.

    Attributes:
        training_images: images that it was fitted to.
        test_images: images that it was scored on.
        labels: different labels.
        both_empty: test images that have no label and were given none.
        assessments: how good the decisions and probabilities of each label are, by its name; empty
            in older records.
    """

    kind: Literal["multilabel"] = "multilabel"
    training_images: int
    test_images: int
    labels: int
    both_empty: int
    assessments: dict[str, Assessment] = {}


class FoldFacts(ScoredFacts):
    """Facts of a method that was scored in folds.

    Attributes:
        images: images with an out-of-fold probability.
        ensemble_layer: layer whose classifier is the first member; empty where it is no ensemble.
        parted_patients: patients with images in two folds; None where no patient is known.
        patients: patients; None where none is known.
    """

    kind: Literal["folds"] = "folds"
    images: int
    ensemble_layer: str = ""
    parted_patients: int | None = None
    patients: int | None = None


class FilterStudyFacts(ScoredFacts):
    """Facts of the study of the number of filters.

    Attributes:
        seconds: wall time of all trainings of each number of filters, in seconds.
    """

    kind: Literal["filter_study"] = "filter_study"
    seconds: dict[int, float]


class SeedStudyFacts(ScoredFacts):
    """Facts of the accuracies over several seeds.

    Attributes:
        sentence: how far trained filters are from random ones and from the maps themselves.
    """

    kind: Literal["seed_study"] = "seed_study"
    sentence: str


class LabelEfficiencyFacts(ScoredFacts):
    """Facts of the study of the number of labels.

    Attributes:
        titles: title in words of each method, by name.
        sentence: how many labels the auto-encoder saves against the fine-tuned network.
        sentence_raw: how many labels it saves against the backbone's own features.
    """

    kind: Literal["label_efficiency"] = "label_efficiency"
    titles: dict[str, str]
    sentence: str
    sentence_raw: str


class SplitRepeatsFacts(ScoredFacts):
    """Facts of the accuracies over repeated random splits.

    Attributes:
        titles: title in words of each method, by name.
    """

    kind: Literal["split_repeats"] = "split_repeats"
    titles: dict[str, str]


class NearDuplicateFacts(Facts):
    """Facts of the search for near-duplicates across the split, or across folds.

    Attributes:
        pairs: pairs of a training and a test image, or of images of two folds, that were found.
        test_images: different test images among them; in folds every image is tested.
        share: these as a share of all test images, 0 to 1.
    """

    kind: Literal["near_duplicates"] = "near_duplicates"
    pairs: int
    test_images: int
    share: float


class RocComparisonFacts(Facts):
    """Facts of the comparison of ROC curves.

    Attributes:
        ensemble_method: name of the method on the layer that is a member of the ensemble.
    """

    kind: Literal["roc_comparison"] = "roc_comparison"
    ensemble_method: str


class ClassifierFacts(Facts):
    """Facts of the classifier that is kept for predictions.

    With several labels an image the calibration is of the decisions on all labels together.

    Attributes:
        out_of_fold: calibration on its training images, each scored without its group; None where
            no folds could be made.
        test: calibration on the test images; None where there is none.
        exact_match: share of the test images whose labels are all right; None with one label an
            image, and without test images.
        labels: share of the test images on which each label is given rightly or rightly not given;
            empty with one label an image, and without test images.
    """

    kind: Literal["classifier"] = "classifier"
    out_of_fold: CalibrationFigures | None
    test: CalibrationFigures | None
    exact_match: Estimate | None = None
    labels: dict[str, Estimate] = {}


class PredictionFacts(Facts):
    """Facts of predictions.

    Attributes:
        images: images that were predicted.
        unlike_training: of these, images unlike every training image.
    """

    kind: Literal["predictions"] = "predictions"
    images: int
    unlike_training: int


class ReportFacts(Facts):
    """Facts of a report.

    Attributes:
        verdict: its first sentence.
    """

    kind: Literal["report"] = "report"
    verdict: str


AnyFacts: TypeAlias = Annotated[
    ManifestFacts
    | NetworkFacts
    | PixelSizeFacts
    | EvaluationFacts
    | MultilabelFacts
    | FoldFacts
    | FilterStudyFacts
    | SeedStudyFacts
    | LabelEfficiencyFacts
    | SplitRepeatsFacts
    | NearDuplicateFacts
    | RocComparisonFacts
    | ClassifierFacts
    | PredictionFacts
    | ReportFacts,
    Field(discriminator="kind"),
]
"""Any kind of facts; ``kind`` says which."""
