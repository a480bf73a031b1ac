"""Text that is nearly JSON, read tolerantly and written as JSON.

What is right stays as it is, byte for byte; what is wrong is put right only where there is one way to do so: comments
and trailing commas go, missing commas and closing brackets come, keys and strings get double quotes, the words of
JavaScript and Python become JSON's. A string or value that breaks off is not completed: nobody knows how it went on.
"""

import re
from typing import Final, Literal, TypeAlias

_Role: TypeAlias = Literal["key", "member", "element"]

_MAX_DEPTH: Final = 200
_BLANK: Final = re.compile(r"[ \t\r\n]*")
_COMMENT: Final = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_NUMBER: Final = re.compile(r"([+-]?)(\d*)(?:\.(\d*))?([eE][+-]?\d+)?")
_NUMBER_END: Final = re.compile(r"[ \t\r\n,\]}/]|$")
_WORD: Final = re.compile(r"[A-Za-z_$][\w$-]*")
_PLAIN: Final = re.compile(r"[^\"'\\\x00-\x1f\u2018-\u201d]+")
_HEX: Final = {"u": re.compile(r"[0-9a-fA-F]{4}"), "x": re.compile(r"[0-9a-fA-F]{2}")}
_KEY_AHEAD: Final = re.compile(r"[ \t\r\n]*(?:\"[^\"\n]{0,200}\"|'[^'\n]{0,200}'|[A-Za-z_$][\w$-]{0,200})[ \t\r\n]*:")
_MEMBER_AHEAD: Final = re.compile(r",[ \t\r\n]*(?:[\"'\u2018-\u201d}\]/]|[A-Za-z_$][\w$-]{0,200}[ \t\r\n]*:|$)")
_ELEMENT_AHEAD: Final = re.compile(r",[ \t\r\n]*(?:[\"'\u2018-\u201d\[{\]}\d/-]|[tfnTFN]|$)")

_CLOSING: Final = {'"': '"', "'": "'", "\u201c": "\u201d", "\u2018": "\u2019"}
_CONTROLS: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
_WORDS: Final = {
    "true": "true",
    "false": "false",
    "null": "null",
    "True": "true",
    "False": "false",
    "None": "null",
    "undefined": "null",
}


class BeyondRepair(Exception):
    """There is no one thing that the text can mean."""


def repair_at(text: str, start: int) -> tuple[str, int]:
    """Return the object or array that begins at a place as JSON, and the place behind it.

    Raises:
        BeyondRepair: it breaks off within a value, or is nothing like JSON.
    """
    reader = _Reader(text, start)
    reader.read_value("element")
    return "".join(reader.out), reader.at


