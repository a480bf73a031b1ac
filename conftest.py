"""What all tests share: `tests/support_plugin`."""

pytest_plugins = ("support_plugin",)
