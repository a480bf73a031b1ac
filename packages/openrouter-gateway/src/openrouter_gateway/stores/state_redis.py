"""Shared state of several processes in Redis or Valkey: one script (`state.lua`), one round trip per call.

Calls that come while others are on their way share the next round trip, in their order, so that a burst costs few of
them, and what a process returns is free before it asks again. A call may be sent twice, and does nothing the second
time.

Moments come from the processes' clocks, which are to agree: a clock that is ahead widens the others' minutes.
What the server loses is seeded anew from the ledger; a scope that nobody has used for an hour is, too.
"""

import asyncio
import hashlib
import secrets
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from openrouter_gateway.errors import ConfigError
from openrouter_gateway.stores.state import (
    DEAD_AFTER_S,
    NEWS_S,
    Claim,
    Exhausted,
    News,
    Refusal,
    Seed,
    SharedState,
    StateUnavailable,
    Throttle,
    Unknown,
)

_NANO: Final = 10**9
_PREFIX: Final = "{openrouter-gateway}:"
"""The braces keep all keys on one node of a cluster."""
_ORPHANS: Final = _PREFIX + "orphans"
_PROCESSES: Final = _PREFIX + "processes"
_SETTLED: Final = _PREFIX + "settled"
_SCOPE: Final = _PREFIX + "scope:"
_NEWS: Final = _PREFIX + "news"
_NEWS_BATCH: Final = 1_000
_ORPHAN_BATCH: Final = 100
_FORGET_AFTER_S: Final = 7 * 86_400
"""How long the host of a crashed process may stay down without its last requests missing in the state."""
_BATCH: Final = 128
_FORGET_BATCH: Final = 1_000
_TIMEOUT_S: Final = 2.0
_ADD: Final = """
local found = redis.call('GET', KEYS[1])
if not found then redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2]) end
return found
"""
_SWAP: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3]) end
return 1
"""


class RedisState(SharedState):
    """See `SharedState`. `url` is `redis://`, `rediss://` or `unix://`, with user and password if need be.

    Raises:
        ConfigError: the URL is wrong, or the client library is not installed.
    """

    suspends = True

    def __init__(self, url: str) -> None:
        try:
            from redis import asyncio as client
        except ModuleNotFoundError:
            raise ConfigError("state.url: Redis needs one more package: openrouter-gateway[redis]") from None
        library: Any = client  # its types are half of them unknown
        try:
            self._redis: Any = library.Redis.from_url(
                url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, health_check_interval=30
            )
        except ValueError:
            raise ConfigError("state.url: not a URL such as redis://localhost:6379/0") from None
        self._script = Path(__file__).with_name("state.lua").read_text("utf-8")
        self._digest = hashlib.sha1(self._script.encode(), usedforsecurity=False).hexdigest()
        self._name = secrets.token_hex(8)
        self._leases = f"{_PREFIX}leases:{self._name}"
        self._heard_of: list[str] = []  # what was settled, and need not be remembered any more
        self._told = 0
        self._heard: str | None = None  # the last entry of the stream
        self._last_of: dict[str, int] = {}  # by process
        self._waiting: deque[tuple[tuple[Any, ...], asyncio.Future[Any]]] = deque()
        self._sender: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<RedisState {self._leases}>"

    async def open(self) -> None:
        """See `SharedState`."""
        try:
            await self._send("PING")
        except StateUnavailable as error:
            raise ConfigError(f"state.url: {error.message}") from error

    async def close(self) -> None:
        """See `SharedState`."""
        if self._sender is not None:
            await asyncio.gather(self._sender, return_exceptions=True)
        await self._redis.aclose()

    async def _run(self, keys: Sequence[str], task: str, *arguments: str | int) -> Any:
        return await self._send("EVALSHA", self._digest, len(keys), *keys, task, *arguments)

    async def _send(self, *command: Any) -> Any:
        """Send a command with those that wait; also if its caller is cancelled, it is sent."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((command, answer))
        if self._sender is None:
            self._sender = asyncio.create_task(self._send_waiting(), name="shared-state")
        return await answer

    async def _send_waiting(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
                answers = await self._exchange([command for command, _ in batch])
                for (_, future), answer in zip(batch, answers, strict=True):
                    if future.done():
                        continue
                    if isinstance(answer, Exception):
                        future.set_exception(answer)
                    else:
                        future.set_result(answer)
        finally:
            self._sender = None

    async def _exchange(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        """Return each command's answer, or error. A server that has started anew is given the script first."""
        from redis.exceptions import NoScriptError

        try:
            answers = await self._pipeline(commands)
            missed = [number for number, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            if missed:
                await self._redis.script_load(self._script)
                again = await self._pipeline([commands[number] for number in missed])
                for number, answer in zip(missed, again, strict=True):
                    answers[number] = answer
        except Exception as error:  # noqa: BLE001 - whatever it is, somebody waits for each answer
            answers = [error] * len(commands)
        return [_translate(answer) if isinstance(answer, Exception) else answer for answer in answers]

    async def _pipeline(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            return await pipeline.execute(raise_on_error=False)

    async def reserve(self, claim: Claim) -> Refusal | None:
        """See `SharedState`."""
        rates = claim.rates
        limits: list[str | int] = []
        for budget in claim.budgets:
            limits += ("", "") if budget.limit is None else divmod(budget.limit, _NANO)
        answer = await self._run(
            [self._leases, f"{_PREFIX}key:{claim.key}", *(_scope(budget.scope) for budget in claim.budgets)],
            "reserve",
            claim.id,
            int(claim.now),
            *divmod(claim.estimate, _NANO),
            claim.tokens,
            *("" if most is None else most for most in (rates.requests_per_minute, rates.tokens_per_minute)),
            "" if rates.concurrent_requests is None else rates.concurrent_requests,
            *limits,
        )
        match answer:
            case [b"granted"]:
                return None
            case [b"unknown", *numbers]:
                return Unknown(tuple(claim.budgets[int(number)].scope for number in numbers))
            case [b"exhausted", number, n, a, reserved_n, reserved_a]:
                return Exhausted(claim.budgets[int(number)], _join(n, a), _join(reserved_n, reserved_a))
            case [b"requests", free_at]:
                return Throttle("requests", float(free_at))
            case [b"tokens", free_at]:
                return Throttle("tokens", float(free_at))
            case _:
                return Throttle("concurrency", None)

    async def settle(self, claim: Claim, cost: int, tokens: int, ended_us: int) -> tuple[str, ...]:
        """See `SharedState`."""
        keys = [self._leases, _ORPHANS, _SETTLED, *(_scope(budget.scope) for budget in claim.budgets)]
        unknown = await self._run(keys, "settle", claim.id, *divmod(cost, _NANO), tokens, ended_us)
        if cost and claim.budgets and not unknown:
            self._heard_of.append(claim.id)
        return tuple(scope.decode().removeprefix(_SCOPE) for scope in unknown)

    async def seed(self, scope: str, seed: Seed) -> None:
        """See `SharedState`."""
        amount = divmod(seed.used, _NANO)
        await self._run([_scope(scope)], "seed", *amount, secrets.token_hex(4), seed.until_us, *seed.later)

    async def beat(self, now: float) -> int:
        """See `SharedState`."""
        keys, dead_before = [_PROCESSES, _ORPHANS, _SETTLED], str(now - DEAD_AFTER_S)
        returned = int(await self._run(keys, "beat", str(now), dead_before, self._leases))
        while heard_of := self._heard_of[:_FORGET_BATCH]:
            await self._send("HDEL", self._leases, *heard_of)
            del self._heard_of[: len(heard_of)]
        return returned

    async def orphans(self) -> list[str]:
        """See `SharedState`."""
        found = await self._send("HRANDFIELD", _ORPHANS, _ORPHAN_BATCH)
        return [name.decode() for name in found or ()]

    async def adopt(self, orphan: str, cost: int, ended_us: int, now: float) -> None:
        """See `SharedState`."""
        await self._run([_ORPHANS, _SETTLED], "adopt", orphan, *divmod(cost, _NANO), ended_us, str(now))

    async def forget(self, orphan: str, now: float) -> None:
        """Give up an orphan that has been one for a week."""
        await self._run([_ORPHANS], "forget", orphan, str(now - _FORGET_AFTER_S))

    async def get_value(self, key: str, now: float) -> bytes | None:
        """See `SharedState`; the server's clock decides."""
        return await self._send("GET", f"{_PREFIX}value:{key}")

    async def put_value(self, key: str, value: bytes, ttl_s: int, now: float) -> None:
        """See `SharedState`."""
        await self._send("SET", f"{_PREFIX}value:{key}", value, "EX", ttl_s)

    async def add_value(self, key: str, value: bytes, ttl_s: int, now: float) -> bytes | None:
        """See `SharedState`."""
        return await self._send("EVAL", _ADD, 1, f"{_PREFIX}value:{key}", value, ttl_s)

    async def swap_value(self, key: str, old: bytes, new: bytes | None, ttl_s: int, now: float) -> bool:
        """See `SharedState`."""
        return bool(await self._send("EVAL", _SWAP, 1, f"{_PREFIX}value:{key}", old, new or b"", ttl_s))

    async def tell(self, news: bytes, now: float) -> None:
        """See `SharedState`. Numbered, because what is sent again after a lost answer would be heard twice."""
        self._told += 1
        oldest = f"{int((now - NEWS_S) * 1000)}-0"
        fields = ("from", self._name, "number", self._told, "news", news)
        added = self._send("XADD", _NEWS, "MINID", "~", oldest, "*", *fields)
        await asyncio.gather(added, self._send("EXPIRE", _NEWS, int(NEWS_S)))

    async def hear(self, now: float) -> list[News]:
        """See `SharedState`."""
        if self._heard is None:
            self._heard = f"{int((now - NEWS_S) * 1000)}-0"
        entries = await self._send("XRANGE", _NEWS, f"({self._heard}", "+", "COUNT", _NEWS_BATCH)
        found: list[News] = []
        for name, values in entries:
            place: str = name.decode()
            self._heard = place
            sender, number = values[b"from"].decode(), int(values[b"number"])
            if sender == self._name or number <= self._last_of.get(sender, 0):
                continue
            self._last_of[sender] = number
            told_at = int(place.partition("-")[0]) / 1000
            found.append(News(min(max(now - told_at, 0.0), NEWS_S), values[b"news"]))
        return found


def _translate(error: Exception) -> Exception:
    """Turn the client library's errors into ours."""
    from redis.exceptions import RedisError

    if not isinstance(error, (RedisError, OSError)):
        return error
    ours = StateUnavailable(f"The shared state cannot be reached: {type(error).__name__}")
    ours.__cause__ = error
    return ours


def _scope(name: str) -> str:
    return _SCOPE + name


def _join(nano: bytes, atto: bytes) -> int:
    return int(nano) * _NANO + int(atto)