class _Reader:
    """One pass over a text. `at` is where it is, `out` what it has written."""

    def __init__(self, text: str, start: int) -> None:
        self._text = text
        self.at: int = start
        self.out: list[str] = []
        self._open: list[str] = []  # the brackets that are to be closed

    def read_value(self, role: _Role) -> None:
        """Read one value of any kind."""
        sign = self._text[self.at : self.at + 1]
        if sign == "{":
            self._read_container("{", "}")
        elif sign == "[":
            self._read_container("[", "]")
        elif sign in _CLOSING:
            self._read_string(role)
        elif sign and (sign.isdigit() or sign in "+-."):
            self._read_number()
        else:
            self._read_word()

    def _read_container(self, opening: str, closing: str) -> None:
        if len(self._open) >= _MAX_DEPTH:
            raise BeyondRepair
        self._open.append(closing)
        self.at += 1
        self.out.append(opening)
        first = True
        while not self._at_end(closing, first=first):
            if opening == "{":
                self._read_key()
                self.read_value("member")
            else:
                self.read_value("element")
            first = False
        self._open.pop()
        self.out.append(closing)

    def _at_end(self, closing: str, *, first: bool) -> bool:
        """Pass over what stands between values; return whether the container ends here."""
        blank = self._skip()
        comma = not first and self._text[self.at : self.at + 1] == ","
        if comma:
            self.at += 1
            after = self._skip()
            while self._text[self.at : self.at + 1] == ",":  # nothing between two commas
                self.at += 1
                after += self._skip()
        else:
            after = ""
        sign = self._text[self.at : self.at + 1]
        if sign == closing:
            self.at += 1
        elif sign and not (sign in "]}" and sign in self._open):
            if not (first or comma or blank):
                raise BeyondRepair  # two values in one
            self.out.append(blank + after if first else f"{blank},{after}")
            return False
        elif not sign and (first or comma):
            raise BeyondRepair  # something was to follow
        self.out.append(blank + after)
        return True

    def _read_key(self) -> None:
        text = self._text
        if text[self.at] in _CLOSING:
            self._read_string("key")
        elif word := _WORD.match(text, self.at):
            self.out.append(f'"{word[0]}"')
            self.at = word.end()
        else:
            raise BeyondRepair
        self.out.append(self._skip())
        if text[self.at : self.at + 1] != ":":
            raise BeyondRepair
        self.at += 1
        self.out += (":", self._skip())

    def _read_string(self, role: _Role) -> None:
        text, out = self._text, self.out
        quote = _CLOSING[text[self.at]]
        self.at += 1
        out.append('"')
        while True:
            if plain := _PLAIN.match(text, self.at):
                out.append(plain[0])
                self.at = plain.end()
            sign = text[self.at : self.at + 1]
            if not sign:
                raise BeyondRepair
            if sign == "\\":
                self._read_escape()
                continue
            self.at += 1
            if sign == quote and self._closes(role):
                break
            out.append(
                '\\"' if sign == '"' else _CONTROLS.get(sign) or (sign if sign >= " " else f"\\u{ord(sign):04x}")
            )
        out.append('"')

    def _read_escape(self) -> None:
        """Keep what JSON knows; of anything else the backslash is a character like others, but before a quote."""
        following = self._text[self.at + 1 : self.at + 2]
        if following and following in '"\\/bfnrt':
            self.out.append("\\" + following)
        elif following in _HEX and (digits := _HEX[following].match(self._text, self.at + 2)):
            self.out.append(f"\\u{digits[0]:0>4}")
            self.at += len(digits[0])
        elif following == "'":
            self.out.append("'")
        elif following == "\n":  # a line that goes on
            pass
        else:
            self.out.append("\\\\")
            self.at -= 1
        self.at += 2

    def _closes(self, role: _Role) -> bool:
        """Return whether a quote, behind which we are, ends its string: by what follows, as some are not escaped."""
        text = self._text
        at = _BLANK.match(text, self.at).end()  # pyright: ignore[reportOptionalMemberAccess] - it matches anywhere
        sign = text[at : at + 1]
        if role == "key":
            return sign == ":"
        if not sign or sign in "}]/":
            return True
        if sign == ",":
            return (_MEMBER_AHEAD if role == "member" else _ELEMENT_AHEAD).match(text, at) is not None
        if role == "member":  # a comma may be missing
            return at > self.at and _KEY_AHEAD.match(text, at) is not None
        return at > self.at and sign in "\"'[{"

    def _read_number(self) -> None:
        found = _NUMBER.match(self._text, self.at)
        if found is None or _NUMBER_END.match(self._text, found.end()) is None:
            raise BeyondRepair
        sign, whole, fraction, exponent = found.groups()
        if not (whole or fraction) or (len(whole) > 1 and whole[0] == "0"):
            raise BeyondRepair
        self.out.append(
            ("-" if sign == "-" else "") + (whole or "0") + (f".{fraction}" if fraction else "") + (exponent or "")
        )
        self.at = found.end()

    def _read_word(self) -> None:
        found = _WORD.match(self._text, self.at)
        if found is None or found[0] not in _WORDS:
            raise BeyondRepair
        self.out.append(_WORDS[found[0]])
        self.at = found.end()

    def _skip(self) -> str:
        """Pass over blanks and comments; return the blanks."""
        blanks = ""
        while True:
            found = _BLANK.match(self._text, self.at)
            if found is not None and found[0]:
                blanks += found[0]
                self.at = found.end()
            elif comment := _COMMENT.match(self._text, self.at):
                self.at = comment.end()
            else:
                return blanks
