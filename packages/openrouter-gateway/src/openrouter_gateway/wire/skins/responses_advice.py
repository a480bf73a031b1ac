"""What can be used instead of the tools of the Responses API that nothing runs here."""

from typing import Final

_AT_THE_CALLER: Final = "it runs at the caller, send it as a `function` or `custom` tool and its calls as those of one"
_NOT_HERE: Final = "nothing here runs it, run it yourself as a `function` tool"
_TOOLS: Final = (
    ("local_shell", _AT_THE_CALLER),
    ("shell", _AT_THE_CALLER),
    ("apply_patch", _AT_THE_CALLER),
    ("computer", _AT_THE_CALLER),
    ("mcp", "no MCP server is called from here, call it yourself and send each of its tools as a `function` tool"),
    ("file_search", _NOT_HERE),
    ("code_interpreter", _NOT_HERE),
    ("namespace", "send the tools in it as `tools`"),
    ("tool_search", "send the tools that it would find as `tools`"),
)
"""By what the types of a tool, its calls and their results begin with."""
_ANY: Final = "there are `function`, `custom`, `web_search`, `image_generation` and OpenRouter's own"


def advice_for_tool(kind: object) -> str:
    """Return what to do about a tool of a type that is not supported."""
    return _find(kind) or _ANY


def advice_for_item(kind: object) -> str:
    """Return what to do about an item of a type that is not supported, with what goes before; empty for many."""
    found = _find(kind)
    return f": {found}" if found is not None else ""


def _find(kind: object) -> str | None:
    return next((text for name, text in _TOOLS if isinstance(kind, str) and kind.startswith(name)), None)
