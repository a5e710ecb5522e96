"""A real server process and a real browser, for tests of the pages."""

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import pytest
from PIL import Image, ImageEnhance, ImageOps
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

from facesim_index.index import FaceIndex
from tests.conftest import REQUIRE_DATA
from tests.example_pictures import demo_picture

CHROMIUM = "FACESIM_CHROMIUM"
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
PHONE, DESKTOP, WIDE = (360, 740), (1280, 800), (1920, 1080)
STRANGE_NAME = "group <b>&'1' \u202e\u00fc.jpg"

_SERVING = re.compile(r"Serving .* at (http://\S+)")
_SERVE_FAKE = """
import pathlib, sys
from facesim_index.engine.fake import FakeEngineSettings
from facesim_index.web.server import serve
tell = lambda address: print(f"Serving it at {address}", file=sys.stderr, flush=True)
serve(pathlib.Path(sys.argv[1]), port=0, engine=FakeEngineSettings(), on_ready=tell)
"""
_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.violatedDirective}: ${event.blockedURI}`);
});
"""


def chromium_path() -> str:
    """Return where Chromium is; without it the test is skipped, or fails where all must run."""
    found = os.environ.get(CHROMIUM) or shutil.which("chromium") or shutil.which("chromium-browser")
    return found or _without_browser()


def _without_browser() -> NoReturn:
    reason = f"needs Chromium: it is not installed, and {CHROMIUM} is not set"
    if os.environ.get(REQUIRE_DATA) == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def make_photos(folder: Path) -> None:
    """Lay out photos with faces: one group three times, a team, and one of the team alone."""
    folder.mkdir()
    with Image.open(demo_picture("t1.jpg")) as opened:
        group = opened.convert("RGB")
    group.save(folder / STRANGE_NAME, quality=90)
    ImageOps.mirror(group).save(folder / "mirrored.jpg", quality=80)
    darker = ImageEnhance.Brightness(group).enhance(0.6)
    darker.resize((group.width * 2 // 3, group.height * 2 // 3)).save(folder / "darker.jpg")
    shutil.copyfile(demo_picture("players.jpg"), folder / "team.jpg")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")


def picture_bytes(name: str) -> bytes:
    """Return an example picture, as JPEG."""
    stream = io.BytesIO()
    with Image.open(demo_picture(name)) as opened:
        opened.convert("RGB").save(stream, "JPEG", quality=90)
    return stream.getvalue()


def make_album(folder: Path, *, grouped: bool = True) -> Path:
    """Index photos; return the index."""
    make_photos(folder / "photos")
    index = folder / "album.facesim"
    with FaceIndex.open(index, create=True, provider="cpu") as opened:
        opened.ingest([folder / "photos"], workers=2)
        if grouped:
            opened.people.cluster()
    return index


def server(index: Path, *options: str) -> contextlib.AbstractContextManager[str]:
    """Run ``facesim serve`` on a free port; give its address."""
    command = ["-m", "facesim_index", "--index", str(index), "serve", "--port", "0", *options]
    return _running(command)


def fake_server(index: Path) -> contextlib.AbstractContextManager[str]:
    """Serve an index of the fake engine likewise."""
    return _running(["-c", _SERVE_FAKE, str(index)])


@contextlib.contextmanager
def _running(command: list[str]) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, *command], stderr=subprocess.PIPE, text=True, errors="replace"
    )
    assert process.stderr is not None
    try:
        said = []
        for line in process.stderr:
            said.append(line)
            found = _SERVING.search(line)
            if found:
                yield found[1].rstrip("/")
                return
        pytest.fail("the server did not start:\n" + "".join(said))
    finally:
        process.terminate()
        process.communicate(timeout=30)


class Visit:
    """One page of a browser, watched for errors, violations and strangers.

    Parameters
    ----------
    browser : Browser
    address : str
        Of the server.
    size : (int, int)
        Of the window, in pixels.
    """

    def __init__(self, browser: Browser, address: str, size: tuple[int, int] = DESKTOP) -> None:
        self.address = address
        viewport = {"width": size[0], "height": size[1]}
        self._context: BrowserContext = browser.new_context(viewport=viewport)  # type: ignore[arg-type]
        self._context.set_default_timeout(15_000)
        self.page: Page = self._context.new_page()
        self.errors: list[str] = []
        self.violations: list[str] = []
        self.strangers: list[str] = []
        self.expected = ""
        self.page.add_init_script(_VIOLATIONS)
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._on_request)

    def go(self, path: str) -> Page:
        """Open a page of the server, and wait until all of it is there."""
        self.look()
        self.page.goto(self.address + path)
        self.page.wait_for_load_state("networkidle")
        return self.page

    def look(self) -> None:
        """Note what the content security policy stopped on the page that is open."""
        if self.page.url.startswith("http"):
            self.violations += self.page.evaluate("window.violations")

    def leave(self) -> None:
        """Close the page, and make sure that nothing went wrong on it.

        What has `expected` in it, such as a status that a test asks for, is no fault.
        """
        if self.page.is_closed():
            return
        self.look()
        self._context.close()
        faults = [error for error in self.errors if not (self.expected and self.expected in error)]
        assert not faults, faults
        assert not self.violations, self.violations
        assert not self.strangers, self.strangers

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _on_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and not request.url.startswith(self.address):
            self.strangers.append(request.url)


Open = Callable[..., Visit]


def choose(page: Page, field: str, name: str) -> None:
    """Choose an example picture in a field."""
    file = {"name": name, "mimeType": "image/jpeg", "buffer": picture_bytes(name)}
    page.locator(f"input[name={field}]").set_input_files(file)  # type: ignore[arg-type]


def follow(page: Page, name: str) -> None:
    """Follow a link, and wait until the scripts of the page behind it have run."""
    with page.expect_event("load"):
        page.get_by_role("link", name=name).click()


def shown_names(page: Page) -> list[str]:
    return [field.input_value() for field in page.locator("input.name").all()]


def overflowing(page: Page) -> list[str]:
    """Return what is wider than the window, so that the page scrolls sideways."""
    found: list[str] = page.evaluate(
        """() => {
          const width = document.documentElement.clientWidth;
          if (document.documentElement.scrollWidth <= width) return [];
          return [...document.querySelectorAll("body *")]
            .filter((element) => element.getBoundingClientRect().right > width + 1)
            .map((element) => element.outerHTML.slice(0, 120));
        }"""
    )
    return found
