"""The command `openrouter-gateway`."""

import os
import signal
import socket
import sys
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
import uvicorn
from rich.console import Console
from rich.markup import escape
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from openrouter_gateway.app import Gateway, configure_logging
from openrouter_gateway.config.settings import CONFIG_VARIABLE, Settings, load_settings
from openrouter_gateway.edge.connection import GatewayProtocol
from openrouter_gateway.errors import ConfigError

app = typer.Typer(
    help="OpenRouter that you host: one endpoint, many providers, and a model of its own when there are none.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_console = Console(stderr=True, highlight=False, soft_wrap=True)


def main() -> None:
    """Run the command."""
    app()


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("openrouter-gateway"))
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None: ...


@app.command()
def serve(
    config: Annotated[Path | None, typer.Option(help="Configuration file (TOML).")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.  [default: 127.0.0.1]")] = None,
    port: Annotated[
        int | None,
        typer.Option(help="Port to listen on; 0 takes a free one.  [default: 8787]", min=0, max=65535),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Number of processes.  [default: 1]", min=1)] = None,
    stand_in: Annotated[
        bool, typer.Option("--stand-in", help="Answer every model of the catalogue with the embedded one.")
    ] = False,
) -> None:
    """Serve the OpenRouter API until SIGTERM or Ctrl-C."""
    overrides = {"SERVER__HOST": host, "SERVER__PORT": port, "SERVER__WORKERS": workers}
    if stand_in:
        overrides["STAND_IN"] = "true"
    for name, value in overrides.items():
        # Worker processes read the environment, so options go through it, too.
        if value is not None:
            os.environ[f"OPENROUTER_GATEWAY__{name}"] = str(value)
    if config is not None:
        os.environ[CONFIG_VARIABLE] = str(config)
    elif named := os.environ.get(CONFIG_VARIABLE):
        config = Path(named)
    configure_logging()
    try:
        settings = load_settings(config)
        gateway = Gateway(settings)
        listener = _listen(settings)
    except ConfigError as error:
        _console.print(f"[red]Cannot start:[/] {escape(str(error))}")
        raise typer.Exit(2) from None
    _announce(settings, gateway, listener)
    _run(settings, gateway, listener)


def _listen(settings: Settings) -> socket.socket:
    """Bind here rather than in the server: a port that is taken gets a sentence, port 0 a number to show."""
    server = settings.server
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {server.host} port {server.port}: {error.strerror}; choose another with --port"
        ) from None
    listener.set_inheritable(True)
    return listener


def _announce(settings: Settings, gateway: Gateway, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    out = Console(highlight=False, soft_wrap=True, markup=False)
    out.print(f"openrouter-gateway {version('openrouter-gateway')} on http://{shown}:{port}/api/v1")
    out.print(f"Models: {gateway.summary()}")
    if not settings.has_keys:
        out.print("No keys are configured: everyone on this machine may use this gateway.")
    sys.stdout.flush()


def _run(settings: Settings, gateway: Gateway, listener: socket.socket) -> None:
    server = settings.server
    config = uvicorn.Config(
        gateway.edge if server.workers == 1 else "openrouter_gateway.app:create_app",
        factory=server.workers > 1,
        workers=server.workers,
        http=GatewayProtocol,
        timeout_graceful_shutdown=server.drain_timeout_s,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        log_level="warning",
        ws="none",
    )
    if server.workers > 1:
        supervisor = Multiprocess(config, sockets=[listener])
        supervisor.run()
        if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
            raise typer.Exit(STARTUP_FAILURE)
        return
    runner = uvicorn.Server(config)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        runner.should_exit = True

    # While it runs the server has a handler of its own for SIGTERM, and raises the signal once more when it has
    # drained: that is a good end. This one is for the time before, and for SIGHUP, which the server does not know.
    signal.signal(signal.SIGTERM, stop)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, stop)
    try:
        runner.run(sockets=[listener])
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    if not runner.started and not runner.should_exit:
        raise typer.Exit(STARTUP_FAILURE)
