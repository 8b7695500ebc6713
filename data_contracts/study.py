"""Studies: one paper each, with the methods that are evaluated and the paper's own figures.

A method is registered here once; its evaluation asset, its row in the report and its lineage follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """A method that is scored on the test split.

    Attributes:
        name: in asset names and tables.
        title: in the report.
        features: asset whose rows go to the SVM; empty for an ensemble.
        source: (network, layer) that the title stands for; where the features are of another, the title says so.
        members: an ensemble's fine-tuned networks, whose class probabilities are averaged.
        control: a control of ours rather than a row of the paper.
        core: part of the study's own job; the others are computed by the job of all tables.
        reducible: its rows are so long that principal components may take their place before the SVM.
    """

    name: str
    title: str
    features: str = ""
    source: tuple[str, str] | None = None
    members: tuple[str, ...] = ()
    control: bool = False
    core: bool = False
    reducible: bool = False

    @property
    def evaluation(self) -> str:
        """Asset that scores it."""
        return f"ensemble_evaluation_{self.name}" if self.members else f"svm_evaluation_{self.name}"


@dataclass(frozen=True)
class PaperRow:
    """One row of a table in a paper.

    Attributes:
        title: the paper's wording.
        percent: the figure it reports.
        method: name of our method for this row, or of an estimate that a study of settings makes.
        stand_in: method shown in its place where it could not run; the row says so.
    """

    title: str
    percent: float
    method: str
    stand_in: str = ""


@dataclass(frozen=True)
class PaperTable:
    """One table of a paper: what is measured, on which data, its rows in the paper's order."""

    number: str
    title: str
    measure: str
    data: str
    rows: tuple[PaperRow, ...]

    @property
    def place(self) -> str:
        """Where it stands in the paper: a plain number is a table's."""
        return f"table {self.number}" if self.number.isdigit() else self.number


@dataclass(frozen=True)
class Choice:
    """A choice the paper leaves open: what it says, what we do, the setting that changes it ("-" where none does)."""

    point: str
    paper: str
    ours: str
    switch: str


@dataclass(frozen=True)
class Study:
    """One paper.

    Attributes:
        name: Dagster job and value of ``study`` in metric tables.
        title: for the report.
        citation: of the paper.
        methods: evaluated methods, in the order of the report.
        main: name of the paper's own method, which the others are compared with.
        main_in_words: as it stands within a sentence.
        references: what the verdict compares it with: names in words by method, of each mapping the first that was scored.
        tables: the paper's tables.
        choices: what the paper leaves open.
        measurements: assets of the job of all tables that are measurements of their own, beside the methods.
    """

    name: str
    title: str
    citation: str
    methods: tuple[Method, ...]
    main: str
    main_in_words: str
    references: tuple[Mapping[str, str], ...]
    tables: tuple[PaperTable, ...]
    choices: tuple[Choice, ...]
    measurements: tuple[str, ...] = ()

    def method(self, name: str) -> Method:
        """The method called ``name``."""
        return next(method for method in self.methods if method.name == name)

    @property
    def tables_job(self) -> str:
        """Dagster job of every row of every table."""
        return f"{self.name}_tables"

    def job(self, complete: bool) -> str:
        """Dagster job of every row, or of the study's own methods; the comparison and the report are called after it."""
        return self.tables_job if complete else self.name

    def methods_of(self, complete: bool) -> tuple[Method, ...]:
        """All methods, or the study's own."""
        return tuple(method for method in self.methods if complete or method.core)


FILTER_SIZES = (512, 1024, 2048, 4096)
"""Of Ahn et al. 2019, table 3."""


def filters_estimate(filters: int) -> str:
    """Name of the estimate for a row of Ahn et al. 2019, table 3."""
    return f"cae_{filters}"


