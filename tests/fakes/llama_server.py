"""A second llama.cpp server, started by the tests: an OpenAI-compatible upstream that is not ours.

Run as a script it prints its address and serves until its standard input ends. With a pooling, such as LAST or RANK,
it makes embeddings or ranks documents, too.
"""

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any


@contextmanager
def running_llama(model: Path, pooling: str = "") -> Generator[str]:
    """Start the server; give its base URL."""
    with subprocess.Popen(
        [sys.executable, __file__, str(model), pooling],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            address = process.stdout.readline().strip() if process.stdout else ""
            assert address.startswith("http://"), "llama.cpp's server did not start"
            yield f"{address}/v1"
        finally:
            process.kill()


def main() -> None:
    """Serve one model with llama.cpp's own HTTP server."""
    xllamacpp: Any = import_module("xllamacpp")  # an extension module without types
    params = xllamacpp.CommonParams()
    params.model.path = sys.argv[1]
    params.hostnames = ["127.0.0.1"]
    params.n_ctx, params.n_parallel, params.cpuparams.n_threads, params.verbosity = 4096, 2, 1, -1
    if pooling := sys.argv[2]:
        params.embedding = True
        params.pooling_type = getattr(xllamacpp.llama_pooling_type, f"LLAMA_POOLING_TYPE_{pooling}")
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)  # noqa: T201
    sys.stdin.read()


if __name__ == "__main__":
    main()
