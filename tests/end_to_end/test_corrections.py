"""A reader chooses labels on the page of predictions and downloads the manifest of a drop."""

from __future__ import annotations

from pathlib import Path

import pytest

from methods.reporting.review_page import review_html
from resources.intake.user_manifest import FileAnnotation, read_user_manifest
from tests.end_to_end.test_browser import CHROMIUM, FLAGS
from tests.methods.reporting.test_review_page import card, review

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]


def test_the_download_is_a_manifest_that_a_drop_understands(tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    hard = 'left, "upper" lung'
    ids = [digit * 64 for digit in "abc"]
    page_file = tmp_path / "predictions.html"
    page_file.write_text(
        review_html(review(*map(card, ids), classes=(hard, "malignant"))), encoding="utf-8"
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.goto(page_file.as_uri())
        assert page.locator("#download").is_disabled()
        page.select_option(f'select[data-image-id="{ids[0]}"]', hard)
        page.select_option(f'select[data-image-id="{ids[2]}"]', "malignant")
        assert page.inner_text("#chosen") == "2 images labelled."
        with page.expect_download() as download:
            page.click("#download")
        assert download.value.suggested_filename == "manifest.csv"
        download.value.save_as(tmp_path / "drop" / "manifest.csv")
        browser.close()
    assert said == [], "the policy of the page stops nothing"
    manifest = read_user_manifest(tmp_path / "drop", "the drop")
    assert manifest is not None
    assert manifest.by_content == {
        ids[0]: FileAnnotation(hard),
        ids[2]: FileAnnotation("malignant"),
    }


def test_several_labels_are_ticked_and_none_of_them_is_an_answer(tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    hard = 'left, "upper" lung'
    ids = [digit * 64 for digit in "abcd"]
    page_file = tmp_path / "predictions.html"
    told = review(*map(card, ids), classes=(hard, "heart"), several_labels=True)
    page_file.write_text(review_html(told), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()

        def tick(image_id: str, label: str) -> None:
            page.locator(f'fieldset[data-image-id="{image_id}"]').get_by_label(
                label, exact=True
            ).check()

        page.goto(page_file.as_uri())
        for label in (hard, "heart"):
            tick(ids[0], label)
        for label in ("heart", "no label"):
            tick(ids[1], label)
        for label in ("no label", "heart"):
            tick(ids[2], label)
        assert page.inner_text("#chosen") == "3 images labelled."
        with page.expect_download() as download:
            page.click("#download")
        download.value.save_as(tmp_path / "drop" / "manifest.csv")
        browser.close()
    manifest = read_user_manifest(tmp_path / "drop", "the drop")
    assert manifest is not None
    assert manifest.by_content == {
        ids[0]: FileAnnotation(f"{hard}|heart"),
        ids[1]: FileAnnotation("|"),
        ids[2]: FileAnnotation("heart"),
    }
