"""What runs cost: sums over every kind of run, exact, counted once, and safe to share."""

import asyncio
import contextvars
import decimal
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.caches import InMemoryCache
from langchain_core.language_models import FakeListChatModel, FakeListLLM
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.runnables import RunnableConfig, RunnableLambda, RunnableParallel
from langchain_core.tools import tool
from langchain_core.tracers import context as tracers
from langchain_core.utils.uuid import uuid7
from scripted_server import Json, ScriptedServer, completion, event, json_reply, sse_reply
from test_drivers import AT_ONCE, error_reply
from test_embeddings import embeddings_for, vectors

from langchain_openrouter import ChatOpenRouter, OpenRouterError, RateLimited, StreamBroken
from langchain_openrouter.costs import CostSummary, CostTracker, to_usd, track_costs

TENTH = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "cost": 0.1}
TOKENS = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}


def answer(cost: float | None = 0.1, **top: Any) -> Json:
    return {**completion(), "usage": {**TENTH, "cost": cost}, **top}


def streamed() -> list[Json]:
    usage = {**event(), "choices": [], "usage": TENTH}
    return [event({"content": "Hel"}), event({"content": "lo"}), event({}, "stop"), usage]


@pytest.fixture
def model(server: ScriptedServer) -> ChatOpenRouter:
    server.answer(json_reply(answer()))
    return ChatOpenRouter(model="acme/one", base_url=server.url, max_retries=0)


def times(calls: int) -> CostSummary:
    """Return what so many answers add up to."""
    tokens: Any = {name: calls * count for name, count in TOKENS.items()}
    return CostSummary(calls=calls, cost=Decimal("0.1") * calls, usage_metadata=tokens)


class TestRuns:
    """Every way to run a model."""

    def test_calls_and_batches(self, model: ChatOpenRouter) -> None:
        """Three tenths are three tenths."""
        with track_costs() as costs:
            model.invoke("hi")
            model.batch(["a", "b"])
        model.invoke("afterwards")
        assert costs.total == times(3)
        assert str(costs.total.cost) == "0.3"

    async def test_asynchronous_calls(self, model: ChatOpenRouter) -> None:
        """Tasks and executors run in copies of the context."""
        with track_costs() as costs:
            await model.ainvoke("hi")
            await model.abatch(["a", "b"])
            await asyncio.gather(*(model.ainvoke("hi") for _ in range(10)))
            await asyncio.to_thread(model.invoke, "hi")
        assert costs.total == times(14)

    async def test_streams(self, server: ScriptedServer, model: ChatOpenRouter) -> None:
        server.answer(sse_reply(*streamed()))
        with track_costs() as costs:
            assert "".join(chunk.text for chunk in model.stream("hi")) == "Hello"
            assert "".join([chunk.text async for chunk in model.astream("hi")]) == "Hello"
            async for _ in model.astream_events("hi", version="v2"):
                pass
        assert costs.total == times(3)

    @pytest.mark.parametrize("asynchronous", [False, True])
    def test_an_agent(self, server: ScriptedServer, model: ChatOpenRouter, asynchronous: bool) -> None:
        @tool
        def double(number: int) -> int:
            """Double a number."""
            model.invoke("a call within a tool")
            return 2 * number

        calls = [{"id": "c1", "function": {"name": "double", "arguments": '{"number": 2}'}}]
        asked = completion(None, tool_calls=calls)
        server.answer(json_reply({**asked, "usage": TENTH}), json_reply(answer()))
        agent: Any = create_agent(model, tools=[double])
        prompt = {"messages": [("human", "double 2")]}
        with track_costs() as costs:
            result = asyncio.run(agent.ainvoke(prompt)) if asynchronous else agent.invoke(prompt)
        assert result["messages"][-2].content == "4"
        assert costs.total == times(3)

    def test_chains_run_in_parallel(self, model: ChatOpenRouter) -> None:
        chain = RunnableParallel(a=model, b=RunnableLambda(lambda text: model.invoke(str(text))))
        with track_costs() as costs:
            chain.invoke("hi")
        assert costs.total == times(2)

    def test_as_a_handler(self, model: ChatOpenRouter) -> None:
        """Of one call, of a model, and of both at once."""
        tracker = CostTracker()
        model.invoke("hi", config={"callbacks": [tracker]})
        twin = ChatOpenRouter(model="acme/one", base_url=model.openrouter_api_base, callbacks=[tracker])
        twin.invoke("hi", config={"callbacks": [tracker]})
        assert tracker.total == times(2)

    def test_threads(self, model: ChatOpenRouter) -> None:
        """A tracker may be shared; a block is seen by threads that run in a copy of the context."""
        shared = CostTracker()
        with track_costs() as costs:
            threads = [
                threading.Thread(
                    target=contextvars.copy_context().run,
                    args=(lambda: [model.invoke("hi", config={"callbacks": [shared]}) for _ in range(5)],),
                )
                for _ in range(4)
            ]
            threads.append(threading.Thread(target=model.invoke, args=("elsewhere",)))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert costs.total == times(20)
        assert shared.total == times(20)

    def test_threads_that_are_given_the_config_of_a_run(self, model: ChatOpenRouter) -> None:
        def node(text: str, config: RunnableConfig) -> None:
            thread = threading.Thread(target=model.invoke, args=(text, config))
            thread.start()
            thread.join()

        with track_costs() as costs:
            RunnableLambda(node).invoke("hi")
        assert costs.total == times(1)

    def test_embeddings(self, server: ScriptedServer) -> None:
        """One call for each request, in every block around it."""
        usage = {"prompt_tokens": 4, "total_tokens": 4, "cost": 0.25}
        server.answer(json_reply(vectors([1.0], usage=usage, provider="Acme")))
        embeddings = embeddings_for(server, chunk_size=1)
        with track_costs() as outer, track_costs() as inner:
            embeddings.embed_documents(["a", "b"])
            asyncio.run(embeddings.aembed_query("a"))
        embeddings.embed_query("afterwards")
        tokens: Any = {"input_tokens": 12, "output_tokens": 0, "total_tokens": 12}
        expected = CostSummary(calls=3, cost=Decimal("0.75"), usage_metadata=tokens)
        assert inner.by_model == {"acme/vectors": expected}
        assert outer.by_provider == {"Acme": expected}


