"""Scripted faults: whom they hit, how often, and that they look like a provider's own."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest
from gateway_samples import make_endpoint, make_request

from openrouter_gateway.accounting.authorize import Grant, hash_key, mask_key
from openrouter_gateway.callers.faults import Faults
from openrouter_gateway.config.settings import load_settings
from openrouter_gateway.config.testing import FaultSettings, build_faults, notes_of
from openrouter_gateway.core.account import Key
from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.events import Ended, Event, Step, UsageReported
from openrouter_gateway.core.fault import Fault
from openrouter_gateway.core.usage import Usage
from openrouter_gateway.errors import ConfigError, Cut, Refused, Throttled, TimedOut, Unavailable, UpstreamError

ENDPOINT = make_endpoint()
TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
ANYONE = Grant()


def step(**delta: Any) -> Step:
    return Step({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})


def call_piece(index: int, arguments: str, **more: Any) -> dict[str, Any]:
    return {"index": index, "function": {"arguments": arguments}, **more}


class Provider:
    """An endpoint that answers in three steps, cut into these batches."""

    def __init__(self, *steps: Step) -> None:
        self.steps = steps or (step(content="a"), step(content="b"), step(content="c"))
        self.calls = 0
        self.closed = 0

    async def call(self, request: ChatRequest, endpoint: Endpoint) -> AsyncGenerator[list[Event]]:
        self.calls += 1
        try:
            yield [self.steps[0]]
            yield [*self.steps[1:], UsageReported(Usage())]
            yield [Ended()]
        finally:
            self.closed += 1


async def run(
    faults: Faults,
    provider: Provider | None = None,
    *,
    grant: Grant = ANYONE,
    endpoint: Endpoint = ENDPOINT,
    **fields: object,
) -> tuple[list[Event], UpstreamError | None]:
    """Return the events of one call, and how it failed."""
    found: list[Event] = []
    caller = faults.around(provider or Provider(), grant)
    try:
        async for events in caller.call(make_request(**fields), endpoint):
            found += events
    except UpstreamError as error:
        return found, error
    return found, None


def one(kind: Any, **more: Any) -> Faults:
    return Faults([Fault(kind=kind, name="planned", **more)])


async def pattern_of(faults: Faults, calls: int = 8, **options: Any) -> str:
    """Return how calls end: x fails, a dot does not."""
    return "".join(["x" if (await run(faults, **options))[1] else "." for _ in range(calls)])


class TestKinds:
    """What goes wrong."""

    @pytest.mark.parametrize(
        ("fault", "kind", "status", "retry_after_s", "message"),
        [
            (one("rate_limit", retry_after_s=7), Throttled, 429, 7, "too many requests"),
            (one("rate_limit"), Throttled, 429, None, "too many requests"),
            (one("error"), Unavailable, 502, None, "the provider answered with status 500"),
            (one("error", status=503, message="busy"), Unavailable, 502, None, "busy"),
            (one("error", status=400, message="no"), Refused, 400, None, "no"),
            (one("error", status=429), Throttled, 429, None, "the provider answered with status 429"),
            (one("timeout"), TimedOut, 504, None, "the provider did not answer in time"),
        ],
    )
    async def test_instead_of_an_answer(
        self, fault: Faults, kind: type, status: int, retry_after_s: int | None, message: str
    ) -> None:
        """The error that the provider's own would be, which says that it was scripted; the provider is not asked."""
        provider = Provider()

        events, error = await run(fault, provider)

        assert ([], 0) == (events, provider.calls)
        assert error is not None
        assert (kind, status, retry_after_s) == (type(error), error.status, error.retry_after_s)
        assert f"Scripted fault: {message}" == error.message == str(error)
        assert "planned" == error.metadata["scripted_fault"]["name"]  # type: ignore[index]

    @pytest.mark.parametrize(("after", "texts"), [(0, ""), (1, "a"), (2, "ab"), (3, "abc"), (9, "abc")])
    async def test_a_cut_stream(self, after: int, texts: str) -> None:
        """Behind so many chunks, whatever they arrive with; a shorter answer never comes to its end."""
        provider = Provider()

        events, error = await run(one("cut_stream", after_chunks=after), provider)

        assert isinstance(error, Cut)
        assert texts == "".join(each.choices[0]["delta"]["content"] for each in events if isinstance(each, Step))
        assert Ended() not in events
        assert (1, 1) == (provider.calls, provider.closed)

    async def test_a_slow_first_token(self) -> None:
        """The answer is the provider's, later; its first chunk says why."""
        slept: list[float] = []

        async def sleep(delay_s: float) -> None:
            slept.append(delay_s)

        fault = Fault(kind="slow_first_token", name="planned", delay_s=2.5)
        events, error = await run(Faults([fault], sleep=sleep))

        assert ([2.5], None, Ended()) == (slept, error, events[-1])
        marks = [each.chunk.get("scripted_fault") for each in events if isinstance(each, Step)]
        assert [{"name": "planned", "kind": "slow_first_token"}, None, None] == marks

    async def test_broken_arguments(self) -> None:
        """Those of each call, once; names and ids stay."""
        provider = Provider(
            step(tool_calls=[call_piece(0, '{"a":', id="one"), {"index": 1, "function": {"name": "look_up"}}]),
            step(tool_calls=[call_piece(0, " 1}")]),
            step(tool_calls=[call_piece(1, "{}")]),
        )

        events, _ = await run(one("broken_tool_json"), provider, tools=TOOLS)

        pieces = [
            (call["index"], call["function"]["arguments"], call.get("id"))
            for each in events
            if isinstance(each, Step)
            for call in each.choices[0]["delta"]["tool_calls"]
        ]
        assert [(0, '{{"a":', "one"), (1, "{", None), (0, " 1}", None), (1, "{}", None)] == pieces

    async def test_requests_without_tools_have_no_calls(self) -> None:
        """They do not use up the fault."""
        faults = one("broken_tool_json", times=1)

        events, _ = await run(faults)

        assert ("<Faults planned 0/0>", False) == (repr(faults), "scripted_fault" in str(events))


