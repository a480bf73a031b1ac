"""Processes for work on what strangers wrote, which may take for ever or all memory: reading PDFs, checking schemas.

A process does one job at a time and is kept for the next one. One that takes too long, or whose job is given up, is
ended: it has nothing to lose.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

from openrouter_gateway.callers.local import child_environment
from openrouter_gateway.callers.workshop_child import LENGTH_BYTES, Heal, Job, ReadPDF
from openrouter_gateway.plugins.files import PDFProblem, PDFReading
from openrouter_gateway.plugins.healing import Healing

_GOODBYE_S: Final = 1.0
_decode_reading: Callable[[bytes], PDFReading] = msgspec.msgpack.Decoder(PDFReading).decode
_decode_healing: Callable[[bytes], Healing] = msgspec.msgpack.Decoder(Healing).decode


class WorkshopLimits(Struct, frozen=True, kw_only=True):
    """Of one job; `places` is how many are done at a time, `idle_s` how long a process without one is kept."""

    pdf_s: float = 30.0
    pdf_pages: int = 1_000
    pdf_characters: int = 4_000_000
    healing_s: float = 5.0
    places: int = 2
    idle_s: float = 60.0


class JobFailed(Exception):
    """The process took too long, or ended."""


class Workshop:
    """Keeps the processes. Use it within one event loop, and close it."""

    def __init__(self, limits: WorkshopLimits) -> None:
        self._limits = limits
        self._places = asyncio.Semaphore(limits.places)
        self._idle: list[_Child] = []
        self._busy = 0

    def __repr__(self) -> str:
        return f"<Workshop idle={len(self._idle)} busy={self._busy}>"

    async def read_pdf(self, data: bytes) -> PDFReading:
        """See `plugins.pdf.read_pdf`."""
        limits = self._limits
        job = ReadPDF(data, limits.pdf_pages, limits.pdf_characters)
        try:
            return _decode_reading(await self._run(job, limits.pdf_s))
        except JobFailed as failure:
            return PDFProblem(f"cannot be read: that {failure}")

    async def heal(self, job: Heal) -> Healing:
        """See `plugins.healing.heal`.

        Raises:
            JobFailed: its schema cannot be checked in time.
        """
        return _decode_healing(await self._run(job, self._limits.healing_s))

    async def close(self) -> None:
        """End the processes that wait for work."""
        children, self._idle = self._idle, []
        for child in children:
            await child.end()

    async def _run(self, job: Job, timeout_s: float) -> bytes:
        async with self._places:
            child = self._idle.pop() if self._idle else await _Child.start()
            child.keep_from_retiring()
            self._busy += 1
            try:
                async with asyncio.timeout(timeout_s):
                    result = await child.work(msgspec.msgpack.encode(job))
            except TimeoutError:
                await child.kill()
                raise JobFailed(f"takes longer than {timeout_s:g} s") from None
            except (OSError, asyncio.IncompleteReadError):
                await child.kill()
                raise JobFailed("needs more than there is for it") from None
            except BaseException:
                await child.kill()
                raise
            finally:
                self._busy -= 1
            self._idle.append(child)
            child.retire_after(self._limits.idle_s, self._retire)
            return result

    def _retire(self, child: "_Child") -> None:
        if child in self._idle:
            self._idle.remove(child)
            child.let_go()


class _Child:
    """One process."""

    def __init__(self, process: asyncio.subprocess.Process, sink: asyncio.StreamWriter, source: asyncio.StreamReader):
        self._process = process
        self._sink = sink
        self._source = source
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    async def start(cls) -> "_Child":
        """Start one, in a session of its own, so that Ctrl-C reaches the gateway alone."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "openrouter_gateway.callers.workshop_child",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=child_environment(os.environ),
            start_new_session=True,
        )
        assert process.stdin is not None  # noqa: S101 - asked for above
        assert process.stdout is not None  # noqa: S101
        return cls(process, process.stdin, process.stdout)

    async def work(self, job: bytes) -> bytes:
        """Return the result of a job.

        Raises:
            OSError, IncompleteReadError: the process has ended.
        """
        self._sink.write(len(job).to_bytes(LENGTH_BYTES))
        self._sink.write(job)
        await self._sink.drain()
        length = await self._source.readexactly(LENGTH_BYTES)
        return await self._source.readexactly(int.from_bytes(length))

    def retire_after(self, seconds: float, retire: "Callable[[_Child], None]") -> None:
        """Call back unless there is work before."""
        self._timer = asyncio.get_running_loop().call_later(seconds, retire, self)

    def keep_from_retiring(self) -> None:
        """There is work."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def let_go(self) -> None:
        """Tell it that there is no more work: it ends by itself."""
        self.keep_from_retiring()
        self._sink.close()

    async def kill(self) -> None:
        """End it at once; return when it is gone, which is then."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._sink.close()
        await self._process.wait()

    async def end(self) -> None:
        """Let it go and wait until it is gone, or make it go."""
        self.let_go()
        try:
            async with asyncio.timeout(_GOODBYE_S):
                await self._process.wait()
        except TimeoutError:
            await self.kill()
