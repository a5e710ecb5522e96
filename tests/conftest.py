"""Where the tests find real pictures.

FACESIM_TEST_DATA names the folder; without it the tests that need it are skipped.  With
FACESIM_REQUIRE_DATA=1 a run that skipped one of them, or in which nothing passed, fails.
"""

import os
from pathlib import Path

import pytest

DATA = "FACESIM_TEST_DATA"
REQUIRE_DATA = "FACESIM_REQUIRE_DATA"


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


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if os.environ.get(REQUIRE_DATA) != "1" or session.config.option.collectonly:
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    assert isinstance(reporter, pytest.TerminalReporter)
    skipped = [str(report.longrepr) for report in reporter.stats.get("skipped", [])]
    without_data = [reason for reason in skipped if DATA in reason]
    if without_data or not reporter.stats.get("passed"):
        reporter.write_line("")
        reporter.write_line(
            f"{REQUIRE_DATA}=1: {len(without_data)} tests were skipped for want of {DATA}, "
            f"{len(reporter.stats.get('passed', []))} passed",
            red=True,
        )
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
