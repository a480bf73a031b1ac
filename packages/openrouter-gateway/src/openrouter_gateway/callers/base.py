"""What a caller is: it takes a request to one endpoint and brings back events."""

from collections.abc import AsyncGenerator
from typing import Protocol as Interface

from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.events import Event


class Caller(Interface):
    """One way of reaching endpoints."""

    def call(self, request: ChatRequest, endpoint: Endpoint) -> AsyncGenerator[list[Event]]:
        """Yield the reply's events in batches, one batch per read, ending with `Ended` or `Failed`.

        Closing the generator, or cancelling the task that drives it, ends the provider's work at once where the
        provider lets us: the connection is closed.

        Raises:
            UpstreamError: the provider could not be reached, refused, or broke off.
        """
        ...
