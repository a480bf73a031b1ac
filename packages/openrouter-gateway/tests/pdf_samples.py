"""PDFs written by hand: small ones, locked ones, and ones that mean harm."""

import io
import zlib
from collections.abc import Sequence

import pypdf


def make_pdf(*pages: str | bytes, compress: bool = True) -> bytes:
    """Return a PDF with a line of text on each page; bytes are a page's whole content stream."""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"",
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
    ]
    kids: list[int] = []
    for page in pages:
        stream = page if isinstance(page, bytes) else b"BT /F1 12 Tf 72 720 Td (" + page.encode("latin-1") + b") Tj ET"
        packed = zlib.compress(stream) if compress else stream
        filtered = b"/Filter/FlateDecode" if compress else b""
        objects.append(b"<<%b/Length %d>>stream\n%b\nendstream" % (filtered, len(packed), packed))
        objects.append(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 3 0 R>>>>/Contents %d 0 R>>"
            % len(objects)
        )
        kids.append(len(objects))
    objects[1] = b"<</Type/Pages/Kids[%b]/Count %d>>" % (b" ".join(b"%d 0 R" % kid for kid in kids), len(kids))
    return assemble(objects)


def assemble(objects: Sequence[bytes]) -> bytes:
    """Return a file of these objects, the first of which is its catalogue."""
    out = bytearray(b"%PDF-1.7\n")
    places: list[int] = []
    for number, held in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, held)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table)
    return bytes(out)


def lock_pdf(pdf: bytes, password: str) -> bytes:
    """Return the same behind a password, in the old way that needs no other library."""
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf))
    writer.encrypt(user_password=password, owner_password="owner", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def make_bomb(unpacked: int = 48 * 1024 * 1024) -> bytes:
    """Return a PDF with a page of so many bytes, which are blanks; packed twice, it is small itself."""
    packed = zlib.compress(zlib.compress(b" " * unpacked, 9), 9)
    return assemble(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Kids[5 0 R]/Count 1>>",
            b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
            b"<</Filter[/FlateDecode/FlateDecode]/Length %d>>stream\n%b\nendstream" % (len(packed), packed),
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 3 0 R>>>>/Contents 4 0 R>>",
        ]
    )


def make_treadmill() -> bytes:
    """Return a PDF that is small and takes a minute to read: so many letters, each set on its own."""
    return make_pdf(b"BT /F1 12 Tf " + b"(a) Tj " * 500_000 + b"ET")
