"""The child process that runs llama.cpp's server: `python -m openrouter_gateway.callers.local_child`.

Its own process, because native code can crash or exit and must not take the gateway along. It speaks in lines:

* standard input: first one JSON object, `ChildSettings`; the secret is there and not among the arguments, which every
  user of the machine can read. Then nothing: the end of the input means that the parent is gone, and ends the child.
* standard output: one JSON object, `{"address": "http://127.0.0.1:PORT"}`, when the server answers.
* standard error: llama.cpp's log and, before an exit with status 1, one line with the reason.
"""

import importlib
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

import msgspec


class ChildSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the child is told. `context_size` is tokens per request; `threads` None: one per processor."""

    model_path: str
    api_key: str
    context_size: int
    parallel: int
    threads: int | None = None


# The vector of the last token: the one that a model of this kind makes of all that came before. With it texts about the
# same thing are closer to each other than others, with llama.cpp's mean of all tokens they are not (measured 2026-11-27
# on SmolLM2-135M). It also takes inputs that are longer than a batch.
_POOLING = "LLAMA_POOLING_TYPE_LAST"
# llama.cpp keeps prompts in memory to answer the next turn of a conversation faster; its default is 8 GiB.
_PROMPT_CACHE_MIB = 256
_LOG_ERRORS_ONLY = 1
# llama.cpp writes its log from a thread of its own; what it says last is the reason.
_LOG_WAIT_S = 0.3


def main() -> None:
    """Serve until the parent closes the input or a signal comes."""
    # A signal's default action ends the process at once, in native code too; Python's handler for SIGINT would wait.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    settings = msgspec.json.decode(sys.stdin.buffer.readline(), type=ChildSettings)
    answer_fd = os.dup(1)
    os.dup2(2, 1)  # what native code prints to standard output is log, too
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    try:
        server = _start(settings)
    except Exception as error:  # noqa: BLE001 - the reason goes to the parent, whatever the native code raised
        time.sleep(_LOG_WAIT_S)
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
        os._exit(1)
    with os.fdopen(answer_fd, "wb") as answer:
        answer.write(msgspec.json.encode({"address": server.listening_address}) + b"\n")
    while True:
        signal.pause()


def _start(settings: ChildSettings) -> Any:
    """Return the running server.

    Raises:
        Exception: the model file is not there or not a model, or `xllamacpp` is not installed.
    """
    if not Path(settings.model_path).is_file():
        raise FileNotFoundError(f"there is no model file {settings.model_path}")
    # xllamacpp comes without types.
    xllamacpp: Any = importlib.import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = settings.model_path
    params.model_alias = {Path(settings.model_path).stem}  # else replies show the path
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [settings.api_key]
    params.n_parallel = settings.parallel
    params.n_ctx = settings.context_size * settings.parallel  # llama.cpp divides it among the slots
    params.cpuparams.n_threads = settings.threads or os.cpu_count() or 1
    params.cache_ram_mib = _PROMPT_CACHE_MIB
    params.verbosity = _LOG_ERRORS_ONLY
    params.embedding = True  # beside chat, which it does not change
    params.pooling_type = getattr(xllamacpp.llama_pooling_type, _POOLING)
    params.ui = False
    params.endpoint_slots = False  # would show prompts
    return xllamacpp.Server(params)


def _exit_with_parent() -> NoReturn:
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
