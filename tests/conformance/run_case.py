"""Run one case of a client's script, in that client's environment; exit status 0 when it holds.

    .venv-conformance/openai/bin/python tests/conformance/run_case.py \
        tests/conformance/clients/openai/script.py chat http://127.0.0.1:8787/api/v1

A case is a function `case_<name>(base_url)`, plain or async. When an assertion fails, the local variables of its frame
are shown, so that what the client had received can be read.
"""

import asyncio
import inspect
import runpy
import sys
from traceback import TracebackException


def main() -> None:
    """Take script, case and base URL from the command line."""
    script, case, base_url = sys.argv[1:]
    try:
        outcome = runpy.run_path(script)[f"case_{case}"](base_url)
        if inspect.iscoroutine(outcome):
            asyncio.run(outcome)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the report
        failed = isinstance(error, AssertionError)
        sys.stderr.writelines(TracebackException.from_exception(error, capture_locals=failed).format())
        sys.exit(1)


if __name__ == "__main__":
    main()
