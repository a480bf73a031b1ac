"""Routing of requests with plugins: what the gateway does itself, endpoints need not; what it does not, few can."""

from typing import Any

import msgspec
import pytest
from gateway_samples import make_endpoint, make_request
from hypothesis import given
from hypothesis import strategies as st
from route_samples import NOW, catalog_of, listing, priced, removals, route, tags

from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.errors import BadRequest, ConstraintFiltered
from openrouter_gateway.routing.demand import read_demand
from openrouter_gateway.routing.facts import Facts
from openrouter_gateway.routing.variants import lift_online
from openrouter_gateway.wire.skins import embeddings

RUNS = Facts(now=NOW, runs=frozenset({"file-parser", "context-compression"}))
ON = {"transforms": ["middle-out"]}
OFF = {"plugins": [{"id": "context-compression", "enabled": False}]}


def long(tokens: int) -> list[dict[str, Any]]:
    """Return messages that are at least so many tokens."""
    return [{"role": "user", "content": "x" * 8 * tokens}]


def sized(**contexts: int) -> list[Endpoint]:
    """Return endpoints with these contexts, the cheapest first."""
    return [priced(tag, str(at), context_length=size) for at, (tag, size) in enumerate(contexts.items(), 1)]


class TestCompression:
    """Endpoints that are too short for a prompt."""

    @pytest.mark.parametrize(
        ("contexts", "fields", "tokens", "expected"),
        [
            # Asked for: whoever has room for half of it.
            ({"a": 20_000, "b": 50_000, "c": 100_000}, ON, 80_000, ["b", "c"]),
            ({"a": 20_000, "b": 40_000}, ON, 80_000, ["b"]),
            ({"a": 20_000, "b": 39_999, "c": 39_999}, ON, 80_000, ["b", "c"]),
            ({"a": 40_000, "b": 50_000}, ON | {"max_tokens": 20_000}, 80_000, ["b"]),
            # Not said: small ones, if the prompt is too long for all.
            ({"a": 4_096, "b": 8_192}, {}, 10_000, ["b"]),
            ({"a": 4_096, "b": 8_192}, {}, 100_000, ["b"]),
            ({"a": 4_096, "b": 9_000}, {}, 100_000, ["a"]),
            ({"a": 4_096, "b": 32_000}, {}, 6_000, ["b"]),
            ({"a": 4_096, "b": 4_096}, {}, 6_000, ["a", "b"]),
        ],
    )
    def test_who_stays(
        self, contexts: dict[str, int], fields: dict[str, Any], tokens: int, expected: list[str]
    ) -> None:
        """And why the others go is told as ever."""
        found = route(sized(**contexts), RUNS, messages=long(tokens), **fields)

        assert expected == tags(found)
        assert {"context_length"} >= set(removals(found).values())

    @pytest.mark.parametrize(
        ("contexts", "fields", "facts"),
        [
            ({"a": 4_096}, OFF, RUNS),
            ({"a": 4_096}, {"transforms": []}, RUNS),
            ({"a": 9_000}, {}, RUNS),
            ({"a": 4_096}, ON, Facts(now=NOW)),
        ],
    )
    def test_off(self, contexts: dict[str, int], fields: dict[str, Any], facts: Facts) -> None:
        """Switched off, not small enough, or nobody here who does it: too long is too long."""
        with pytest.raises(ConstraintFiltered, match="too long") as caught:
            route(sized(**contexts), facts, messages=long(10_000), **fields)

        assert (400, "context_length_exceeded") == (caught.value.status, caught.value.error_type)

    def test_texts_to_embed(self) -> None:
        """Are no chat: nothing of them may go."""
        request = embeddings.parse(msgspec.json.encode({"model": "a/one", "input": "x" * 80_000}))

        assert False is read_demand(request, RUNS.runs).compression
        assert None is read_demand(make_request(), RUNS.runs).compression

    def test_long_answers(self) -> None:
        """Are not made shorter."""
        with pytest.raises(ConstraintFiltered, match="too long") as caught:
            route(sized(a=4_096), RUNS, messages=long(10), max_tokens=5_000, **ON)

        assert "max_tokens_exceeded" == caught.value.error_type

    @given(
        contexts=st.lists(st.sampled_from([None, 100, 4000, 8192, 8193, 30_000]), min_size=1, max_size=6),
        tokens=st.integers(0, 40_000),
        fields=st.sampled_from([{}, ON, OFF]),
    )
    def test_any_endpoints(self, contexts: list[int | None], tokens: int, fields: dict[str, Any]) -> None:
        """Whoever has room for all stays; others only where prompts are compressed."""
        endpoints = [priced(f"p{at}", "1", context_length=size) for at, size in enumerate(contexts)]
        try:
            left = tags(route(endpoints, RUNS, messages=long(tokens), **fields))
        except ConstraintFiltered:
            left = []

        fitting = {each.tag for each in endpoints if each.context_length is None or each.context_length >= tokens}
        short = {each.tag: each.context_length or 0 for each in endpoints if each.tag not in fitting}
        assert fitting <= set(left)
        for tag in set(left) - fitting:
            assert fields is not OFF
            assert fields is ON or (short[tag] <= 8192 and not fitting)
            assert short[tag] * 2 >= tokens or (not fitting and short[tag] == max(short[each] for each in left))
        if fields is ON:
            assert left


