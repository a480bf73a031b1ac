"""Destinations that were made by the API: the store on both databases, and the routes."""

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from broadcast_receiver import Receiver, receiving, sending
from broadcast_samples import make_destination, make_record
from ledger_samples import CREATED_S
from sqlalchemy import text
from starlette.applications import Starlette
from starlette.types import Message

from openrouter_gateway.accounting.authorize import Grant
from openrouter_gateway.broadcast.check import keep_usable
from openrouter_gateway.broadcast.queue import Broadcaster, Limits
from openrouter_gateway.core.account import Key
from openrouter_gateway.core.destination import Destination
from openrouter_gateway.edge.destinations import Observatory, build_destination_routes
from openrouter_gateway.errors import BadRequest, GatewayError, ManagementOnly, NotFound, Unauthenticated
from openrouter_gateway.stores.database import Database
from openrouter_gateway.stores.destinations import MOST_PER_TYPE, Destinations, TooMany

CANARY = "canary-5f3a9c1e77-do-not-show"
PATH = "/api/v1/observability/destinations"


def rename(name: str) -> Callable[[Destination], Destination]:
    return lambda known: msgspec.structs.replace(known, name=name)


class Told:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.times: list[list[str]] = []

    async def __call__(self, destinations: Sequence[Destination]) -> None:
        self.times.append([destination.name for destination in destinations])


class TestStore:
    """The table."""

    async def test_they_come_back(self, database: Database) -> None:
        """In another process, too, with all that they are."""
        told = Told()
        store = Destinations(database, told, clock=lambda: CREATED_S)
        await store.open(poll=False)
        made = await store.create(make_destination(id="a", sampling_rate=0.5, api_key_hashes=["x"]))
        assert (CREATED_S, CREATED_S) == (made.created_at, made.updated_at)
        other = Destinations(database, Told())
        await other.open(poll=False)
        assert [made] == other.all == store.all
        assert [[], ["one"]] == told.times

    async def test_changes(self, database: Database) -> None:
        told = Told()
        store = Destinations(database, told, clock=lambda: CREATED_S)
        await store.open(poll=False)
        made = await store.create(make_destination(id="a"))
        changed = await store.change("a", rename("two"))
        assert changed is not None
        assert "two" == changed.name == store.all[0].name
        assert await store.change("b", rename("two")) is None
        with pytest.raises(ZeroDivisionError):
            await store.change("a", lambda _: 1 // 0)  # pyright: ignore[reportArgumentType]
        assert await store.delete("a")
        assert not await store.delete("a")
        assert [] == store.all
        assert [[], ["one"], ["two"], []] == told.times
        assert made.id == changed.id

    async def test_changes_of_several_processes_are_all_kept(self, url: str, database: Database) -> None:
        """Also when they are made at once, and by one that has not heard of the other's."""
        store = Destinations(database, Told())
        await store.open(poll=False)
        await store.create(make_destination(id="a", name="n"))
        other_database = Database(url)
        await other_database.open()
        other = Destinations(other_database, Told())
        await other.open(poll=False)
        await store.change("a", lambda known: msgspec.structs.replace(known, sampling_rate=0.5))
        await other.change("a", lambda known: msgspec.structs.replace(known, privacy_mode=True))
        appending = [each.change("a", lambda known: rename(known.name + "x")(known)) for each in [store, other] * 5]
        await asyncio.gather(*appending)
        await store.refresh()
        (kept,) = store.all
        assert ("n" + "x" * 10, 0.5, True) == (kept.name, kept.sampling_rate, kept.privacy_mode)
        await other_database.close()

    async def test_credentials_go_with_the_destination(self, database: Database) -> None:
        """Nothing of it stays in the table."""
        store = Destinations(database, Told())
        await store.open(poll=False)
        await store.create(make_destination(id="a", config={"url": f"http://{CANARY}@x"}))
        await store.delete("a")
        async with database.transaction() as connection:
            assert [] == (await connection.execute(text("SELECT * FROM destinations"))).all()

    async def test_there_may_be_so_many_of_a_type(self, database: Database) -> None:
        """Also when they are made at once."""
        store = Destinations(database, Told())
        await store.open(poll=False)
        making = [store.create(make_destination(id=str(number))) for number in range(MOST_PER_TYPE + 3)]
        made = await asyncio.gather(*making, return_exceptions=True)
        assert 3 == sum(isinstance(each, TooMany) for each in made)
        assert MOST_PER_TYPE == len(store.all)
        await store.create(make_destination("langfuse", {"publicKey": "a", "secretKey": "b"}, id="other"))

    async def test_other_processes_are_told(self, url: str, database: Database) -> None:
        """Within the poll's interval."""
        store = Destinations(database, Told())
        await store.open(poll=False)
        other_database = Database(url)
        await other_database.open()
        told = Told()
        other = Destinations(other_database, told)
        await other.open()
        await store.create(make_destination(id="a"))
        for _ in range(400):
            if told.times[-1:] == [["one"]]:
                break
            await asyncio.sleep(0.01)
        assert [[], ["one"]] == told.times
        await other.close()
        await other_database.close()

    def test_what_another_version_has_kept(self) -> None:
        """It is passed over, and the others are used."""
        good, odd = make_destination(id="a"), make_destination("of-the-future", id="b")
        assert [good] == keep_usable([odd, good, make_destination(id="c", config={"url": "nonsense"})])


class Desk:
    """The routes over a real store, a real broadcaster and a real receiver."""

    def __init__(self, receiver: Receiver, broadcaster: Broadcaster, store: Destinations) -> None:
        self.receiver = receiver
        self.broadcaster = broadcaster
        self.store = store
        self.configured: list[Destination] = []
        self._app = Starlette(
            routes=build_destination_routes(
                lambda: Observatory(
                    destinations=store,
                    broadcaster=broadcaster,
                    identify=self._identify,
                    configured=self.configured,
                ),
                lambda headers: headers.get(b"authorization", b"").decode() or None,
                ["/api/v1", "/v1"],
            )
        )

    def _identify(self, credential: str | None) -> Grant:
        if credential is None:
            raise Unauthenticated("no key")
        key = Key(hash="", label="", name="", created_at=0, management=credential == "manager")
        return Grant(key_hash="ab" * 32, key=key)

    async def call(self, method: str, path: str = PATH, body: Any = None, *, key: str = "manager") -> Any:
        """Return the answer's status and body."""
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            return {"type": "http.request", "body": content, "more_body": False}

        path, _, query = path.partition("?")
        headers = [(b"authorization", key.encode())] if key else []
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": headers,
        }
        await self._app(scope, receive, send)
        return sent[0]["status"], json.loads(sent[1]["body"])

    async def refuse(self, error: type[GatewayError], *call: Any, **options: Any) -> str:
        """Return the message of the error that a call ends with."""
        with pytest.raises(error) as caught:
            await self.call(*call, **options)
        assert CANARY not in caught.value.message
        return caught.value.message

    def wanted(self, **fields: Any) -> dict[str, Any]:
        config = {"url": self.receiver.url + "/hook", "headers": {"Authorization": f"Bearer {CANARY}"}}
        return {"type": "webhook", "name": "Production", "config": config} | fields


