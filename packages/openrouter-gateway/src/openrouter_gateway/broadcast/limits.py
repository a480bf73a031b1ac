"""How much may wait for a destination."""

from msgspec import Struct


class Limits(Struct, frozen=True, kw_only=True):
    """Bounds, for each destination of one process. Bytes are those of encoded traces; on disk they are compressed."""

    batch_bytes: int = 512 * 1024
    memory_bytes: int = 16 * 1024 * 1024
    disk_bytes: int = 256 * 1024 * 1024
    timeout_s: float = 15.0
