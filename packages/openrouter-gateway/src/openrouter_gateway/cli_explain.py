"""The command `explain`: how a request would be routed, by a running gateway or by the configuration alone."""

import http.client
import random
import sys
import time
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from openrouter_gateway.callers.plugins import RUNS
from openrouter_gateway.config.catalog import build_catalog, load_keys
from openrouter_gateway.config.settings import config_path, load_settings, locate
from openrouter_gateway.errors import ConfigError, GatewayError
from openrouter_gateway.planning import parse_dry_run
from openrouter_gateway.routing.explain import explain as explain_draft
from openrouter_gateway.routing.facts import Facts
from openrouter_gateway.routing.plan import draft_route

_TIMEOUT_S = 10
_out = Console(highlight=False, soft_wrap=True)
_errors = Console(stderr=True, highlight=False, soft_wrap=True)


def explain(
    body: Annotated[str, typer.Argument(help="A chat completion's body as a file, - for standard input, or a model.")],
    url: Annotated[
        str | None, typer.Option(help="A running gateway, to see the health of endpoints as it does now.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Its key.", envvar="OPENROUTER_API_KEY")] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration file (TOML), without --url.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show which endpoints a request would try, in which order, and why not the others. No provider is asked."""
    path = config or config_path()
    try:
        request = _read_body(body)
        found = _ask(url, key, request) if url else _plan(path, request)
    except ConfigError as error:
        _errors.print(f"[red]Cannot explain:[/] {escape(locate(error, path))}")
        raise typer.Exit(2) from None
    except GatewayError as error:
        _errors.print(f"[red]{error.status}:[/] {escape(error.message)}")
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        _show(found)
    if found["error"]:
        raise typer.Exit(1)


def _read_body(body: str) -> bytes:
    if body == "-":
        return sys.stdin.buffer.read()
    if Path(body).is_file():
        return Path(body).read_bytes()
    if body.endswith(".json") or body.startswith("{"):
        raise ConfigError(f"there is no file {body}")
    return msgspec.json.encode({"model": body, "messages": [{"role": "user", "content": "Hello"}]})


def _plan(path: Path | None, body: bytes) -> dict[str, Any]:
    """Return what a gateway with this configuration would say before its first request."""
    settings = load_settings(path)
    catalog = build_catalog(settings, frozenset(load_keys(settings)))
    request = parse_dry_run(body, catalog)
    facts = Facts(
        now=time.perf_counter(),
        dice=random.random,
        policy=settings.policy.to_core(),
        runs=RUNS,
        search_engine=settings.web.engine,
    )
    return explain_draft(request, draft_route(request, catalog, facts), facts)


def _ask(url: str, key: str | None, body: bytes) -> dict[str, Any]:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    if parts.scheme not in kinds or not parts.hostname:
        raise ConfigError("--url: must be that of a gateway, such as http://127.0.0.1:8787")
    base = parts.path.rstrip("/").removesuffix("/api/v1")
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    try:
        connection = kinds[parts.scheme](parts.hostname, parts.port, timeout=_TIMEOUT_S)
        connection.request("POST", f"{base}/api/v1/route/explain", body, headers)
        reply = connection.getresponse()
        answer: Any = msgspec.json.decode(reply.read())
        connection.close()
    except (OSError, ValueError, http.client.HTTPException, msgspec.DecodeError) as error:
        raise ConfigError(f"no gateway answers at {parts.hostname}:{parts.port or ''}: {error}") from None
    if reply.status != http.client.OK:
        refused = GatewayError(answer["error"]["message"])
        refused.status = reply.status
        raise refused
    return answer


def _show(found: dict[str, Any]) -> None:
    how = found["strategy"] if found["router"] is None else f"{found['strategy']} ({found['router']})"
    ceilings: dict[str, str] = found["max_price"] or {}
    ceiling = ", ".join(f"{kind} {rate}" for kind, rate in ceilings.items())
    _out.print(f"{', '.join(found['requested'])}: {how}, ordered by {found['ordering']}", markup=False)
    if ceiling:
        _out.print(f"Price ceiling: {ceiling}", markup=False)
    if sticky := found.get("sticky"):
        _out.print(f"Its conversation stays at {sticky['tag']} ({sticky['model']})", markup=False)
    if found["endpoints"]:
        table = Table(
            "#", "Model", "Endpoint", "Why here", "USD per million tokens", "Health", box=None, padding=(0, 2, 0, 0)
        )
        for row in found["endpoints"]:
            cells = (
                row["position"],
                row["model"],
                row["tag"],
                row["reason"],
                _rates(row["price"]),
                _health(row["health"]),
            )
            table.add_row(*(escape(str(cell)) for cell in cells))
        _out.print(table)
    for row in found["removed"]:
        _out.print(f"not {row['tag']} ({row['model']}): {row['reason']}", markup=False)
    if found["error"]:
        _errors.print(f"[red]{found['error']['code']}:[/] {escape(found['error']['message'])}")


def _rates(price: dict[str, str] | None) -> str:
    if price is None:
        return "not known"
    return " / ".join(f"{float(price.get(kind, 0)) * 1e6:g}" for kind in ("prompt", "completion"))


def _health(health: dict[str, Any] | None) -> str:
    if health is None:
        return "no data"
    words = [health["standing"]]
    words += [
        word for word, shown in (("broken", health["broken"]), ("recent outage", health["recent_outage"])) if shown
    ]
    if latency := health["latency_s"]:
        words.append(f"{latency['p50']:g} s to the first token")
    if throughput := health["tokens_per_s"]:
        words.append(f"{throughput['p50']:g} tokens/s")
    return ", ".join(words)