@asynccontextmanager
async def opening(url: str, receiver: Receiver) -> AsyncGenerator[Desk]:
    """Run the routes as one process has them."""
    database = Database(url)
    await database.open()
    async with sending() as send:
        broadcaster = Broadcaster(send=send, limits=Limits(timeout_s=2))
        await broadcaster.start()

        async def apply(destinations: Sequence[Destination]) -> None:
            await broadcaster.set_destinations(keep_usable(destinations))

        moments = itertools.count()
        store = Destinations(database, apply, clock=lambda: CREATED_S + next(moments))
        await store.open(poll=False)
        try:
            yield Desk(receiver, broadcaster, store)
        finally:
            await broadcaster.close()
            await database.close()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with receiving() as receiver, opening(f"sqlite:///{tmp_path}/ledger.db", receiver) as desk:
        yield desk


class TestRoutes:
    """`/observability/destinations`."""

    async def test_create(self, desk: Desk) -> None:
        """It is tested, kept, used from then on, and shown without its credentials."""
        status, answer = await desk.call("POST", body=desk.wanted(sampling_rate=0.5, filter_rules={"groups": []}))
        assert 201 == status
        shown = answer["data"]
        assert {
            "id": shown["id"],
            "type": "webhook",
            "name": "Production",
            "enabled": True,
            "config": {
                "url": desk.receiver.url + "/hook",
                "headers": {"Authorization": "Bear...show"},
            },
            "privacy_mode": False,
            "sampling_rate": 0.5,
            "api_key_hashes": None,
            "filter_rules": {"groups": [], "enabled": True},
            "broadcast_generation_cost": False,
            "broadcast_generation_identity": False,
            "broadcast_generation_request_context": False,
            "workspace_id": "00000000-0000-0000-0000-000000000000",
            "created_at": "2026-02-14T04:25:12.500000Z",
            "updated_at": "2026-02-14T04:25:12.500000Z",
        } == shown
        (trial,) = desk.receiver.arrivals
        assert ("true", f"Bearer {CANARY}") == (trial.headers["x-test-connection"], trial.headers["authorization"])
        assert [shown["id"]] == [each.id for each in desk.broadcaster.status()]
        assert CANARY == desk.store.all[0].config["headers"]["Authorization"].removeprefix("Bearer ")

    async def test_a_destination_that_cannot_be_reached(self, desk: Desk) -> None:
        """Nothing is kept."""
        desk.receiver.behave = lambda _: 403
        message = await desk.refuse(BadRequest, "POST", PATH, desk.wanted())
        assert "The connection test failed, nothing is saved: it answers 403" == message
        assert [] == desk.store.all

    async def test_a_webhook_may_refuse_an_empty_body(self, desk: Desk) -> None:
        desk.receiver.behave = lambda _: 400
        assert 201 == (await desk.call("POST", body=desk.wanted()))[0]

    async def test_show_and_list(self, desk: Desk) -> None:
        """Pages; credentials in none."""
        made = [(await desk.call("POST", body=desk.wanted(name=f"n{number}")))[1]["data"] for number in range(3)]
        assert (200, {"data": made[1]}) == await desk.call("GET", f"{PATH}/{made[1]['id']}")
        assert (200, {"data": made, "total_count": 3}) == await desk.call("GET")
        page = (await desk.call("GET", f"{PATH}?offset=1&limit=1"))[1]
        assert {"data": made[1:2], "total_count": 3} == page
        assert CANARY not in json.dumps(made)
        assert "Destination not found" == await desk.refuse(NotFound, "GET", f"{PATH}/nonsense")
        assert "offset" in await desk.refuse(BadRequest, "GET", f"{PATH}?offset=-1")

    async def test_change(self, desk: Desk) -> None:
        """What is left out stays; masked values stay; a new address is tested."""
        made = (await desk.call("POST", body=desk.wanted()))[1]["data"]
        path = f"{PATH}/{made['id']}"
        _, answer = await desk.call("PATCH", path, {"enabled": False, "name": "Other"})
        assert (False, "Other") == (answer["data"]["enabled"], answer["data"]["name"])
        assert 1 == len(desk.receiver.arrivals), "nothing to test"
        config = made["config"] | {"url": desk.receiver.url + "/new"}
        _, answer = await desk.call("PATCH", path, {"config": config, "sampling_rate": 0.1, "enabled": True})
        assert f"Bearer {CANARY}" == desk.receiver.arrivals[-1].headers["authorization"]
        assert desk.receiver.url + "/new" == answer["data"]["config"]["url"]
        desk.broadcaster.offer(make_record())
        desk.receiver.behave = lambda _: 500
        await desk.refuse(BadRequest, "PATCH", path, {"config": {"url": desk.receiver.url + "/broken"}})
        assert desk.receiver.url + "/new" == desk.store.all[0].config["url"]
        cleared = await desk.call("PATCH", path, {"api_key_hashes": None, "filter_rules": None})
        assert 200 == cleared[0]

    async def test_delete(self, desk: Desk) -> None:
        made = (await desk.call("POST", body=desk.wanted()))[1]["data"]
        assert (200, {"deleted": True}) == await desk.call("DELETE", f"{PATH}/{made['id']}")
        assert [] == desk.broadcaster.status()
        await desk.refuse(NotFound, "DELETE", f"{PATH}/{made['id']}")
        await desk.refuse(NotFound, "PATCH", f"{PATH}/{made['id']}", {})

    async def test_no_more_than_five_of_a_type(self, desk: Desk) -> None:
        for number in range(MOST_PER_TYPE):
            await desk.call("POST", body=desk.wanted(name=str(number)))
        assert "as many as may be" in await desk.refuse(BadRequest, "POST", PATH, desk.wanted())

    async def test_those_of_the_configuration(self, desk: Desk) -> None:
        """They are shown, and changed where they are."""
        desk.configured.append(make_destination(id="in-toml", config={"url": f"http://me:{CANARY}@x/"}))
        _, answer = await desk.call("GET")
        assert ["http://********@x/"] == [each["config"]["url"] for each in answer["data"]]
        assert 200 == (await desk.call("GET", f"{PATH}/in-toml"))[0]
        for method in ("PATCH", "DELETE"):
            assert "configuration" in await desk.refuse(BadRequest, method, f"{PATH}/in-toml", {})

    async def test_management_keys_only(self, desk: Desk) -> None:
        """On every route."""
        calls = [("GET", PATH), ("POST", PATH), ("GET", f"{PATH}/x"), ("PATCH", f"{PATH}/x"), ("DELETE", f"{PATH}/x")]
        for method, path in calls:
            await desk.refuse(ManagementOnly, method, path, {}, key="somebody")
            await desk.refuse(Unauthenticated, method, path, {}, key="")

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"type": "nonsense"}, "'nonsense' is not known here"),
            ({"name": ""}, "name"),
            ({"config": {"url": f"ftp://{CANARY}@x"}}, "config.url"),
            ({"config": {"url": "http://x", "secret": CANARY}}, "unknown field `secret`"),
            ({"config": [CANARY]}, "config"),
            ({"sampling_rate": 0}, "sampling_rate"),
            ({"sampling_rate": 1.5}, "sampling_rate"),
            ({"api_key_hashes": []}, "api_key_hashes"),
            ({"filter_rules": {"groups": [{"rules": [{"field": "model", "operator": "like"}]}]}}, "operator"),
            (
                {"filter_rules": {"groups": [{"rules": [{"field": "model", "operator": "regex", "value": "("}]}]}},
                "pattern for model",
            ),
        ],
    )
    async def test_what_is_not_valid(self, desk: Desk, change: dict[str, Any], reason: str) -> None:
        """The reason quotes no credential."""
        assert reason in await desk.refuse(BadRequest, "POST", PATH, desk.wanted(**change))
        assert [] == desk.receiver.arrivals

    async def test_what_is_no_json(self, desk: Desk) -> None:
        body = b'{"config": {"secretKey": "%b' % CANARY.encode()
        assert "The request body is not valid JSON" == await desk.refuse(BadRequest, "POST", PATH, body)


