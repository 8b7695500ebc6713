"""All studies."""

from __future__ import annotations

from data_contracts.ahn2019 import AHN2019
from data_contracts.farhat_vlad import FARHAT_VLAD
from data_contracts.huynh2016 import HUYNH2016
from data_contracts.lyndon2015 import LYNDON2015
from data_contracts.study import Protocol, Study

STUDIES: dict[str, Study] = {study.name: study for study in (AHN2019, FARHAT_VLAD, HUYNH2016, LYNDON2015)}


def studies_of(protocol: Protocol) -> list[Study]:
    """Studies whose methods are scored that way."""
    return [study for study in STUDIES.values() if study.protocol == protocol]
