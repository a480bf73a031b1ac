"""Plugins at work: requests as a provider on loopback gets them, and its replies as they come out."""

import ipaddress
import json
from base64 import b64encode
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import msgspec
import pytest
from gateway_samples import make_catalog, make_chunk, make_endpoint, make_request, to_sse
from pdf_samples import lock_pdf, make_pdf
from web_server import Answer, WebServer, respond, web_server

from openrouter_gateway.callers.fetch import Fetcher
from openrouter_gateway.callers.http import HTTPCaller
from openrouter_gateway.callers.media import MediaFetcher, MediaLimits
from openrouter_gateway.callers.plugins import Plugins
from openrouter_gateway.callers.pool import Pool, Timeouts
from openrouter_gateway.callers.search import HTTPSearchEngine
from openrouter_gateway.callers.workshop import Workshop, WorkshopLimits
from openrouter_gateway.core.catalog import Catalog, Endpoint, Listing, Model
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.events import Ended, Event, Step, UsageReported
from openrouter_gateway.errors import BadRequest, MediaRefused, Unavailable
from openrouter_gateway.plugins.files import hash_of
from openrouter_gateway.wire.skins import embeddings

PDF = make_pdf("Hello")
PDF_URL = f"data:application/pdf;base64,{b64encode(PDF).decode()}"
PNG = b"\x89PNG\r\n\x1a\n..."
PNG_URL = f"data:image/png;base64,{b64encode(PNG).decode()}"
HEALING = [{"id": "response-healing"}]
PERSON = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
PERSON_FORMAT = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
LOCKED_PDF_URL = f"data:application/pdf;base64,{b64encode(lock_pdf(PDF, 'secret')).decode()}"


def body(text: str | None = "Hi", finish: str = "stop", **message: Any) -> bytes:
    """Return a provider's whole answer."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text} | message}
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    return respond(json.dumps({"choices": [choice], "usage": usage}).encode(), kind="application/json")


class World:
    """A provider, a web site and a search engine, all the same server; and the plugins."""

    def __init__(self, site: WebServer, answers: dict[str, list[Answer]], pool: Pool, plugins: Plugins) -> None:
        self.site = site
        self.answers = answers
        self._caller = HTTPCaller(pool, {})
        self.plugins = plugins

    def endpoint(self, *quirks: str, **fields: Any) -> Endpoint:
        found = make_endpoint("x", quirks=frozenset(quirks), modalities=fields.pop("modalities", {"text"}))
        provider = msgspec.structs.replace(found.provider, base_url=self.site.url(""))
        return msgspec.structs.replace(found, provider=provider, **fields)

    async def run(
        self, request: ChatRequest, *endpoints: Endpoint, catalog: Catalog | None = None
    ) -> tuple[list[Event], list[dict[str, Any]]]:
        """Return the last endpoint's reply to a request, and the pipeline."""
        run = await self.plugins.begin(request, catalog or make_catalog(*endpoints))
        events: list[Event] = []
        for endpoint in endpoints:
            events = []
            prepared = await run.prepare(endpoint)
            async with aclosing(prepared.call(self._caller)) as batches:
                async for batch in batches:
                    events += batch
        return events, run.stages

    def asked(self, path: str = "/chat/completions") -> list[dict[str, Any]]:
        """Return the bodies that the provider got."""
        return [json.loads(sent) for head, sent in self.site.requests if head.startswith(f"POST {path} ")]

    def fetched(self) -> list[str]:
        """Return the paths that were fetched."""
        return [head.split(" ")[1] for head, _ in self.site.requests if head.startswith("GET ")]


@asynccontextmanager
async def world(engine: str | None = None, **answers: list[Answer]) -> AsyncGenerator[World]:
    """Make one; the provider answers `Hi`, other paths are given by their names."""
    table: dict[str, list[Answer]] = {"/chat/completions": [body()]}
    table |= {f"/{name}": answer for name, answer in answers.items()}
    pool = Pool(Timeouts())
    async with web_server(table) as site:
        search = HTTPSearchEngine(pool, engine, base_url=site.url(""), key="k", timeout_s=5) if engine else None
        plugins = Plugins(
            media=MediaFetcher(Fetcher(allowed=[ipaddress.ip_network("127.0.0.1/32")]), MediaLimits()),
            workshop=Workshop(WorkshopLimits()),
            today=lambda: "2026-11-24",
            search=search,
        )
        try:
            yield World(site, table, pool, plugins)
        finally:
            await plugins.close()
            await pool.close()


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def file(url: str, name: str = "a.pdf") -> dict[str, Any]:
    return {"type": "file", "file": {"filename": name, "file_data": url}}


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def text_of(events: list[Event]) -> str:
    return "".join(c["delta"].get("content") or "" for e in events if isinstance(e, Step) for c in e.choices)


