"""A browser, an album, and servers of it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.visits import ARGUMENTS, DESKTOP, Open, Visit, chromium_path, make_album, server

expect.set_options(timeout=15_000)  # other tests run meanwhile


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = chromium_path()
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of a group of six, three times, and a team; its faces grouped into people."""
    chromium_path()  # without a browser nobody will look at it
    return make_album(tmp_path_factory.mktemp("album"))


@pytest.fixture(scope="module")
def reading(album: Path) -> Iterator[str]:
    """The address of a server that only reads."""
    with server(album) as address:
        yield address


@pytest.fixture
def editing(album: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a server that may change a copy of the index."""
    copy = tmp_path / "copy.facesim"
    shutil.copytree(album, copy)
    with server(copy, "--edit") as address:
        yield address


@pytest.fixture
def visit(browser: Browser) -> Iterator[Open]:
    """What opens windows; each is looked over when the test is done."""
    visits: list[Visit] = []

    def opened(address: str, size: tuple[int, int] = DESKTOP) -> Visit:
        visits.append(Visit(browser, address, size))
        return visits[-1]

    yield opened
    for one in visits:
        one.leave()
