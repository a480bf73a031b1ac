"""Recordings as files: what they hold, what they never hold, and that the same bytes come back."""

import json
from typing import Any

import pytest
from gateway_samples import ANY_CUTS, cut_at
from hypothesis import given
from hypothesis import strategies as st

from openrouter_gateway.errors import Cut, Unavailable
from openrouter_gateway.wire.recorded_requests import find_differences, request_key
from openrouter_gateway.wire.recording import (
    Body,
    Exchange,
    Piece,
    Recording,
    decode_recording,
    encode_recording,
    hide_in_pieces,
    hide_in_url,
    origin_of,
    resource_of,
    to_recording,
)

SECRET = 'sk-canary/7+"x'
SPELLINGS = ['sk-canary/7+"x', 'sk-canary/7+\\"x', 'sk-canary\\/7+\\"x', "sk-canary%2F7%2B%22x"]


def make_exchange(**changes: Any) -> Exchange:
    """Return an exchange that went well."""
    whole = Exchange(
        recorded_at="2026-11-27T12:00:00.000000Z",
        method="POST",
        url="https://api.acme.example:443/v1/chat",
        headers={"Content-Type": "application/json"},
        body=b'{"model": "one"}',
        status=200,
        reply_headers={"content-type": "text/event-stream"},
        delay_ms=12.5,
        pieces=[(1.0, b"data: 1\n\n"), (2.0, b"data: 2\n\n")],
        ended="complete",
        failure=None,
    )
    return whole._replace(**changes)


def write(exchange: Exchange, *secrets: str) -> bytes:
    """Return the file of an exchange."""
    return encode_recording(to_recording(exchange, secrets))


def read(data: bytes) -> Recording:
    return decode_recording(data)


def pieces_of(recording: Recording) -> list[tuple[float, bytes]]:
    assert recording.reply is not None
    return [(piece.delay_ms, piece.to_bytes()) for piece in recording.reply.pieces]


class TestFormat:
    """What a file looks like."""

    def test_it_can_be_read(self) -> None:
        """By people: JSON stays JSON, text stays text."""
        found = json.loads(write(make_exchange()))

        assert 1 == found["version"]
        assert {"json": {"model": "one"}} == found["request"]["body"]
        assert {"delay_ms": 1.0, "text": "data: 1\n\n"} == found["reply"]["pieces"][0]
        assert ("2026-11-27T12:00:00.000000Z", 12.5) == (found["recorded_at"], found["reply"]["delay_ms"])

    @given(data=st.binary(max_size=60), cuts=ANY_CUTS)
    def test_answers_come_back(self, data: bytes, cuts: list[int]) -> None:
        """The same bytes, cut at the same places, whatever they are."""
        pieces = [(float(place), piece) for place, piece in enumerate(cut_at(data, cuts))]

        assert pieces == pieces_of(read(write(make_exchange(pieces=pieces))))

    def test_text_that_is_cut_within_a_character(self) -> None:
        """Each part is base64: by itself it is no text."""
        euro = "€".encode()

        found = json.loads(write(make_exchange(pieces=[(0, b"a" + euro[:1]), (0, euro[1:])])))

        assert [{"base64": "YeI="}, {"base64": "gqw="}] == [
            {"base64": piece["base64"]} for piece in found["reply"]["pieces"]
        ]

    @pytest.mark.parametrize(
        "body", [b"", b"{", b"\xff", b'{"a": "\\ud800"}', b'{"a": 1.50, "b": [1e400]}', b"[" * 5000]
    )
    def test_requests_come_back(self, body: bytes) -> None:
        """Also those that are no JSON, and those whose numbers have many spellings."""
        found = read(write(make_exchange(body=body))).request.body.to_bytes()

        assert request_key("POST", "/", body) == request_key("POST", "/", found)

    def test_a_failure_instead_of_an_answer(self) -> None:
        """It is raised again as what it was."""
        failure = Unavailable("cannot connect to the provider: Connection refused")

        recording = read(write(make_exchange(status=None, ended="failed", failure=failure)))

        assert recording.reply is None
        assert recording.failure is not None
        assert (Unavailable, failure.message) == (type(recording.failure.to_error()), recording.failure.message)

    def test_a_failure_within_an_answer(self) -> None:
        """Behind what had come."""
        recording = read(write(make_exchange(ended="failed", failure=Cut("broke"))))

        assert ("failed", 2) == (recording.ended, len(pieces_of(recording)))
        assert recording.failure is not None
        assert isinstance(recording.failure.to_error(), Cut)

    @pytest.mark.parametrize(
        ("data", "told"),
        [
            (b"", "is not a recording"),
            (b"{}", "is not a recording"),
            (b'{"version": 2, "later": true}', "is of version 2 of the format; this gateway reads version 1"),
            (b'{"version": 1, "recorded_at": ""}', "is not a recording"),
            (write(make_exchange(status=None)), "neither a reply nor a failure"),
            (write(make_exchange()).replace(b'"text": "data: 1', b'"base64": "data: 1'), "is not a recording"),
        ],
    )
    def test_what_is_none(self, data: bytes, told: str) -> None:
        """The reason does not quote it."""
        with pytest.raises(ValueError, match=told):
            read(data)


