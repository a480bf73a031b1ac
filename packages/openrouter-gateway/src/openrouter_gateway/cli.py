"""The command `openrouter-gateway`."""

import os
import signal
import socket
import sys
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Annotated

import typer
import uvicorn
from rich.console import Console
from rich.markup import escape
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from openrouter_gateway.app import Gateway, log_refused_config
from openrouter_gateway.cli_activity import activity
from openrouter_gateway.cli_doctor import doctor
from openrouter_gateway.cli_explain import explain
from openrouter_gateway.cli_keys import build_apps, has_keys
from openrouter_gateway.config.catalog import build_catalog, load_keys
from openrouter_gateway.config.destinations import build_destinations
from openrouter_gateway.config.settings import (
    CONFIG_VARIABLE,
    Settings,
    config_path,
    load_settings,
    locate,
    parse_settings,
    read_config,
)
from openrouter_gateway.config.snapshot import default_location, load_snapshot
from openrouter_gateway.edge.catalog import decimal_text
from openrouter_gateway.edge.connection import GatewayProtocol
from openrouter_gateway.edge.listener import bind
from openrouter_gateway.edge.metrics import DIRECTORY_VARIABLE
from openrouter_gateway.errors import ConfigError
from openrouter_gateway.logs import configure_logging

app = typer.Typer(
    help="OpenRouter that you host: one endpoint, many providers, and a model of its own when there are none.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
catalog_app = typer.Typer(help="The models, endpoints and prices that are known.", no_args_is_help=True)
app.add_typer(catalog_app, name="catalog")
for _name, _commands in zip(
    ("keys", "credits"), build_apps(lambda path: load_settings(path or config_path()).ledger.database_url), strict=True
):
    app.add_typer(_commands, name=_name)
for _name, _command in (("explain", explain), ("doctor", doctor), ("activity", activity)):
    app.command(_name)(_command)
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
    record: Annotated[
        Path | None, typer.Option(help="Record what is exchanged with providers in this directory, without keys.")
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(help="Answer from the recordings in this directory; no provider is asked, no key needed."),
    ] = None,
    replay_timing: Annotated[
        bool, typer.Option("--replay-timing", help="Replay as slowly as it was recorded, rather than at once.")
    ] = False,
) -> None:
    """Serve the OpenRouter API until SIGTERM or Ctrl-C."""
    if record and replay:
        raise typer.BadParameter("it excludes --record: what is replayed need not be recorded", param_hint="--replay")
    overrides = {"SERVER__HOST": host, "SERVER__PORT": port, "SERVER__WORKERS": workers}
    if stand_in:
        overrides["STAND_IN"] = "true"
    if record or replay:
        overrides |= {"RECORDING__MODE": "record" if record else "replay", "RECORDING__DIRECTORY": record or replay}
    if replay_timing:
        overrides["RECORDING__TIMING"] = "true"
    for name, value in overrides.items():
        # Worker processes read the environment, so options go through it, too.
        if value is not None:
            os.environ[f"OPENROUTER_GATEWAY__{name}"] = str(value)
    if config is not None:
        os.environ[CONFIG_VARIABLE] = str(config)
    elif named := os.environ.get(CONFIG_VARIABLE):
        config = Path(named)
    configure_logging()
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nothing to reload before there is a server
    try:
        settings = load_settings(config)
        configure_logging(settings.log_format)
        gateway = Gateway(settings)
        listener = _listen(settings)
        is_open = not (settings.has_keys or has_keys(settings.ledger.database_url))
    except ConfigError as error:
        _console.print(f"[red]Cannot start:[/] {escape(locate(error, config))}")
        raise typer.Exit(2) from None
    _announce(settings, gateway, listener, is_open=is_open)
    _run(settings, gateway, listener, config)


@catalog_app.command()
def refresh(
    output: Annotated[
        Path | None, typer.Option(help="File to write.  [default: catalog.json in the user's data directory]")
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            help="A file or URL with OpenRouter's answer to GET /models or GET /models/{author}/{slug}/endpoints, to "
            "merge in. May be given several times.",
        ),
    ] = None,
    day: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Take the prices of this day.  [default: today]")
    ] = None,
) -> None:
    """Write down the models and prices that the installed genai-prices knows."""
    # Imported here: the tables take a second to build, and nothing else needs them.
    from openrouter_gateway.config.refresh import make_snapshot, write_snapshot

    path = output or default_location()
    taken: date = day.date() if day else datetime.now(UTC).date()
    try:
        merged = make_snapshot(taken, source or [])
        write_snapshot(merged.snapshot, path)
    except ConfigError as error:
        _console.print(f"[red]Cannot refresh:[/] {escape(str(error))}")
        raise typer.Exit(2) from None
    snapshot = merged.snapshot
    typer.echo(f"{path}: {len(snapshot.models)} models, {len(snapshot.endpoints)} endpoints, prices of {snapshot.date}")
    typer.echo(f"Made of {', '.join(snapshot.sources)}")
    for model_id, tags in merged.left_out.items():
        typer.echo(f"{model_id}: left out, as their names of it are not known: {', '.join(tags)}")


