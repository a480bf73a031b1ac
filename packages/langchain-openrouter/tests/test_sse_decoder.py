"""The SSE decoder, fed whole, byte by byte and cut anywhere."""

import itertools
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_openrouter._stream import SSEDecoder

CASES: dict[str, tuple[bytes, list[bytes]]] = {
    "one event": (b"data: 1\n\n", [b"1"]),
    "no blank after the colon": (b"data:1\n\n", [b"1"]),
    "only one blank is dropped": (b"data:  1\n\n", [b" 1"]),
    "crlf": (b"data: 1\r\n\r\ndata: 2\r\n\r\n", [b"1", b"2"]),
    "cr": (b"data: 1\r\rdata: 2\r\r", [b"1", b"2"]),
    "mixed line endings": (b"data: 1\r\n\ndata: 2\n\rdata: 3\r\r\n", [b"1", b"2", b"3"]),
    "comments": (b": OPENROUTER PROCESSING\n\n: more\ndata: 1\n: between\n\n", [b"1"]),
    "several data lines": (b"data: 1\ndata: 2\n\n", [b"1\n2"]),
    "several data lines, crlf": (b"data: 1\r\ndata: 2\r\n\r\n", [b"1\n2"]),
    "empty data lines": (b"data\ndata:\n\n", [b"\n"]),
    "other fields": (b"event: message\nid: 7\nretry: 1\ndata: 1\n\n", [b"1"]),
    "a field that starts like data": (b"database: 1\n\n", []),
    "byte order mark": (b"\xef\xbb\xbfdata: 1\n\n", [b"1"]),
    "line separators of Unicode are text": (
        "data: \u2028\u2029\x0b\x0c\x1c\u0085\n\n".encode(),
        ["\u2028\u2029\x0b\x0c\x1c\u0085".encode()],
    ),
    "blank lines only": (b"\n\r\n\r", []),
    "end marker": (b"data: [DONE]\n\n", [b"[DONE]"]),
    "an unfinished event is not one": (b"data: 1\n\ndata: 2\n", [b"1"]),
}


def decode(pieces: list[bytes]) -> list[bytes]:
    decoder = SSEDecoder()
    return [payload for piece in pieces for payload in decoder.feed(piece)]


@pytest.mark.parametrize(("stream", "expected"), CASES.values(), ids=CASES.keys())
def test_whole(stream: bytes, expected: list[bytes]) -> None:
    assert decode([stream]) == expected


@pytest.mark.parametrize(("stream", "expected"), CASES.values(), ids=CASES.keys())
def test_byte_by_byte(stream: bytes, expected: list[bytes]) -> None:
    assert decode([bytes([byte]) for byte in stream]) == expected


@pytest.mark.parametrize(("stream", "expected"), CASES.values(), ids=CASES.keys())
def test_every_cut_in_two(stream: bytes, expected: list[bytes]) -> None:
    for cut in range(len(stream) + 1):
        assert decode([stream[:cut], b"", stream[cut:]]) == expected


@given(
    texts=st.lists(st.text(max_size=40), max_size=8),
    ending=st.sampled_from(["\n", "\r\n", "\r"]),
    cuts=st.lists(st.integers(min_value=0, max_value=800), max_size=12),
)
def test_any_json_survives_any_cut(texts: list[str], ending: str, cuts: list[int]) -> None:
    """Whatever text the events hold, and however the network cuts them, it comes out as it went in."""
    lines = [f"data: {json.dumps(text, ensure_ascii=False)}{ending}{ending}: ping{ending}" for text in texts]
    stream = "".join(lines).encode()
    bounds = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    pieces = [stream[start:end] for start, end in itertools.pairwise(bounds)]
    assert [json.loads(payload) for payload in decode(pieces)] == texts


def test_the_last_event_may_lack_its_blank_line() -> None:
    decoder = SSEDecoder()
    assert decoder.feed(b"data: 1\n\ndata: 2") == [b"1"]
    assert decoder.close() == [b"2"]
    assert decoder.close() == []


def test_a_long_line_in_small_pieces_takes_linear_time() -> None:
    """Eight times the bytes must not take anything like sixty-four times as long."""

    def seconds(size: int) -> float:
        decoder = SSEDecoder()
        start = time.process_time()
        decoder.feed(b"data: ")
        for _ in range(size // 16):
            decoder.feed(b"x" * 16)
        (payload,) = decoder.feed(b"\n\n")
        assert len(payload) == size
        return time.process_time() - start

    small = min(seconds(128 * 1024) for _ in range(3))
    large = min(seconds(1024 * 1024) for _ in range(3))
    assert large < 24 * small + 0.01


def test_state_shows_in_its_repr() -> None:
    decoder = SSEDecoder()
    decoder.feed(b"data: 1\ndat")
    assert repr(decoder) == "SSEDecoder(pending_bytes=3, pending_lines=1)"
