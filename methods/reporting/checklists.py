"""Checklists of reporting, and where a report answers each of their items.

Three lists that journals ask for. The items have their official numbers and short names of our own;
the full wording stands in the sources. A place is the heading of a section; the first one that a
report has counts. An item without a place is not known to the pipeline: the authors of a study have
to answer it.

The numbers of CLAIM are those of 2020; its update of 2024 says "reference standard" and splits
testing into internal and external, as the names here do, but its own numbering was not at hand.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from methods.reporting import headings
from methods.reporting.document import Table

NOT_KNOWN = "not known to the pipeline"
"""What stands in place of a section for an item that the authors of a study have to answer."""


@dataclass(frozen=True)
class Item:
    """One item of a checklist.

    Attributes:
        number: in the checklist.
        name: what it asks for, in short words of our own.
        places: headings of sections that answer it, the best first; empty where none can.
        remark: what the section says, or what is missing.
    """

    number: str
    name: str
    places: tuple[str, ...] = ()
    remark: str = ""

    def place(self, sections: Collection[str]) -> str:
        """The first of the places that a report has; "" where it has none."""
        return next((place for place in self.places if place in sections), "")


@dataclass(frozen=True)
class Checklist:
    """A checklist of reporting.

    Attributes:
        name: short name with its year.
        source: the publication.
        items: in its order.
    """

    name: str
    source: str
    items: tuple[Item, ...]


RESULT = (headings.RESULT,)
FIGURES = (headings.FIGURES, headings.EACH_LABEL, headings.RESULT)
CLASSES = (headings.EACH_CLASS, headings.EACH_LABEL, headings.RESULT)
EXPECTED = (headings.EXPECTED,)
PROBABILITIES = (headings.PROBABILITIES,)
PATIENTS = (headings.PATIENTS, headings.RESULT)
SUBGROUPS = (headings.SUBGROUPS,)
STAGES = (headings.STAGES, headings.SETTINGS)
INTEGRITY = (headings.INTEGRITY,)
CHOICES = (headings.CHOICES,)
SETTINGS = (headings.SETTINGS,)
LEFT_OUT = (headings.LEFT_OUT,)
LINEAGE = (headings.LINEAGE,)
PAPER = (headings.PAPER,)

TRIPOD_AI = Checklist(
    "TRIPOD+AI 2024",
    "G. S. Collins et al. TRIPOD+AI statement: updated guidance for reporting clinical prediction "
    "models that use regression or machine learning methods. BMJ 2024;385:e078378.",
    (
        Item("1", "Title", RESULT, "names the dataset and the study"),
        Item("2", "Abstract", RESULT, "the verdict alone; the abstract is the authors'"),
        Item("3a", "Health care context"),
        Item("3b", "Target population and intended use"),
        Item("3c", "Known inequalities of health"),
        Item("4", "Objectives", PAPER, "the question of the paper that is repeated"),
        Item(
            "5a", "Sources of data", LEFT_OUT, "what was read of the folder; not where it is from"
        ),
        Item("5b", "Dates of the data"),
        Item("6a", "Setting and centres"),
        Item("6b", "Eligibility", LEFT_OUT, "of files; not of patients"),
        Item("6c", "Treatments"),
        Item("7", "Preparation of the data", STAGES, "decoding, size, features"),
        Item("8a", "Outcome: its definition", CLASSES, "names of the classes alone"),
        Item("8b", "Outcome: who assessed it"),
        Item("8c", "Outcome: blinding"),
        Item("9a", "Predictors: choice", CHOICES),
        Item("9b", "Predictors: definition", STAGES, "networks, layers and weights by checksum"),
        Item("9c", "Predictors: blinding", INTEGRITY, "nothing fitted sees a test image"),
        Item("10", "Sample size", PATIENTS, "what was there; no calculation before the study"),
        Item("11", "Missing data", LEFT_OUT, "files without a label or that cannot be read"),
        Item("12a", "Use and division of the data", PATIENTS),
        Item("12b", "Handling of predictors", SETTINGS),
        Item("12c", "Model, tuning, internal validation", EXPECTED),
        Item("12d", "Differences between clusters", SUBGROUPS),
        Item("12e", "Measures of performance", FIGURES),
        Item("12f", "Updating of the model", (), "no model is updated on test images"),
        Item("12g", "How predictions were made", PROBABILITIES),
        Item("13", "Imbalance of the classes", PATIENTS, "counts; nothing is re-weighted"),
        Item("14", "Fairness", SUBGROUPS),
        Item("15", "Output of the model and thresholds", FIGURES),
        Item("16", "Training against evaluation data", EXPECTED),
        Item("17", "Ethical approval"),
        Item("18a", "Funding"),
        Item("18b", "Conflicts of interest"),
        Item("18c", "Protocol"),
        Item("18d", "Registration"),
        Item("18e", "Availability of the data"),
        Item("18f", "Availability of the code", LINEAGE, "versions; the address is the authors'"),
        Item("19", "Involvement of patients and the public"),
        Item("20a", "Flow of participants", PATIENTS),
        Item("20b", "Characteristics of participants", SUBGROUPS, "columns that were named"),
        Item("20c", "Training and evaluation participants compared", EXPECTED),
        Item("21", "Numbers of participants and outcomes", PATIENTS),
        Item("22", "Specification of the model", SETTINGS),
        Item("23a", "Performance with intervals, subgroups included", FIGURES),
        Item("23b", "Performance by cluster", SUBGROUPS),
        Item("24", "Results of updating", (), "no model is updated"),
        Item("25", "Interpretation", RESULT, "the verdict; the rest is the authors'"),
        Item("26", "Limitations", INTEGRITY, "notices and shared images; the rest is the authors'"),
        Item("27a", "Poor or missing input at use"),
        Item("27b", "Interaction with users and their expertise"),
        Item("27c", "Next steps of research"),
    ),
)

CLAIM = Checklist(
    "CLAIM (numbers of 2020)",
    "J. Mongan, L. Moy, C. E. Kahn. Checklist for Artificial Intelligence in Medical Imaging "
    "(CLAIM). Radiol. Artif. Intell. 2020;2(2):e200029. Updated by A. S. Tejani et al., CLAIM: "
    "2024 Update, Radiol. Artif. Intell. 2024;6(4):e240300.",
    (
        Item("1", "Title: that it is AI", RESULT),
        Item("2", "Abstract", RESULT, "the verdict alone"),
        Item("3", "Scientific and clinical background"),
        Item("4", "Objectives", PAPER),
        Item("5", "Prospective or retrospective"),
        Item("6", "Goal of the study", PAPER),
        Item("7", "Sources of data", LEFT_OUT, "what was read of the folder"),
        Item("8", "Eligibility", LEFT_OUT, "of files; not of patients"),
        Item("9", "Preprocessing", STAGES),
        Item("10", "Selection of subsets of the data", LEFT_OUT),
        Item("11", "Definitions of data elements", CLASSES, "names of the classes alone"),
        Item("12", "De-identification", LEFT_OUT, "names and groups stand as pseudonyms"),
        Item("13", "Missing data", LEFT_OUT),
        Item("14", "Reference standard: definition"),
        Item("15", "Reference standard: why this one"),
        Item("16", "Reference standard: who annotated"),
        Item("17", "Annotation tools"),
        Item("18", "Variability between annotators"),
        Item("19", "Intended sample size"),
        Item("20", "Assignment to training and test", PATIENTS),
        Item("21", "Level at which the sides are disjoint", INTEGRITY),
        Item("22", "Model", STAGES),
        Item("23", "Software and its versions", LINEAGE),
        Item("24", "Initial weights", STAGES),
        Item("25", "Training", SETTINGS),
        Item("26", "Choice of the final model", EXPECTED),
        Item("27", "Ensembles", PAPER),
        Item("28", "Metrics", FIGURES),
        Item("29", "Uncertainty and significance", FIGURES),
        Item("30", "Robustness", EXPECTED),
        Item("31", "Explainability", (), "nearest training images on the page of predictions"),
        Item("32", "Testing on external data", EXPECTED, "only where the test split is external"),
        Item("33", "Flow of images and patients", PATIENTS),
        Item("34", "Characteristics in each partition", SUBGROUPS, "of the test side"),
        Item("35", "Performance on all partitions", EXPECTED),
        Item("36", "Diagnostic accuracy with precision", FIGURES),
        Item("37", "Analysis of failures", CLASSES, "confusion matrices"),
        Item("38", "Limitations", INTEGRITY, "notices; the rest is the authors'"),
        Item("39", "Implications for practice"),
        Item("40", "Registration"),
        Item("41", "Where the full protocol is", LINEAGE, "settings and versions of every stage"),
        Item("42", "Funding"),
    ),
)

STARD = Checklist(
    "STARD 2015",
    "P. M. Bossuyt et al. STARD 2015: an updated list of essential items for reporting diagnostic "
    "accuracy studies. BMJ 2015;351:h5527.",
    (
        Item("1", "Title: that it is diagnostic accuracy", RESULT),
        Item("2", "Abstract", RESULT, "the verdict alone"),
        Item("3", "Background and clinical role"),
        Item("4", "Objectives and hypotheses", PAPER),
        Item("5", "Prospective or retrospective"),
        Item("6", "Eligibility", LEFT_OUT, "of files; not of patients"),
        Item("7", "How participants were found"),
        Item("8", "Where and when"),
        Item("9", "Consecutive, random or convenience series"),
        Item("10a", "Index test", STAGES),
        Item("10b", "Reference standard"),
        Item("11", "Why this reference standard"),
        Item("12a", "Cut-offs of the index test", FIGURES, "0, and the one chosen out of fold"),
        Item("12b", "Cut-offs of the reference standard"),
        Item("13a", "Index test blind to the reference", INTEGRITY, "test labels only score"),
        Item("13b", "Reference blind to the index test"),
        Item("14", "Estimation and comparison of accuracy", FIGURES),
        Item("15", "Indeterminate results", (), "every usable image gets a class"),
        Item("16", "Missing data", LEFT_OUT),
        Item("17", "Variability of accuracy", SUBGROUPS),
        Item("18", "Intended sample size"),
        Item("19", "Flow of participants", PATIENTS),
        Item("20", "Characteristics of participants", SUBGROUPS, "columns that were named"),
        Item("21a", "Severity in those with the condition"),
        Item("21b", "Other diagnoses in those without"),
        Item("22", "Time between the two tests"),
        Item("23", "Cross table of the two tests", CLASSES, "confusion matrices"),
        Item("24", "Accuracy with intervals", FIGURES),
        Item("25", "Adverse events"),
        Item("26", "Limitations", INTEGRITY, "notices; the rest is the authors'"),
        Item("27", "Implications for practice"),
        Item("28", "Registration"),
        Item("29", "Full protocol"),
        Item("30", "Funding"),
    ),
)

CHECKLISTS = (TRIPOD_AI, CLAIM, STARD)
"""Every checklist of a study's page."""


