"""A self-hosted gateway that speaks the OpenRouter API."""
