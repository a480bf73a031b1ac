"""Generations to observability tools: what is sent (pure), and a queue that sends it off the request path."""
