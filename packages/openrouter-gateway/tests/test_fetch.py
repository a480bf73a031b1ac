"""What callers' URLs name, fetched from real servers on loopback, which are allowed here, and nowhere else."""

import asyncio
import ipaddress
import shutil
import ssl
import subprocess
import time
from pathlib import Path

import pytest
import uvloop
from web_server import Answer, WebServer, respond, web_server

from openrouter_gateway.callers.fetch import Allowance, Fetcher, FetchFailed
from openrouter_gateway.callers.media import MediaFetcher, MediaLimits
from openrouter_gateway.core.parts import Kind, Reference
from openrouter_gateway.errors import MediaRefused

LOOPBACK = [ipaddress.ip_network("127.0.0.1/32")]
CHUNKED = b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n"
PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 100


def fetcher(*addresses: list[str], **options: object) -> Fetcher:
    """Return one that may fetch from 127.0.0.1. Names have these addresses, one list per question, then the last."""
    if not addresses:
        return Fetcher(allowed=LOOPBACK, **options)  # pyright: ignore[reportArgumentType]
    waiting = list(addresses)

    async def resolve(host: str, port: int) -> list[str]:
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    return Fetcher(allowed=LOOPBACK, resolve=resolve, **options)  # pyright: ignore[reportArgumentType]


async def get(url: str, by: Fetcher | None = None, *, most: int = 10_000, timeout_s: float = 5) -> bytes:
    """Return what is behind a URL."""
    return (await (by or fetcher()).get(url, Allowance(most), timeout_s)).body


async def refuse(url: str, by: Fetcher | None = None, *, most: int = 10_000, timeout_s: float = 5) -> tuple[str, str]:
    """Return why nothing is fetched, and whose fault it is."""
    with pytest.raises(FetchFailed) as caught:
        await get(url, by, most=most, timeout_s=timeout_s)
    return caught.value.fault, str(caught.value)


