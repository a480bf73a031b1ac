"""Making the snapshot: `openrouter-gateway catalog refresh`."""

import os
import tempfile
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Final
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from openrouter_gateway.config.enrichment import enrich_endpoints, enrich_models
from openrouter_gateway.config.model_lists import Merged, merge_lists
from openrouter_gateway.config.price_tables import load_price_tables
from openrouter_gateway.config.snapshot import Snapshot, encode
from openrouter_gateway.errors import ConfigError

_TIMEOUT_S: Final = 30.0
_MAX_BYTES: Final = 64 * 1024 * 1024


def make_snapshot(day: date, sources: Iterable[str] = ()) -> Merged:
    """Return the snapshot of a day: the price tables, and answers of OpenRouter from files or URLs merged into them.

    What neither tells of a model or an endpoint is what is known of its family.

    Raises:
        ConfigError: a source cannot be read, or is no such answer.
    """
    documents = [(_name_of(source), _read(source)) for source in sources]
    merged = merge_lists(enrich_models(load_price_tables(day)), documents)
    return Merged(enrich_endpoints(merged.snapshot), merged.left_out)


def write_snapshot(snapshot: Snapshot, path: Path) -> None:
    """Write the file in one step, so that nobody reads half of it.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            file.write(encode(snapshot))
        Path(file.name).chmod(0o644)
        os.replace(file.name, path)  # noqa: PTH105 - the same as Path.replace, with plain names
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None


def _is_url(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def _name_of(source: str) -> str:
    """Return how the snapshot names its source: without a machine's paths, or what a URL may carry besides its path."""
    if not _is_url(source):
        return Path(source).name
    parts = urlsplit(source)
    return f"{parts.hostname}{parts.path}"


def _read(source: str) -> bytes:
    try:
        if not _is_url(source):
            return Path(source).read_bytes()
        request = Request(source, headers={"Accept": "application/json", "User-Agent": "openrouter-gateway"})  # noqa: S310 - http(s) only, see above
        with urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            data: bytes = answer.read(_MAX_BYTES + 1)
    except URLError as error:
        raise ConfigError(f"cannot fetch {_name_of(source)}: {error.reason}") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {_name_of(source)}: {error}") from None
    if len(data) > _MAX_BYTES:
        raise ConfigError(f"{_name_of(source)} is larger than {_MAX_BYTES} bytes")
    return data
