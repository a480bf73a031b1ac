"""Server-sent events: bytes in, complete `data` payloads out.

Follows the event-stream grammar of the HTML standard (html.spec.whatwg.org, server-sent events) for what matters to
model APIs: lines end with LF, CRLF or CR and nothing else (so U+2028 inside JSON is data), lines that start with a
colon are comments, several `data` lines of one event are joined by LF, an event with a `data` line is delivered even
if the line is empty, one that the stream leaves unfinished is not. Event names, ids and retry times are read over: no
protocol here needs them.
"""

from openrouter_gateway.errors import Garbled


class EventStream:
    """Incremental decoder. Time is linear in the bytes fed, however they are cut."""

    __slots__ = ("_data", "_data_bytes", "_held", "_held_bytes", "_limit", "_skip_lf", "_started")

    def __init__(self, *, max_event_bytes: int = 64 * 1024 * 1024) -> None:
        self._held: list[bytes] = []  # pieces of the line that is not complete yet
        self._held_bytes = 0
        self._data: list[bytes] = []  # data lines of the event that is not complete yet
        self._data_bytes = 0
        self._skip_lf = False  # the last byte was CR: a LF that follows belongs to it
        self._started = False
        self._limit = max_event_bytes

    def __repr__(self) -> str:
        return f"<EventStream held_bytes={self._held_bytes} data_lines={len(self._data)}>"

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes; return the payloads of the events that they complete.

        Raises:
            Garbled: one event is larger than `max_event_bytes`. Not while these bytes complete other events: those
                would be lost. The next bytes raise it then.
        """
        if self._skip_lf and chunk:
            self._skip_lf = False
            if chunk[0] == 10:
                chunk = chunk[1:]
        if b"\r" in chunk:
            self._skip_lf = chunk[-1] == 13
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if not self._held and not self._data and self._started and chunk.startswith(b"data: "):
            # The usual read: whole events of one line each. Anything else takes the general way below.
            blocks = chunk.split(b"\n\n")
            if not blocks[-1] and chunk.count(b"\n") == 2 * (len(blocks) - 1):
                blocks.pop()
                payloads = [block[6:] for block in blocks if block.startswith(b"data: ")]
                if len(payloads) == len(blocks):
                    return payloads
        lines = chunk.split(b"\n")
        rest = lines.pop()
        payloads: list[bytes] = []
        if lines:
            if self._held:
                lines[0] = b"".join([*self._held, lines[0]])
                self._held.clear()
                self._held_bytes = 0
            if not self._started:
                self._started = True
                lines[0] = lines[0].removeprefix(b"\xef\xbb\xbf")
            self._take(lines, payloads)
        if rest:
            self._held.append(rest)
            self._held_bytes += len(rest)
        if self._held_bytes + self._data_bytes > self._limit and not payloads:
            raise Garbled(f"an event of the provider's stream is larger than {self._limit} bytes")
        return payloads

    def _take(self, lines: list[bytes], payloads: list[bytes]) -> None:
        data = self._data
        for line in lines:
            if line.startswith(b"data:"):
                value = line[6:] if line[5:6] == b" " else line[5:]
                data.append(value)
                self._data_bytes += len(value) + 1  # the LF that joins it
            elif not line:
                if data:
                    payloads.append(data[0] if len(data) == 1 else b"\n".join(data))
                    data.clear()
                    self._data_bytes = 0
            elif line == b"data":
                data.append(b"")
                self._data_bytes += 1
