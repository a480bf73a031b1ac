"""What the account's policy leaves of the catalogue: the same as plans use of it, for those who list models."""

from typing import Final

import msgspec

from openrouter_gateway.core.catalog import AccountPolicy, Catalog, Listing
from openrouter_gateway.routing.index import ListingIndex, index_of

_NO_POLICY: Final = AccountPolicy()


def permitted(catalog: Catalog, policy: AccountPolicy) -> Catalog:
    """Return the catalogue without the endpoints that the policy forbids, and the models that have no others."""
    if policy == _NO_POLICY:
        return catalog
    listings: dict[str, Listing] = {}
    for model_id, listing in catalog.listings.items():
        index = index_of(listing)
        mask = _mask(index, policy)
        kept = tuple(row.endpoint for row in index.rows if mask & row.bit)
        if kept:
            listings[model_id] = msgspec.structs.replace(listing, endpoints=kept)
    return msgspec.structs.replace(catalog, listings=listings)


def _mask(index: ListingIndex, policy: AccountPolicy) -> int:
    mask = index.everything
    if policy.allowed_providers is not None:
        mask &= index.named_any([name.lower() for name in policy.allowed_providers])
    mask &= ~index.named_any([name.lower() for name in policy.ignored_providers])
    if policy.zdr:
        mask &= index.never_retains
    return mask & index.never_trains if policy.deny_training else mask
