"""Small things in replies of the Responses API: errors, token counts, probabilities."""

from typing import Any, Final, cast

import msgspec

from openrouter_gateway.core.usage import Usage
from openrouter_gateway.errors import UpstreamError
from openrouter_gateway.wire.protocols.refusal import parse_openai_error, refusal_from_status
from openrouter_gateway.wire.reasoning_items import dicts_in
from openrouter_gateway.wire.tolerant import as_amount, as_count

Json = dict[str, Any]

_STATUS_BY_CODE: Final = {
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "context_length_exceeded": 400,
    "bio_policy": 400,
    "data_residency_mismatch": 400,
    "unsupported_image_media_type": 400,
    "empty_image_file": 400,
    "failed_to_download_image": 400,
    "vector_store_timeout": 504,
}
"""Of `ResponseError`; what begins with one of the next is the request's fault, the rest the provider's."""
_CALLER_AT_FAULT: Final = ("invalid_", "image_")

_encode = msgspec.json.Encoder().encode


def read_token(token: Json) -> Json:
    """Return a token's probability as chat has it: with bytes, which streams of this API leave out."""
    others = [{"bytes": None, **other} for other in dicts_in(token.get("top_logprobs"))]
    return {"bytes": None, **token, "top_logprobs": others}


def error_in(error: object) -> UpstreamError:
    """Return the error that a reply with status 200 carries: a code of the API's own, or a status as a number."""
    message, code = parse_openai_error(_encode({"error": error}))
    fields = cast("Json", error) if isinstance(error, dict) else {}
    stated = str(fields.get("code"))
    status = _STATUS_BY_CODE.get(stated) or (400 if stated.startswith(_CALLER_AT_FAULT) else 502)
    if len(stated) == 3 and stated.isdecimal() and 400 <= int(stated) <= 599:
        status = int(stated)
    return refusal_from_status(status, {}, message=message, code=code)


def read_usage(fields: Json) -> Usage:
    """Read token counts, tolerant of fractions, nulls and missing details."""
    prompt, completion = as_count(fields.get("input_tokens")), as_count(fields.get("output_tokens"))
    read: object = fields.get("input_tokens_details")
    made: object = fields.get("output_tokens_details")
    input_details = cast("Json", read) if isinstance(read, dict) else {}
    output_details = cast("Json", made) if isinstance(made, dict) else {}
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=as_count(fields.get("total_tokens")) or prompt + completion,
        cached_tokens=as_count(input_details.get("cached_tokens")),
        cache_write_tokens=as_count(input_details.get("cache_write_tokens")),
        reasoning_tokens=as_count(output_details.get("reasoning_tokens")),
        reported_cost=as_amount(fields.get("cost")),
    )
