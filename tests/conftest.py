"""How the tests are run: on one thread each, on which pictures, with how many examples.

FACESIM_TEST_DATA names the folder of real pictures; without it the tests that need it are
skipped.  With FACESIM_REQUIRE_DATA=1 a run that skipped one of them, or the examples of a module
that could not be imported, or in which nothing passed, fails.
"""

import logging
import os

# Several tests run at the same time, and threads beside them only cost time.  Before NumPy.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

DATA = "FACESIM_TEST_DATA"
REQUIRE_DATA = "FACESIM_REQUIRE_DATA"

# Chosen with pytest's option --hypothesis-profile.  How long an example takes says nothing on
# a machine that does other things too.
settings.register_profile("ci", settings.get_profile("default"), deadline=None)
settings.register_profile("dev", settings.get_profile("ci"), max_examples=10)
settings.load_profile("ci")


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real pictures, absolute."""
    named = os.environ.get(DATA)
    if not named:
        pytest.skip(f"needs real pictures: {DATA} is not set")
    folder = Path(named).resolve()
    if not folder.is_dir():
        pytest.fail(f"{DATA} is {named}, which is not a folder")
    return folder


@pytest.fixture(autouse=True)
def _logger_as_it_was() -> Generator[None]:
    """The command line says which messages are shown, which would hold for the next test, too."""
    logger = logging.getLogger("facesim_index")
    handlers, level = list(logger.handlers), logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.hookimpl(wrapper=True)
def pytest_collect_file() -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Look for examples in the documentation of the package, and not in that of its tests."""
    found = yield
    return [collector for collector in found if type(collector).__name__ != "DoctestModule"]


# Files whose tests take many seconds together, though few of them take long alone.
SLOW_PLACES = (
    "tests/reliability/",
    "tests/calibration/fitting/test_calibrating.py",
    "tests/cli/test_calibrate.py",
    "tests/cli/test_evaluate.py",
    "tests/engine/runtimes/test_openvino_network.py",
    "tests/evaluation/test_report.py",
    "tests/pictures/test_views.py",
    "tests/web/test_server.py",
)


# First of all, so that `-m "not slow"` knows what is slow here.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow tests, so that no worker is left with one at the end."""
    for item in items:
        if item.nodeid.startswith(SLOW_PLACES):
            item.add_marker("slow")
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if os.environ.get(REQUIRE_DATA) != "1" or session.config.option.collectonly:
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:  # in a worker, whose results the main process counts
        return
    assert isinstance(reporter, pytest.TerminalReporter)
    skipped = [str(report.longrepr) for report in reporter.stats.get("skipped", [])]
    wanting = [reason for reason in skipped if DATA in reason or "unable to import" in reason]
    if wanting or not reporter.stats.get("passed"):
        reporter.write_line("")
        reporter.write_line(
            f"{REQUIRE_DATA}=1: {len(wanting)} tests were skipped for want of {DATA} or of a "
            f"package, {len(reporter.stats.get('passed', []))} passed",
            red=True,
        )
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