class TestTurns:
    """Which calls fail."""

    @pytest.mark.parametrize(
        ("said", "expected"),
        [
            ({}, "xxxxxxxx"),
            ({"times": 2}, "xx......"),
            ({"every": 3}, "..x..x.."),
            ({"every": 3, "times": 1}, "..x....."),
            ({"probability": 0.5, "seed": 1}, "x..xx.x."),
            ({"probability": 0.5, "seed": 2}, None),
        ],
    )
    async def test_how_often(self, said: dict[str, Any], expected: str | None) -> None:
        """The same ones each time."""
        found = await pattern_of(one("error", **said))

        assert found == await pattern_of(one("error", **said))
        if expected is None:
            assert found != await pattern_of(one("error", **said | {"seed": 1}))
        else:
            assert expected.count("x") == found.count("x") if "seed" in said else expected == found

    async def test_the_first_whose_turn_it_is(self) -> None:
        """One fault per call."""
        first = Fault(kind="rate_limit", name="first", every=2)
        second = Fault(kind="error", name="second", times=2)
        faults = Faults([first, second])

        found = [type((await run(faults))[1]).__name__ for _ in range(4)]

        assert ["Unavailable", "Throttled", "Unavailable", "Throttled"] == found
        assert "<Faults first 2/4, second 2/2>" == repr(faults)

    @pytest.mark.parametrize(
        ("said", "endpoint", "hit"),
        [
            ({"models": ("a/*",)}, make_endpoint(model_id="a/one"), True),
            ({"models": ("b/*", "a/one")}, make_endpoint(model_id="a/one"), True),
            ({"models": ("one",)}, make_endpoint(model_id="a/one"), False),
            ({"providers": ("acme",)}, make_endpoint("acme/turbo"), True),
            ({"providers": ("acme/turbo",)}, make_endpoint("acme/turbo"), True),
            ({"providers": ("acme/turbo",)}, make_endpoint("acme"), False),
            ({"models": ("a/*",), "providers": ("other",)}, make_endpoint(), False),
        ],
    )
    async def test_models_and_providers(self, said: dict[str, Any], endpoint: Endpoint, *, hit: bool) -> None:
        """All that is said has to fit."""
        assert ("x" if hit else ".") == await pattern_of(one("error", **said), 1, endpoint=endpoint)

    async def test_keys(self) -> None:
        """By name, label or hash, of the store's; by label or hash, of the configuration's; nobody is no key."""
        stored = Key(hash="ab" * 32, label="sk-or-v1-abc...wxyz", name="Tests", created_at=0)
        configured = "sk-or-v1-0123456789"
        grants = [Grant(key_hash=stored.hash, key=stored), Grant(key_hash=hash_key(configured)), ANYONE]
        labels = {hash_key(configured): mask_key(configured)}
        names = [("Tests",), (stored.label,), (stored.hash,), (mask_key(configured),), (hash_key(configured),), ("x",)]

        found = [
            "".join(
                [
                    await pattern_of(
                        Faults([Fault(kind="error", name="planned", keys=keys)], labels=labels), 1, grant=grant
                    )
                    for grant in grants
                ]
            )
            for keys in names
        ]

        assert ["x..", "x..", "x..", ".x.", ".x.", "..."] == found


class TestSettings:
    """`[[faults]]` and `[recording]`."""

    def test_what_is_said_is_taken(self, caplog: pytest.LogCaptureFixture) -> None:
        """The rest has its default; the log warns."""
        said = FaultSettings(kind="error", models=["a/*"], keys=["Tests"], every=2, status=503)

        assert Fault(
            kind="error", name="faults.4", models=("a/*",), keys=("Tests",), every=2, status=503
        ) == said.to_core(4)
        assert None is build_faults([], {})
        assert "<Faults faults.0 0/0>" == repr(build_faults([said], {}))
        assert "Faults are scripted, answers may fail on purpose: faults.0" in caplog.text

    def test_the_operator_is_told(self) -> None:
        """Which kinds there are, and nothing where there is nothing."""
        settings = load_settings(None)
        faults = [FaultSettings(kind="timeout"), FaultSettings(kind="error"), FaultSettings(kind="timeout")]

        assert [] == notes_of(settings.recording, None, settings.faults)
        assert ["Faults are scripted, answers may fail on purpose: timeout, error."] == notes_of(
            settings.recording, None, faults
        )

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("[[faults]]\nkind = 'flood'", "faults.0.kind: "),
            ("[[faults]]\nkind = 'rate_limit'\nstatus = 500", "status: not for faults of kind rate_limit"),
            ("[[faults]]\nkind = 'timeout'\nafter_chunks = 2", "after_chunks: not for faults of kind timeout"),
            ("[[faults]]\nkind = 'slow_first_token'", "delay_s says how slow"),
            ("[[faults]]\nkind = 'error'\nevery = 2\nprobability = 0.5", "every and probability exclude each other"),
            ("[[faults]]\nkind = 'error'\nprobability = 0", "faults.0.probability: "),
            ("[recording]\nmode = 'record'", "recording.directory says where to record"),
            ("[recording]\nmode = 'rewind'", "recording.mode: "),
        ],
    )
    def test_what_is_wrong(self, tmp_path: Any, text: str, told: str) -> None:
        """With the key and the reason."""
        file = tmp_path / "gateway.toml"
        file.write_text(text)

        with pytest.raises(ConfigError) as caught:
            load_settings(file)

        assert told in str(caught.value)
