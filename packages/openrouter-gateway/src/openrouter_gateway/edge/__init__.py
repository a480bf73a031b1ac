"""The HTTP surface: thin, one table of routes, authentication is the default."""
