"""Settings of the broadcast: how much may wait, and the destinations of the configuration."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from openrouter_gateway.broadcast.limits import Limits
from openrouter_gateway.config.location import data_directory


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BroadcastSettings(_Section):
    """What waits for destinations, for each of them."""

    directory: Path | None = Field(
        default=None,
        description="Where traces wait that cannot be delivered; by default broadcast in the user's data directory.",
    )
    disk_bytes: int = Field(
        default=256 * 1024 * 1024, ge=0, description="Of all workers; the oldest go first. 0: memory alone."
    )
    memory_bytes: int = Field(default=16 * 1024 * 1024, ge=64 * 1024, description="Of each worker.")
    batch_bytes: int = Field(default=512 * 1024, ge=1024, description="Of one request, if it has several traces.")
    timeout_s: float = Field(default=15.0, gt=0, description="For one request.")
    flush_timeout_s: float = Field(default=5.0, ge=0, description="At the end, for what can still be delivered.")
    log_generations: bool = Field(default=False, description="Write a log line for each generation, without content.")

    @property
    def spool_directory(self) -> Path:
        """Where traces wait, on a local disk."""
        return self.directory or data_directory() / "broadcast"

    def limits(self, workers: int) -> Limits:
        """Return what one of so many workers may take."""
        return Limits(
            batch_bytes=self.batch_bytes,
            memory_bytes=self.memory_bytes,
            disk_bytes=self.disk_bytes // workers,
            timeout_s=self.timeout_s,
        )


class DestinationSettings(_Section):
    """One destination, as the API of OpenRouter has them.

    The fields of `config` are those of the API, in its spelling or with underscores. A name that ends with `_env` says
    which variable holds the value.
    """

    type: str
    name: str = Field(min_length=1, max_length=256)
    config: dict[str, SecretStr | dict[str, SecretStr]]
    enabled: bool = True
    privacy_mode: bool = Field(default=False, description="Leave out what was asked and answered.")
    sampling_rate: float = Field(default=1.0, ge=0.0001, le=1, description="Share of the sessions.")
    api_key_hashes: list[str] | None = Field(default=None, min_length=1, description="Generations of these keys only.")
    filter_rules: dict[str, Any] | None = None
    broadcast_generation_cost: bool = Field(default=False, description="Add the parts of the cost.")
    broadcast_generation_identity: bool = Field(default=False, description="Add the key's name and hash.")
    broadcast_generation_request_context: bool = Field(default=False, description="Add the app and the user agent.")
