"""The event-stream decoder, fed whole, byte by byte and cut anywhere."""

import json
import re
import time

import pytest
from gateway_samples import ANY_CUTS, cut_at
from hypothesis import given
from hypothesis import strategies as st

from openrouter_gateway.errors import Garbled
from openrouter_gateway.wire.sse import EventStream

BOM = b"\xef\xbb\xbf"
UNICODE_BREAKS = "\u2028\u2029\x0b\x0c\x1c\x85".encode()

CASES: dict[str, tuple[bytes, list[bytes]]] = {
    "one event": (b"data: 1\n\n", [b"1"]),
    "no space after the colon": (b"data:1\n\n", [b"1"]),
    "only one space is dropped": (b"data:  1 \n\n", [b" 1 "]),
    "CRLF": (b"data: 1\r\n\r\ndata: 2\r\n\r\n", [b"1", b"2"]),
    "CR": (b"data: 1\r\rdata: 2\r\r", [b"1", b"2"]),
    "mixed line ends": (b"data: 1\r\n\ndata: 2\n\rdata: 3\r\r\ndata: 4\n\r\n", [b"1", b"2", b"3", b"4"]),
    "CRLF is one line end, not two": (b"data: 1\r\ndata: 2\r\n\r\n", [b"1\n2"]),
    "comments": (b": OPENROUTER PROCESSING\n\n:\ndata: 1\n: between\n\n", [b"1"]),
    "several data lines": (b"data: 1\ndata: 2\n\n", [b"1\n2"]),
    "data without a colon": (b"data\n\n", [b""]),
    "empty data": (b"data:\n\ndata: \n\n", [b"", b""]),
    "empty data lines": (b"data\ndata:\ndata: 1\n\n", [b"\n\n1"]),
    "other fields": (b"event: message\nid: 7\nretry: 1\ndata: 1\n\n", [b"1"]),
    "a field that starts like data": (b"database: 1\ndata2\n\n", []),
    "a field with a space before it": (b" data: 1\n\n", []),
    "byte order mark": (BOM + b"data: 1\n\n", [b"1"]),
    "byte order mark before a comment": (BOM + b": x\ndata: 1\n\n", [b"1"]),
    "byte order mark later on": (b"data: 1\n\n" + BOM + b"data: 2\n\n", [b"1"]),
    "line separators of Unicode are data": (b"data: " + UNICODE_BREAKS + b"\n\n", [UNICODE_BREAKS]),
    "blank lines only": (b"\n\r\n\r\n\n", []),
    "no blank line at the end": (b"data: 1\n\ndata: 2\n", [b"1"]),
    "cut within a line": (b"data: 1\n\ndata: [DO", [b"1"]),
    "data after the end mark": (b"data: [DONE]\n\ndata: 1\n\n", [b"[DONE]", b"1"]),
    "several forms in one read": (b": x\n\ndata: 1\n\ndata:2\n\ndata\n\n: y\n\n", [b"1", b"2", b""]),
    "nothing": (b"", []),
}


def feed_all(stream: EventStream, pieces: list[bytes]) -> list[bytes]:
    return [payload for piece in pieces for payload in stream.feed(piece)]


def decode(pieces: list[bytes]) -> list[bytes]:
    return feed_all(EventStream(), pieces)


@pytest.mark.parametrize(("data", "payloads"), CASES.values(), ids=CASES)
def test_a_whole_stream(data: bytes, payloads: list[bytes]) -> None:
    """Every form that the grammar allows is read in one piece."""
    assert payloads == decode([data])


@pytest.mark.parametrize(("data", "payloads"), CASES.values(), ids=CASES)
def test_byte_by_byte(data: bytes, payloads: list[bytes]) -> None:
    """Feeding single bytes, with empty reads in between, gives the same events."""
    pieces = [piece for byte in data for piece in (bytes([byte]), b"")]

    assert payloads == decode(pieces)


@pytest.mark.parametrize(("data", "payloads"), CASES.values(), ids=CASES)
def test_every_cut(data: bytes, payloads: list[bytes]) -> None:
    """Wherever a stream is cut in two, the events are the same."""
    for cut in range(len(data) + 1):
        assert payloads == decode([data[:cut], data[cut:]]), cut


def read_by_the_standard(data: bytes) -> list[bytes]:
    """The grammar of the HTML standard, written down plainly for a stream that is there as a whole."""
    lines = re.split(rb"\r\n|\n|\r", data.removeprefix(BOM))
    payloads: list[bytes] = []
    found: list[bytes] = []
    for line in lines[:-1]:
        if not line:
            if found:
                payloads.append(b"\n".join(found))
            found = []
            continue
        field, _, value = line.partition(b":")
        if field == b"data":
            found.append(value.removeprefix(b" "))
    return payloads


