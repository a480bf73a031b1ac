"""The inbound dialects, by the path that they are spoken at. Adding one: write its file and its line in this table."""

from openrouter_gateway.wire.skins.base import Skin
from openrouter_gateway.wire.skins.completions import ChatOrText, Completions
from openrouter_gateway.wire.skins.embeddings import EMBEDDINGS
from openrouter_gateway.wire.skins.messages import Messages
from openrouter_gateway.wire.skins.rerank import RERANK
from openrouter_gateway.wire.skins.responses import Responses

SKINS: dict[str, Skin] = {
    "/chat/completions": ChatOrText(),
    "/completions": Completions(),
    "/embeddings": EMBEDDINGS,
    "/messages": Messages(),
    "/rerank": RERANK,
    "/responses": Responses(),
}
