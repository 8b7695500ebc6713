"""The page of the library as a notebook: ``make docs``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "library.md"
NOTEBOOK = PAGE.with_suffix(".ipynb")


def notebook() -> str:
    """Return the notebook as JSON: a cell for each text and each block of Python, not executed."""
    cells: list[dict[str, Any]] = []
    parts = re.split(r"^```python\n(.*?)^```\n", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    for number, part in enumerate(parts):
        if not part.strip():
            continue
        cell = {"id": f"cell-{number}", "metadata": {}}
        lines = part.strip().splitlines(keepends=True)
        if number % 2:
            code = {"cell_type": "code", "execution_count": None, "outputs": []}
            cells.append({**cell, **code, "source": lines})
        else:
            cells.append({**cell, "cell_type": "markdown", "source": lines})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    whole = {
        "cells": cells,
        "metadata": {"kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    NOTEBOOK.write_text(notebook())
