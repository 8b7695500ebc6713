"""Faults that are injected and counted (see ``harness.py``).

Each ``fault_NN_*.py`` is a row of the table.
"""

from importlib import import_module
from pathlib import Path

from faults.harness import Fault

FAULTS: list[Fault] = [
    import_module(f"faults.{path.stem}").FAULT
    for path in sorted(Path(__file__).parent.glob("fault_*.py"))
]
