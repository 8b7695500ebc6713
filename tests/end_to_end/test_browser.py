"""A person in the web UI: materialises a dataset's whole study and looks at the pictures."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from methods.features.frozen_network import random_alexnet
from tests.conftest import TINY_STUDY

CHROMIUM = next(
    (path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None
)
PATIENCE_MS = 120_000
"""Maximum time that the browser may take to show what a page has, milliseconds."""
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def page_of_the_ui(home: Path, make_images: Any, tmp_path: Path) -> Iterator[str]:
    """Address of a running `medfeat ui` with one registered dataset of 12 images."""
    weights = tmp_path / "weights"
    weights.mkdir()
    save_file(random_alexnet(), weights / "alexnet.safetensors")
    environment = {**os.environ, "MEDFEAT_WEIGHTS_DIR": str(weights)}
    medfeat = [sys.executable, "-c", "from pipeline.cli import main; main()"]
    images = make_images(classes=2, each=6)
    quick = [f"--set={key}={value}" for key, value in TINY_STUDY.items() if key != "weights"]
    # the UI repeats the settings of this run, as a person's would: the defaults take minutes
    for words in (["add", "tiny", str(images)], ["run", "tiny", *quick]):
        subprocess.run([*medfeat, *words], env=environment, check=True, capture_output=True)
    port = free_port()
    log = (tmp_path / "ui.log").open("w")
    server = subprocess.Popen(
        [*medfeat, "ui", "--port", str(port)],
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{address}/server_info", timeout=2).close()
                break
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                assert server.poll() is None, (tmp_path / "ui.log").read_text()
                assert time.monotonic() < deadline, (tmp_path / "ui.log").read_text()
                time.sleep(0.5)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        log.close()


def test_a_study_from_the_job_page_to_its_pictures(page_of_the_ui: str) -> None:
    from playwright.sync_api import expect, sync_playwright

    # a busy machine is slow to show a page, which says nothing about the page
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(PATIENCE_MS)
        page.goto(f"{page_of_the_ui}/locations/medfeat/jobs/ahn2019")
        page.get_by_role("button", name="Materialize all").click()
        page.get_by_role("button", name="All", exact=True).click()
        launch = page.get_by_role("button", name="Launch 1 run")
        with page.expect_response(
            lambda r: (
                "graphql" in r.url and "mutation launch" in (r.request.post_data or "").lower()
            )
        ):
            launch.click()
        page.goto(f"{page_of_the_ui}/runs")
        expect(page.get_by_text("Success", exact=True).first).to_be_visible(timeout=600_000)
        for asset, picture in (
            ("image_manifest", "class balance"),
            ("cae_model", "learning curve"),
            ("svm_evaluation_cae", "confusion matrix"),
        ):
            page.goto(f"{page_of_the_ui}/assets/{asset}?view=events&partition=tiny")
            row = page.get_by_role("row").filter(has_text=picture)
            image = row.locator("img[src*='/medfeat/pictures/tiny/']").first
            expect(image).to_be_visible()
            assert image.evaluate("i => i.decode().then(() => i.naturalWidth)") > 300
        # a link of an evaluation leads to the report that shows it, on the server of the UI
        link = page.locator("a[href='/reports/tiny/ahn2019/report.html']").first
        with page.context.expect_page() as opened:
            link.click()
        expect(opened.value.get_by_text("Dataset tiny, study ahn2019")).to_be_visible()
        assert opened.value.url == f"{page_of_the_ui}/reports/tiny/ahn2019/report.html"
        browser.close()
