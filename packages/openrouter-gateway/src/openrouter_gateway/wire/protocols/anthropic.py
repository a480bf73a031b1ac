"""The `anthropic` protocol: Anthropic's Messages API, as Anthropic and servers that follow it speak it.

The hub's chat dialect is translated both ways. A caller who speaks this dialect too gets what it wrote to the provider
and what the provider wrote back, unchanged but for what OpenRouter adds (`wire/anthropic.Verbatim`).

Source, where none is named: platform.claude.com/docs/en/api, 2026-11.
"""

from collections.abc import Mapping
from typing import Final

from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.errors import UpstreamError
from openrouter_gateway.wire.anthropic import verbatim_of
from openrouter_gateway.wire.protocols.anthropic_errors import refusal_from_body
from openrouter_gateway.wire.protocols.anthropic_reply import BodyDecoder, ReplyReader, StreamDecoder
from openrouter_gateway.wire.protocols.anthropic_request import encode_body
from openrouter_gateway.wire.protocols.base import Address, Decoder
from openrouter_gateway.wire.protocols.framing import choose_decoder

_VERSION: Final = ("anthropic-version", "2023-06-01")

# Features that the API wants named in a header, by what in a request tells of them: a field, and what is in it
# (PyPI's anthropic 2.14.0, types/anthropic_beta_param, 2026-11).
_BETA_MARKS: Final = (
    ("messages", b'"file_id"', "files-api-2025-04-14"),
    ("messages", b'"tool_addition"', "mid-conversation-tool-changes-2026-07-01"),
    ("messages", b'"tool_removal"', "mid-conversation-tool-changes-2026-07-01"),
    ("context_management", b"", "context-management-2025-06-27"),
    ("context_management", b'"compact_20260112"', "compact-2026-01-12"),
    ("output_config", b'"task_budget"', "task-budgets-2026-03-13"),
    ("output_format", b"", "structured-outputs-2025-11-13"),
    ("mcp_servers", b"", "mcp-client-2025-11-20"),
)
_FAST_BETA: Final = "fast-mode-2026-02-01"


class Anthropic:
    """The protocol's functions; see `base.Protocol`."""

    def chat_address(self, request: ChatRequest, endpoint: Endpoint) -> Address:
        """One path; the header `anthropic-beta` has the caller's features and those that the request needs."""
        verbatim = verbatim_of(request)
        fields = request.fields if verbatim is None else verbatim.fields
        betas = list(request.betas)
        betas += [beta for field, mark, beta in _BETA_MARKS if field in fields and mark in bytes(fields[field])]
        if endpoint.service_tier == "priority":
            betas.append(_FAST_BETA)
        headers: list[tuple[str, str]] = [_VERSION]
        if betas:
            headers.append(("anthropic-beta", ",".join(dict.fromkeys(betas))))
        return Address("/messages", tuple(headers))

    def auth_headers(self, key: str) -> dict[str, str]:
        """A header of its own."""
        return {"x-api-key": key}

    def encode_chat(self, request: ChatRequest, endpoint: Endpoint) -> bytes:
        """See `anthropic_request`.

        Raises:
            Refused: something that the API has no form for, named by its place.
        """
        return encode_body(request, endpoint)

    def chat_decoder(self, request: ChatRequest, content_type: str) -> Decoder:
        """See `framing.choose_decoder`."""
        reader = ReplyReader(native=verbatim_of(request) is not None)
        return choose_decoder(content_type, lambda: StreamDecoder(reader), lambda: BodyDecoder(reader))

    def parse_refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """See `anthropic_errors`."""
        return refusal_from_body(status, headers, body)