AHN2019 = Study(
    name="ahn2019",
    title="Convolutional auto-encoder atop a pre-trained CNN",
    citation=(
        "E. Ahn, A. Kumar, D. Feng, M. Fulham, J. Kim. Unsupervised Deep Transfer Feature Learning for Medical Image "
        "Classification. ISBI 2019 (arXiv 1903.06342)."
    ),
    methods=(
        Method("sparse_coding", "Sparse coding + SVM", "sparse_coding_features"),
        Method("ica", "ICA + SVM", "ica_features"),
        Method("ssae", "Stacked sparse auto-encoder + SVM", "ssae_features"),
        Method("googlenet", "Transfer-learned GoogLeNet pool5 + SVM", "googlenet_pool5"),
        Method("fc7", "Transfer-learned AlexNet fc7 + SVM", "alexnet_fc7"),
        Method("conv5", "Transfer-learned AlexNet conv5 + SVM", "alexnet_conv5", core=True),
        Method("backbone", "Transfer-learned backbone + SVM", "backbone_features", source=("", ""), control=True, core=True),
        Method("fine_tuned_alexnet", "Fine-tuned AlexNet + SVM", "fine_tuned_alexnet_features", source=("alexnet", "fc7")),
        Method("fine_tuned_googlenet", "Fine-tuned GoogLeNet + SVM", "fine_tuned_googlenet_features"),
        Method("fine_tuned_resnet50", "Fine-tuned ResNet-50 + SVM", "fine_tuned_resnet50_features"),
        Method(
            "random_cae",
            "CAE with random filters + SVM (control)",
            "random_cae_features",
            source=("alexnet", "conv5"),
            control=True,
            core=True,
        ),
        Method("cae", "Zero-bias CAE + SVM", "cae_features", source=("alexnet", "conv5"), core=True),
        Method("alexnet_googlenet", "Fine-tuned AlexNet and GoogLeNet, ensemble", members=("alexnet", "googlenet")),
        Method("googlenet_resnet50", "Fine-tuned GoogLeNet and ResNet-50, ensemble", members=("googlenet", "resnet50")),
    ),
    main="cae",
    main_in_words="the auto-encoder (CAE)",
    references=(
        {"backbone": "the backbone's own features", "conv5": "raw conv5 features"},
        {"random_cae": "random filters"},
    ),
    measurements=("filter_size_study", "label_efficiency"),
    tables=(
        PaperTable(
            number="2",
            title="Top-1 accuracy against unsupervised and supervised methods",
            measure="top-1 accuracy, %",
            data="ImageCLEF 2016 subfigures: 30 classes, 6,776 training and 4,166 test images",
            rows=(
                PaperRow("Sparse Coding", 57.08, "sparse_coding"),
                PaperRow("ICA", 58.79, "ica"),
                PaperRow("Stacked Sparse Auto-encoder (2 layers)", 65.17, "ssae"),
                PaperRow("Transfer-learned GoogLeNet + SVM", 78.61, "googlenet"),
                PaperRow("Transfer-learned AlexNet + SVM", 79.21, "fc7", stand_in="conv5"),
                PaperRow("Fine-tuned AlexNet + SVM", 79.60, "fine_tuned_alexnet"),
                PaperRow("Fine-tuned GoogLeNet + SVM", 80.75, "fine_tuned_googlenet"),
                PaperRow("Our method (the CAE)", 81.33, "cae"),
                PaperRow("An ensemble of fine-tuned AlexNet and GoogLeNet", 82.48, "alexnet_googlenet"),
                PaperRow("An ensemble of fine-tuned GoogLeNet and ResNet", 83.14, "googlenet_resnet50"),
            ),
        ),
        PaperTable(
            number="3",
            title="Number of filters",
            measure="top-1 accuracy, %, mean over seeds",
            data="ImageCLEF 2016 subfigures",
            rows=(
                PaperRow("512", 77.00, filters_estimate(512)),
                PaperRow("1024", 79.48, filters_estimate(1024)),
                PaperRow("2048 (printed 2024)", 80.15, filters_estimate(2048)),
                PaperRow("4096", 81.33, filters_estimate(4096)),
            ),
        ),
    ),
    choices=(
        Choice(
            "SVM regularisation",
            '"regularization parameter of 1", "learning rate of 0.1"',
            "C = 1 on the summed squared hinge",
            "c",
        ),
        Choice("SVM bias", "not stated", "free, not penalised (as ScSPM)", "-"),
        Choice("SVM stop", "not stated", "relative gradient norm, duality gap printed", "tolerance"),
        Choice("CAE weights", '"generally constrained" to be tied', "tied", "tied"),
        Choice("CAE decoder activation", "same symbol in both equations", "ReLU", "decoder_activation"),
        Choice("CAE loss scale", "1/2 sum of squares", "summed over an image, averaged over the batch", "learning_rate"),
        Choice("CAE optimiser", "SGD, momentum not stated", "SGD, momentum 0.9", "optimizer, momentum"),
        Choice("Plateau", '"when the error plateaued"', "held-out error, patience 5 epochs, rate / 10", "plateau_patience"),
        Choice("Initial weights", "not stated", "uniform, scaled by least squares on one batch", "init_scale"),
        Choice(
            "Zero bias", '"fixes the biases to zero at encoding-time"', "learned in training, zero when encoding", "zero_bias"
        ),
        Choice("Pool after the CAE", '"Pool 2"', "max", "pool"),
        Choice(
            "Layer",
            '"last convolutional layer ... 6 x 6 x 256"',
            "conv5 + ReLU + max-pool (13 x 13 before the pool)",
            "backbone, layer",
        ),
        Choice("AlexNet variant", "not stated", "torchvision, one tower 64-192-384-256-256", "weights"),
        Choice("Scaling before the SVM", "not stated", "each row to unit L2 norm", "-"),
        Choice("Images that train the CAE", "not stated", "training split only", "fit_on"),
        Choice("Number of filters", '"2024" in the text', "a misprint of 2048", "filters"),
        Choice("Resize", "227 x 227, how not stated", "bilinear, antialiased, aspect ratio not kept", "resize"),
        Choice(
            "Patches of the unsupervised baselines",
            "not stated",
            "16 x 16 of the grey 227 x 227 image, every 4 pixels, PCA-whitened on training images",
            "patch_size, patch_stride",
        ),
        Choice("Pooling of the unsupervised baselines", "not stated", "maximum in a pyramid 1 x 1, 2 x 2, 4 x 4", "pyramid_pool"),
        Choice("Sparse coding", "not stated", "1024 atoms, l1 penalty, absolute value of the code", "atoms, sparse_alpha"),
        Choice("ICA", "not stated", "FastICA, 256 components, absolute response", "components"),
        Choice("Stacked sparse auto-encoder", "2 layers", "512 and 256 units, KL sparsity penalty", "hidden, sparsity"),
        Choice("Transfer-learned AlexNet", "layer not stated", "fc7; conv5 where the weights have no fc layers", "-"),
        Choice(
            "Fine-tuning",
            "not stated",
            "new head, SGD, mild augmentation, early stop on a slice of the training images",
            "fine_tune_epochs, fine_tune_learning_rate, augment, validation_fraction",
        ),
        Choice("Ensembles", "not stated", "mean of the fine-tuned networks' softmax probabilities", "-"),
        Choice("Colour", '"only if images are not RGB"', "RGB; transparency over white; grey in three channels", "-"),
    ),
)

