"""The registry of studies: a new study is one module and one entry of STUDIES."""

from __future__ import annotations

from collections.abc import Iterable

from data_contracts.errors import InputError
from data_contracts.records.dataset import Task
from data_contracts.studies.ahn2019 import AHN2019
from data_contracts.studies.farhat_vlad import FARHAT_VLAD
from data_contracts.studies.huynh2016 import HUYNH2016
from data_contracts.studies.lyndon2015 import LYNDON2015
from data_contracts.studies.study import Protocol, Study

STUDIES: dict[str, Study] = {
    study.name: study for study in (AHN2019, FARHAT_VLAD, HUYNH2016, LYNDON2015)
}
STUDY_JOBS = {job: study for study in STUDIES.values() for job in study.jobs}
"""The study of each Dagster job that ends with a report, in the order of the studies."""


def check_evaluations(studies: Iterable[Study]) -> None:
    """Refuse two methods whose evaluations would be the same asset.

    Raises:
        ValueError: naming the method and its studies.
    """
    study_of: dict[str, str] = {}
    for study in studies:
        for method in study.methods:
            first = study_of.setdefault(method.evaluation, study.name)
            if first != study.name:
                raise ValueError(
                    f"the method {method.name} stands in {first} and in {study.name}: give it "
                    "another name in one of them"
                )


check_evaluations(STUDIES.values())


USUAL_STUDIES: dict[Task, Study] = {"single-label": AHN2019, "multi-label": LYNDON2015}
"""The study of each task that runs for a dataset by default, also when images arrive.

Its job ends with predictions, whose features are those of its method PREDICTING."""
PREDICTING = "cae"
"""Name of the method, in each usual study, whose features the classifier of a dataset reads."""


def usual_study(task: Task) -> Study:
    """Return the study that runs for a dataset by default, also when images arrive."""
    return USUAL_STUDIES[task]


def check_task(dataset: str, task: Task, study: Study) -> None:
    """Refuse a study that needs one label an image where a dataset has several, or the reverse.

    Raises:
        InputError: naming the dataset and the study.
    """
    several = study.protocol == "several labels"
    if (task == "multi-label") != several:
        has, wants = ("one label", "several") if several else ("several labels", "one")
        raise InputError(
            f"{dataset} has {has} an image, and {study.name} wants {wants}",
            f"Register it anew {'with' if several else 'without'} --multi-label, or run another "
            "study",
        )


def studies_of(protocol: Protocol) -> list[Study]:
    """Return the studies whose methods are scored by ``protocol``."""
    return [study for study in STUDIES.values() if study.protocol == protocol]


def repeated_job(job: str, task: Task) -> str:
    """Return the job of a study whose settings a job repeats.

    That is the job itself; of one without a report (predictions, a choice of assets) it is that of
    the usual study of the dataset's task.
    """
    return job if job in STUDY_JOBS else usual_study(task).name
