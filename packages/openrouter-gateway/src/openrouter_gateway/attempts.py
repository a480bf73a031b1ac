"""What each endpoint that was tried did: for the record, for the caller's metadata, and for the health of endpoints."""

import logging
from collections.abc import Callable

from openrouter_gateway.accounting.meter import Meter
from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.generation import AttemptRecord
from openrouter_gateway.errors import TimedOut, UpstreamError
from openrouter_gateway.routing.health import Health, verdict_of

_log = logging.getLogger(__name__)


class Attempts:
    """The attempts of one generation, in their order; the last one may still run.

    `tried` has the endpoints whose attempts ended, each with a status if there is one; `first_event_at` is the timer's
    reading at the first event of the last attempt, None before it.
    """

    def __init__(self, generation_id: str, health: Health, timer: Callable[[], float]) -> None:
        self._id = generation_id
        self._health = health
        self._timer = timer
        self._began = 0.0
        self.first_event_at: float | None = None
        self.tried: list[tuple[Endpoint, int | None]] = []
        self.records: list[AttemptRecord] = []

    def begin(self, endpoint: Endpoint) -> None:
        """An endpoint is about to be called."""
        self._began = self._timer()
        self.first_event_at = None
        self._health.begin(endpoint.key, self._began)

    def abandon(self, endpoint: Endpoint, *, late: bool) -> None:
        """Nobody waits for the running attempt any more: the time of the whole request is over if it is `late`.

        That is the endpoint's failure where it has said nothing yet. A caller who left says nothing of it, nor does an
        answer that is only longer than the time there is.
        """
        now = self._timer()
        silent = late and self.first_event_at is None
        if silent:
            _log.warning("%s: %s did not begin to answer within the request's time", self._id, endpoint.tag)
        self._health.record(endpoint.key, now, "failed" if silent else "abandoned")
        self._keep(endpoint, now, TimedOut.__name__ if late else "cancelled", None, TimedOut.status if late else None)

    def end(self, endpoint: Endpoint, error: UpstreamError | None, request: ChatRequest, meter: Meter) -> None:
        """The running attempt has served, or failed with an error."""
        if error is not None:
            _log.warning("%s: %s failed: %s: %s", self._id, endpoint.tag, type(error).__name__, _reason(error))
        now = self._timer()
        self._tell_health(endpoint, now, error, request, meter)
        if error is None:
            self._keep(endpoint, now, "served", 200, 200)
        else:
            status = error.provider_status
            self._keep(endpoint, now, type(error).__name__, status, status or error.status)

    def _keep(self, endpoint: Endpoint, now: float, outcome: str, status: int | None, shown: int | None) -> None:
        self.tried.append((endpoint, shown))
        self.records.append(
            AttemptRecord(
                provider=endpoint.provider.slug,
                tag=endpoint.tag,
                outcome=outcome,
                status=status,
                duration_s=now - self._began,
                model=endpoint.model_id,
                provider_name=endpoint.provider.name,
            )
        )

    def _tell_health(
        self, endpoint: Endpoint, now: float, error: UpstreamError | None, request: ChatRequest, meter: Meter
    ) -> None:
        began, first, reported = self._began, self.first_event_at, meter.reported
        verdict = verdict_of(error)
        if verdict == "served" and meter.finish_reason == "error":
            verdict = "failed"
        served = verdict == "served"
        measured = served and reported is not None and reported.completion_tokens and now > began
        self._health.record(
            endpoint.key,
            now,
            verdict,
            latency_s=first - began if first is not None and served else None,
            tokens_per_s=reported.completion_tokens / (now - began) if measured and reported is not None else None,
            retry_after_s=None if error is None else error.retry_after_s,
            tools_ok=meter.calls_are_right(request.params.tools) if served else None,
        )


def _reason(error: UpstreamError) -> str:
    """Return what may be logged of a failure: providers quote what they were asked, so not their words.

    Our own words are quoted, because they may hold a line end of something that was sent.
    """
    status, code = error.provider_status, error.provider_code
    if status is None and code is None:
        return repr(error.message)
    return f"status {status}" if code is None else f"status {status}, code {code!r}"