def annotations(events: list[Event]) -> list[Any]:
    steps = [event for event in events if isinstance(event, Step)]
    return [each for step in steps for c in step.choices for each in c["delta"].get("annotations", ())]


class TestNothing:
    """Requests that no plugin concerns."""

    async def test_it_passes(self) -> None:
        """As it came."""
        async with world() as here:
            request = make_request(model="a/one")
            run = await here.plugins.begin(request, make_catalog(here.endpoint()))

            assert request is run.request
            events, stages = await here.run(request, here.endpoint())

        assert ("Hi", []) == (text_of(events), stages)
        assert [{"role": "user", "content": "Hello"}] == here.asked()[0]["messages"]

    async def test_other_tasks(self) -> None:
        """Plugins are for chats: texts to embed are not made shorter, nor searched for."""
        texts = ["x" * 40_000, "y"]
        body = {"model": "a/one:online", "input": texts, "plugins": [{"id": "web"}], "transforms": ["middle-out"]}
        request = embeddings.parse(json.dumps(body).encode())
        async with world("searxng") as here:
            endpoint = here.endpoint(context_length=4096)
            run = await here.plugins.begin(request, make_catalog(endpoint))
            prepared = await run.prepare(endpoint)

        assert run.asked is run.request is prepared.request is request
        assert [] == here.site.requests

    async def test_an_openrouter(self) -> None:
        """Gets everything as it is: it has plugins of its own."""
        fields: dict[str, Any] = {
            "messages": [user(file("https://10.0.0.1/a.pdf"), image("http://127.0.0.1/a.png"))],
            "plugins": [{"id": "file-parser", "pdf": {"engine": "mistral-ocr"}}, *HEALING],
            "transforms": ["middle-out"],
            "response_format": {"type": "json_object"},
        }
        async with world() as here:
            events, stages = await here.run(
                make_request(**fields), here.endpoint("openrouter_fields", context_length=10)
            )

        assert ("Hi", []) == (text_of(events), stages)
        assert fields == {key: value for key, value in here.asked()[0].items() if key in fields}