def checklist_table(checklist: Checklist, links: Mapping[str, str]) -> Table:
    """The items of a checklist, each with the section that answers it.

    Args:
        checklist: the list.
        links: address of each section of the report by its heading.
    """
    return Table(
        checklist.name,
        ("Item", "Answered in", "Remark"),
        tuple(
            (f"{item.number} {item.name}", item.place(links) or NOT_KNOWN, item.remark)
            for item in checklist.items
        ),
        checklist.source,
        ("text", "link", "text"),
        links=links,
    )


def overview_table(sections: Collection[str], page: str) -> Table:
    """How many items of each checklist a report answers, with the link to the page of all.

    Args:
        sections: headings of the sections of the report.
        page: address of the page of all items.
    """
    rows = []
    for checklist in CHECKLISTS:
        answered = sum(bool(item.place(sections)) for item in checklist.items)
        left = len(checklist.items) - answered
        rows.append((checklist.name, len(checklist.items), answered, left, "every item"))
    return Table(
        "Checklists of reporting",
        ("Checklist", "Items", "Answered here, in part or whole", "For the authors", "Page"),
        tuple(rows),
        "Items that no pipeline can answer (patients, ethics, funding, reference standard) are for "
        "the authors of a study.",
        ("text", "count", "count", "count", "link"),
        links={"every item": page},
    )