@catalog_app.command()
def show(
    model: Annotated[str | None, typer.Argument(help="Show the endpoints of this model only.")] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration file (TOML).")] = None,
) -> None:
    """List what a gateway would offer, with its configuration and the keys in the environment."""
    path = config or config_path()
    try:
        settings = load_settings(path)
        catalog = build_catalog(settings, frozenset(load_keys(settings)))
        snapshot = load_snapshot(settings.catalog.file)
    except ConfigError as error:
        _console.print(f"[red]Cannot read the catalogue:[/] {escape(locate(error, path))}")
        raise typer.Exit(2) from None
    wanted = catalog.aliases.get(model or "", model)
    if wanted is not None and wanted not in catalog.listings:
        _console.print(f"{escape(wanted)} is not in the catalogue")
        raise typer.Exit(1)
    typer.echo(f"# {', '.join(snapshot.sources)}; prices of {snapshot.date}, in USD per million tokens")
    for listing in catalog.listings.values():
        for endpoint in listing.endpoints if wanted in (None, listing.model.id) else ():
            price = endpoint.price
            rates = [decimal_text(rate * 1_000_000) for rate in (price.prompt, price.completion)] if price else ["?"]
            typer.echo("\t".join([listing.model.id, endpoint.tag, endpoint.upstream_id, " / ".join(rates)]))
    if wanted is None:
        for alias, target in catalog.aliases.items():
            typer.echo(f"{alias}\t= {target}")


def _listen(settings: Settings) -> socket.socket:
    """Bind here rather than in the server: a port that is taken gets a sentence, port 0 a number to show."""
    server = settings.server
    try:
        listener = bind(server.host, server.port)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {server.host} port {server.port}: {error.strerror}; choose another with --port"
        ) from None
    listener.set_inheritable(True)
    return listener


def _announce(settings: Settings, gateway: Gateway, listener: socket.socket, *, is_open: bool) -> None:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    out = Console(highlight=False, soft_wrap=True, markup=False)
    out.print(f"openrouter-gateway {version('openrouter-gateway')} on http://{shown}:{port}/api/v1")
    out.print(f"Models: {gateway.summary()}")
    for note in gateway.notes():
        out.print(note)
    if settings.server.workers > 1 and settings.state.url is None:
        out.print("Without state.url each of the workers counts the limits of keys for itself, and knows only its own")
        out.print("answers by Idempotency-Key: a repeat that comes to another worker is made and paid again.")
    if is_open:
        out.print("No keys are configured: everyone on this machine may use this gateway.")
    sys.stdout.flush()


class _AcceptedConfig:
    """The configuration that the workers serve by: a private copy of the file as it was when it was last found right.

    So a worker that has to be replaced starts with what the others serve by, whatever the file holds by then.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._directory = TemporaryDirectory(prefix="openrouter-gateway-")
        self.copy = Path(self._directory.name) / path.name

    def accept(self) -> None:
        """Take the file as it is now.

        Raises:
            ConfigError: it is wrong, and the copy stays as it was.
        """
        text = read_config(self._path)
        settings = parse_settings(self._path, text)
        try:
            build_catalog(settings, frozenset(load_keys(settings)))
            build_destinations(settings.destinations)
        except ConfigError as error:
            raise ConfigError(locate(error, self._path)) from None
        new = self.copy.with_suffix(".new")
        new.write_text(text, "utf-8")
        new.replace(self.copy)

    def remove(self) -> None:
        """Leave nothing behind."""
        self._directory.cleanup()


class _Workers(Multiprocess):
    """The parent of the worker processes. SIGHUP is passed on to each, so that it reloads, if the file is right.

    uvicorn would replace them, and cut what outlasts the drain. A worker that is still starting gets the signal once it
    can be heard, since it may have read the old configuration; one that has died meanwhile is replaced, and reads the
    new.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], accepted: _AcceptedConfig | None) -> None:
        super().__init__(config, sockets)
        self._accepted = accepted
        self._unheard: list[Process] = []

    def handle_hup(self) -> None:
        if self._accepted is None:
            return
        try:
            self._accepted.accept()
        except ConfigError as error:
            log_refused_config(error)
            return
        self._unheard = list(self.processes)

    def keep_subprocess_alive(self) -> None:
        super().keep_subprocess_alive()
        self._unheard = [
            process for process in self._unheard if process in self.processes and not _send_hangup(process)
        ]


def _send_hangup(process: Process) -> bool:
    """Send SIGHUP to a worker if it can be heard, and return whether it was."""
    if not process.is_ready(timeout=1) or process.pid is None:
        return False
    os.kill(process.pid, signal.SIGHUP)
    return True


def _run_workers(config: uvicorn.Config, listener: socket.socket, path: Path | None) -> _Workers:
    accepted = None
    if path is not None:
        accepted = _AcceptedConfig(path)
        accepted.accept()
        os.environ[CONFIG_VARIABLE] = str(accepted.copy)
    supervisor = _Workers(config, [listener], accepted)
    try:
        with TemporaryDirectory(prefix="openrouter-gateway-metrics-") as shared:
            os.environ[DIRECTORY_VARIABLE] = shared
            supervisor.run()
    finally:
        if accepted is not None:
            accepted.remove()
    return supervisor


def _run(settings: Settings, gateway: Gateway, listener: socket.socket, path: Path | None) -> None:
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
        log_config=None,  # its lines are ours, too, in the format that is configured
        ws="none",
    )
    if server.workers > 1:
        supervisor = _run_workers(config, listener, path)
        if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
            raise typer.Exit(STARTUP_FAILURE)
        return
    runner = uvicorn.Server(config)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        runner.should_exit = True

    # While it runs the server has a handler of its own for SIGTERM, and raises the signal once more when it has
    # drained: that is a good end. This one is for the time before.
    signal.signal(signal.SIGTERM, stop)
    try:
        runner.run(sockets=[listener])
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    if not runner.started and not runner.should_exit:
        raise typer.Exit(STARTUP_FAILURE)
