"""/docs in a real browser: does the policy let it show what there is?"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, sync_playwright

from tests.conftest import REQUIRE_DATA
from tests.web.process import Server, serving

CHROMIUM = "FACESIM_CHROMIUM"


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of a browser; where there is none the test is skipped."""
    found = os.environ.get(CHROMIUM) or shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        assert os.environ.get(REQUIRE_DATA) != "1", "all tests must run, and there is no Chromium"
        pytest.skip(f"needs Chromium: it is not installed, and {CHROMIUM} is not set")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser.new_page()
        browser.close()


@pytest.fixture
def server(shared_index: Path) -> Iterator[Server]:
    with serving(shared_index) as running:
        yield running


def test_the_description_is_shown_and_can_be_tried(server: Server, page: Page) -> None:
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{server.address}docs")
    page.wait_for_selector(".opblock")
    described = httpx.get(f"{server.address}v1/openapi.json").json()["paths"]
    assert page.locator(".opblock").count() == sum(map(len, described.values())) > 20
    page.locator("#operations-read-get_status_v1_status_get .opblock-summary").click()
    page.get_by_text("Try it out").first.click()
    page.get_by_text("Execute").first.click()
    status = page.locator(".live-responses-table tbody .response-col_status")
    status.wait_for()
    assert status.inner_text().startswith("200")
    assert said == []
    assert [url for url in asked if not url.startswith((server.address, "data:"))] == []
