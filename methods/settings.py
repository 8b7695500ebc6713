"""Defaults that functions of the science and the settings of assets share, each once.

Belongs here: values that stand in the run config of an asset and in the signature of a function.
Importing this module loads nothing heavy, as Dagster loads it with the definitions.
"""

from __future__ import annotations

SVM_C = 1.0
"""Weight C of the squared hinge loss of the linear SVM (Ahn et al. 2019 do not state theirs)."""
