"""A pytest plugin for tests that say what they cover; see `support_page`.

A test says so with `@pytest.mark.covers("protocols.anthropic", "streaming", ...)`: a column of one of the tables in
`support_matrix.toml`, and rows of it. Vectors and cases of clients say it as data: what loads them adds the mark, with
a name of its own. Tests that are always skipped, or are expected to fail, cover nothing; one that is marked and skips
itself fails, because the page says that it ran.
"""

import json
from collections.abc import Generator
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say where to write what is covered."""
    parser.addoption("--support-out", type=Path, help="write there what the collected tests cover")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Write one entry for each mark of each test."""
    out: Path | None = session.config.getoption("--support-out")
    if out is None:
        return
    found = [
        {
            "test": item.nodeid.partition("[")[0],
            "name": mark.kwargs.get("name"),
            "column": mark.args[0],
            "rows": mark.args[1:],
        }
        for item in session.items
        if item.get_closest_marker("skip") is None and item.get_closest_marker("xfail") is None
        for mark in item.iter_markers("covers")
    ]
    out.write_text(json.dumps(found))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a marked test that skips itself."""
    report = yield
    if report.skipped and item.get_closest_marker("covers") is not None:
        report.outcome = "failed"
        report.longrepr = f"docs/gateway/support.md says that this test runs; it was skipped: {report.longrepr}"
    return report