SCALES = (0, 1, 2)
"""Of Farhat and Sicre: images of 224 + 320 s pixels a side."""
CODEBOOK_SIZES = (64, 256)
"""Of Farhat and Sicre, figure 6."""


def side_of_scale(scale: int) -> int:
    """Height and width of an image at a scale, pixels."""
    return 224 + 320 * scale


def average_at(scale: int) -> str:
    """Name of the baseline at a scale: average-pooled descriptors."""
    return f"average_scale{scale}"


def vlad_at(clusters: int, scale: int) -> str:
    """Name of VLAD with so many centroids at a scale."""
    return f"vlad{clusters}_scale{scale}"


def _farhat_tables() -> tuple[PaperTable, ...]:
    """Figures 5 and 6, which hold three data sets each, as one table for each of them."""
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
                PaperRow(f"Scale {scale} ({side_of_scale(scale)} pixels)", percent, average_at(scale))
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
        "H. Farhat, R. Sicre. Convolutional Neural Networks for Medical Image Transfer Learning + VLAD aggregation. "
        "Aix-Marseille University."
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
                core=scale == 0,
            ),
            *(
                Method(
                    vlad_at(clusters, scale),
                    f"VLAD, {clusters} centroids, {side_of_scale(scale)} pixels + SVM",
                    f"vlad{clusters}_descriptors_scale{scale}",
                    source=("vgg19", "block5_pool"),
                    core=scale == 0,
                    reducible=True,
                )
                for clusters in CODEBOOK_SIZES
            ),
        )
    ),
    main=vlad_at(256, 0),
    main_in_words="VLAD with 256 centroids",
    references=({average_at(0): "the average of the same descriptors"},),
    tables=_farhat_tables(),
    choices=(
        Choice(
            "Network",
            "VGG-19 up to block5_pool, weights of ImageNet",
            "torchvision's VGG-19 and its normalisation",
            "backbone, layer, backbone_weights",
        ),
        Choice(
            "Aspect ratio", "square inputs, how not stated", "not kept; bilinear, antialiased, from the original file", "resize"
        ),
        Choice("Scale of VLAD", "not stated", "each of the three, side by side", "-"),
        Choice(
            "k-means",
            "not stated",
            "k-means++ start, Lloyd to convergence, on a seeded sample of training descriptors",
            "descriptor_sample, seed, max_iterations",
        ),
        Choice("VLAD normalisation", "L2", "L2", "signed_sqrt, intra_normalisation"),
        Choice("PCA after VLAD", '"can"', "none", "pca_components, pca_whiten"),
        Choice("SVM", "linear, nothing else stated", "one against all, squared hinge, C = 1, free bias", "c, tolerance"),
    ),
)

STUDIES: dict[str, Study] = {study.name: study for study in (AHN2019, FARHAT_VLAD)}