class TestFetcher:
    """One URL."""

    async def test_a_request(self) -> None:
        """Says where it goes, and nothing of who asks."""
        async with web_server({"/a%20b/%C3%A4?q=%C3%BC&x=1": [respond(b"hello", kind="text/plain")]}) as server:
            found = await fetcher().get(server.url("/a%20b/ä?q=ü&x=1#part"), Allowance(5), 5)

        assert (b"hello", "text/plain") == (found.body, found.content_type)
        head, _ = server.requests[0]
        names = [line.partition(":")[0] for line in head.split("\r\n")[1:] if line]
        assert ["Host", "User-Agent", "Accept", "Accept-Encoding", "Connection"] == names
        assert f"Host: 127.0.0.1:{server.port}\r\n" in head

    def test_on_uvloop(self) -> None:
        """As the gateway runs."""

        async def run() -> bytes:
            async with web_server({"/a": [respond(status=302, location="/b")], "/b": [respond(b"hello")]}) as server:
                return await get(server.url("/a"))

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            assert b"hello" == runner.run(run())

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_redirects(self, status: int) -> None:
        """Are followed three times, relative ones as well."""
        answers: dict[str, list[Answer]] = {"/d": [respond(b"here")]}
        async with web_server(answers) as server:
            for path, following in (("/a", "b"), ("/b", server.url("/c")), ("/c", "?x"), ("/c?x", "/d")):
                answers[path] = [respond(status=status, location=following)]

            assert b"here" == await get(server.url("/b"))
            assert ("failed", "is behind more than 3 redirects") == await refuse(server.url("/a"))

    @pytest.mark.parametrize(
        "location",
        [
            "http://169.254.169.254/latest/meta-data/",
            "http://10.0.0.1/",
            "http://[::1]/",
            "http://2130706434/",
            "http://0x7f.2/",
            "//127.0.0.2/",
            "http://user:secret@127.0.0.1/",
            "file:///etc/passwd",
            "gopher://127.0.0.1/",
        ],
    )
    async def test_redirects_elsewhere(self, location: str) -> None:
        """Every hop is looked at."""
        async with web_server({"/": [respond(status=302, location=location)]}) as server:
            fault, reason = await refuse(server.url("/"))

        assert "refused" == fault
        assert "secret" not in reason
        assert 1 == len(server.requests)

    @pytest.mark.parametrize(
        "url",
        [
            "http://127.0.0.2/", "http://localhost.localdomain.invalid/", "https://169.254.169.254/", "ftp://8.8.8.8/",
            "http:///path", "http://8.8.8.8:99999/", "http://8.8.8.8:x/", "http://a b/", "http://a\r\nHost: b/",
            "http://[::1", "http://me@8.8.8.8/", "http://8.8.8.8/" + "x" * 9000, "data:,x", "", "http://\u2028/",
            "http://" + "a" * 64 + ".example/",
        ],
    )  # fmt: skip
    async def test_urls_that_are_not_fetched(self, url: str) -> None:
        """Nothing is connected to."""
        with pytest.raises(FetchFailed):
            await get(url)

    async def test_one_bad_address_is_enough(self) -> None:
        """A name that stands for a public address and a private one is refused."""
        async with web_server({"/": [respond(b"hello")]}) as server:
            named = server.url("/", host="example.test")

            assert b"hello" == await get(named, fetcher(["127.0.0.1"]))
            assert "refused" == (await refuse(named, fetcher(["127.0.0.1", "10.0.0.1"])))[0]
            assert "refused" == (await refuse(named, fetcher(["::1", "127.0.0.1"])))[0]

    async def test_rebinding(self) -> None:
        """A name that answers differently the second time: the connection goes where the first answer was checked."""
        async with web_server({"/": [respond(b"public")]}) as server:
            asked = server.url("/", host="rebind.test")

            assert b"public" == await get(asked, fetcher(["127.0.0.1"], ["127.0.0.2"]))
        assert f"Host: rebind.test:{server.port}\r\n" in server.requests[0][0]

    async def test_rebinding_at_a_redirect(self) -> None:
        """Each hop is a question of its own, and checked."""
        async with web_server({"/": [respond(status=302, location="/again")]}) as server:
            asked = server.url("/", host="rebind.test")

            assert "refused" == (await refuse(asked, fetcher(["127.0.0.1"], ["127.0.0.2"])))[0]
        assert 1 == len(server.requests)

    async def test_an_unknown_name(self) -> None:
        """Or one without addresses."""

        async def resolve(host: str, port: int) -> list[str]:
            raise OSError(host)

        unknown = Fetcher(resolve=resolve)

        assert ("failed", "could not be fetched: its host is not known") == await refuse("http://a.test/", unknown)
        assert "failed" == (await refuse("http://a.test/", fetcher([])))[0]

    async def test_the_second_address(self) -> None:
        """Is tried when nobody answers at the first."""
        networks = [ipaddress.ip_network("127.0.0.0/8")]

        async def resolve(host: str, port: int) -> list[str]:
            return ["127.0.0.3", "127.0.0.1"]

        async with web_server({"/": [respond(b"hello")]}) as server:
            assert b"hello" == await get(server.url("/"), Fetcher(allowed=networks, resolve=resolve))
        assert "its host does not answer" in (await refuse(server.url("/"), Fetcher(allowed=networks)))[1]

    @pytest.mark.parametrize(
        ("answer", "fault"),
        [
            (respond(status=404), "missing"),
            (respond(status=410), "missing"),
            (respond(status=403), "failed"),
            (respond(status=500), "failed"),
            (respond(status=204), "failed"),
            (respond(status=302), "failed"),
            (respond(b"x" * 101), "too large"),
            (CHUNKED + (b"32\r\n" + b"x" * 50 + b"\r\n") * 9, "too large"),
            (respond(b"x", content_encoding="gzip"), "failed"),
            (b"HTTP/1.1 200 X\r\ncontent-length: 9\r\n\r\nx", "failed"),
            (b"not HTTP\r\n\r\n", "failed"),
            (b"", "failed"),
        ],
    )  # fmt: skip
    async def test_answers_that_are_no_use(self, answer: bytes, fault: str) -> None:
        """Not there, refused, too large, compressed, cut, or no HTTP."""
        async with web_server({"/": [answer]}) as server:
            assert fault == (await refuse(server.url("/"), most=100))[0]

    @pytest.mark.parametrize("answer", [[9.0], [b"HTTP/1.1 200 X\r\ncontent-length: 9\r\n\r\n", *[b"x", 0.1] * 9]])
    async def test_slow_answers(self, answer: list[Answer]) -> None:
        """Also those of which a little comes all the time."""
        async with web_server({"/": answer}) as server:
            began = time.monotonic()

            assert ("failed", "did not arrive within 0.3 s") == await refuse(server.url("/"), timeout_s=0.3)

        assert time.monotonic() - began < 2

    async def test_an_endless_answer(self) -> None:
        """Is given up as soon as it is too large."""
        endless: list[Answer] = [b"HTTP/1.1 200 X\r\n\r\n", *[b"x" * 1000] * 100, 60.0]
        async with web_server({"/": endless}) as server:
            assert "too large" == (await refuse(server.url("/"), most=50_000))[0]

    async def test_certificates(self, tmp_path: Path) -> None:
        """Are checked against the name in the URL, though the connection goes to an address."""
        files = make_certificate(tmp_path, "media.test")
        server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server_side.load_cert_chain(*files)
        trusting = ssl.create_default_context(cafile=files[0])
        site = WebServer({"/": [respond(b"hello")]})
        server = await asyncio.start_server(site.serve, "127.0.0.1", 0, ssl=server_side)
        port = server.sockets[0].getsockname()[1]
        try:
            assert b"hello" == await get(f"https://media.test:{port}/", fetcher(["127.0.0.1"], tls=trusting))
            assert "failed" == (await refuse(f"https://other.test:{port}/", fetcher(["127.0.0.1"], tls=trusting)))[0]
            assert "failed" == (await refuse(f"https://media.test:{port}/", fetcher(["127.0.0.1"])))[0]
        finally:
            server.close()


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Return a certificate that nobody has vouched for, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    files = folder / "certificate.pem", folder / "key.pem"
    subject = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*command, "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
    return files


