"""Every block of docs/library.md is executed, one after another, and the notebook is the page."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from docs.tools.notebook import NOTEBOOK, PAGE, notebook
from methods.settings import CaeSettings
from methods.training.cae_transformer import CaeTransformer
from tests.conftest import MakeImages


def test_the_page_runs(make_images: MakeImages, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    code = "".join(blocks)
    assert code.count('"/data/chest-xrays"') == 1
    folder = make_images(classes=2, each=8)
    names: dict[str, Any] = {}
    exec(code.replace('"/data/chest-xrays"', repr(str(folder))), names)  # the page's own text
    assert names["maps"].shape == (16, 256, 6, 6)
    assert set(names["answers"]) <= {"class0", "class1"}
    assert (names["answers_of_vlad"] == names["labels"]).mean() > 0.5
    assert re.fullmatch(r"[01]\.\d\d \[\d\.\d\d, \d\.\d\d\]\n", capsys.readouterr().out)


def test_the_notebook_is_the_page() -> None:
    assert NOTEBOOK.read_text() == notebook(), "the page has changed: run `make docs`"
    code = [cell for cell in json.loads(notebook())["cells"] if cell["cell_type"] == "code"]
    assert len(code) == PAGE.read_text().count("```python")


def test_the_transformer_is_seeded_cloned_and_refuses_to_encode_before_training() -> None:
    maps = np.random.default_rng(0).random((8, 3, 4, 4), np.float32)
    made = CaeTransformer(CaeSettings(filters=5, epochs=2, batch_size=4))
    with pytest.raises(NotFittedError):
        made.transform(maps)
    codes = made.fit_transform(maps)
    assert (codes.shape, codes.dtype) == ((8, 5 * 2 * 2), np.float32)
    np.testing.assert_array_equal(codes, clone(made).fit(maps).transform(maps))
    assert [record.epoch for record in made.curve_] == [1, 2]
