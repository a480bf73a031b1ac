"""What the benchmark asks and what a correct answer holds, for the fake upstream and the load generator.

A model's last path segment names the shape of its answer: `json`, `burst-<chunks>` (all at once),
`paced-<chunks>-<milliseconds apart>`, or `cut-<chunks>-<milliseconds apart>`, whose writes end in the middle
of events and of HTTP chunks. A prefix such as `bench/` is for the server in between; one with `claude-` is answered
alike by the upstream's Messages API.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

WORD = "lorem"
ANSWER = " ".join(f"{WORD}{i:03d}" for i in range(64))
REQUEST_BYTES = 1024
# Beside the content chunks: role, finish, usage, [DONE]. A server may merge the role into the next chunk.
FRAMING_EVENTS = 4
DEFAULT_CHUNKS = 20

CLAUDE = "claude-"

_SHAPE = re.compile(
    rf"(?:{CLAUDE})?(?:json|burst-(?P<burst>\d{{1,5}})|(?P<kind>paced|cut)-(?P<chunks>\d{{1,5}})-(?P<gap>\d{{1,5}}))"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """How a model answers: `chunks` content chunks in writes `gap_s` seconds apart (0: one burst)."""

    chunks: int
    gap_s: float
    cut: bool = False

    @property
    def events(self) -> int:
        """Number of `data:` events the upstream sends for one stream, `[DONE]` included."""
        return self.chunks + FRAMING_EVENTS

    @property
    def words(self) -> list[str]:
        """The content of each chunk; all different, so that no server can answer from a cache."""
        return [f"{WORD}{i:05d} " for i in range(self.chunks)]


@cache
def parse_shape(model: str) -> Shape | None:
    """Return the shape a model's name asks for, None when the name means nothing here."""
    match = _SHAPE.fullmatch(model.rpartition("/")[2])
    if match is None:
        return None
    if match["burst"]:
        return Shape(chunks=int(match["burst"]), gap_s=0)
    if match["kind"]:
        gap_s = int(match["gap"]) / 1000
        return Shape(chunks=int(match["chunks"]), gap_s=gap_s, cut=match["kind"] == "cut")
    return Shape(chunks=DEFAULT_CHUNKS, gap_s=0)
