"""Peers that tests run against: real servers that misbehave on demand."""
