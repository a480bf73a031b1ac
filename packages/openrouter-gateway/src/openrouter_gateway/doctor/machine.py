"""Whether this machine has what a gateway needs: the embedded model, and a port."""

import asyncio
import errno
import sys
from contextlib import aclosing

from openrouter_gateway.app import local_model
from openrouter_gateway.callers.http import HTTPCaller
from openrouter_gateway.callers.local import LocalCaller, LocalModel
from openrouter_gateway.callers.pool import Pool, Target
from openrouter_gateway.config.catalog import local_endpoint
from openrouter_gateway.config.settings import Settings
from openrouter_gateway.core.events import Step
from openrouter_gateway.doctor.findings import Finding, failure, ok, refused, skipped
from openrouter_gateway.edge.listener import bind
from openrouter_gateway.errors import ConfigError, UpstreamError
from openrouter_gateway.wire.skins import chat

_LOAD_TIMEOUT_S = 60.0
_ANSWER_TIMEOUT_S = 120.0
_REINSTALL = 'install it again: pip install --force-reinstall "openrouter-gateway[embedded]"'
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what is listened on, for where to ask


async def check_embedded(settings: Settings, pool: Pool, *, deep: bool) -> Finding:
    """Look whether the embedded model is installed and its library loads; `deep`: whether it answers."""
    check = "embedded model"
    try:
        model = local_model(settings)
        if model is None:
            return skipped(check, "is switched off")
        model.check()
    except ConfigError as error:
        return refused(check, error)
    problem = await _load_library()
    if problem is not None:
        return failure(check, f"its library does not load: {problem}", _REINSTALL)
    if not deep:
        return ok(check, "the file is there, the library loads (--deep lets it answer)")
    return await _let_answer(check, settings, model, pool)


async def _load_library() -> str | None:
    """Load the library in a process of its own, which it may take along; return what went wrong."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import xllamacpp", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(_LOAD_TIMEOUT_S):
            _, said = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return f"it took longer than {_LOAD_TIMEOUT_S:g} s"
    if process.returncode == 0:
        return None
    lines = said.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"the process ended with status {process.returncode}"


async def _let_answer(check: str, settings: Settings, model: LocalModel, pool: Pool) -> Finding:
    request = chat.parse(b'{"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 1, "stream": true}')
    loop = asyncio.get_running_loop()
    began = loop.time()
    await model.start()
    try:
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            caller = LocalCaller(model, HTTPCaller(pool, {}))
            async with aclosing(caller.call(request, local_endpoint(settings))) as batches:
                async for events in batches:
                    if any(type(event) is Step for event in events):
                        return ok(check, f"starts and answers, in {loop.time() - began:.1f} s")
    except UpstreamError as error:
        return failure(check, error.message, "try a GGUF file that llama.cpp can read as embedded.model_path")
    except TimeoutError:
        return failure(check, f"did not answer within {_ANSWER_TIMEOUT_S:g} s", "try a smaller model, or more threads")
    finally:
        await model.close()
    return failure(check, "ended without an answer", _REINSTALL)


async def check_port(settings: Settings, pool: Pool, *, timeout_s: float) -> Finding:
    """Look whether the address is free, or a gateway has it."""
    check, server = "port", settings.server
    where = f"{server.host} port {server.port}"
    if server.port == 0:
        return ok(check, f"a free one of {server.host} is taken at the start")
    try:
        bind(server.host, server.port).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            return failure(check, f"cannot listen on {where}: {error.strerror}", "change server.host or server.port")
    else:
        return ok(check, f"{where} is free")
    state = await _ask_gateway(settings, pool, timeout_s)
    if state is None:
        return failure(check, f"{where} is in use, and not by a gateway", "stop what has it, or change server.port")
    return ok(check, f"a gateway listens on {where}, and is {state}")


async def _ask_gateway(settings: Settings, pool: Pool, timeout_s: float) -> str | None:
    """Return how the gateway there is doing; None if it is none."""
    server = settings.server
    host = _WILDCARDS.get(server.host, server.host)
    root = f"http://[{host}]:{server.port}" if ":" in host else f"http://{host}:{server.port}"
    try:
        async with asyncio.timeout(timeout_s):
            if await _get(pool, f"{root}/healthz") != (200, b'{"status":"ok"}'):
                return None
            status, _ = await _get(pool, f"{root}/readyz")
    except (UpstreamError, ConfigError, TimeoutError):
        return None
    return "ready" if status == 200 else "not ready: its /readyz says why"


async def _get(pool: Pool, url: str) -> tuple[int, bytes]:
    reply = await pool.post(Target.from_parts(url, {}, method="GET"), b"")
    try:
        return reply.status, await reply.read_some()
    finally:
        reply.close()
