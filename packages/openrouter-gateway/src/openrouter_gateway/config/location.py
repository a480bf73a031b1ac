"""Where the gateway keeps what it writes, unless told otherwise."""

import os
from collections.abc import Mapping
from pathlib import Path


def data_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Return `$XDG_DATA_HOME/openrouter-gateway`; in `~/.local/share` without that variable."""
    base = environment.get("XDG_DATA_HOME") or Path("~/.local/share").expanduser()
    return Path(base) / "openrouter-gateway"
