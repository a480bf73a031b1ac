"""The section of the configuration for what is kept of requests and answers."""

from pydantic import Field

from openrouter_gateway.config.values import Section
from openrouter_gateway.stores.contents import Retention


class ContentLogSettings(Section):
    """Requests' messages and their answers, in the ledger's database, for who made the request to read again."""

    enabled: bool = Field(default=False, description="Never for requests with zdr, nor with policy.zdr.")
    keep_days: int = Field(default=7, ge=1, description="Also of what was kept before it was switched off.")
    max_bytes: int = Field(default=1024**3, ge=1024**2, description="Of all generations; the oldest go first.")
    max_generation_bytes: int = Field(
        default=1024**2, ge=1024, description="What is longer is kept without images and files, or else left out."
    )

    def retention(self) -> Retention:
        """Return what the sweeper goes by."""
        return Retention(keep_days=self.keep_days, max_bytes=self.max_bytes)
