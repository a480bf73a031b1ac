"""The way to providers: the only part that opens connections to them."""
