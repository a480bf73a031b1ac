"""The command that writes the file of profiles, from a list of models.

It reads the list of the API (`GET /models`, digest 6.1 and 6.2) from a server or a file, and the file that models.dev
publishes (https://models.dev/api.json, its schema as of July 2026), of which it takes what is under `openrouter`.
The same input gives the same bytes.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias, TypeVar, cast

import msgspec
from langchain_core.language_models import ModelProfile

from langchain_openrouter._access import Access
from langchain_openrouter.errors import ConfigurationError, OpenRouterError, ProtocolViolation
from langchain_openrouter.models import list_models
from langchain_openrouter.profiles import OWN_FILE, PACKAGED

Profiles: TypeAlias = dict[str, ModelProfile]
Tokens: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
"""A limit; 0 stands for an unknown one in both lists."""
Id: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]
Facts: TypeAlias = Mapping[str, Any]
Row = TypeVar("Row", bound="OpenRouterModel | ModelsDevModel")


class Architecture(msgspec.Struct, frozen=True):
    """What goes in and out of a model; `tokenizer` is "Router" for those that hand on to another model."""

    input_modalities: list[str] | None = None
    output_modalities: list[str] | None = None
    tokenizer: str | None = None


class TopProvider(msgspec.Struct, frozen=True):
    """Limits of the provider that serves a model by default."""

    max_completion_tokens: Tokens | None = None


class Efforts(msgspec.Struct, frozen=True):
    """Effort levels of a reasoning model (digest 4.4); None for all of them, or unknown."""

    supported_efforts: list[str] | None = None
    default_effort: str | None = None


class OpenRouterModel(msgspec.Struct, frozen=True, kw_only=True):
    """What a profile takes of a row of `GET /models`; only the id is needed."""

    id: Id
    name: str | None = None
    context_length: Tokens | None = None
    architecture: Architecture | None = None
    top_provider: TopProvider | None = None
    supported_parameters: list[str] | None = None
    reasoning: Efforts | None = None
    hugging_face_id: str | None = None
    expiration_date: str | None = None


class Limit(msgspec.Struct, frozen=True):
    """Most tokens of question and answer together, of the answer, and of the question where that is less."""

    context: Tokens | None = None
    output: Tokens | None = None
    input: Tokens | None = None


class Modalities(msgspec.Struct, frozen=True):
    """What goes in and out of a model."""

    input: list[str] | None = None
    output: list[str] | None = None


class ReasoningOption(msgspec.Struct, frozen=True):
    """One way to steer reasoning: "toggle", "budget_tokens", or "effort" with its levels."""

    type: str
    values: list[str | None] | None = None


class ModelsDevModel(msgspec.Struct, frozen=True, kw_only=True):
    """What a profile takes of a model of models.dev."""

    id: Id
    name: str | None = None
    status: str | None = None
    release_date: str | None = None
    last_updated: str | None = None
    open_weights: bool | None = None
    attachment: bool | None = None
    reasoning: bool | None = None
    reasoning_options: list[ReasoningOption] | None = None
    tool_call: bool | None = None
    structured_output: bool | None = None
    temperature: bool | None = None
    limit: Limit | None = None
    modalities: Modalities | None = None


class Provider(msgspec.Struct, frozen=True):
    """A provider of models.dev."""

    models: dict[str, object]


class Lists(msgspec.Struct, frozen=True):
    """What a file may hold: the list of an API (`data`), or all providers of models.dev."""

    data: list[object] | None = None
    openrouter: Provider | None = None


ROUTERS: Final = frozenset(
    f"openrouter/{name}"
    for name in ("auto", "auto-beta", "free", "bodybuilder", "fusion", "fusion-flash", "pareto-code")
)
"""They answer with one model or another (digest 3.11), as the aliases `~author/family-latest` do."""

_CHAT_OUTPUTS: Final = frozenset({"text", "image", "audio"})
"""The others belong to endpoints of their own: embeddings, rerank, speech, transcription, video."""
_EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


# -- from rows to profiles -----------------------------------------------------------------------------


def to_profiles(listing: object) -> Profiles:
    """Return the profiles of a list of models, but for routers, aliases and models that do not chat.

    Raises:
        ValueError: The list has another form, or holds no model.
    """
    try:
        lists = msgspec.convert(listing, Lists)
    except msgspec.ValidationError as failure:
        raise ValueError(f"no list of models: {failure}") from failure
    if lists.data is not None:
        profiles = _profiles_of(lists.data, OpenRouterModel, _from_openrouter)
    elif lists.openrouter is not None:
        profiles = _profiles_of(lists.openrouter.models.values(), ModelsDevModel, _from_models_dev)
    else:
        raise ValueError("neither the list of an API (data) nor the file of models.dev (openrouter.models)")
    if not profiles:
        raise ValueError("no chat model is listed")
    return profiles


def _profiles_of(rows: Iterable[object], form: type[Row], convert: Callable[[Row], Facts | None]) -> Profiles:
    profiles: Profiles = {}
    for number, given in enumerate(rows):
        try:
            row = msgspec.convert(given, form)
        except msgspec.ValidationError as failure:
            named = cast("dict[str, Any]", given).get("id") if isinstance(given, dict) else None
            raise ValueError(f"model {named or number}: {failure}") from failure
        if row.id.startswith("~") or row.id in ROUTERS:
            continue
        if (facts := convert(row)) is not None:
            profiles[row.id] = cast("ModelProfile", {key: fact for key, fact in facts.items() if fact is not None})
    return profiles


def _from_openrouter(row: OpenRouterModel) -> Facts | None:
    architecture = row.architecture or Architecture()
    outputs = architecture.output_modalities
    if architecture.tokenizer == "Router" or (outputs and _CHAT_OUTPUTS.isdisjoint(outputs)):
        return None
    efforts = row.reasoning or Efforts()
    tools = _lists(row.supported_parameters, "tools")
    return {
        "name": row.name,
        "status": "deprecated" if row.expiration_date else None,
        "open_weights": True if row.hugging_face_id else None,
        "max_input_tokens": row.context_length or None,
        "max_output_tokens": (row.top_provider or TopProvider()).max_completion_tokens or None,
        **_from_modalities(architecture.input_modalities, outputs),
        "reasoning_output": _lists(row.supported_parameters, "reasoning", "include_reasoning", "reasoning_effort"),
        "reasoning_effort_levels": _sorted_efforts(efforts.supported_efforts or []),
        "reasoning_effort_default": efforts.default_effort,
        "tool_calling": tools,
        "tool_call_streaming": tools,
        "tool_choice": _lists(row.supported_parameters, "tool_choice"),
        "structured_output": _lists(row.supported_parameters, "structured_outputs"),
        "temperature": _lists(row.supported_parameters, "temperature"),
    }


def _from_models_dev(row: ModelsDevModel) -> Facts:
    limit = row.limit or Limit()
    modalities = row.modalities or Modalities()
    levels = [
        level for option in row.reasoning_options or [] if option.type == "effort" for level in option.values or []
    ]
    facts: dict[str, Any] = {
        "name": row.name,
        "status": row.status,
        "release_date": row.release_date,
        "last_updated": row.last_updated,
        "open_weights": row.open_weights,
        # Some models take less than their context: 272,000 of GPT-5's 400,000 tokens are for the question.
        "max_input_tokens": min(filter(None, (limit.context, limit.input)), default=None),
        "max_output_tokens": limit.output or None,
        **_from_modalities(modalities.input, modalities.output),
        "reasoning_output": row.reasoning,
        "reasoning_effort_levels": _sorted_efforts(filter(None, levels)),
        "tool_calling": row.tool_call,
        "tool_call_streaming": row.tool_call,
        "structured_output": row.structured_output,
        "temperature": row.temperature,
    }
    return facts if row.attachment is None else {**facts, "attachment": row.attachment}


def _from_modalities(inputs: Sequence[str] | None, outputs: Sequence[str] | None) -> Facts:
    facts: dict[str, bool | None] = {}
    if inputs:
        facts |= {f"{kind}_inputs": kind in inputs for kind in ("text", "image", "audio", "video")}
        facts["image_url_inputs"] = "image" in inputs  # the API takes addresses and data alike (digest 1.3)
        # Never False: the API turns a PDF into text for models that cannot read one (digest 9.3).
        facts["pdf_inputs"] = True if {"file", "pdf"} & {*inputs} else None
        facts["attachment"] = bool({*inputs} - {"text"})
    if outputs:
        facts |= {f"{kind}_outputs": kind in outputs for kind in ("text", "image", "audio", "video")}
    return facts


def _lists(parameters: Sequence[str] | None, *names: str) -> bool | None:
    """Tell whether one of the names is listed; no list, or an empty one, tells nothing."""
    return any(name in parameters for name in names) if parameters else None


def _sorted_efforts(levels: Iterable[str]) -> list[str] | None:
    """Return the levels from little to much, unknown ones last; None for no levels."""
    order = {level: rank for rank, level in enumerate(_EFFORTS)}
    return sorted({*levels}, key=lambda level: (order.get(level, len(order)), level)) or None


# -- reading and writing -------------------------------------------------------------------------------


def load_profiles(path: Path) -> Profiles:
    """Read a saved list of models.

    Raises:
        ConfigurationError: The file cannot be read or used.
    """
    try:
        return to_profiles(msgspec.json.decode(path.read_bytes()))
    except OSError as failure:
        raise ConfigurationError(f"cannot read {path}: {failure.strerror}") from failure
    except (msgspec.DecodeError, ValueError) as failure:
        raise ConfigurationError(f"{path}: {failure}") from failure


def fetch_profiles(base_url: str) -> Profiles:
    """Ask a server for its list of models; `OPENROUTER_API_KEY` is sent when set, though OpenRouter needs none.

    Raises:
        OpenRouterError: The request failed, or the list cannot be used.
    """
    listing = list_models(base_url=base_url)
    try:
        return to_profiles({"data": listing})
    except ValueError as failure:
        raise ProtocolViolation(f"the list of models of {base_url}: {failure}") from failure


def encode_profiles(profiles: Profiles, source: str) -> bytes:
    """Return the data file, sorted, with a line for each model."""
    rows = ",\n".join(
        f"{_encode(name)}:{_encode({**profile})}" for name, profile in sorted(profiles.items(), key=lambda row: row[0])
    )
    return f'{{"source":{_encode(source)},"profiles":{{\n{rows}\n}}}}\n'.encode()


def _encode(value: object) -> str:
    return msgspec.json.encode(value, order="sorted").decode()


def write_file(path: Path, content: bytes) -> None:
    """Put a file in its place at once, or leave the old one as it was.

    Raises:
        ConfigurationError: It cannot be written.
    """
    try:
        half = path.with_name(f".{path.name}.new")
        try:
            half.write_bytes(content)
            half.replace(path)
        finally:
            half.unlink(missing_ok=True)
    except (OSError, ValueError) as failure:  # the second for a path without a file name
        raise ConfigurationError(f"cannot write {path}: {getattr(failure, 'strerror', failure)}") from failure


# -- the command ---------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None, today: date | None = None) -> int:
    """Run the command and return its exit status: 0 done, 1 failed and nothing written (2 is argparse's own)."""
    options = _parser().parse_args(arguments)
    try:
        profiles, source = _read(options, today or datetime.now(UTC).date())
        write_file(options.output, encode_profiles(profiles, options.source or source))
    except OpenRouterError as failure:
        sys.stderr.write(f"error: {failure}\n")
        return 1
    sys.stdout.write(f"{len(profiles)} models written to {options.output}\n")
    return 0


def _read(options: argparse.Namespace, today: date) -> tuple[Profiles, str]:
    files: Sequence[Path] = options.files
    if not files:
        base_url = Access.from_arguments(base_url=options.base_url).base_url
        return fetch_profiles(base_url), f"{base_url.rstrip('/')}/models, {today}"
    merged: Profiles = {}
    for path in files:
        merged = {**load_profiles(path), **merged}
    return merged, ", ".join(path.name for path in files)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m langchain_openrouter.profiles", description="Model profiles of ChatOpenRouter."
    )
    refresh = parser.add_subparsers(required=True, metavar="COMMAND").add_parser(
        "refresh",
        help="write the file of profiles anew",
        description="Write the file of profiles anew, from the models that a server lists or from saved lists. "
        "When something fails, the old file stays.",
    )
    origin = refresh.add_mutually_exclusive_group()
    origin.add_argument(
        "--base-url",
        metavar="URL",
        help="server to ask for GET /models (default: OPENROUTER_API_BASE, else https://openrouter.ai/api/v1)",
    )
    origin.add_argument(
        "--from",
        metavar="FILE",
        type=Path,
        dest="files",
        action="append",
        default=[],
        help="saved answer of GET /models, or https://models.dev/api.json saved; may be given more than once: "
        "the first file that lists a model describes it",
    )
    refresh.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        default=Path(os.environ.get(OWN_FILE) or PACKAGED).expanduser(),
        help=f"file to write (default: the one that {OWN_FILE} names, else the package's own)",
    )
    refresh.add_argument(
        "--source",
        metavar="TEXT",
        help="origin and date of the facts, kept in the file (default: the URL and today's date, or the file names)",
    )
    return parser
