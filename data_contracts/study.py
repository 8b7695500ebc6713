"""Studies: one paper each, with the methods that are evaluated and the paper's own figures.

A method is registered here once; its evaluation asset, its row in the report and its lineage follow.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """A method whose features go to the SVM.

    Attributes:
        name: in asset names and tables.
        title: in the report.
        features: asset whose feature shards are classified.
        control: a control of ours rather than a row of the paper.
    """

    name: str
    title: str
    features: str
    control: bool = False


@dataclass(frozen=True)
class PaperRow:
    """One row of a table in a paper.

    Attributes:
        title: the paper's wording.
        percent: the figure it reports.
        method: name of our method for this row, or None where it has none yet.
    """

    title: str
    percent: float
    method: str | None = None


@dataclass(frozen=True)
class PaperTable:
    """One table of a paper: what is measured, on which data, its rows in the paper's order."""

    number: str
    title: str
    measure: str
    data: str
    rows: tuple[PaperRow, ...]


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
        tables: the paper's tables.
        choices: what the paper leaves open.
    """

    name: str
    title: str
    citation: str
    methods: tuple[Method, ...]
    tables: tuple[PaperTable, ...]
    choices: tuple[Choice, ...]


AHN2019 = Study(
    name="ahn2019",
    title="Convolutional auto-encoder atop a pre-trained CNN",
    citation=(
        "E. Ahn, A. Kumar, D. Feng, M. Fulham, J. Kim. Unsupervised Deep Transfer Feature Learning for Medical Image "
        "Classification. ISBI 2019 (arXiv 1903.06342)."
    ),
    methods=(
        Method("conv5", "Transfer-learned AlexNet conv5 + SVM", "alexnet_conv5"),
        Method("random_cae", "CAE with random filters + SVM (control)", "random_cae_features", control=True),
        Method("cae", "Zero-bias CAE + SVM", "cae_features"),
    ),
    tables=(
        PaperTable(
            number="2",
            title="Top-1 accuracy against unsupervised and supervised methods",
            measure="top-1 accuracy, %",
            data="ImageCLEF 2016 subfigures: 30 classes, 6,776 training and 4,166 test images",
            rows=(
                PaperRow("Sparse Coding", 57.08),
                PaperRow("ICA", 58.79),
                PaperRow("Stacked Sparse Auto-encoder (2 layers)", 65.17),
                PaperRow("Transfer-learned GoogLeNet + SVM", 78.61),
                PaperRow("Transfer-learned AlexNet + SVM", 79.21, "conv5"),
                PaperRow("Fine-tuned AlexNet + SVM", 79.60),
                PaperRow("Fine-tuned GoogLeNet + SVM", 80.75),
                PaperRow("Our method (the CAE)", 81.33, "cae"),
                PaperRow("An ensemble of fine-tuned AlexNet and GoogLeNet", 82.48),
                PaperRow("An ensemble of fine-tuned GoogLeNet and ResNet", 83.14),
            ),
        ),
        PaperTable(
            number="3",
            title="Number of filters",
            measure="top-1 accuracy, %",
            data="ImageCLEF 2016 subfigures",
            rows=(
                PaperRow("512", 77.00),
                PaperRow("1024", 79.48),
                PaperRow("2048 (printed 2024)", 80.15),
                PaperRow("4096", 81.33),
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
        Choice("Layer", '"last convolutional layer ... 6 x 6 x 256"', "conv5 + ReLU + max-pool (13 x 13 before the pool)", "-"),
        Choice("AlexNet variant", "not stated", "torchvision, one tower 64-192-384-256-256", "weights"),
        Choice("Scaling before the SVM", "not stated", "each row to unit L2 norm", "-"),
        Choice("Images that train the CAE", "not stated", "training split only", "fit_on"),
        Choice("Number of filters", '"2024" in the text', "a misprint of 2048", "filters"),
        Choice("Resize", "227 x 227, how not stated", "bilinear, antialiased, aspect ratio not kept", "resize"),
        Choice("Colour", '"only if images are not RGB"', "RGB; transparency over white; grey in three channels", "-"),
    ),
)

STUDIES: dict[str, Study] = {study.name: study for study in (AHN2019,)}
