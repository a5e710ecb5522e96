import logging
import time

import pytest

from facesim_index.web.guard.log_limit import LogLimit, limited_log

ASYNCIO = logging.getLogger("asyncio")


def test_of_each_message_some_are_written_and_the_others_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with limited_log():
        for number in range(1000):
            ASYNCIO.error("no more files for %s", number)
        ASYNCIO.error("something else")
    told = [record.getMessage() for record in caplog.records]
    assert told[:10] == [f"no more files for {number}" for number in range(10)]
    assert told[10:] == [
        "something else",
        "990 messages of asyncio were left out: no more files for %s",
    ]


def test_after_a_while_it_is_told_again(caplog: pytest.LogCaptureFixture) -> None:
    limit = LogLimit(most=1, period_s=0.2)
    ASYNCIO.addFilter(limit)
    try:
        for _ in range(3):
            ASYNCIO.error("full")
        limit.tell_old()
        assert [record.getMessage() for record in caplog.records] == ["full"]
        time.sleep(0.25)
        limit.tell_old()
        ASYNCIO.error("full")
    finally:
        ASYNCIO.removeFilter(limit)
    told = [record.getMessage() for record in caplog.records]
    assert told == ["full", "2 messages of asyncio were left out: full", "full"]


def test_it_does_not_grow_with_what_is_told(caplog: pytest.LogCaptureFixture) -> None:
    limit = LogLimit()
    for number in range(3000):
        assert limit.filter(logging.makeLogRecord({"name": "x", "msg": f"message {number}"}))
    assert len(limit._told) <= 1000
    assert not caplog.records


def test_afterwards_nothing_is_limited(caplog: pytest.LogCaptureFixture) -> None:
    with limited_log():
        pass
    for _ in range(50):
        ASYNCIO.error("again")
    assert len(caplog.records) == 50