def media_fetcher(**limits: float) -> MediaFetcher:
    return MediaFetcher(fetcher(), MediaLimits(**limits))  # pyright: ignore[reportArgumentType]


class TestMediaFetcher:
    """What parts of messages refer to."""

    async def test_several(self) -> None:
        """Each by what it is, whatever the server says."""
        answers: dict[str, list[Answer]] = {
            "/a": [respond(PNG, kind="text/html")],
            "/b": [respond(b"%PDF-1.7", kind="application/octet-stream")],
        }
        async with web_server(answers) as server:
            first, second = Reference("image", server.url("/a")), Reference("file", server.url("/b"))
            found = await media_fetcher().fetch([first, second])

        assert {first.url: ("image/png", PNG), second.url: ("application/pdf", b"%PDF-1.7")} == {
            url: (media.mime, media.data) for url, media in found.items()
        }

    @pytest.mark.parametrize(
        ("kind", "path", "status", "error_type"),
        [
            ("image", "/missing", 404, "image_not_found"),
            ("file", "/missing", 404, "image_not_found"),
            ("image", "/html", 400, "unsupported_image_format"),
            ("image", "/empty", 400, "unsupported_image_format"),
            ("video", "/png", 400, "invalid_request"),
            ("image", "/large", 400, "image_too_large"),
            ("image", "/broken", 400, "image_download_failed"),
            ("image", "/slow", 400, "image_download_failed"),
        ],
    )
    async def test_refusals(self, kind: Kind, path: str, status: int, error_type: str) -> None:
        """Say what, and why, and not what was in the query."""
        answers: dict[str, list[Answer]] = {
            "/html?secret": [respond(b"<html>", kind="image/png")],
            "/empty?secret": [respond()],
            "/png?secret": [respond(PNG)],
            "/large?secret": [respond(PNG * 100)],
            "/broken?secret": [respond(status=500)],
            "/slow?secret": [9.0],
        }
        async with web_server(answers) as server:
            with pytest.raises(MediaRefused) as caught:
                await media_fetcher(max_bytes=2000, timeout_s=0.3).fetch(
                    [Reference(kind, server.url(path + "?secret"))]
                )

        assert (status, error_type) == (caught.value.status, caught.value.error_type)
        assert f"The {kind} {server.url(path)} " in caught.value.message
        assert "secret" not in caught.value.message

    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("http://[::1]:8080/a.png?secret", "http://[::1]:8080/a.png"),
            ("http://[::1]/a.png", "http://[::1]/a.png"),
            ("http://10.0.0.1:81/a.png", "http://10.0.0.1:81/a.png"),
            ("http://me:secret@10.0.0.1:81/a.png", "http://10.0.0.1:81/a.png"),
        ],
    )
    async def test_a_refusal_names_the_place(self, url: str, shown: str) -> None:
        """With its port and the brackets of an IPv6 address, but no secret."""
        with pytest.raises(MediaRefused) as caught:
            await MediaFetcher(Fetcher(), MediaLimits()).fetch([Reference("image", url)])

        assert f"The image {shown} " in caught.value.message
        assert "secret" not in caught.value.message

    async def test_all_of_a_request(self) -> None:
        """Has a limit of its own; the first failure ends the rest."""
        async with web_server({f"/{at}": [respond(PNG)] for at in range(9)}) as server:
            images = [Reference("image", server.url(f"/{at}")) for at in range(9)]

            assert 9 == len(await media_fetcher(max_request_bytes=1000).fetch(images))
            with pytest.raises(MediaRefused, match="too large"):
                await media_fetcher(max_request_bytes=900).fetch(images)

    async def test_not_all_at_once(self) -> None:
        """A request does not open as many connections as it likes."""
        async with web_server({f"/{at}": [0.2, respond(PNG)] for at in range(5)}) as server:
            images = [Reference("image", server.url(f"/{at}")) for at in range(5)]
            task = asyncio.create_task(media_fetcher(parallel=2).fetch(images))
            await asyncio.sleep(0.1)
            asked = len(server.requests)
            await task

        assert 2 == asked

    async def test_a_caller_who_hangs_up(self) -> None:
        """Ends it."""
        async with web_server({"/": [9.0]}) as server:
            task = asyncio.create_task(media_fetcher().fetch([Reference("image", server.url("/"))]))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