class TestSecrets:
    """What no file holds."""

    @pytest.mark.parametrize("spelling", SPELLINGS)
    def test_nowhere(self, spelling: str) -> None:
        """Wherever a key turns up, in the spellings that JSON and URLs have for it."""
        text = f"before {spelling} after"
        exchange = make_exchange(
            url=f"https://api.acme.example:443/{spelling}?x={spelling}",
            headers={"X-Other": text},
            body=text.encode(),
            reply_headers={"x-echo": text},
            pieces=[(0, text.encode())],
            ended="failed",
            failure=Unavailable(text),
        )

        data = write(exchange, SECRET)

        assert b"canary" not in data
        assert b"before [key] after" in data

    @pytest.mark.parametrize("name", ["Authorization", "x-api-key", "X-Goog-Api-Key", "Cookie", "set-cookie", "X-Auth"])
    def test_headers_that_are_secret_by_their_name(self, name: str) -> None:
        """Even if nobody knows what is in them."""
        exchange = make_exchange(headers={name: "canary"}, reply_headers={name.lower(): "canary"})

        assert b"canary" not in write(exchange)

    def test_headers_that_are_not(self) -> None:
        """Providers tell their rate limits in tokens, which clients wait by."""
        told = {"content-type": "text/plain", "retry-after": "7", "x-ratelimit-remaining-tokens": "12"}

        reply = read(write(make_exchange(reply_headers=told))).reply

        assert reply is not None
        assert told == reply.headers

    def test_queries(self) -> None:
        """What is behind a name that says key is gone, the rest is there."""
        assert "https://a/b?alt=sse&key=[removed]&x" == hide_in_url("https://a/b?alt=sse&key=canary&x")

    def test_what_only_looks_like_a_secret(self) -> None:
        """Local servers take any word for a key; it may be in every answer."""
        assert b"ollama" in write(make_exchange(body=b'{"model": "ollama/x"}'), "ollama")

    @given(parts=st.lists(st.sampled_from(["sk-canary", "sk-", "canary", "x"]), max_size=6), cuts=ANY_CUTS)
    def test_across_the_borders_of_pieces(self, parts: list[str], cuts: list[int]) -> None:
        """A provider's bytes may be cut within a key."""
        whole = "".join(parts).encode()
        pieces = [(1.0, piece) for piece in cut_at(whole, cuts)]

        hidden = hide_in_pieces(pieces, frozenset({"sk-canary"}))

        assert whole.replace(b"sk-canary", b"[key]") == b"".join(data for _, data in hidden)
        assert b"" not in [data for _, data in hidden if b"sk-canary" in whole]

    def test_the_rest_of_a_secret(self) -> None:
        """A piece that was nothing else is gone, and the next one comes as late as it did."""
        pieces = [(1.0, b"a sk-c"), (2.0, b"anary"), (4.0, b" b"), (8.0, b"c")]

        assert [(1.0, b"a [key]"), (6.0, b" b"), (8.0, b"c")] == hide_in_pieces(pieces, frozenset({"sk-canary"}))


class TestRequests:
    """Which requests are the same."""

    @pytest.mark.parametrize(
        ("body", "other", "same"),
        [
            (b'{"a": 1, "b": [2]}', b'{"b":[2],"a":1}', True),
            ('{"a": "é"}'.encode(), b'{"a": "\\u00e9"}', True),
            (b'{"a": 1}', b'{"a": 1, "user": "hashed"}', True),
            (b'{"metadata": {"user_id": "a"}}', b'{"metadata": {"user_id": "b"}}', True),
            (b'{"a": 1}', b'{"a": 2}', False),
            (b'{"a": [1, 2]}', b'{"a": [2, 1]}', False),
            (b"not JSON", b"not JSON ", False),
        ],
    )
    def test_what_counts(self, body: bytes, other: bytes, *, same: bool) -> None:
        """What JSON says, not how it is written, nor who asks."""
        assert same == (request_key("POST", "/v1", body) == request_key("POST", "/v1", other))

    def test_where_it_goes(self) -> None:
        """The method and the path with its query."""
        keys = {
            request_key(*where, b"{}") for where in (("POST", "/a"), ("POST", "/b"), ("GET", "/a"), ("POST", "/a?x"))
        }

        assert 4 == len(keys)
        assert ("http://a:80", "/b/c?d") == (origin_of("http://a:80/b/c?d"), resource_of("http://a:80/b/c?d"))

    @pytest.mark.parametrize(
        ("other", "expected"),
        [
            ({"a": 1, "b": [{"c": "x"}]}, []),
            ({"a": 2, "b": [{"c": "x"}]}, ["a"]),
            ({"a": 1, "b": [{"c": "y"}, 1]}, ["b[0].c", "b[1]"]),
            ({"a": True, "b": {}}, ["a", "b"]),
            ({"b": [{"c": "x"}], "d": None}, ["a", "d"]),
            ("x", ["the body"]),
        ],
    )
    def test_where_they_differ(self, other: Any, expected: list[str]) -> None:
        """By path; what is there is private."""
        body = json.dumps({"a": 1, "b": [{"c": "x"}]}).encode()

        assert expected == find_differences(body, json.dumps(other).encode())


def test_empty_bytes() -> None:
    """They are text, not nothing."""
    assert (b"", b"") == (Body.of(b"").to_bytes(), Piece.of(0, b"").to_bytes())
