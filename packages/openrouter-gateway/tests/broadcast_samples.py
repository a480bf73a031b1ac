"""Records and destinations that the broadcast's tests are made of."""

from decimal import Decimal
from typing import Any

from ledger_samples import make_generation
from msgspec import Raw

from openrouter_gateway.broadcast.record import Record
from openrouter_gateway.core.destination import Destination
from openrouter_gateway.core.generation import AttemptRecord
from openrouter_gateway.core.usage import Cost, Usage

QUESTION = "What is the capital of Peru?"
ANSWER = "Lima."
COST = Cost(prompt=Decimal("0.000000100000000001"), completion=Decimal("0.00000002"))
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"


def make_record(number: int = 1, *, content: bool = True, **fields: Any) -> Record:
    """Return a record; those of `fields` that a `Record` has are its own, the others its generation's."""
    names = ("traceparent", "key_name", "request", "reply", "size_bytes")
    own = {"size_bytes": 100 if content else 0} | {name: fields.pop(name) for name in names if name in fields}
    generation = make_generation(
        number,
        **(
            {
                "usage": Usage(
                    prompt_tokens=30,
                    completion_tokens=20,
                    total_tokens=50,
                    cached_tokens=10,
                    reasoning_tokens=5,
                ),
                "cost": COST,
                "provider_name": "Acme",
                "user": "user-1",
            }
            | fields
        ),
    )
    if content:
        own = {
            "request": {
                "messages": Raw(b'[{"role":"user","content":"%b"}]' % QUESTION.encode()),
                "temperature": Raw(b"0.5"),
            },
            "reply": [{"role": "assistant", "content": ANSWER}],
        } | own
    return Record(generation=generation, **own)


def make_destination(type: str = "webhook", config: dict[str, Any] | None = None, **fields: Any) -> Destination:  # noqa: A002
    """Return a destination; by default a webhook nowhere."""
    values: dict[str, Any] = {
        "id": f"00000000-0000-0000-0000-{len(fields):012d}",
        "type": type,
        "name": "one",
        "config": config or {"url": "http://127.0.0.1:9/traces"},
    }
    return Destination(**(values | fields))


def failed_attempt(tag: str = "acme/fp8", outcome: str = "Unavailable") -> AttemptRecord:
    return AttemptRecord(
        provider=tag.partition("/")[0], tag=tag, outcome=outcome, status=503, duration_s=0.25, model="a/one"
    )