class TestNesting:
    """Blocks within blocks."""

    def test_the_outer_block_counts_everything(self, model: ChatOpenRouter) -> None:
        with track_costs() as outer:
            model.invoke("hi")
            with track_costs() as inner:
                model.invoke("hi")
            model.invoke("hi")
        assert (outer.total, inner.total) == (times(3), times(1))

    def test_nothing_is_counted_twice(self, model: ChatOpenRouter) -> None:
        """A run that began in the outer block hands its handlers down to calls in the inner one."""
        inside: list[CostTracker] = []

        def node(text: str) -> AIMessage:
            with track_costs() as inner:
                inside.append(inner)
                return model.invoke(text)

        with track_costs() as outer:
            RunnableLambda(node).invoke("hi")
        assert (outer.total, inside[0].total) == (times(1), times(1))

    def test_no_failure_either(self, server: ScriptedServer, model: ChatOpenRouter) -> None:
        server.answer(error_reply(400))

        def node(text: str) -> AIMessage:
            with track_costs():
                return model.invoke(text)

        with track_costs() as outer, pytest.raises(OpenRouterError):
            RunnableLambda(node).invoke("hi")
        assert outer.failed == 1

    def test_an_exception_ends_the_block(self, model: ChatOpenRouter) -> None:
        blocks: list[CostTracker] = []

        def fail() -> None:
            with track_costs() as costs:
                blocks.append(costs)
                model.invoke("hi")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        model.invoke("afterwards")
        assert blocks[0].total == times(1)

    def test_blocks_leave_nothing_behind(self) -> None:
        """LangChain looks through its list of hooks at every run."""
        with track_costs():
            before = len(tracers._configure_hooks)
        for _ in range(5):
            with track_costs():
                pass
        assert len(tracers._configure_hooks) == before


