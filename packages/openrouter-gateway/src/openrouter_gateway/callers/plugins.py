"""Plugins at work on one request: what happens before routing, before an endpoint is called, and to its reply.

    begin    web search -> results in the prompt                              before routing
    prepare  PDFs to text, format in words, prompt compressed, media fetched  for each endpoint that is tried
    call     -> the endpoint -> JSON healed or asked for again, annotations   to its reply

What a plugin decides is in `plugins/`. A provider that is an OpenRouter itself is sent the request as it came. Plugins
are for chats: other tasks pass.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Final

import msgspec

from openrouter_gateway.callers.base import Caller
from openrouter_gateway.callers.media import MediaFetcher
from openrouter_gateway.callers.search import SearchEngine
from openrouter_gateway.callers.workshop import JobFailed, Workshop
from openrouter_gateway.callers.workshop_child import Heal
from openrouter_gateway.core.amend import amend
from openrouter_gateway.core.catalog import Catalog, Endpoint
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.events import Event
from openrouter_gateway.core.parts import Reference
from openrouter_gateway.core.plugins import CONTEXT_COMPRESSION, FILE_PARSER, WEB, searches_with
from openrouter_gateway.core.usage import Usage
from openrouter_gateway.errors import BadRequest, UpstreamError
from openrouter_gateway.plugins import files, healing, web
from openrouter_gateway.plugins.compression import compress, room_for
from openrouter_gateway.plugins.files import ParsedFile, PDFProblem
from openrouter_gateway.plugins.healing import Healed, Healing, NotHealed
from openrouter_gateway.plugins.replies import Annotator, HeldReply, add_usage
from openrouter_gateway.routing.variants import lift_online
from openrouter_gateway.wire.media import Media, links_to_inline, with_media

RUNS: Final = frozenset({FILE_PARSER, CONTEXT_COMPRESSION})
"""Plugins that do to prompts what endpoints then need not: `Facts.runs`."""

_SHORT: Final = 20_000
_TEXT_ONLY: Final = ("text",)


class Plugins:
    """What plugins work with. `today` gives the date that models are told."""

    def __init__(
        self,
        *,
        media: MediaFetcher,
        workshop: Workshop,
        today: Callable[[], str],
        search: SearchEngine | None = None,
        search_results: int = 5,
    ) -> None:
        self.media = media
        self.workshop = workshop
        self._today = today
        self._search = search
        self._search_results = search_results

    def __repr__(self) -> str:
        return f"<Plugins search={self.search_engine}>"

    @property
    def search_engine(self) -> str | None:
        """What the web is searched with: `Facts.search_engine`."""
        return None if self._search is None else self._search.name

    async def begin(self, request: ChatRequest, catalog: Catalog) -> "PluginRun":
        """Return the plugins of one request; its `request` is what is to be routed.

        Raises:
            BadRequest: a plugin is asked for what it cannot do.
            UpstreamError: the search engine failed.
        """
        if request.task is not None:
            return PluginRun(self, request, request, catalog)
        request = asked = lift_online(request, catalog.listings)
        search = self._search
        plugin = request.plugin(WEB)
        if search is None or plugin is None or not request.wants(WEB) or not searches_with(plugin, search.name):
            return PluginRun(self, asked, request, catalog)
        query = web.read_query(request, self._search_results)
        results = await search.search(query)
        stage = web.stage_of(search.name, query, results)
        request = _without_web(web.with_results(request, results, self._today()))
        return PluginRun(self, asked, request, catalog, sources=results, stage=stage)

    async def close(self) -> None:
        """End the processes that read files."""
        await self.workshop.close()


class PluginRun:
    """The plugins of one request. What was fetched and read for one endpoint is there for the next.

    `asked` is what the caller asked, `request` what is to be routed.
    """

    def __init__(
        self,
        plugins: Plugins,
        asked: ChatRequest,
        request: ChatRequest,
        catalog: Catalog,
        *,
        sources: list[web.SearchResult] | None = None,
        stage: dict[str, Any] | None = None,
    ) -> None:
        self.asked = asked
        self.request = request
        self._plugins = plugins
        self._catalog = catalog
        self._sources = sources or []
        self._begun = [stage] if stage is not None else []
        self._stages: list[dict[str, Any]] = []
        self._has_parts = any(isinstance(message.content, list) for message in request.params.messages)
        self._heals = healing.is_healed(request)
        self._media: dict[str, Media] = {}
        self._texts: dict[str, ParsedFile] = {}
        self._read: dict[str, ParsedFile] = {}  # those that were not brought back by the caller

    @property
    def stages(self) -> list[dict[str, Any]]:
        """The pipeline stages for router metadata: what was changed before routing and for the last endpoint."""
        return [*self._begun, *self._stages]

    @property
    def file_annotations(self) -> list[dict[str, Any]]:
        """What was read of files, also for the metadata of an error."""
        return [file.annotation for file in self._read.values()]

    async def prepare(self, endpoint: Endpoint) -> "Prepared":
        """Return the request as an endpoint gets it.

        Raises:
            BadRequest: a file cannot be read.
            MediaRefused: something cannot be fetched.
        """
        self._stages = []
        request = self.request
        if endpoint.provider.runs_plugins or request.task is not None:
            return Prepared(self, request, endpoint, heals=False)
        if self._has_parts:
            request = await self._parse_files(request, endpoint)
        if self._heals:
            request = healing.ask_for_json(request, endpoint.supported_parameters)
        room = room_for(request, endpoint, self._output_modalities(endpoint))
        if room is not None and (compressed := compress(request, room)) is not None:
            request = compressed.request
            self._stages.append(compressed.stage)
        if self._has_parts and (links := links_to_inline(request, endpoint)):
            media = self._media
            media |= await self._plugins.media.fetch([link for link in links if link.url not in media])
            request = with_media(request, {link.url: media[link.url] for link in links})
        return Prepared(self, request, endpoint, heals=self._heals)

    def annotator(self) -> Annotator | None:
        """Return what adds annotations to a reply, None if there are none to add."""
        annotations = self.file_annotations
        return Annotator(annotations, self._sources) if annotations or self._sources else None

    def note(self, stages: list[dict[str, Any]]) -> None:
        """Take note of what was changed."""
        self._stages += stages

    def explain(self, error: UpstreamError) -> None:
        """Let an error bring what was read, so that it need not be read again."""
        if self._read:
            error.metadata["file_annotations"] = self.file_annotations

    async def heal_text(self, text: str) -> Healing:
        """Return a text as the request wants it; one whose schema cannot be checked as it is."""
        schema = healing.schema_of(self.request.params.response_format)
        if schema is None and len(text) <= _SHORT:
            return healing.heal(text)
        try:
            return await self._plugins.workshop.heal(Heal(text, schema))
        except JobFailed:
            return Healed(text=text, improved=False)

    def _output_modalities(self, endpoint: Endpoint) -> tuple[str, ...]:
        listing = self._catalog.listings.get(endpoint.model_id)
        return _TEXT_ONLY if listing is None else listing.model.output_modalities

    # Files

    async def _parse_files(self, request: ChatRequest, endpoint: Endpoint) -> ChatRequest:
        references = files.files_to_parse(request, endpoint)
        if not references:
            return request
        missing = [reference for reference in references if reference.url not in self._texts]
        media = self._media
        media |= await self._plugins.media.fetch(
            [each for each in missing if not each.is_data and each.url not in media]
        )
        replayed = files.replayed_files(request)
        for reference in missing:
            self._texts[reference.url] = await self._read_file(reference, replayed)
        wanted = {reference.url: self._texts[reference.url] for reference in references}
        self._stages.append(
            {"type": "plugin", "name": FILE_PARSER, "data": {"engine": "pdf-text", "files": len(wanted)}}
        )
        return files.with_texts(request, wanted, endpoint)

    async def _read_file(self, reference: Reference, replayed: dict[str, ParsedFile]) -> ParsedFile:
        name = files.name_of(reference)
        if reference.is_data:
            data = files.decode_file(reference)
        else:
            fetched = self._media[reference.url]
            if fetched.mime != "application/pdf":
                raise BadRequest(f"The file {name} is {fetched.mime}: the model takes no files, and only PDFs are read")
            data = fetched.data
        digest = files.hash_of(data)
        if digest in replayed:
            return replayed[digest]
        if digest not in self._read:
            reading = await self._plugins.workshop.read_pdf(data)
            if isinstance(reading, PDFProblem):
                raise BadRequest(f"The file {name} {reading.reason}")
            self._read[digest] = files.parsed_from(reference, digest, reading.text)
        return self._read[digest]


class Prepared:
    """One attempt: the request as an endpoint gets it."""

    def __init__(self, run: PluginRun, request: ChatRequest, endpoint: Endpoint, *, heals: bool) -> None:
        self.request = request
        self._run = run
        self._endpoint = endpoint
        self._heals = heals

    def call(self, caller: Caller) -> AsyncGenerator[list[Event]]:
        """See `Caller.call`."""
        annotator = self._run.annotator()
        if annotator is None and not self._heals:
            return caller.call(self.request, self._endpoint)
        return self._call(caller, annotator)

    async def _call(self, caller: Caller, annotator: Annotator | None) -> AsyncGenerator[list[Event]]:
        reply = self._heal(caller) if self._heals else caller.call(self.request, self._endpoint)
        try:
            async with aclosing(reply) as batches:
                async for events in batches:
                    yield events if annotator is None else annotator.take(events)
        except UpstreamError as error:
            self._run.explain(error)
            raise

    async def _heal(self, caller: Caller) -> AsyncGenerator[list[Event]]:
        """Yield a whole reply at once, its texts healed; one that cannot be is asked for once more."""
        run = self._run
        held = await _hold(caller, self.request, self._endpoint)
        if not held.has_ended:
            yield held.release({})
            return
        before = held.texts()
        after = {index: await run.heal_text(text) for index, text in before.items()}
        usage = None
        only = after.get(0) if len(after) == 1 else None
        if isinstance(only, NotHealed):
            again, used = await self._ask_again(caller, only)
            if used is not None and held.usage is not None:
                usage = add_usage(held.usage, used)
            if isinstance(again, Healed):
                after[0] = Healed(text=again.text, improved=True)
        wanted = run.request.params.response_format
        mode = wanted.type if wanted is not None else ""
        healed = {index: found for index, found in after.items() if isinstance(found, Healed)}
        run.note([healing.stage_of(before[i], found, mode) for i, found in healed.items() if found.improved])
        yield held.release({index: found.text for index, found in healed.items()}, usage)

    async def _ask_again(self, caller: Caller, bad: NotHealed) -> tuple[Healing | None, Usage | None]:
        """Return what the model says when it is shown what is wrong, and what that used. It may fail: then nothing."""
        wanted = self._run.request.params.response_format
        repair = healing.repair_request(self.request, bad.text, bad.problem, wanted)
        try:
            held = await _hold(caller, repair, self._endpoint)
        except UpstreamError:
            return None, None
        text = held.texts().get(0)
        return (None if text is None else await self._run.heal_text(text)), held.usage


async def _hold(caller: Caller, request: ChatRequest, endpoint: Endpoint) -> HeldReply:
    held = HeldReply()
    async with aclosing(caller.call(request, endpoint)) as batches:
        async for events in batches:
            held.add(events)
    return held


def _without_web(request: ChatRequest) -> ChatRequest:
    """The search has been made: whoever gets the request need not make it again."""
    entries: list[dict[str, Any]] = msgspec.json.decode(request.fields["plugins"])
    return amend(request, {"plugins": [entry for entry in entries if entry["id"] != WEB] or None})
