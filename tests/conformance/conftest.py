"""Fixtures of the conformance tests: a running gateway, and an environment for each client."""

from collections.abc import Iterator

import pytest
from _pytest.capture import CaptureManager

from conformance.environments import Environment
from fakes.anthropic_provider import running_anthropic
from fakes.gateway import Gateway, running_gateway

_CLAUDE = """
[providers.fake]
name = "Fake"
protocol = "anthropic"
base_url = "{base_url}"
api_key = "sk-fake"
models = [
    {{ id = "fake/claude", upstream_id = "claude-sonnet-4-5" }},
    {{ id = "fake/status-429", upstream_id = "status:429" }},
    {{ id = "fake/status-529", upstream_id = "status:529" }},
    {{ id = "fake/overloaded", upstream_id = "overloaded" }},
]
"""


@pytest.fixture(scope="session")
def environment(request: pytest.FixtureRequest) -> Environment:
    """The client's environment, installed on first use."""
    wanted: Environment = request.param
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def say(line: str) -> None:
        """Past pytest's capturing: whoever waits should see why."""
        assert isinstance(capture, CaptureManager)
        with capture.global_and_fixture_disabled():
            writer = request.config.get_terminal_writer()
            writer.line()
            writer.line(line)

    wanted.ensure(say)
    return wanted


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The gateway of all clients: its embedded model, and beside it a Claude that is none, for what it thinks."""
    with running_anthropic() as claude:
        config = _CLAUDE.format(base_url=claude.base_url)
        with running_gateway(tmp_path_factory.mktemp("gateway"), config) as running:
            yield running
