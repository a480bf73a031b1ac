"""JSON Schemas in the form that Google's API takes.

They go out as JSON Schema (`parametersJsonSchema`, `responseJsonSchema`; ai.google.dev/api/generate-content, 2026-11),
not as the OpenAPI subset of `parameters` and `responseSchema`: what the API does not support it passes over there,
while the subset answers 400 to every keyword it does not know. What is left to put right here:

* `$ref` may have no siblings, and `definitions` is not among the keywords, so references within the schema are replaced
  by what they mean. A schema that contains itself keeps its reference.
* `$schema` is not among the keywords, nor is `const`, which is an `enum` of one.
"""

from typing import Any, Final, cast

_MOST_NODES: Final = 20_000
"""References to references can multiply without bound. A schema that grows beyond goes out as it is."""

_SCHEMAS: Final = frozenset({"items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"})
_LISTS: Final = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_MAPS: Final = frozenset({"properties", "patternProperties", "dependentSchemas"})
_DEFINITIONS: Final = ("$defs", "definitions")
_DROPPED: Final = frozenset({"$schema", *_DEFINITIONS})


def to_google_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that means the same."""
    walk = _Walk(schema)
    try:
        out = walk.visit(schema, ())
        if walk.keeps_references:
            out |= {key: walk.visit_all(schema[key]) for key in _DEFINITIONS if isinstance(schema.get(key), dict)}
    except (_TooLargeError, RecursionError):
        return schema
    return out


class _TooLargeError(Exception):
    """The schema has too many nodes once its references are replaced."""


class _Walk:
    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._left = _MOST_NODES
        self.keeps_references = False

    def visit_all(self, schemas: dict[str, Any]) -> dict[str, Any]:
        """Return definitions without the references that can be replaced."""
        return {name: self.visit(schema, ()) for name, schema in schemas.items()}

    def visit(self, node: Any, within: tuple[str, ...]) -> Any:
        """Return a schema without its local references; `within` are those that are being replaced."""
        if not isinstance(node, dict):
            return node  # true and false are schemas
        self._left -= 1
        if self._left < 0:
            raise _TooLargeError
        fields = cast("dict[str, Any]", node)
        reference = fields.get("$ref")
        if isinstance(reference, str):
            target = self._find(reference)
            if reference in within or not isinstance(target, dict):
                self.keeps_references = True
                return {"$ref": reference}
            rest = {key: value for key, value in fields.items() if key != "$ref"}
            return self.visit(target, (*within, reference)) | self._members(rest, within)
        return self._members(fields, within)

    def _members(self, fields: dict[str, Any], within: tuple[str, ...]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, value in fields.items():
            if key == "const":
                out.setdefault("enum", [value])
            elif key not in _DROPPED:
                out[key] = self._member(key, value, within)
        return out

    def _member(self, key: str, value: object, within: tuple[str, ...]) -> object:
        if key in _MAPS and isinstance(value, dict):
            return {name: self.visit(schema, within) for name, schema in cast("dict[str, Any]", value).items()}
        if key in _LISTS and isinstance(value, list):
            return [self.visit(schema, within) for schema in cast("list[Any]", value)]
        return self.visit(value, within) if key in _SCHEMAS else value

    def _find(self, reference: str) -> Any:
        """Return what a JSON pointer into the schema itself leads to."""
        if reference == "#":
            return self._root
        if not reference.startswith("#/"):
            return None
        node: Any = self._root
        for name in reference[2:].split("/"):
            if not isinstance(node, dict):
                return None
            node = cast("dict[str, Any]", node).get(name.replace("~1", "/").replace("~0", "~"))
        return node
