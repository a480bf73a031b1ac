"""Writes `docs/gateway/support.md`: what is supported, with the tests that show it, or the reason why it is not.

    .venv/bin/python tests/support_page.py

The tables, their rows and columns, and the reasons are in `support_matrix.toml`; the tests are those that pytest finds
(`support_plugin`). A cell with neither is an error, as is a mark that names no cell.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct, convert

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = ROOT / "docs" / "gateway" / "support.md"
_MATRIX: Final = Path(__file__).with_name("support_matrix.toml")
_TESTS: Final = (
    "packages/openrouter-gateway/tests",
    "tests/e2e",
    "tests/conformance",
    "packages/langchain-openrouter/tests",
)
_HEAD: Final = """\
# What is supported

Written by `make support` from the tests themselves: do not edit. Every cell is either *yes*, with its tests named
further down, or *no*, with the reason there. The tests run in `make test` and `make conformance`; one of them that does
not run fails.
"""


class Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table: its columns and rows, and the reasons of the cells that say no, by column and row."""

    title: str
    about: str
    columns: dict[str, str]
    rows: list[str]
    no: dict[str, dict[str, str]]


class Cover(Struct, frozen=True, kw_only=True):
    """One mark: a test, the name of what it is run with if that tells more, and the cells that it covers."""

    test: str
    name: str | None
    column: str
    rows: list[str]

    @property
    def shown(self) -> str:
        """As the page names it."""
        path, _, test = self.test.partition("::")
        name = self.name or f"{Path(path).name}::{test}"
        return "`" + name.replace("`", "'") + "`"


class Support(Struct, frozen=True, kw_only=True):
    """All tables and marks."""

    tables: dict[str, Table]
    covers: list[Cover]

    def tests_of(self, table: str, column: str, row: str) -> list[str]:
        """Return what covers a cell, each once, in order."""
        where = f"{table}.{column}"
        return sorted({cover.shown for cover in self.covers if cover.column == where and row in cover.rows})

    def problems(self) -> Iterator[str]:
        """Say what is wrong with marks and cells."""
        known = {f"{name}.{column}": table for name, table in self.tables.items() for column in table.columns}
        for cover in self.covers:
            if cover.column not in known:
                yield f"{cover.shown} covers {cover.column!r}, which is no column"
                continue
            for row in cover.rows:
                if row not in known[cover.column].rows:
                    yield f"{cover.shown} covers {row!r} of {cover.column}, which is no row"
        for name, table in self.tables.items():
            for column in table.no:
                if column not in table.columns:
                    yield f"{name}.{column} has reasons and is no column"
            for column in table.columns:
                yield from self._problems_of(name, column)

    def _problems_of(self, name: str, column: str) -> Iterator[str]:
        table = self.tables[name]
        reasons = table.no.get(column, {})
        for row in reasons.keys() - set(table.rows):
            yield f"{name}.{column} has a reason for {row!r}, which is no row"
        for row in table.rows:
            if row not in reasons and not self.tests_of(name, column, row):
                yield f"{name}.{column} has neither a test nor a reason for {row!r}"

    def render(self) -> str:
        """Return the page."""
        parts = [_HEAD]
        for name, table in self.tables.items():
            parts.append(f"## {table.title}\n\n{table.about}\n\n{self._grid(table)}")
            parts += [f"### {title}\n\n{self._details(name, column)}" for column, title in table.columns.items()]
        return "\n".join(parts)

    def _grid(self, table: Table) -> str:
        head = [["", *table.columns.values()], ["---"] * (len(table.columns) + 1)]
        cells = [
            [row, *("no" if row in table.no.get(column, {}) else "yes" for column in table.columns)]
            for row in table.rows
        ]
        return _to_lines(head + cells)

    def _details(self, name: str, column: str) -> str:
        table = self.tables[name]
        lines = [["feature", "tests"], ["---", "---"]]
        for row in table.rows:
            reason = table.no.get(column, {}).get(row)
            told = [f"*no*: {reason}"] if reason is not None else []
            lines.append([row, "<br>".join([*told, *self.tests_of(name, column, row)])])
        return _to_lines(lines)


def _to_lines(rows: list[list[str]]) -> str:
    return "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |\n" for row in rows)


def load_support() -> Support:
    """Read the tables, and have pytest find the tests, which takes some seconds."""
    files = [
        str(file)
        for folder in _TESTS
        for file in sorted((ROOT / folder).glob("test_*.py"))
        if "covers" in file.read_text()
    ]
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "covers.json"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "--collect-only",
            "-qq",
            "-p",
            "support_plugin",
            "--support-out",
            out,
        ]
        done = subprocess.run(
            [*command, *files],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"pytest could not collect the tests:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
        covers = convert(json.loads(out.read_text()), list[Cover])
    return Support(tables=convert(tomllib.loads(_MATRIX.read_text()), dict[str, Table]), covers=covers)


def main() -> None:
    """Write the page, unless something is wrong."""
    support = load_support()
    if problems := sorted(set(support.problems())):
        sys.exit("\n".join(problems))
    PAGE.write_text(support.render())


if __name__ == "__main__":
    main()
