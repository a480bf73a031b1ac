"""Where in a TOML file a key is: the standard parser does not say.

The file is taken apart into statements (a table's header, or a key and its value), each the fewest lines that parse by
themselves. So every rule of the syntax stays the parser's.
"""

import tomllib
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias, cast

Path: TypeAlias = tuple[str | int, ...]


def find_line(text: str, path: Path) -> int | None:
    """Return the number, from 1, of the line that sets a key, or else the nearest table around it; None if neither.

    `path` has table and key names, and the places of array elements. The text must be valid TOML.
    """
    lines = dict(_lines_of(text))
    return next((lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in lines), None)


def _lines_of(text: str) -> Iterator[tuple[Path, int]]:
    """Yield every path that is set, with its line."""
    tables: dict[Path, int] = {}
    table: Path = ()
    for number, statement in _statements(text):
        content = tomllib.loads(statement)
        if statement.lstrip().startswith("["):
            table = _enter(content, tables)
            yield table, number
        else:
            yield from ((path, number) for path in _paths_in(content, table))


def _statements(text: str) -> Iterator[tuple[int, str]]:
    lines = text.splitlines()
    start = 0
    for end in range(1, len(lines) + 1):
        statement = "\n".join(lines[start:end])
        if not statement.strip() or statement.lstrip().startswith("#"):
            start = end
        elif _parses(statement):
            yield start + 1, statement
            start = end


def _parses(statement: str) -> bool:
    try:
        tomllib.loads(statement)
    except tomllib.TOMLDecodeError:
        return False
    return True


def _enter(header: dict[str, Any], tables: dict[Path, int]) -> Path:
    """Return the path of a header's table; `tables` counts the elements of arrays of tables so far."""
    parts: list[str | int] = []
    value: Any = header
    while isinstance(value, dict) and value:
        ((name, value),) = cast("dict[str, Any]", value).items()
        parts.append(name)
        if isinstance(value, list):
            tables[tuple(parts)] = tables.get(tuple(parts), 0) + 1
        if tuple(parts) in tables:
            parts.append(tables[tuple(parts)] - 1)
    return tuple(parts)


def _paths_in(value: Any, above: Path) -> Iterator[Path]:
    items: Iterable[tuple[str | int, Any]]
    if isinstance(value, dict):
        items = cast("dict[str | int, Any]", value).items()
    elif isinstance(value, list):
        items = enumerate(cast("list[Any]", value))
    else:
        return
    for name, held in items:
        yield (*above, name)
        yield from _paths_in(held, (*above, name))
