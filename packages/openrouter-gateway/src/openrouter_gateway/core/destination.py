"""Where traces are broadcast to, and which of them (OpenRouter API, observability destinations, 2026-11-27)."""

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Struct

FilterField: TypeAlias = Literal[
    "model",
    "provider",
    "session_id",
    "user_id",
    "api_key_name",
    "finish_reason",
    "input",
    "output",
    "total_cost",
    "total_tokens",
    "prompt_tokens",
    "completion_tokens",
]
FilterOperator: TypeAlias = Literal[
    "equals",
    "not_equals",
    "contains",
    "not_contains",
    "regex",
    "starts_with",
    "ends_with",
    "gt",
    "lt",
    "gte",
    "lte",
    "exists",
    "not_exists",
]
SamplingRate: TypeAlias = Annotated[float, Meta(ge=0.0001, le=1)]
DestinationName: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256)]
KeyHashes: TypeAlias = Annotated[list[str], Meta(min_length=1)]


class FilterRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One condition on a generation."""

    field: FilterField
    operator: FilterOperator
    value: str | int | float | None = None


class FilterGroup(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Conditions of which all, or one, must hold."""

    rules: Annotated[list[FilterRule], Meta(max_length=100)]
    logic: Literal["and", "or"] = "and"


class FilterRules(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Groups, all of which must hold."""

    groups: Annotated[list[FilterGroup], Meta(max_length=100)]
    enabled: bool = True


class Destination(Struct, frozen=True, kw_only=True):
    """One destination. `config` is as the API takes it and depends on `type`; it holds credentials. Times are unix."""

    id: str
    type: str
    name: str
    config: dict[str, Any]
    enabled: bool = True
    privacy_mode: bool = False
    sampling_rate: float = 1.0
    api_key_hashes: list[str] | None = None
    filter_rules: FilterRules | None = None
    broadcast_generation_cost: bool = False
    broadcast_generation_identity: bool = False
    broadcast_generation_request_context: bool = False
    workspace_id: str | None = None
    created_at: float = 0.0
    updated_at: float | None = None

    def __repr__(self) -> str:
        return f"<Destination {self.type} {self.name!r} {self.id}>"
