"""Fixtures of the conformance tests: one gateway for all of them, one environment for each client."""

from collections.abc import Iterator

import pytest
from _pytest.capture import CaptureManager

from conformance.environments import Environment
from fakes.gateway import Gateway, running_gateway


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
    """The gateway as it comes, with its embedded model."""
    with running_gateway(tmp_path_factory.mktemp("gateway")) as running:
        yield running
