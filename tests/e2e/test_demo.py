"""`make demo`, the first thing that a newcomer runs."""

import re
import subprocess
from pathlib import Path

import pytest

from fakes.gateway import clean_environment

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not (ROOT / ".venv" / ".ready").exists(), reason="only where make has set up the environment")
def test_the_demo_shows_everything_also_behind_a_proxy() -> None:
    """A streamed answer, a call, an object, each with its account, though the environment names a proxy."""
    nowhere = dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"), "http://127.0.0.1:9")
    done = subprocess.run(
        ["make", "demo"],  # noqa: S607
        cwd=ROOT,
        env=clean_environment() | nowhere,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr), done.stdout
    shown = done.stdout
    assert "GetWeather({'location': " in shown
    assert "City(name='" in shown
    accounts = r"\d+ tokens in, \d+ out, \$0\.000000, provider Local, gen-\d+-\w{20}"
    assert 3 == len(re.findall(accounts, shown))