class TestTwoProcesses:
    """The routes of workers that have one database, none of which looks into it by itself."""

    async def test_what_one_answers_is_true_in_the_other(self, url: str) -> None:
        """Without a wait: made, changed and removed."""
        async with receiving() as receiver, opening(url, receiver) as one, opening(url, receiver) as other:
            made = (await one.call("POST", body=one.wanted()))[1]["data"]
            path = f"{PATH}/{made['id']}"
            assert (200, {"data": made}) == await other.call("GET", path)
            assert 200 == (await other.call("PATCH", path, {"name": "Other"}))[0]
            assert "Other" == (await one.call("GET"))[1]["data"][0]["name"]
            await one.call("PATCH", path, {"sampling_rate": 0.5})
            await other.call("PATCH", path, {"config": {"url": receiver.url + "/new"}})
            kept = (await one.call("PATCH", path, {"privacy_mode": True}))[1]["data"]
            assert ("Other", 0.5, receiver.url + "/new", True) == (
                kept["name"],
                kept["sampling_rate"],
                kept["config"]["url"],
                kept["privacy_mode"],
            )
            assert f"Bearer {CANARY}" == one.store.all[0].config["headers"]["Authorization"]
            for method, place, body in (("GET", f"{PATH}/a\0", None), ("PATCH", path, {"name": "a\0"})):
                await one.refuse(BadRequest, method, place, body)
            assert 200 == (await one.call("PATCH", path, {"name": "a\\u0000"}))[0], "these are six characters"
            await one.call("DELETE", path)
            await other.refuse(NotFound, "PATCH", path, {"name": "late"})

    async def test_one_that_changes_while_it_is_tried(self, url: str) -> None:
        """What is saved was reached, in whole: the address of one change with the headers of the other."""
        async with receiving() as receiver, opening(url, receiver) as one, opening(url, receiver) as other:
            made = (await other.call("POST", body=one.wanted()))[1]["data"]
            path = f"{PATH}/{made['id']}"
            receiver.taking.clear()  # new connections wait; the other's is known
            moving = asyncio.create_task(one.call("PATCH", path, {"config": {"url": receiver.url + "/new"}}))
            for _ in range(1000):
                if receiver.connections == 2:
                    break
                await asyncio.sleep(0.01)
            assert 200 == (await other.call("PATCH", path, {"config": {"headers": {"A": "b"}}}))[0]
            receiver.taking.set()
            assert 200 == (await moving)[0]
            await other.store.refresh()
            assert {"url": receiver.url + "/new", "headers": {"A": "b"}} == other.store.all[0].config
            tried = [(arrival.path, arrival.headers.get("a")) for arrival in receiver.arrivals]
            assert [("/hook", None), ("/hook", "b"), ("/new", None), ("/new", "b")] == tried
