"""The child process for work on what strangers wrote: `python -m openrouter_gateway.callers.workshop_child`.

It reads jobs from standard input and writes their results to standard output, one after the other, each behind its
length in four bytes. Its memory is limited here, its time by the parent, who ends it; it is told no secrets. The end
of its input is the end of the gateway, or of the work.
"""

import contextlib
import resource
import sys
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Struct

from openrouter_gateway.plugins.files import PDFReading
from openrouter_gateway.plugins.healing import Healing, heal

_MOST_MEMORY: Final = 1024 * 1024 * 1024
LENGTH_BYTES: Final = 4


class ReadPDF(Struct, frozen=True, tag=True):
    """See `plugins.pdf.read_pdf`."""

    data: bytes
    max_pages: int
    max_characters: int


class Heal(Struct, frozen=True, tag=True):
    """See `plugins.healing.heal`."""

    text: str
    schema: dict[str, Any] | None


Job: TypeAlias = ReadPDF | Heal
Result: TypeAlias = PDFReading | Healing


def main() -> None:
    """Work until the input ends."""
    _limit(resource.RLIMIT_AS, _MOST_MEMORY)
    _limit(resource.RLIMIT_CORE, 0)
    decode = msgspec.msgpack.Decoder(Job).decode
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while head := source.read(LENGTH_BYTES):
        result = msgspec.msgpack.encode(work(decode(source.read(int.from_bytes(head)))))
        sink.write(len(result).to_bytes(LENGTH_BYTES))
        sink.write(result)
        sink.flush()


def work(job: Job) -> Result:
    """Return what comes of a job."""
    match job:
        case ReadPDF():
            # Not above: the gateway imports this module, and has no use for a PDF library.
            from openrouter_gateway.plugins.pdf import read_pdf

            return read_pdf(job.data, max_pages=job.max_pages, max_characters=job.max_characters)
        case Heal():
            return heal(job.text, job.schema)


def _limit(kind: int, most: int) -> None:
    with contextlib.suppress(OSError, ValueError):  # not on this system, or there is a lower one already
        resource.setrlimit(kind, (most, most))


if __name__ == "__main__":
    main()
