"""What the gateway does to requests and replies when a plugin asks for it: pure functions (OpenRouter API, plugins)."""
