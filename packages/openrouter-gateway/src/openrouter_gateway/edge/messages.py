"""What Anthropic's clients ask for besides answers: how many tokens a request would be."""

import msgspec
from starlette.responses import Response

from openrouter_gateway.accounting.count import count_prompt_tokens
from openrouter_gateway.core.catalog import Catalog
from openrouter_gateway.errors import GatewayError
from openrouter_gateway.routing.resolve import requested_names, resolve
from openrouter_gateway.wire.skins.messages import Messages


def count_tokens(catalog: Catalog, body: bytes) -> Response:
    """Return the estimate for a request in Anthropic's dialect. Nothing is sent to a provider for it."""
    skin = Messages()
    try:
        request = skin.parse(body)
        resolve(requested_names(request, catalog), catalog)
    except GatewayError as error:
        return Response(skin.encode_error_body(error), error.status, media_type="application/json")
    answer = msgspec.json.encode({"input_tokens": count_prompt_tokens(request)})
    return Response(answer, media_type="application/json")
