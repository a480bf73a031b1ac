"""What decoders of streams have in common: what is wrong ends a reply behind the events that were right."""

from collections.abc import Callable
from typing import Protocol as Interface

from openrouter_gateway.core.events import Event, Failed
from openrouter_gateway.errors import Cut, Garbled
from openrouter_gateway.wire.sse import EventStream


class Reader(Interface):
    """Reads one reply; `done` once nothing of it counts any more."""

    done: bool


def feed_reader(
    stream: EventStream, reader: Reader, data: bytes, read: Callable[[bytes, list[Event]], None]
) -> list[Event]:
    """Return the events of the next bytes; `read` appends those of one payload. Never raises what a reply is at."""
    events: list[Event] = []
    if reader.done:
        return events
    try:
        for payload in stream.feed(data):
            read(payload, events)
            if reader.done:
                break
    except (Cut, Garbled) as error:
        reader.done = True
        events.append(Failed(error))
    return events
