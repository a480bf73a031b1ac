"""The text of a PDF.

PDFs come from strangers and can be made to take for ever, or all memory: this runs in a process of its own with limits
(`callers/workshop_child`), and what a single stream may unpack to is bounded here.
"""

import io
import logging
from typing import Final

import pypdf
from pypdf.errors import DependencyError, FileNotDecryptedError, LimitReachedError

from openrouter_gateway.plugins.files import PDFProblem, PDFReading, PDFText

_MOST_UNPACKED: Final = 32 * 1024 * 1024
_UNPACKING: Final = (
    "array_based_stream_maximum_output_length",
    "brotli_maximum_output_length",
    "jbig2_maximum_output_length",
    "lzw_maximum_output_length",
    "maximum_declared_stream_length",
    "run_length_maximum_output_length",
    "zlib_maximum_output_length",
)


def read_pdf(data: bytes, *, max_pages: int, max_characters: int) -> PDFReading:
    """Return the text of a PDF. One that is locked by no password, only against changes, is read like any other."""
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it tells of every oddity
    try:
        with pypdf.apply_configuration(**dict.fromkeys(_UNPACKING, _MOST_UNPACKED), jbig2dec_binary=None):
            return _read(data, max_pages, max_characters)
    except FileNotDecryptedError:
        return PDFProblem("is encrypted: it needs a password")
    except DependencyError:
        return PDFProblem("is encrypted in a way that cannot be read here")
    except LimitReachedError:
        return PDFProblem("unpacks to more than is read")
    except MemoryError:
        return PDFProblem("needs more memory than there is for it")
    except Exception:  # noqa: BLE001 - whatever a parser meets in what strangers made
        return PDFProblem("is broken: it cannot be read as a PDF")


def _read(data: bytes, max_pages: int, max_characters: int) -> PDFReading:
    reader = pypdf.PdfReader(io.BytesIO(data))
    if reader.is_encrypted and not reader.decrypt(""):
        return PDFProblem("is encrypted: it needs a password")
    count = len(reader.pages)
    if count > max_pages:
        return PDFProblem(f"has {count} pages; at most {max_pages} are read")
    pages: list[str] = []
    length = 0
    for page in reader.pages:
        text = page.extract_text().strip()
        length += len(text) + 2
        if length > max_characters:
            return PDFProblem(f"has more text than is read, which is {max_characters} characters")
        pages.append(text)
    whole = "\n\n".join(pages).strip()
    if not whole:
        return PDFProblem("has no text in it; it may be a scan, and no OCR engine is configured")
    # Halves of surrogate pairs, which broken fonts give, are no text that can be sent.
    return PDFText(whole.encode(errors="replace").decode())