def file(url: str = "data:application/pdf;base64,JVBERi0", name: str | None = None) -> dict[str, Any]:
    return {"type": "file", "file": {"file_data": url, "filename": name}}


def asking(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


class TestFiles:
    """PDFs need no endpoint that takes files."""

    ENDPOINTS = (
        make_endpoint("text", modalities={"text"}),
        make_endpoint("files", modalities={"text", "file"}),
        make_endpoint("images", modalities={"text", "image"}),
    )

    @pytest.mark.parametrize(
        ("parts", "fields", "expected"),
        [
            ([file()], {}, {"text", "files", "images"}),
            ([file("https://example.com/paper")], {}, {"text", "files", "images"}),
            ([file(), {"type": "image_url", "image_url": {"url": "https://a"}}], {}, {"images"}),
            ([file("https://example.com/a.docx")], {}, {"files"}),
            ([file(), file("data:text/csv;base64,AAAA")], {}, {"files"}),
            ([{"type": "file", "file": {"file_id": "f"}}], {}, {"files"}),
            ([file()], {"plugins": [{"id": "file-parser", "pdf": {"engine": "native"}}]}, {"files"}),
            ([file()], {"plugins": [{"id": "file-parser", "enabled": False}]}, {"files"}),
            (
                [file()],
                {"plugins": [{"id": "file-parser", "pdf": {"engine": "pdf-text"}}]},
                {"text", "files", "images"},
            ),
        ],
    )
    def test_who_stays(self, parts: list[dict[str, Any]], fields: dict[str, Any], expected: set[str]) -> None:
        """Unless the request wants files as files, or there are other ones."""
        assert expected == set(tags(route(self.ENDPOINTS, RUNS, messages=asking(*parts), **fields)))

    def test_without_the_plugin(self) -> None:
        """Where nobody reads them, they need one that does."""
        assert ["files"] == tags(route(self.ENDPOINTS, messages=asking(file())))


class TestWeb:
    """Web search that the gateway does, or passes on."""

    ENDPOINTS = (make_endpoint("router", quirks=frozenset({"openrouter_fields"})), make_endpoint("x"))

    @pytest.mark.parametrize(
        ("engine", "asked", "expected"),
        [
            ("exa", None, {"router", "x"}),
            ("exa", "exa", {"router", "x"}),
            ("exa", "native", {"router"}),
            (None, None, {"router"}),
            (None, "exa", {"router"}),
        ],
    )
    def test_who_stays(self, engine: str | None, asked: str | None, expected: set[str]) -> None:
        """Anyone if it is ours, else who is an OpenRouter."""
        facts = Facts(now=NOW, search_engine=engine)

        assert expected == set(tags(route(self.ENDPOINTS, facts, plugins=[{"id": "web", "engine": asked}])))

    @pytest.mark.parametrize(("engine", "told"), [(None, "is not set"), ("exa", "has exa")])
    def test_nobody(self, engine: str | None, told: str) -> None:
        """The error names the setting."""
        with pytest.raises(ConstraintFiltered, match=f"web.engine of its configuration {told}") as caught:
            route(self.ENDPOINTS[1:], Facts(search_engine=engine), plugins=[{"id": "web", "engine": "native"}])

        assert (404, "not_found") == (caught.value.status, caught.value.error_type)


class TestOnline:
    """`:online` is the web plugin."""

    @pytest.mark.parametrize(
        ("fields", "models", "plugins"),
        [
            ({"model": "a/one:online"}, ["a/one"], [{"id": "web"}]),
            ({"model": "a/one:free:online:nitro"}, ["a/one:free:nitro"], [{"id": "web"}]),
            ({"models": ["a/two", "a/one:online"]}, ["a/two", "a/one"], [{"id": "web"}]),
            ({"model": "~a/one-latest:online", "models": ["a/two"]}, ["~a/one-latest", "a/two"], [{"id": "web"}]),
            (
                {"model": "a/one:online", "plugins": [{"id": "moderation", "x": 1}]},
                ["a/one"],
                [{"id": "moderation", "x": 1}, {"id": "web"}],
            ),
            (
                {"model": "a/one:online", "plugins": [{"id": "web", "max_results": 2}]},
                ["a/one"],
                [{"id": "web", "max_results": 2}],
            ),
            ({"model": "a/real:online"}, ["a/real:online"], None),
            ({"model": "a/one"}, ["a/one"], None),
            ({"model": "a/online"}, ["a/online"], None),
        ],
    )
    def test_lifted(self, fields: dict[str, Any], models: list[str], plugins: Any) -> None:
        """Out of the name and into the plugins, unless there is one, or a model of that name."""
        found = lift_online(make_request(**fields), {"a/real:online"})

        assert models == found.requested_models
        sent = {name: msgspec.json.decode(found.fields[name]) for name in ("model", "models") if name in fields}
        assert models == [*([sent["model"]] if "model" in sent else []), *sent.get("models", [])]
        assert plugins == (msgspec.json.decode(found.fields["plugins"]) if "plugins" in found.fields else None)
        assert [each["id"] for each in plugins or ()] == [each.id for each in found.params.plugins or ()]

    def test_routed(self) -> None:
        """Like any other request."""
        catalog = catalog_of(listing(make_endpoint("x")))
        request = lift_online(make_request(model="a/one:online"), catalog.listings)

        found = route(catalog, Facts(search_engine="exa"), model=request.requested_models[0], plugins=[{"id": "web"}])

        assert (["x"], ("web",)) == (tags(found), found.plugins)


class TestValidation:
    """Entries of `plugins`."""

    @pytest.mark.parametrize(
        ("plugins", "reason"),
        [
            (
                [{"id": "web"}, {"id": "webb"}],
                r"plugins\[1\]: 'webb' is not a plugin; these are: auto-router, .*web-fetch",
            ),
            ([{"id": "x" * 100}], r"plugins\[0\]: 'x{64}' is not"),
            ([{"id": "web", "engine": "gogle"}], r"plugins\[0\]: web has no engine 'gogle'; these are: native, exa"),
            ([{"id": "web", "max_results": 26}], r"plugins\[0\].max_results"),
            ([{"id": "web", "max_results": 0}], r"plugins\[0\].max_results"),
            ([{"id": "web", "include_domains": "x.com"}], r"plugins\[0\].include_domains"),
            ([{"id": "web", "exclude_domains": [""]}], r"plugins\[0\].exclude_domains\[0\]"),
            ([{"id": "web", "search_prompt": 1}], r"plugins\[0\].search_prompt"),
            ([{"id": "file-parser", "pdf": {"engine": "tesseract"}}], r"plugins\[0\].pdf.engine"),
            ([{"id": "context-compression", "engine": "gzip"}], r"context-compression has no engine 'gzip'"),
            ([{"enabled": True}], r"plugins\[0\]: .*`id`"),
            ({"id": "web"}, "plugins: Expected `array"),
        ],
    )
    def test_refused(self, plugins: Any, reason: str) -> None:
        """With the place, and what there is."""
        with pytest.raises(BadRequest, match=reason):
            make_request(plugins=plugins)

    def test_transforms(self) -> None:
        """There is one."""
        with pytest.raises(BadRequest, match=r"transforms\[0\]"):
            make_request(transforms=["zip"])

    @pytest.mark.parametrize("name", ["moderation", "fusion", "web-fetch", "pareto-router", "auto-beta-router"])
    def test_keys_of_others(self, name: str) -> None:
        """Are not ours to judge."""
        request = make_request(plugins=[{"id": name, "engine": "theirs", "unknown": {"a": [1]}}])

        assert request.wants(name)
        assert not request.wants("web")