class TestFiles:
    """PDFs."""

    async def test_text_in_and_annotation_out(self) -> None:
        """From data and from a URL, each read once; the answer brings what was read."""
        other = make_pdf("World")
        async with world(b=[respond(other)]) as here:
            parts = [file(PDF_URL), file(here.site.url("/b"), "b.pdf"), file(PDF_URL)]
            events, stages = await here.run(make_request(messages=[user(*parts)]), here.endpoint())

        texts = [part["text"] for part in here.asked()[0]["messages"][0]["content"]]
        assert ["Hello", "World", "Hello"] == texts[1::3]
        assert [(hash_of(PDF), "a.pdf", "Hello"), (hash_of(other), "b.pdf", "World")] == [
            (each["file"]["hash"], each["file"]["name"], each["file"]["content"][0]["text"])
            for each in annotations(events)
        ]
        assert [{"type": "plugin", "name": "file-parser", "data": {"engine": "pdf-text", "files": 2}}] == stages

    async def test_what_was_read_before(self) -> None:
        """Is not read again, whatever is in the file; and not told again."""
        known = {
            "type": "file",
            "file": {"hash": hash_of(PDF), "name": "a.pdf", "content": [{"type": "text", "text": "As read."}]},
        }
        before = {"role": "assistant", "content": "Yes.", "annotations": [known]}
        async with world() as here:
            events, _ = await here.run(make_request(messages=[user(file(PDF_URL)), before, user()]), here.endpoint())

        messages = here.asked()[0]["messages"]
        assert "As read." == messages[0]["content"][1]["text"]
        assert {"role": "assistant", "content": "Yes."} == messages[1]
        assert [] == annotations(events)

    async def test_an_endpoint_that_takes_files(self) -> None:
        """Gets the file, fetched if its protocol has no URLs for it."""
        async with world(b=[respond(PDF)]) as here:
            request = make_request(messages=[user(file(PDF_URL), file(here.site.url("/b")))])
            events, stages = await here.run(request, here.endpoint(modalities={"text", "file"}))

        assert [file(PDF_URL), file(PDF_URL)] == here.asked()[0]["messages"][0]["content"]
        assert ([], []) == (annotations(events), stages)

    async def test_the_next_endpoint(self) -> None:
        """Finds everything there."""
        async with world(b=[respond(PDF)]) as here:
            request = make_request(messages=[user(file(here.site.url("/b")))])
            takes = here.endpoint(modalities={"text", "file"})
            events, stages = await here.run(request, here.endpoint(), takes, here.endpoint())

        assert ["/b"] == here.fetched()
        assert file(PDF_URL) == here.asked()[1]["messages"][0]["content"][0]
        assert here.asked()[0] == here.asked()[2]
        assert (1, 1) == (len(annotations(events)), len(stages))

    @pytest.mark.parametrize(
        ("part", "reason"),
        [
            (file(LOCKED_PDF_URL, "locked.pdf"), r"The file locked\.pdf is encrypted: it needs a password"),
            (file("data:application/pdf;base64,JVBERi0xLjc=", "bad.pdf"), r"The file bad\.pdf is broken"),
            (file("data:application/pdf;base64,%%%", "worse.pdf"), r"worse\.pdf is not a data URL"),
        ],
    )
    async def test_files_that_cannot_be_read(self, part: dict[str, Any], reason: str) -> None:
        """A 400 that names the file; nobody is asked."""
        async with world() as here:
            with pytest.raises(BadRequest, match=reason):
                await here.run(make_request(messages=[user(part)]), here.endpoint())

        assert [] == here.asked()

    async def test_a_link_to_something_else(self) -> None:
        """Cannot be read for a model that takes no files."""
        async with world(b=[respond(b"text", kind="text/plain")]) as here:
            with pytest.raises(BadRequest, match="is text/plain: the model takes no files"):
                await here.run(make_request(messages=[user(file(here.site.url("/b"), "x"))]), here.endpoint())

    async def test_a_provider_that_fails(self) -> None:
        """The error brings what was read, so that it need not be read again."""
        async with world() as here:
            here.answers["/chat/completions"] = [respond(status=503)]
            with pytest.raises(Unavailable) as caught:
                await here.run(make_request(messages=[user(file(PDF_URL))]), here.endpoint())

        (found,) = caught.value.metadata["file_annotations"]  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]
        assert hash_of(PDF) == found["file"]["hash"]


class TestMedia:
    """Images by URL."""

    async def test_as_data(self) -> None:
        """For a provider that has no URLs, fetched once for two attempts."""
        async with world(a=[respond(PNG)]) as here:
            url = here.site.url("/a")
            inline, linked = here.endpoint("inline_media"), here.endpoint()
            await here.run(make_request(messages=[user(image(url), image(url))]), linked, inline, inline)

        assert [image(url)] * 2 == here.asked()[0]["messages"][0]["content"]
        assert (
            [image(PNG_URL)] * 2
            == here.asked()[1]["messages"][0]["content"]
            == here.asked()[2]["messages"][0]["content"]
        )
        assert ["/a"] == here.fetched()

    async def test_private_addresses(self) -> None:
        """Are refused before anybody is asked."""
        async with world() as here:
            with pytest.raises(MediaRefused, match="not on the public internet"):
                await here.run(
                    make_request(messages=[user(image("http://10.0.0.1/a.png"))]), here.endpoint("inline_media")
                )

        assert [] == here.asked()


