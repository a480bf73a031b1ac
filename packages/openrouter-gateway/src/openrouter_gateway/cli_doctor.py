"""The command `doctor`: whether everything that a gateway needs is there and works, and what to do if it does not."""

import asyncio
import datetime as dt
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from openrouter_gateway.config.settings import config_path
from openrouter_gateway.doctor.checkup import Wish, check_everything
from openrouter_gateway.doctor.findings import Finding, Standing

_COLOURS: Final[dict[Standing, str]] = {"ok": "green", "warning": "yellow", "failure": "bold red", "skipped": "dim"}
_WIDTH: Final = max(map(len, _COLOURS))
_LONGEST_NAME: Final = 24


def doctor(
    config: Annotated[Path | None, typer.Option(help="Configuration file (TOML).")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no provider, destination or server.")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Start the embedded model, too, and let it answer.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds that each of those asked may take.", min=0.1)] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check configuration, providers' keys, model, stores, destinations and port. Exits with 1 if anything fails.

    No provider makes a generation for it, keys are never shown, and nothing is changed.
    """
    wish = Wish(deep=deep, offline=offline, timeout_s=timeout)
    path = config or config_path()
    findings = asyncio.run(check_everything(path, wish, dt.datetime.now(dt.UTC).date()))
    failed = any(finding.standing == "failure" for finding in findings)
    if as_json:
        report = {"ok": not failed, "checks": findings}
        typer.echo(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
    else:
        _show(findings)
    if failed:
        raise typer.Exit(1)


def _show(findings: list[Finding]) -> None:
    out = Console(highlight=False, soft_wrap=True)
    name_width = min(max(len(finding.check) for finding in findings), _LONGEST_NAME)
    for finding in findings:
        colour = _COLOURS[finding.standing]
        line = Text.assemble(
            (f"{finding.standing:{_WIDTH}}  ", colour),
            (f"{_printable(finding.check):{name_width}}  ", "bold"),
            _printable(finding.message),
        )
        if finding.remedy is not None:
            line.append(f"; {_printable(finding.remedy)}", style="italic")
        out.print(line)
    counts = [(sum(each.standing == standing for each in findings), standing) for standing in _COLOURS]
    out.print(Text(", ".join(f"{count} {standing}" for count, standing in counts if count)), style="dim")


def _printable(text: str) -> str:
    """Names of destinations are what somebody typed: nothing in them may steer the terminal, or end the line."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
