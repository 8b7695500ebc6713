"""A study: one paper, with the methods that are evaluated and the paper's own figures.

A method is registered in its study once; its evaluation asset, its row in the report and its
lineage follow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Protocol = Literal["test split", "cross-validation", "several labels"]
"""How the methods of a study are scored.

"test split": one label an image, on a test split; "cross-validation": two classes, in folds over
groups; "several labels": any number of labels an image, on a test split.
"""

MapPool = Literal["max 3 x 3", "mean"]
"""How maps of features become a short row, see `methods.features.map_pooling`."""


@dataclass(frozen=True)
class Method:
    """A method that is scored on test images.

    Attributes:
        name: name in asset names and tables.
        title: name in the report.
        features: asset whose rows the SVM classifies; empty for an ensemble, and for what learns
            nothing.
        source: (network, layer) that the title refers to; the report names the actual ones where
            they differ.
        members: an ensemble's fine-tuned networks, whose class probabilities are averaged.
        svm_member: method of the same study whose SVM is one more member; empty for none.
        in_main_job: whether the study's main job computes it; the job of all tables computes all.
        allows_pca: whether principal components may replace its rows before the SVM, as they are
            very long.
        pool: how its maps become a row of the SVM; None takes all of their numbers.
        scored_by: asset that scores it; empty where the asset is named after the method.
        network: (network, layer) of the frozen network whose features are classified; their asset
            is made of this entry. Use :meth:`of_network`.
        learns_nothing: whether it answers the commonest class of the training images for every
            test image.
    """

    name: str
    title: str
    features: str = ""
    source: tuple[str, str] | None = None
    members: tuple[str, ...] = ()
    svm_member: str = ""
    in_main_job: bool = False
    allows_pca: bool = False
    pool: MapPool | None = None
    scored_by: str = ""
    network: tuple[str, str] | None = None
    learns_nothing: bool = False

    @classmethod
    def of_network(
        cls, name: str, title: str, network: str, layer: str, in_main_job: bool = False
    ) -> Method:
        """A row for the features of a frozen network of torchvision, or of timm ("timm/...").

        Args:
            name: in asset names and tables.
            title: in the report.
            network: in the words of its library.
            layer: its module path ("features.7"), or a name it is known by ("fc7", "pool5").
            in_main_job: see the class.
        """
        features = re.sub(r"\W", "_", f"{network.removeprefix('timm/')}_{layer}")
        return cls(name, title, features, in_main_job=in_main_job, network=(network, layer))

    @property
    def evaluation(self) -> str:
        """Name of the asset that scores this method."""
        if self.scored_by:
            return self.scored_by
        return f"ensemble_evaluation_{self.name}" if self.members else f"svm_evaluation_{self.name}"


@dataclass(frozen=True)
class PaperRow:
    """One row of a table in a paper.

    Attributes:
        title: the paper's wording.
        percent: the figure that the paper reports.
        method: name of our method for this row, or of an estimate by a study of settings.
        stand_in: method shown instead where that one could not run; the row says so.
        sd: standard deviation that the paper reports, in percentage points.
        time: duration that the paper reports, in its own words.
    """

    title: str
    percent: float
    method: str
    stand_in: str = ""
    sd: float | None = None
    time: str = ""


@dataclass(frozen=True)
class PaperTable:
    """One table of a paper.

    Attributes:
        number: the paper's number, or the name of a figure.
        title: what the table compares.
        measure: what the figures are, with their unit.
        data: the paper's images.
        rows: rows in the paper's order.
    """

    number: str
    title: str
    measure: str
    data: str
    rows: tuple[PaperRow, ...]

    @property
    def place(self) -> str:
        """Position in the paper: a plain number is that of a table."""
        return f"table {self.number}" if self.number.isdigit() else self.number


@dataclass(frozen=True)
class Choice:
    """A choice that the paper leaves open.

    Attributes:
        point: what has to be chosen.
        paper: what the paper says about it.
        ours: what is done here.
        switch: settings that change it; "-" where none does.
    """

    point: str
    paper: str
    ours: str
    switch: str


DICOM_WINDOW = Choice(
    "Grey values of DICOM", "not stated", "the first window that the file states", "voi"
)
"""The choice of grey values, which all four papers leave open."""


@dataclass(frozen=True)
class Study:
    """One paper, as data.

    Attributes:
        name: name of its Dagster job, and value of ``study`` in metric tables.
        title: title of its report.
        citation: bibliographic reference of the paper.
        methods: evaluated methods, in the order of the report.
        main: name of the paper's own method, with which the others are compared.
        main_in_words: that method as a part of a sentence.
        references: methods that the verdict compares it with, each with its name in a sentence; of
            each mapping the first that was scored.
        tables: tables of the paper.
        choices: choices that the paper leaves open.
        measurements: assets of the job of all tables that measure something else than a method.
        main_measurements: such assets of the study's own job, too.
        protocol: how the methods are scored.
        stages_shown: assets whose pictures the report shows, in its order, where they are upstream
            of a figure.
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
    main_measurements: tuple[str, ...] = ()
    protocol: Protocol = "test split"
    stages_shown: tuple[str, ...] = ()

    def method(self, name: str) -> Method:
        """Return the method called ``name``."""
        return next(method for method in self.methods if method.name == name)

    @property
    def jobs(self) -> tuple[str, ...]:
        """Names of its Dagster jobs: the main job and, where it leaves rows out, that of all."""
        return tuple(self.job(all_tables) for all_tables in self.scopes)

    @property
    def scopes(self) -> tuple[bool, ...]:
        """Values of ``all_tables`` for which this study has a job of its own."""
        return (False,) if all(method.in_main_job for method in self.methods) else (False, True)

    @property
    def tables_job(self) -> str:
        """Name of the Dagster job of every row of every table."""
        return f"{self.name}_tables"

    def job(self, all_tables: bool) -> str:
        """Return the name of a Dagster job; the comparison and the report are named after it.

        Args:
            all_tables: whether the job computes every row of every table, or the main methods.
        """
        return self.tables_job if all_tables else self.name

    def measurements_of(self, all_tables: bool) -> tuple[str, ...]:
        """Return the measurements of a job: all of them, or those of the study's own job."""
        return (*self.main_measurements, *(self.measurements if all_tables else ()))

    def methods_of(self, all_tables: bool) -> tuple[Method, ...]:
        """Return the methods of a job: all of them, or those of the main job."""
        return tuple(method for method in self.methods if all_tables or method.in_main_job)
