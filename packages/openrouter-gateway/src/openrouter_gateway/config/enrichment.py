"""What price tables and lists do not say of models and endpoints, filled in from the table of families.

Models first, so that lists of models, which know better, can be merged over them; endpoints last, so that those which
come from lists get it, too. What is said already is never replaced.
"""

from datetime import UTC, datetime, time
from typing import Any, Final

import msgspec

from openrouter_gateway.config.families import Facts, Host, Table, load_families
from openrouter_gateway.config.rows import load_provider_rows
from openrouter_gateway.config.snapshot import KnownEndpoint, Snapshot
from openrouter_gateway.core.catalog import Model

_DEFAULTS: Final = ("context_length", "tokenizer", "instruct_type", "knowledge_cutoff")
_UNWRITTEN: Final = frozenset({"embeddings", "rerank"})
"""What models give that no parameters of chats apply to."""
_MODALITIES: Final = ("text", "image", "file", "audio", "video")
"""In the order in which they are shown."""


def enrich_models(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot with what is known of its models' families."""
    table = load_families()
    models = tuple(_enrich_model(model, table) for model in snapshot.models)
    return msgspec.structs.replace(snapshot, models=models)


def enrich_endpoints(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot with what its endpoints take: what the model can do and the provider lets through."""
    table, models = load_families(), {model.id: model for model in snapshot.models}
    endpoints = tuple(_enrich_endpoint(known, models[known.model], table) for known in snapshot.endpoints)
    return msgspec.structs.replace(snapshot, endpoints=endpoints)


def _enrich_model(model: Model, table: Table) -> Model:
    facts, released = table.facts_of(model.id), table.release_of(model.id)
    changes: dict[str, Any] = {
        name: value for name in _DEFAULTS if (value := getattr(facts, name)) is not None and _is_unsaid(model, name)
    }
    if released is not None:
        changes["created"] = int(datetime.combine(released, time(), UTC).timestamp())
    if facts.inputs is not None and _UNWRITTEN.isdisjoint(model.output_modalities):
        changes["input_modalities"] = _in_order({*model.input_modalities, *facts.inputs})
    if facts.outputs is not None:
        changes["output_modalities"] = facts.outputs
    if facts.thinks and model.reasoning is None:
        changes["reasoning"] = facts.thinks.to_core()
    return msgspec.structs.replace(model, **changes)


def _enrich_endpoint(known: KnownEndpoint, model: Model, table: Table) -> KnownEndpoint:
    if not _UNWRITTEN.isdisjoint(model.output_modalities):
        return known
    facts = table.facts_of(known.model, known.provider)
    host = table.host_of(known.provider, _protocol_of(known))
    changes: dict[str, Any] = {
        name: value
        for name in ("context_length", "quantization")
        if (value := getattr(facts, name)) is not None and getattr(known, name) is None
    }
    context = known.context_length or changes.get("context_length")
    if facts.max_completion_tokens is not None and known.max_completion_tokens is None:
        changes["max_completion_tokens"] = min(facts.max_completion_tokens, context or facts.max_completion_tokens)
    if host is not None:
        changes |= _through(host, known, model, facts)
    return msgspec.structs.replace(known, **changes)


def _through(host: Host, known: KnownEndpoint, model: Model, facts: Facts) -> dict[str, Any]:
    """Return what comes through a provider to a model and from it."""
    changes: dict[str, Any] = {}
    if known.supported_parameters is None:
        able = frozenset(model.supported_parameters) or facts.parameters
        changes["supported_parameters"] = tuple(sorted(able.intersection(host.parameters)))
    if known.input_modalities is None:
        taken = model.input_modalities if facts.inputs is None else facts.inputs
        changes["input_modalities"] = _in_order({"text", *taken}.intersection(model.input_modalities, host.inputs))
    if host.implicit_caching and known.price is not None and known.price.cache_read is not None:
        changes["implicit_caching"] = True
    return changes


def _protocol_of(known: KnownEndpoint) -> str:
    row = load_provider_rows()[known.provider]
    return row.protocol_of(known.upstream_id) or row.protocol


def _is_unsaid(model: Model, name: str) -> bool:
    value = getattr(model, name)
    return value is None or (name == "tokenizer" and value == "Other")


def _in_order(modalities: set[str]) -> tuple[str, ...]:
    return tuple(kind for kind in _MODALITIES if kind in modalities)
