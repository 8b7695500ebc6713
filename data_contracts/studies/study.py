"""What a study is: one paper, with the methods that are evaluated and the paper's own figures.

A method is registered in its study once; its evaluation asset, its row in the report and its
lineage follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Protocol = Literal["test split", "cross-validation", "several labels"]
"""One label an image on a test split; two classes in folds over groups; several labels an image on
a test split."""


@dataclass(frozen=True)
class Method:
    """A method that is scored on the test split.

    Attributes:
        name: in asset names and tables.
        title: in the report.
        features: asset whose rows go to the SVM; empty for an ensemble.
        source: (network, layer) that the title stands for; where the features are of another, the
            title says so.
        members: an ensemble's fine-tuned networks, whose class probabilities are averaged.
        in_main_job: part of the study's own job; the others are computed by the job of all tables.
        allows_pca: its rows are so long that principal components may take their place before the
            SVM.
        scored_by: asset that scores it; empty where it is called after the method.
    """

    name: str
    title: str
    features: str = ""
    source: tuple[str, str] | None = None
    members: tuple[str, ...] = ()
    in_main_job: bool = False
    allows_pca: bool = False
    scored_by: str = ""

    @property
    def evaluation(self) -> str:
        """Asset that scores it."""
        if self.scored_by:
            return self.scored_by
        return f"ensemble_evaluation_{self.name}" if self.members else f"svm_evaluation_{self.name}"


@dataclass(frozen=True)
class PaperRow:
    """One row of a table in a paper.

    Attributes:
        title: the paper's wording.
        percent: the figure it reports.
        method: name of our method for this row, or of an estimate that a study of settings makes.
        stand_in: method shown in its place where it could not run; the row says so.
        sd: standard deviation that it reports, in percentage points.
        time: that it reports, in its own words.
    """

    title: str
    percent: float
    method: str
    stand_in: str = ""
    sd: float | None = None
    time: str = ""


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
    """A choice the paper leaves open: what it says, what we do, the setting that changes it ("-"
    where none does).
    """

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
        references: what the verdict compares it with: names in words by method, of each mapping the
            first that was scored.
        tables: the paper's tables.
        choices: what the paper leaves open.
        measurements: assets of the job of all tables that are measurements of their own, beside the
            methods.
        protocol: how the methods are scored.
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
    protocol: Protocol = "test split"

    def method(self, name: str) -> Method:
        """The method called ``name``."""
        return next(method for method in self.methods if method.name == name)

    @property
    def jobs(self) -> tuple[str, ...]:
        """Its Dagster jobs: of its own methods and, where there is more, of every row."""
        return tuple(self.job(all_tables) for all_tables in self.scopes)

    @property
    def scopes(self) -> tuple[bool, ...]:
        """Values of ``all_tables`` for which this study has a job of its own."""
        return (False,) if all(method.in_main_job for method in self.methods) else (False, True)

    @property
    def tables_job(self) -> str:
        """Dagster job of every row of every table."""
        return f"{self.name}_tables"

    def job(self, all_tables: bool) -> str:
        """Dagster job of every row, or of the study's own methods; the comparison and the report
        are called after it.
        """
        return self.tables_job if all_tables else self.name

    def methods_of(self, all_tables: bool) -> tuple[Method, ...]:
        """All methods, or the study's own."""
        return tuple(method for method in self.methods if all_tables or method.in_main_job)
