"""The review page: what is hostile is shown, not run; the doubtful come first; a number stays
one."""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from methods.reporting import review_page as page
from methods.reporting.review_page import Card, LabelChance, Neighbour, Review
from methods.reporting.spreadsheet_text import csv_text
from tests.page_rules import EVIL, dangers_of

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onload='alert(1)",
    "=cmd|' /C calc'!A0",
    "{{ 7*7 }}",
]


def pixels(seed: int = 0, shape: tuple[int, ...] = (224, 224, 3)) -> NDArray[np.uint8]:
    """A smooth picture with some noise: about as many bytes as a real one."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize(
        (shape[1], shape[0])
    )
    return np.clip(np.asarray(coarse) + rng.normal(0, 6, shape), 0, 255).astype(np.uint8)


THUMBNAIL = page.thumbnail(pixels())


def card(image_id: str = "a" * 64, **changes: Any) -> Card:
    neighbours = tuple(
        Neighbour(THUMBNAIL, label, s)
        for label, s in (("benign", 0.91), ("benign", 0.88), ("malignant", 0.8))
    )
    plain = Card(
        image_id,
        "scan.png",
        "benign",
        "benign",
        0.625,
        0.25,
        False,
        0.91,
        "malignant",
        0.375,
        THUMBNAIL,
        neighbours,
    )
    return replace(plain, **changes)


def review(*cards: Card, **changes: Any) -> Review:
    fields: dict[str, Any] = {
        "title": "Review",
        "notices": ("RANDOM WEIGHTS",),
        "explanation": ("Check these.",),
        "model": (("Model", "a linear SVM"),),
        "classes": ("benign", "malignant"),
        "counts": {"benign": 7, "malignant": 3},
        "total": 10,
        "footer": "medfeat",
    }
    return Review(cards=cards, **(fields | changes))


def test_a_card_shows_all_that_a_person_needs() -> None:
    html = page.review_html(review(card("0123456789abcdef", margin=-0.25)))
    for text in (
        "RANDOM WEIGHTS",
        "Check these.",
        "scan.png",
        "62.5 %",
        "37.5 %",
        "Runner-up: malignant",
        "\u22120.250",
        "<dt>Model</dt><dd>a linear SVM</dd>",
        '<select data-image-id="0123456789abcdef" autocomplete="off">',
        '<option value="malignant">malignant</option>',
    ):
        assert text in html
    assert "width: 62.5%" in html
    assert ">0123456789ab<" in html
    assert [float(s) for s in re.findall(r"similarity (0\.\d+)", html)] == [0.91, 0.88, 0.8]
    assert html.count('alt="Training image labelled') == 3
    assert (
        '<th scope="row">benign</th><td class="count">7</td><td class="count">70.0 %</td>' in html
    )
    assert "The 1 least sure of 10; all are in predictions.csv." in html
    assert "&lt;div" not in html, "a macro's output is markup, not text"
    assert "&amp;" not in html


def test_an_image_unlike_the_training_images_gets_no_class_and_no_probability() -> None:
    told = card(out_of_distribution=True, answer="unlike the training images")
    html = page.review_html(review(told, card("b")))
    assert ">UNLIKE THE TRAINING IMAGES<" in html
    assert "No class is given. The nearest would be benign, then malignant." in html
    assert html.count("62.5 %") == 1, "of the other image alone"
    assert "1 is unlike the training images; these come first." in html
    assert 'alt="Image scan.png: unlike the training images"' in html


SEVERAL = (LabelChance("arm", 0.625, True), LabelChance("leg", 0.125, False))


def test_a_card_of_several_labels_shows_each_with_a_box_to_tick() -> None:
    told = card("x", answer="arm", predicted="arm", runner_up=None, labels=SEVERAL)
    html = page.review_html(
        review(told, classes=("arm", "leg"), several_labels=True, counts={"arm": 7})
    )
    assert '<p class="given">arm</p>' in html
    assert re.findall(r'class="class">(\w+)</span>\s*<span class="percent">([^<]+)<', html) == [
        ("arm", "62.5 %"),
        ("leg", "12.5 %"),
    ]
    assert "<dt>Least sure label</dt><dd>62.5 % right</dd>" in html
    assert '<fieldset class="correction" data-image-id="x" hidden>' in html
    assert re.findall(r'type="checkbox" value="([^"]+)"', html) == ["arm", "leg", "|"]
    assert "<select" not in html
    assert '<th scope="row">arm</th><td class="count">7</td><td class="count">70.0 %</td>' in html
    unlike = replace(told, out_of_distribution=True)
    html = page.review_html(review(unlike, classes=("arm", "leg"), several_labels=True))
    assert "Its labels are not stated. The scores alone say arm." in html
    assert "Least sure label" not in html
    with pytest.raises(ValueError, match="probability"):
        replace(told, labels=(LabelChance("arm", 1.5, True),))


def test_a_plain_card_has_no_badge_and_no_runner_up() -> None:
    html = page.review_html(
        review(
            card(
                runner_up=None,
                runner_up_probability=None,
                nearest_similarity=math.nan,
                neighbours=(),
            )
        )
    )
    assert ">UNLIKE" not in html
    assert "Runner-up" not in html
    assert "<dd>–</dd>" in html
    assert "None." in html


def test_a_runner_up_of_unknown_probability_has_no_bar() -> None:
    html = page.review_html(review(card(runner_up_probability=None)))
    assert html.count('class="bar"') == 1
    assert '<span class="percent">–</span>' in html


@pytest.mark.parametrize("evil", HOSTILE)
def test_hostile_text_is_shown(evil: str) -> None:
    cards = (
        card(
            evil,
            name=evil,
            answer=evil,
            predicted=evil,
            runner_up=evil,
            neighbours=(Neighbour(THUMBNAIL, evil, 0.5),),
        ),
    )
    plain = page.review_html(
        review(card(neighbours=(Neighbour(THUMBNAIL, "x", 0.5),)), counts={"x": 10})
    )
    html = page.review_html(hostile(evil, cards))
    assert evil not in html or evil == "{{ 7*7 }}"
    assert ">49<" not in html
    assert "&amp;lt;" not in html, "escaped once"
    tags = re.compile(r"<[a-z/!][^<>]*>")
    names = re.compile(r"\s([a-z-]+)=")
    shapes = [
        [(t.split()[0], names.findall(re.sub(r'"[^"]*"', '""', t))) for t in tags.findall(h)]
        for h in (html, plain)
    ]
    assert shapes[0] == shapes[1], "the same elements with the same attributes as a harmless page"


def test_direction_overrides_are_spelt_out() -> None:
    assert "\u202e" not in page.review_html(review(card(name="gpj.\u202eexe")))


def test_hostile_labels_are_shown() -> None:
    for evil in EVIL:
        told = card(evil, predicted=evil, labels=(LabelChance(evil, 0.5, True),))
        html = page.review_html(replace(hostile(evil, (told,)), several_labels=True))
        assert dangers_of(html, page.corrections_script()) == [], evil


def hostile(evil: str, cards: tuple[Card, ...]) -> Review:
    """A page that is hostile wherever it has a text."""
    model, classes = ((evil, evil),), (evil, "b")
    return Review(evil, (evil,), (evil,), model, classes, {evil: 10}, cards, 10, evil)


def test_the_page_runs_its_own_script_alone_and_loads_nothing() -> None:
    assert dangers_of(page.review_html(review(card())), page.corrections_script()) == []
    assert dangers_of(page.review_html(review())) == [], "without a card it has no script"
    for evil in EVIL:
        near = (Neighbour(THUMBNAIL, evil, 0.5),)
        cards = (
            card(
                evil,
                name=evil,
                predicted=evil,
                runner_up=evil,
                neighbours=near,
                out_of_distribution=True,
            ),
        )
        html = page.review_html(hostile(evil, cards))
        assert dangers_of(html, page.corrections_script()) == [], evil


def test_every_picture_has_a_text_and_headings_descend() -> None:
    html = page.review_html(review(card(), card("b")))
    assert html.count("<img ") == len(re.findall(r'<img [^>]*alt="[^"]+"', html)) == 8
    levels = [int(level) for level in re.findall(r"<h([1-6])", html)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_the_doubtful_come_first() -> None:
    cards = [card("sure", probability=0.99), card("b", probability=0.5), card("a", probability=0.5)]
    cards += [card("close", probability=0.99, margin=0.2)]
    cards += [
        card("odd", probability=0.98, out_of_distribution=True),
        card("odder", probability=0.6, out_of_distribution=True),
    ]
    expected = ["odder", "odd", "a", "b", "close", "sure"]
    assert [c.image_id for c in page.by_doubt(cards)] == expected
    assert [c.image_id for c in page.by_doubt(reversed(cards))] == expected
    assert re.findall(r'class="id">([^<]+)<', page.review_html(review(*cards))) == expected


def test_the_same_review_gives_the_same_page() -> None:
    cards = [card(f"{i:064x}", probability=0.5 + i % 3 / 10) for i in range(6)]
    forth = review(*cards, counts={"a": 1, "b": 1, "c": 8})
    back = review(*reversed(cards), counts={"c": 8, "b": 1, "a": 1})
    assert page.review_html(forth) == page.review_html(forth) == page.review_html(back)


def test_an_empty_review_says_so() -> None:
    html = page.review_html(review(counts={}, total=0))
    assert "No image was predicted" in html
    assert "<article" not in html
    assert "<table" not in html
    assert "all 1,234 predictions are in predictions.csv" in page.review_html(review(total=1234))


def test_a_complete_review_says_so() -> None:
    assert "All 2 predictions, the least sure first" in page.review_html(
        review(card(), card("b"), total=2)
    )
    assert "least sure of" not in page.review_html(review(card(), total=1))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="only 0 predicted"):
        review(card(), total=0)
    for wrong in (1.2, -0.1, math.nan):
        with pytest.raises(ValueError, match="probability"):
            card(probability=wrong)
    with pytest.raises(ValueError, match="neither JPEG nor PNG"):
        page.review_html(review(card(thumbnail=b"<svg onload=alert(1)>")))


@pytest.mark.parametrize(
    ("probability", "shown"),
    [
        (0.0, "0.0 %"),
        (0.0001, "&lt; 0.1 %"),
        (0.5, "50.0 %"),
        (0.99999, "&gt; 99.9 %"),
        (1.0, "100.0 %"),
    ],
)
def test_what_is_not_certain_does_not_read_100_percent(probability: float, shown: str) -> None:
    assert f'<span class="percent">{shown}</span>' in page.review_html(
        review(card(probability=probability))
    )


def test_500_cards_are_a_page_of_reasonable_size() -> None:
    small = [page.thumbnail(pixels(seed), 64) for seed in range(3)]
    near = tuple(Neighbour(t, "benign", 0.5) for t in small)
    html = page.review_html(
        review(*(card(f"{i:064x}", neighbours=near) for i in range(500)), total=500)
    )
    assert html.count("<article") == 500
    assert len(html) < 12_000_000
    assert len(re.sub(r'src="data:[^"]*"', "", html)) < 1_800_000, "of which text and markup"


# Thumbnails
# -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "side", "size"),
    [
        ((224, 224, 3), 128, (128, 128)),
        ((300, 600, 3), 128, (128, 64)),
        ((2000, 3, 3), 64, (1, 64)),
        ((28, 28, 3), 128, (28, 28)),
        ((1, 1, 3), 1, (1, 1)),
    ],
)
def test_thumbnails_are_small_jpegs_in_proportion(
    shape: tuple[int, ...], side: int, size: tuple[int, int]
) -> None:
    source = pixels(1, shape)
    data = page.thumbnail(source, side)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", size)
        assert not image.getexif()
        assert "comment" not in image.info
        assert "icc_profile" not in image.info
    assert len(data) < 8_000
    assert data == page.thumbnail(np.asfortranarray(source), side), (
        "the same pixels, the same bytes"
    )


def test_a_thumbnail_keeps_the_colours() -> None:
    red = np.zeros((200, 200, 3), np.uint8)
    red[..., 0] = 250
    with Image.open(io.BytesIO(page.thumbnail(red))) as image:
        assert np.abs(np.asarray(image).astype(int)[64, 64] - [250, 0, 0]).max() <= 4


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_a_thumbnail_of_something_else_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="uint8"):
        page.thumbnail(wrong)


def test_a_thumbnail_without_a_side_is_refused() -> None:
    with pytest.raises(ValueError, match="side"):
        page.thumbnail(pixels(), 0)


# CSV
# -------------------------------------------------------------------------------------------------


COLUMNS = ["image_id", "name", "probability", "margin", "count", "unlike"]
ROWS: list[list[object]] = [
    ["a1", 'comma, "quote"', 0.123456789, -5.25, 3, True],
    ["b2", "=HYPERLINK(1)", np.float32(0.1), np.float64(-1e-9), np.int64(-4), np.bool_(False)],
    ["c3", "良性", math.nan, -0.0, 0, False],
]


def test_csv_is_rfc_4180() -> None:
    text = csv_text(COLUMNS, ROWS, 6)
    assert text.split("\r\n") == [
        "image_id,name,probability,margin,count,unlike",
        'a1,"comma, ""quote""",0.123457,-5.25,3,true',
        "b2,'=HYPERLINK(1),0.1,-1e-09,-4,false",
        "c3,良性,,0,0,false",
        "",
    ]
    assert [len(row) for row in csv.reader(io.StringIO(text, newline=""), strict=True)] == [
        6,
        6,
        6,
        6,
    ]


def test_pandas_reads_the_csv_back() -> None:
    frame = pd.read_csv(io.BytesIO(csv_text(COLUMNS, ROWS, 6).encode("utf-8")))
    assert list(frame.columns) == COLUMNS
    assert frame["name"].tolist() == ['comma, "quote"', "'=HYPERLINK(1)", "良性"]
    np.testing.assert_allclose(frame["probability"], [0.123456789, 0.1, math.nan], rtol=1e-5)
    np.testing.assert_allclose(frame["margin"], [-5.25, -1e-9, 0.0], rtol=1e-5)
    assert frame["count"].tolist() == [3, -4, 0]
    assert frame["unlike"].tolist() == [True, False, False]


def test_csv_edges() -> None:
    assert csv_text(["=a", "b"], [], 6) == "'=a,b\r\n"
    assert csv_text(["a", "b"], [[None, "x\r\ny"]], 6) == "a,b\r\n,xy\r\n"
    assert csv_text(["a", "b"], [["\udcff", 1e300]], 6).encode("utf-8")
    with pytest.raises(ValueError, match="row 0 has 1 cells"):
        csv_text(["a", "b"], [["x"]], 6)
