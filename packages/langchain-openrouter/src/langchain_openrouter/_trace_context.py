"""The place of a request in the caller's own OpenTelemetry trace, as the headers that W3C gave a form to.

Source: W3C Recommendation "Trace Context", 23 November 2021, sections 3.2 and 3.3.
"""

import sys


def trace_headers() -> dict[str, str]:
    """Return `traceparent` of the active span, and `tracestate` where it has one; nothing without a span.

    OpenTelemetry is looked up and never imported: who has not imported it has no span.
    """
    library = sys.modules.get("opentelemetry.trace")
    # It may be on its way in, in another thread.
    current_span = getattr(library, "get_current_span", None)
    if current_span is None:
        return {}
    span = current_span().get_span_context()
    if not span.is_valid:
        return {}
    headers = {"traceparent": f"00-{span.trace_id:032x}-{span.span_id:016x}-{int(span.trace_flags):02x}"}
    if state := span.trace_state.to_header():
        headers["tracestate"] = state
    return headers
