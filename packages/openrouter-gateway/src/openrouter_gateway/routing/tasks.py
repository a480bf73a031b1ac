"""Whether a model does what is asked for, chat or a task (OpenRouter API, availability errors, 2026-08-22)."""

from typing import Final

from openrouter_gateway.core.catalog import Catalog, Listing
from openrouter_gateway.core.chat import ChatRequest, Task
from openrouter_gateway.core.embedding import Embedding
from openrouter_gateway.core.rerank import Rerank
from openrouter_gateway.errors import ModelNotFound, WrongEndpoint
from openrouter_gateway.routing.resolve import Target, resolve

_CHAT: Final = "POST /api/v1/chat/completions"
_PLACES: Final = {Embedding.output: "POST /api/v1/embeddings", Rerank.output: "POST /api/v1/rerank"}
_DOES: Final = {Embedding.output: "makes embeddings", Rerank.output: "ranks documents"}
_DOES_NOT: Final = {Embedding.output: "does not make embeddings", Rerank.output: "does not rank documents"}


def does_chat(listing: Listing) -> bool:
    """Return whether a model gives anything besides what tasks are for. What it gives may be not known."""
    outputs = listing.model.output_modalities
    return not outputs or any(output not in _PLACES for output in outputs)


def check_output(listing: Listing, request: ChatRequest, name: str) -> None:
    """Check that a model, asked for under a name, does what a request asks for.

    Raises:
        WrongEndpoint: it does something else.
    """
    outputs = listing.model.output_modalities
    if request.task is not None:
        if request.task.output not in outputs:
            place = _CHAT if does_chat(listing) else _PLACES[outputs[0]]
            raise _wrong(name, _DOES_NOT[request.task.output], place, request.requested_models)
    elif not does_chat(listing):
        raise _wrong(name, f"{_DOES[outputs[0]]} and does not chat", _PLACES[outputs[0]], request.requested_models)


def wrong_router(name: str, task: Task) -> WrongEndpoint:
    """Return the error of a router that was asked to find a model for a task."""
    return _wrong(name, f"chooses among chat models and {_DOES_NOT[task.output]}", _CHAT, [name])


def resolve_for(request: ChatRequest, names: list[str], catalog: Catalog) -> list[Target]:
    """Return what names stand for, as `resolve` does; a model that tasks do not find is a 404.

    OpenRouter API: an unknown model is a 400 for chat, and a 404 for embeddings (embeddings page, 2026-08-22).
    """
    try:
        return resolve(names, catalog)
    except ModelNotFound as error:
        if request.task is not None:
            error.status, error.error_type = 404, "not_found"
        raise


def _wrong(name: str, does: str, place: str, requested: list[str]) -> WrongEndpoint:
    return WrongEndpoint(f"{name} {does}: use {place}", requested_models=requested, detail=place)