class TestCompression:
    """Prompts that are too long for an endpoint."""

    MESSAGES = tuple({"role": "user", "content": f"{at} " + "x" * 4000} for at in range(9))

    async def test_by_endpoint(self) -> None:
        """Each gets what it has room for; the last one's stage is told."""
        async with world() as here:
            sizes = [here.endpoint(context_length=context) for context in (4000, 100_000, 8000)]
            _, stages = await here.run(make_request(messages=list(self.MESSAGES)), *sizes)

        lengths = [len(sent["messages"]) for sent in here.asked()]
        assert lengths[0] < lengths[2] < lengths[1] == 9
        assert lengths[2] == stages[0]["data"]["compressed_count"]
        assert 1 == len(stages)

    async def test_images_out(self) -> None:
        """A model that answers with images alone is left alone."""
        async with world() as here:
            endpoint = here.endpoint(context_length=4000)
            model = Model(id="a/one", name="One", output_modalities=("image",))
            catalog = Catalog(listings={"a/one": Listing(model=model, endpoints=(endpoint,))}, providers=())
            await here.run(make_request(messages=list(self.MESSAGES)), endpoint, catalog=catalog)

        assert 9 == len(here.asked()[0]["messages"])

    async def test_a_file(self) -> None:
        """Counts with its text."""
        long = make_pdf("word " * 4000)
        async with world() as here:
            url = f"data:application/pdf;base64,{b64encode(long).decode()}"
            _, stages = await here.run(make_request(messages=[user(file(url))]), here.endpoint(context_length=2000))

        assert ["file-parser", "context-compression"] == [stage["name"] for stage in stages]
        assert len(json.dumps(here.asked()[0])) < 8000


class TestHealing:
    """Answers that are to be JSON."""

    async def test_put_right(self) -> None:
        """Without asking again."""
        async with world() as here:
            here.answers["/chat/completions"] = [body('```json\n{"a": 1,}\n```', reasoning="r")]
            request = make_request(plugins=HEALING, response_format={"type": "json_object"})
            events, stages = await here.run(request, here.endpoint())

        assert '{"a": 1}' == text_of(events)
        assert 1 == len(here.asked())
        assert ["response_healing"] == [stage["type"] for stage in stages]
        assert "r" == next(event for event in events if isinstance(event, Step)).choices[0]["delta"]["reasoning"]

    async def test_already_right(self) -> None:
        """Nothing is told."""
        async with world() as here:
            here.answers["/chat/completions"] = [body('{"name": "Ada"}')]
            events, stages = await here.run(
                make_request(plugins=HEALING, response_format=PERSON_FORMAT), here.endpoint()
            )

        assert ('{"name": "Ada"}', [], 1) == (text_of(events), stages, len(here.asked()))

    @pytest.mark.parametrize(
        ("second", "expected"),
        [
            (body('{"name": "Ada"}'), '{"name": "Ada"}'),
            (body("Still no JSON"), '{"name": 7}'),
            (body('{"name": "A', "length"), '{"name": 7}'),
            (respond(status=500), '{"name": 7}'),
        ],
    )
    async def test_asked_again(self, second: bytes, expected: str) -> None:
        """Once; if that does not help either, the first answer is what there is. Both are counted."""
        async with world() as here:
            answers = [body('{"name": 7}'), second, body("never")]

            class InTurn(list[Answer]):
                def __iter__(self) -> Any:
                    return iter([answers.pop(0)])

            here.answers["/chat/completions"] = InTurn()
            request = make_request(plugins=HEALING, response_format=PERSON_FORMAT, seed=7)
            events, _ = await here.run(request, here.endpoint())

        assert expected == text_of(events)
        _, again = here.asked()
        assert [{"role": "assistant", "content": '{"name": 7}'}] == again["messages"][1:2]
        assert "7 is not of type 'string'" in again["messages"][2]["content"]
        assert (7, PERSON_FORMAT) == (again["seed"], again["response_format"])
        (usage,) = [event.usage for event in events if isinstance(event, UsageReported)]
        assert (14 if b"200" in second[:20] else 7) == usage.total_tokens
        assert [Ended()] == events[-1:]

    async def test_cut_answers(self) -> None:
        """Are left: nobody knows how they went on."""
        async with world() as here:
            here.answers["/chat/completions"] = [body('{"a": [1', "length")]
            request = make_request(plugins=HEALING, response_format={"type": "json_object"})
            events, _ = await here.run(request, here.endpoint())

        assert ('{"a": [1', 1) == (text_of(events), len(here.asked()))

    async def test_the_format_in_words(self) -> None:
        """For a model that is known not to have it."""
        async with world() as here:
            here.answers["/chat/completions"] = [body('Sure: {"name": "Ada"}')]
            request = make_request(plugins=HEALING, response_format=PERSON_FORMAT)
            events, _ = await here.run(request, here.endpoint(supported_parameters=frozenset({"temperature"})))

        assert '{"name": "Ada"}' == text_of(events)
        (sent,) = here.asked()
        assert "response_format" not in sent
        assert json.dumps(PERSON) in sent["messages"][0]["content"]

    async def test_streams(self) -> None:
        """Are not healed."""
        async with world() as here:
            stream = to_sse(make_chunk({"content": "```{}```"}), make_chunk({}, finish="stop"))
            here.answers["/chat/completions"] = [respond(stream, kind="text/event-stream")]
            request = make_request(plugins=HEALING, response_format={"type": "json_object"}, stream=True)
            events, _ = await here.run(request, here.endpoint())

        assert "```{}```" == text_of(events)

    async def test_a_schema_that_takes_for_ever(self) -> None:
        """Does not hold anything up, and the answer stays."""
        schema = {"type": "object", "properties": {"a": {"pattern": "^(a+)+$"}}}
        text = json.dumps({"a": "a" * 40 + "!"})
        async with world() as here:
            here.plugins.workshop = Workshop(WorkshopLimits(healing_s=1))
            here.answers["/chat/completions"] = [body(text)]
            request = make_request(
                plugins=HEALING, response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
            )
            events, stages = await here.run(request, here.endpoint())

        assert (text, []) == (text_of(events), stages)