@given(
    st.lists(
        st.sampled_from([b"data", b"data: ", b":", b" ", b"\n", b"\r", b"\r\n", b"\n\n", b"x", BOM, b"\xe2\x80\xa8"])
    ).map(b"".join),
    ANY_CUTS,
)
def test_any_stream_in_any_pieces(data: bytes, cuts: list[int]) -> None:
    """The decoder agrees with a plain reading of the standard, however the bytes arrive."""
    assert read_by_the_standard(data) == decode(cut_at(data, cuts))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))), st.sampled_from(["\n", "\r\n", "\r"]), ANY_CUTS)
def test_json_survives_any_cut(values: list[str], line_end: str, cuts: list[int]) -> None:
    """JSON payloads with every character there is arrive as they were sent."""
    payloads = [json.dumps(value, ensure_ascii=False).encode() for value in values]
    end = line_end.encode()
    data = b"".join(b"data: " + payload + end + end for payload in payloads)

    assert payloads == decode(cut_at(data, cuts))


class TestLimit:
    """An event may be no larger than the limit while it is held."""

    def test_one_long_line(self) -> None:
        """A line that does not end is given up once it is over the limit."""
        stream = EventStream(max_event_bytes=1000)
        stream.feed(b"data: " + b"x" * 900)

        with pytest.raises(Garbled, match="larger than 1000 bytes"):
            stream.feed(b"x" * 200)

    def test_many_data_lines(self) -> None:
        """Lines that are complete count as long as their event is not."""
        stream = EventStream(max_event_bytes=1000)

        with pytest.raises(Garbled):
            feed_all(stream, [b"data: 1234567890\n"] * 200)

    @pytest.mark.parametrize("line", [b"data\n", b"data:\n", b"data: \r\n"])
    def test_many_empty_data_lines(self, line: bytes) -> None:
        """Empty lines count too: each is a byte of the payload."""
        stream = EventStream(max_event_bytes=1000)

        with pytest.raises(Garbled):
            feed_all(stream, [line] * 2000)

    def test_what_is_complete_comes_first(self) -> None:
        """Events of the same bytes are not lost with the one that is too large."""
        stream = EventStream(max_event_bytes=1000)

        assert [b"1"] == stream.feed(b"data: 1\n\ndata: " + b"x" * 2000)
        with pytest.raises(Garbled):
            stream.feed(b"x")

    def test_events_that_are_over_do_not_count(self) -> None:
        """Any number of small events pass."""
        stream = EventStream(max_event_bytes=100)

        payloads = [payload for _ in range(100) for payload in stream.feed(b": comment\ndata: 1234567890\n\n")]

        assert payloads == [b"1234567890"] * 100

    def test_a_long_comment_is_given_up_too(self) -> None:
        """A comment without an end must not fill the memory."""
        stream = EventStream(max_event_bytes=1000)

        with pytest.raises(Garbled):
            stream.feed(b":" + b"x" * 1000)


@pytest.mark.parametrize("size", [1, 7, 64, 1024])
def test_a_line_of_a_megabyte(size: int) -> None:
    """A very long line arrives whole, in pieces of any size."""
    payload = b'"' + b"x" * (1024 * 1024) + b'"'
    data = b"data: " + payload + b"\n\n"

    assert [payload] == decode([data[at : at + size] for at in range(0, len(data), size)])


def cpu_seconds(length: int, size: int) -> float:
    """The least CPU time, of three tries, that a line of this length takes in pieces of this size."""
    data = b"data: " + b"x" * length + b"\n\n"
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    times: list[float] = []
    for _ in range(3):
        began = time.process_time()
        decode(pieces)
        times.append(time.process_time() - began)
    return min(times)


@pytest.mark.parametrize(("length", "size"), [(64 * 1024, 1), (1024 * 1024, 64)])
def test_time_is_linear_in_the_length_of_a_line(length: int, size: int) -> None:
    """Four times the bytes cost about four times the time; joining at every read would cost sixteen times."""
    assert cpu_seconds(4 * length, size) / cpu_seconds(length, size) < 10


def test_repr_shows_what_is_held() -> None:
    """The state can be seen."""
    stream = EventStream()
    stream.feed(b"data: 1\nda")

    assert repr(stream) == "<EventStream held_bytes=2 data_lines=1>"
