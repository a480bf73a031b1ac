"""Token counts of one generation, in the buckets that providers price differently."""

from decimal import Decimal

from msgspec import Struct


class Usage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tokens. Every bucket is contained in `prompt_tokens` or `completion_tokens`, as on OpenRouter's wire.

    `search_units` is what some providers count instead when they rerank: each is a price per request.

    `reported_cost` is what the provider itself says the call cost, in USD. `estimated` marks counts that the
    gateway made up from text lengths, because the provider reported none or the answer was cut.
    `cached_audio_tokens` are those of `cached_tokens` that are audio, `cache_write_1h_tokens` those of
    `cache_write_tokens` whose cache entries live an hour, `web_search_requests` the searches that the provider ran for
    the model. `image_tokens` are of images that were made, `prompt_image_tokens` of those that were read.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    cached_audio_tokens: int = 0
    prompt_audio_tokens: int = 0
    prompt_image_tokens: int = 0
    prompt_video_tokens: int = 0
    reasoning_tokens: int = 0
    completion_audio_tokens: int = 0
    image_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0
    web_search_requests: int = 0
    search_units: int = 0
    reported_cost: Decimal | None = None
    estimated: bool = False


class Cost(Struct, frozen=True, kw_only=True):
    """What a generation costs, in USD. `total` is the sum of the parts."""

    prompt: Decimal = Decimal(0)
    completion: Decimal = Decimal(0)
    request: Decimal = Decimal(0)

    @property
    def total(self) -> Decimal:
        """USD charged for the generation."""
        return self.prompt + self.completion + self.request
