"""Real processes: gateways, providers, models."""

from collections.abc import Generator
from pathlib import Path

import pytest

from fakes.gateway import Gateway, provider_config, running_gateway
from fakes.provider import FakeProvider, running_provider

BEHAVIOURS = (
    "answer", "slow-first:1.5", "endless", "hang", "status:400", "status:401", "status:500", "throttled", "garbage",
    "cut", "cut-at-once", "error-chunk", "error-first", "no-usage", "paced:10",
    "bad-framing", "key-error",
)  # fmt: skip


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Generator[Gateway]:
    """A gateway as it comes, with its embedded model alone."""
    with running_gateway(tmp_path_factory.mktemp("embedded")) as gateway:
        yield gateway


@pytest.fixture
def provider() -> Generator[FakeProvider]:
    """A scriptable provider."""
    with running_provider() as running:
        yield running


@pytest.fixture
def second_provider() -> Generator[FakeProvider]:
    """Another one, to fail over to."""
    with running_provider() as running:
        yield running


@pytest.fixture
def gateway(tmp_path: Path, provider: FakeProvider) -> Generator[Gateway]:
    """A gateway in front of the scriptable provider; the model `fake/<behaviour>` does what its name says."""
    models = {f"fake/{name.replace(':', '-')}": name for name in BEHAVIOURS}
    config = provider_config(
        {"first": provider.base_url},
        models,
        head="[server]\ncomment_interval_s = 0.5\ndrain_timeout_s = 3\nmax_body_bytes = 100000\n",
    )
    with running_gateway(tmp_path, config) as running:
        yield running
