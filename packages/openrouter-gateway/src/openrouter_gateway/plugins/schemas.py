"""Whether a value is what a JSON Schema asks for, and if not, the first thing that is wrong, for a model to read.

Schemas come from callers and may take for ever to check (patterns, alternatives of alternatives): whoever calls this on
them has to set a limit.
"""

import importlib
from itertools import islice
from typing import Any, Final

_MOST_ERRORS: Final = 20
_LONGEST: Final = 400


def find_problem(value: Any, schema: dict[str, Any]) -> str | None:
    """Return what is wrong with a value, None if nothing is, or if the schema is none that can be checked."""
    # Imported when needed, and without its types, which are incomplete.
    jsonschema: Any = importlib.import_module("jsonschema")
    referencing: Any = importlib.import_module("referencing")
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
        # With a registry of its own, references lead nowhere: without one they would be fetched.
        validator = kind(schema, registry=referencing.Registry())
        error = jsonschema.exceptions.best_match(islice(validator.iter_errors(value), _MOST_ERRORS))
    except Exception:  # noqa: BLE001 - no schema, or with references that lead nowhere: not the answer's fault
        return None
    return None if error is None else f"at {error.json_path}: {error.message}"[:_LONGEST]
