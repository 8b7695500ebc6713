"""All studies."""

from __future__ import annotations

from data_contracts.ahn2019 import AHN2019
from data_contracts.farhat_vlad import FARHAT_VLAD
from data_contracts.study import Study

STUDIES: dict[str, Study] = {study.name: study for study in (AHN2019, FARHAT_VLAD)}
