"""The study of Ahn et al. 2019."""

from __future__ import annotations

from data_contracts import asset_names as names
from data_contracts.studies.study import DICOM_WINDOW, Choice, Method, PaperRow, PaperTable, Study

FILTER_SIZES = (512, 1024, 2048, 4096)
"""Numbers of filters in table 3 of Ahn et al. 2019."""


def filters_estimate(filters: int) -> str:
    """Return the name of the estimate for a row of table 3 of Ahn et al. 2019."""
    return f"cae_{filters}"


def random_filters_estimate(filters: int) -> str:
    """Return the name of the estimate for as many filters that were not trained."""
    return f"random_cae_{filters}"


RAW_ESTIMATE = "raw"
"""Name of the estimate for the maps that the filters work on."""


AHN2019 = Study(
    name="ahn2019",
    title="Convolutional auto-encoder atop a pre-trained CNN",
    citation=(
        "E. Ahn, A. Kumar, D. Feng, M. Fulham, J. Kim. Unsupervised Deep Transfer Feature "
        "Learning for Medical Image Classification. ISBI 2019 (arXiv 1903.06342)."
    ),
    methods=(
        Method(
            "majority",
            "Always the commonest training class",
            in_main_job=True,
            scored_by="majority_evaluation",
            learns_nothing=True,
        ),
        Method("sparse_coding", "Sparse coding + SVM", "sparse_coding_features"),
        Method("ica", "ICA + SVM", "ica_features"),
        Method("ssae", "Stacked sparse auto-encoder + SVM", "ssae_features"),
        Method.of_network(
            "googlenet", "Transfer-learned GoogLeNet pool5 + SVM", "googlenet", "pool5"
        ),
        Method.of_network("fc7", "Transfer-learned AlexNet fc7 + SVM", "alexnet", "fc7"),
        Method(
            "conv5", "Transfer-learned AlexNet conv5 + SVM", names.ALEXNET_CONV5, in_main_job=True
        ),
        Method(
            "conv5_max",
            "AlexNet conv5, max-pooled to 3 x 3 + SVM",
            names.ALEXNET_CONV5,
            in_main_job=True,
            pool="max 3 x 3",
        ),
        Method(
            "conv5_mean",
            "AlexNet conv5, averaged over the image + SVM",
            names.ALEXNET_CONV5,
            in_main_job=True,
            pool="mean",
        ),
        Method(
            "backbone",
            "Transfer-learned backbone + SVM",
            names.BACKBONE_FEATURES,
            source=("", ""),
            in_main_job=True,
        ),
        Method(
            "fine_tuned_alexnet",
            "Fine-tuned AlexNet + SVM",
            "fine_tuned_alexnet_features",
            source=("alexnet", "fc7"),
        ),
        Method(
            "fine_tuned_googlenet", "Fine-tuned GoogLeNet + SVM", "fine_tuned_googlenet_features"
        ),
        Method("fine_tuned_resnet50", "Fine-tuned ResNet-50 + SVM", "fine_tuned_resnet50_features"),
        Method(
            "random_cae",
            "CAE with random filters + SVM (control)",
            names.RANDOM_CAE_FEATURES,
            source=("alexnet", "conv5"),
            in_main_job=True,
        ),
        Method(
            "cae",
            "Zero-bias CAE + SVM",
            names.CAE_FEATURES,
            source=("alexnet", "conv5"),
            in_main_job=True,
        ),
        Method(
            "fine_tuned_cae",
            "Zero-bias CAE atop the fine-tuned AlexNet + SVM (after the paper's future work)",
            names.FINE_TUNED_CAE_FEATURES,
        ),
        Method(
            "alexnet_googlenet",
            "Fine-tuned AlexNet and GoogLeNet, ensemble",
            members=("alexnet", "googlenet"),
        ),
        Method(
            "googlenet_resnet50",
            "Fine-tuned GoogLeNet and ResNet-50, ensemble",
            members=("googlenet", "resnet50"),
        ),
        Method(
            "cae_alexnet",
            "CAE and fine-tuned AlexNet, ensemble (the paper's future work)",
            members=("alexnet",),
            svm_member="cae",
        ),
        Method(
            "cae_alexnet_googlenet",
            "CAE and fine-tuned AlexNet and GoogLeNet, ensemble (the paper's future work)",
            members=("alexnet", "googlenet"),
            svm_member="cae",
        ),
    ),
    main="cae",
    main_in_words="the auto-encoder (CAE)",
    references=(
        {"backbone": "the backbone's own features", "conv5": "raw conv5 features"},
        {"random_cae": "random filters"},
    ),
    measurements=(names.FILTER_SIZE_STUDY, names.LABEL_EFFICIENCY),
    main_measurements=(names.SEED_STUDY,),
    stages_shown=(
        names.IMAGE_MANIFEST,
        names.PREPARED_IMAGES,
        names.ALEXNET_CONV5,
        names.BACKBONE_FEATURES,
        names.CAE_MODEL,
        names.CAE_FEATURES,
        names.RANDOM_CAE_MODEL,
        "sparse_coding_model",
        "ica_model",
        "ssae_model",
        "fine_tuned_alexnet",
        "fine_tuned_googlenet",
        "fine_tuned_resnet50",
    ),
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
                PaperRow(
                    "An ensemble of fine-tuned AlexNet and GoogLeNet", 82.48, "alexnet_googlenet"
                ),
                PaperRow(
                    "An ensemble of fine-tuned GoogLeNet and ResNet", 83.14, "googlenet_resnet50"
                ),
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
            "the summed squared hinge, weighted by the setting c",
            "c, convention",
        ),
        Choice("SVM bias", "not stated", "free, not penalised (as ScSPM)", "convention"),
        Choice(
            "SVM stop",
            "not stated",
            "relative gradient norm, duality gap printed",
            "tolerance, convention",
        ),
        Choice("CAE weights", '"generally constrained" to be tied', "tied", "tied"),
        Choice(
            "CAE decoder activation", "same symbol in both equations", "ReLU", "decoder_activation"
        ),
        Choice(
            "CAE loss scale",
            "1/2 sum of squares",
            "summed over an image, averaged over the batch",
            "learning_rate",
        ),
        Choice(
            "CAE optimiser", "SGD, momentum not stated", "SGD, momentum 0.9", "optimizer, momentum"
        ),
        Choice(
            "Plateau",
            '"when the error plateaued"',
            "error of a tenth of the training images, patience 5 epochs, rate / 10",
            "plateau_patience, held_out_fraction",
        ),
        Choice(
            "Initial weights",
            "not stated",
            "uniform, scaled by least squares on one batch",
            "init_scale, seed",
        ),
        Choice(
            "Zero bias",
            '"fixes the biases to zero at encoding-time"',
            "learned in training, zero when encoding",
            "zero_bias",
        ),
        Choice("Pool after the CAE", '"Pool 2"', "max", "pool"),
        Choice(
            "Layer",
            '"last convolutional layer ... 6 x 6 x 256"',
            "conv5 + ReLU + max-pool (13 x 13 before the pool)",
            "backbone, layer",
        ),
        Choice(
            "AlexNet variant",
            "not stated",
            "torchvision, one tower 64-192-384-256-256; Caffe's 96-256-384-384-256 in two groups "
            "where the file holds that",
            "weights",
        ),
        Choice(
            "Weights of the other networks",
            "ImageNet",
            "those that the report names under The stages",
            "googlenet_weights, resnet50_weights, backbone_weights",
        ),
        Choice("Scaling before the SVM", "not stated", "each row to unit L2 norm", "scale"),
        Choice("Images that train the CAE", "not stated", "training split only", "fit_on"),
        Choice(
            "Number of filters",
            '"2024" in the text',
            "a misprint of 2048",
            "filters, filter_sizes",
        ),
        Choice("Repeats of table 3", "not stated", "mean over three seeds", "filter_seeds"),
        Choice(
            "Resize",
            "227 x 227, how not stated",
            "bilinear, antialiased, aspect ratio not kept; large JPEG files shrunk while decoded",
            "resize, decode",
        ),
        Choice(
            "Patches of the unsupervised baselines",
            "not stated",
            "16 x 16 of the grey 227 x 227 image, every 4 pixels, PCA-whitened on training images",
            "patch_size, patch_stride, patches",
        ),
        Choice(
            "Pooling of the unsupervised baselines",
            "not stated",
            "maximum in a pyramid 1 x 1, 2 x 2, 4 x 4",
            "pyramid_pool",
        ),
        Choice(
            "Sparse coding",
            "not stated",
            "1024 atoms, l1 penalty, absolute value of the code",
            "atoms, sparse_alpha, dictionary_passes",
        ),
        Choice(
            "ICA",
            "not stated",
            "FastICA, 256 components, absolute response",
            "components, ica_iterations, ica_tolerance",
        ),
        Choice(
            "Stacked sparse auto-encoder",
            "2 layers",
            "512 and 256 units, KL sparsity penalty",
            "hidden, sparsity, ssae_epochs",
        ),
        Choice(
            "Transfer-learned AlexNet",
            "layer not stated",
            "fc7; conv5 where the weights have no fc layers",
            "-",
        ),
        Choice(
            "Fine-tuning",
            "not stated",
            "new head, SGD, mild augmentation, early stop on a slice of the training images",
            "fine_tune_epochs, fine_tune_patience, fine_tune_learning_rate, fine_tune_batch_size, "
            "fine_tune_weight_decay, augment, validation_fraction",
        ),
        Choice(
            "Ensembles",
            "not stated",
            "mean of the class probabilities; an SVM's by a temperature fitted out of fold",
            "-",
        ),
        Choice(
            "Colour",
            '"only if images are not RGB"',
            "RGB; transparency over white; grey in three channels",
            "-",
        ),
        DICOM_WINDOW,
    ),
)
