"""How soon a page of `facesim serve` can be read, and how smoothly a long list scrolls.

Chromium without a window or a graphics card, on the machine of the server.  The pictures of the
generated index do not exist, so every crop is a placeholder.
"""

import os
import shutil
import statistics

import numpy as np
from playwright.sync_api import Browser, sync_playwright

from benchmarks.bench_cli import N_FACES, generated_index
from benchmarks.bench_serve import grouped, serving
from benchmarks.harness import Options, Row

TARGET_MS = 1000
SCROLL_S, QUICK_SCROLL_S = 12.0, 4.0
PAGES = ("/", "/people", "/people/1", "/?face=77", "/?person=1", "/photos/77", "/index")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
SIZE = (1280, 800)

_TIMES = """async () => {
  while (!performance.getEntriesByName("first-contentful-paint").length) {
    await new Promise(requestAnimationFrame);
  }
  const [loaded] = performance.getEntriesByType("navigation");
  const [painted] = performance.getEntriesByName("first-contentful-paint");
  return [loaded.responseEnd, painted.startTime];
}"""
_SCROLL = """async (seconds) => {
  const gaps = [];
  const start = performance.now();
  let last = start;
  while (last - start < 1000 * seconds) {
    window.scrollBy(0, 120);
    const now = await new Promise(requestAnimationFrame);
    gaps.push(now - last);
    last = now;
  }
  return [document.querySelectorAll(".card").length, gaps];
}"""


def run(options: Options) -> list[Row]:
    """Return how long pages take, and the frames of a list that is scrolled."""
    found = os.environ.get("FACESIM_CHROMIUM") or shutil.which("chromium")
    if found is None:
        raise SystemExit("Chromium is not installed, and FACESIM_CHROMIUM is not set")
    folder = grouped(generated_index(options))
    with serving(folder) as (host, port), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        address = f"http://{host}:{port}"
        rows = [_page_row(browser, address, path, options.rounds) for path in PAGES]
        rows.append(_scroll_row(browser, address, QUICK_SCROLL_S if options.quick else SCROLL_S))
        browser.close()
    return rows


def _page_row(browser: Browser, address: str, path: str, rounds: int) -> Row:
    times = [_times(browser, address + path) for _ in range(rounds)]
    answered, painted = (statistics.median(column) for column in zip(*times, strict=True))
    return Row(
        f"{N_FACES:,} faces, page {path}: first paint, ms",
        f"{painted:.0f} (answered after {answered:.0f}; longest of {rounds}: "
        f"{max(last for _, last in times):.0f})",
        target=f"at most {TARGET_MS}",
        met=painted <= TARGET_MS,
    )


def _times(browser: Browser, address: str) -> tuple[float, float]:
    """Return when a page was answered and first painted, by a browser that has nothing of it."""
    context = browser.new_context(viewport={"width": SIZE[0], "height": SIZE[1]})
    page = context.new_page()
    page.goto(address)
    answered, painted = page.evaluate(_TIMES)
    context.close()
    return answered, painted


def _scroll_row(browser: Browser, address: str, seconds: float) -> Row:
    context = browser.new_context(viewport={"width": SIZE[0], "height": SIZE[1]})
    page = context.new_page()
    page.goto(f"{address}/people")
    n_cards, gaps = page.evaluate(_SCROLL, seconds)
    context.close()
    p50, p95, p99 = np.percentile(gaps, (50, 95, 99))
    return Row(
        f"{N_FACES:,} faces, /people scrolled for {seconds:g} s: ms a frame",
        f"{p50:.0f} in the median, {p95:.0f} at the 95th percentile, {p99:.0f} at the 99th; "
        f"{n_cards:,} people were loaded",
    )
