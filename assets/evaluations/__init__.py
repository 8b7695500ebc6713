"""Assets that store figures of merit and findings about the split.

Belongs here: assets whose output is a table of metrics or of findings.
Does not belong here: features, reports.
"""

from assets.evaluations.cae_seeds import seed_study
from assets.evaluations.classifier_agreement import classifier_agreement
from assets.evaluations.comparison import method_comparisons
from assets.evaluations.cross_validation import cross_validations
from assets.evaluations.ensembles import ensemble_evaluations
from assets.evaluations.filter_study import filter_size_study
from assets.evaluations.label_efficiency import label_efficiency
from assets.evaluations.label_permutation import label_permutation
from assets.evaluations.multilabel import multilabel_evaluations
from assets.evaluations.near_duplicates import near_duplicates, near_duplicates_in_folds
from assets.evaluations.split_repeats import split_repeats
from assets.evaluations.svm import svm_evaluations

ASSETS = [
    near_duplicates,
    near_duplicates_in_folds,
    *svm_evaluations,
    *ensemble_evaluations,
    *method_comparisons,
    filter_size_study,
    seed_study,
    label_efficiency,
    split_repeats,
    *cross_validations,
    classifier_agreement,
    label_permutation,
    *multilabel_evaluations,
]
