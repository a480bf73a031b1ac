"""What the operator says: settings from `gateway.toml` and the environment, and the catalogue made of them."""