class TestWhatIsCounted:
    """Models, providers, and calls without a price."""

    def test_by_model_and_by_provider(self, server: ScriptedServer, model: ChatOpenRouter) -> None:
        replies = [answer(0.1), answer(0.2, model="acme/two"), answer(0.4, provider="Other"), answer(0.8)]
        server.answer(*(json_reply(reply) for reply in replies))
        with track_costs() as costs:
            for _ in replies:
                model.invoke("hi")
        models = {name: (row.calls, row.cost) for name, row in costs.by_model.items()}
        assert models == {"acme/one": (3, Decimal("1.3")), "acme/two": (1, Decimal("0.2"))}
        providers = {name: (row.calls, row.cost) for name, row in costs.by_provider.items()}
        assert providers == {"Acme": (3, Decimal("1.1")), "Other": (1, Decimal("0.4"))}
        assert repr(costs) == "CostTracker(cost=1.5, calls=4, unpriced=0, failed=0)"

    def test_details_of_tokens(self, server: ScriptedServer, model: ChatOpenRouter) -> None:
        usage = {**TENTH, "prompt_tokens_details": {"cached_tokens": 2}}
        server.answer(json_reply({**completion(), "usage": usage}))
        with track_costs() as costs:
            model.batch(["a", "b"])
        assert costs.total.usage_metadata.get("input_token_details") == {"cache_read": 4}

    def test_several_choices_are_one_call(self, server: ScriptedServer, model: ChatOpenRouter) -> None:
        body = answer()
        server.answer(json_reply({**body, "choices": body["choices"] * 3}))
        with track_costs() as costs:
            model.invoke("hi", n=3)
        assert costs.total == times(1)

    def test_no_cost(self, server: ScriptedServer, model: ChatOpenRouter) -> None:
        """Servers that report none, and other integrations, also where they have a `cost` of their own."""
        server.answer(json_reply(answer(None)), json_reply({**completion(), "usage": None, "provider": None}))
        with track_costs() as costs:
            model.invoke("hi")
            model.invoke("hi")
            FakeListChatModel(responses=["x"]).invoke("hi")
            FakeListLLM(responses=["x"]).invoke("hi")
        assert (costs.total.calls, costs.total.unpriced, costs.total.cost) == (4, 4, 0)
        assert costs.total.usage_metadata == TOKENS
        assert {name: row.calls for name, row in costs.by_provider.items()} == {"Acme": 1, None: 3}

    def test_a_cost_of_another_integration(self) -> None:
        """Nobody knows its currency; counts that are no numbers do not hurt."""
        usage: Any = {**TOKENS, "total_cost": 0.5, "other": None}
        message = AIMessage("x", usage_metadata=usage, response_metadata={"cost": 7, "model_name": "m"})
        tracker, run_id = CostTracker(), uuid7()
        tracker.on_chat_model_start({}, [], run_id=run_id)
        tracker.on_llm_end(LLMResult(generations=[[ChatGeneration(message=message)]]), run_id=run_id)
        tokens: Any = TOKENS
        assert tracker.by_model == {"m": CostSummary(calls=1, unpriced=1, usage_metadata=tokens)}

    def test_a_free_model_is_priced(self, server: ScriptedServer, model: ChatOpenRouter) -> None:
        server.answer(json_reply(answer(0)))
        with track_costs() as costs:
            model.invoke("hi")
        assert (costs.total.calls, costs.total.unpriced, costs.total.cost) == (1, 0, 0)

    def test_what_comes_out_of_a_cache_costs_nothing(self, server: ScriptedServer, model: ChatOpenRouter) -> None:
        model.cache = InMemoryCache()
        with track_costs() as costs:
            first, second = model.invoke("hi"), model.invoke("hi")
        assert first.text == second.text
        assert len(server.seen) == 1
        assert costs.total == times(1)


class TestFailures:
    """Calls that failed are counted by themselves."""

    def test_errors(self, server: ScriptedServer, model: ChatOpenRouter) -> None:
        server.answer(error_reply(429, headers=AT_ONCE), json_reply(answer()))
        with track_costs() as costs:
            with pytest.raises(RateLimited):
                model.invoke("hi")
            model.invoke("hi")
        assert (costs.total, costs.failed) == (times(1), 1)

    def test_a_retry_is_no_failure(self, server: ScriptedServer, model: ChatOpenRouter) -> None:
        server.answer(error_reply(429, headers=AT_ONCE), json_reply(answer()))
        with track_costs() as costs:
            model.invoke("hi", max_retries=1)
        assert (costs.total, costs.failed) == (times(1), 0)

    async def test_streams_that_break_or_are_left(self, server: ScriptedServer, model: ChatOpenRouter) -> None:
        server.answer(sse_reply(event({"content": "a"}), done=False))
        with track_costs() as costs:
            with pytest.raises(StreamBroken):
                list(model.stream("hi"))
            for _ in model.stream("hi"):
                break
            with pytest.raises(OpenRouterError):
                async for _ in model.astream("hi"):
                    pass
        assert (costs.total.calls, costs.failed) == (0, 3)


@pytest.fixture
def narrow_context() -> Iterator[None]:
    with decimal.localcontext(decimal.Context(prec=2)):
        yield


class TestMoney:
    """Numbers of the API as exact decimals."""

    @pytest.mark.usefixtures("narrow_context")
    def test_the_decimal_context_of_the_user_rounds_nothing(self) -> None:
        summed = CostSummary(cost=Decimal("1e-30")) + CostSummary(cost=Decimal("12345.678"))
        assert str(summed.cost) == "12345.678000000000000000000000000001"

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (0.1, "0.1"),
            (1.5e-7, "1.5E-7"),
            (0.0001485000000000001, "0.0001485000000000001"),
            (3, "3"),
            (Decimal("0.10"), "0.10"),
            (None, None),
            (True, None),
            ("0.1", None),
            (float("nan"), None),
            (float("inf"), None),
            (Decimal("NaN"), None),
        ],
    )
    def test_conversion(self, value: object, expected: str | None) -> None:
        assert to_usd(value) == (None if expected is None else Decimal(expected))
