"""Audio that is streamed in base64: pieces that were encoded one by one joined to one text; pure."""

import base64
import binascii
import re
from typing import Final

_ENCODED: Final = re.compile(r"[^=]+={0,2}")


class Base64Joiner:
    """Re-encodes pieces so that their concatenation is valid base64 of all their bytes.

    Pieces may be encoded one by one, padding included, or be one text that was cut anywhere.
    """

    def __init__(self) -> None:
        self._text = ""
        self._bytes = b""

    def feed(self, piece: str) -> str:
        """Return what can be handed on: base64 of a multiple of three bytes, which needs no padding."""
        text = self._text + piece
        whole = len(text) - len(text) % 4
        try:
            decoded = b"".join(base64.b64decode(part, validate=True) for part in _ENCODED.findall(text[:whole]))
        except binascii.Error:
            self._text = ""
            return self._flush() + text  # not base64: as it came
        self._text = text[whole:]
        data = self._bytes + decoded
        ready = len(data) - len(data) % 3
        self._bytes = data[ready:]
        return base64.b64encode(data[:ready]).decode()

    @property
    def rest(self) -> str:
        """The end of the text, for after the last piece."""
        return base64.b64encode(self._bytes).decode() + self._text

    def _flush(self) -> str:
        held, self._bytes = base64.b64encode(self._bytes).decode(), b""
        return held