class TestWeb:
    """Web search."""

    FOUND = (
        respond(json.dumps({"results": [{"url": "https://news.test/a", "title": "News", "content": "New!"}]}).encode()),
    )

    @pytest.mark.parametrize(
        "fields",
        [
            {"model": "a/one", "plugins": [{"id": "web"}]},
            {"model": "a/one", "plugins": [{"id": "web", "engine": "searxng"}, {"id": "moderation"}]},
            {"model": "a/one:online"},
            {"models": ["a/one:free:online", "a/one"]},
        ],
    )
    async def test_a_search(self, fields: dict[str, Any]) -> None:
        """Before routing; whoever answers is not asked to search, and what is cited is told."""
        stream = to_sse(
            make_chunk({"content": "[news.test](https://new"}), make_chunk({"content": "s.test/a)"}, finish="stop")
        )
        async with world("searxng", search=list(self.FOUND)) as here:
            here.answers["/chat/completions"] = [respond(stream, kind="text/event-stream")]
            request = make_request(stream=True, **fields)
            run = await here.plugins.begin(request, make_catalog(here.endpoint()))
            assert run.request.plugin("web") is None
            assert not any("online" in name for name in run.request.requested_models)
            events, stages = await here.run(request, here.endpoint("openrouter_fields"))

        prompt = here.asked()[0]["messages"][0]["content"]
        assert "News\nhttps://news.test/a\nNew!" in prompt
        assert "2026-11-24" in prompt
        assert "web" not in json.dumps(here.asked()[0].get("plugins", ""))
        (citation,) = annotations(events)
        assert (0, 32) == (citation["url_citation"]["start_index"], citation["url_citation"]["end_index"])
        assert {"engine": "searxng", "max_results": 5, "results": 1} == stages[0]["data"]

    @pytest.mark.parametrize(
        ("engine", "plugin"),
        [
            (None, {}),
            ("searxng", {"engine": "exa"}),
            ("searxng", {"engine": "native"}),
            ("searxng", {"enabled": False}),
        ],
    )
    async def test_no_search(self, engine: str | None, plugin: dict[str, Any]) -> None:
        """Where it is not ours to do: routing decides who can."""
        async with world(engine) as here:
            request = make_request(plugins=[{"id": "web"} | plugin])
            run = await here.plugins.begin(request, make_catalog(here.endpoint()))

        assert request is run.request
        assert [] == here.asked("/search")

    async def test_a_search_that_fails(self) -> None:
        """Fails the request: an answer without it is not what was asked for."""
        async with world("searxng") as here:
            with pytest.raises(Unavailable, match="Web search: searxng failed: it answered 404"):
                await here.plugins.begin(make_request(model="a/one:online"), make_catalog(here.endpoint()))
