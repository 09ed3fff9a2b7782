"""One question to a manifest URL, asked of a real server on loopback."""

import asyncio
import ssl

import pytest
import trustme
from aiohttp import web
from tests.pods.sources.url_server import url_server

from pykubelet.pods.sources import fetch as fetch_module
from pykubelet.pods.sources.fetch import (
    FetchError,
    fetch,
    make_session,
    may_have_headers,
    shown_url,
    tls_context,
)

SECRET = {"X-Token": ["s3cret", "another"]}


@pytest.fixture
async def session():
    made = make_session(await asyncio.to_thread(tls_context))
    yield made
    await made.close()


async def failure(session, url, **more):
    with pytest.raises(FetchError) as caught:
        await fetch(session, url, SECRET, limit=more.pop("limit", 100), **more)
    assert "s3cret" not in str(caught.value)
    return str(caught.value)


async def test_headers_go_out_and_content_comes_with_its_tag_and_date(session):
    async with url_server() as server:
        server.body, server.etag = b"content", '"one"'
        server.headers = {"Last-Modified": "Fri, 27 Nov 2026 10:00:00 GMT"}
        answer = await fetch(session, f"{server.url}/m?key=1", SECRET, limit=7)
        assert answer.data == b"content"
        assert (answer.etag, answer.changed_at) == ('"one"', 1795773600 * 10**9)
        assert server.asked[0].headers.getall("X-Token") == ["s3cret", "another"]
        assert server.asked[0].headers["User-Agent"].startswith("pykubelet/")
        assert server.asked[0].path_qs == "/m?key=1"
        again = await fetch(session, server.url, {}, limit=7, etag='"one"')
        assert again.data is None


async def test_a_given_login_goes_before_the_urls_own(session):
    async with url_server() as server:
        url = server.url.replace("http://", "http://u:pw@")
        for given, sent in (({}, "Basic dTpwdw=="), ({"authorization": ["Bearer t"]}, "Bearer t")):
            await fetch(session, url, given, limit=7)
            assert server.asked[-1].headers.getall("Authorization") == [sent]


async def test_what_is_no_content(session):
    async with url_server() as server:
        server.status = 404
        assert await failure(session, f"{server.url}/x?sig=1") == f"{server.url}/x?...: 404 Not Found"
        server.status, server.body = 200, b"x" * 101
        text = await failure(session, server.url)
        assert text.endswith("the read limit is reached: larger than 100 bytes")
        server.status, server.body = 304, b""
        assert "304 Not Modified" in await failure(session, server.url)
    assert "Connect call failed" in await failure(session, server.url)
    for url in ("", "web.example/pods", "ftp://host/x", "http://", "http://[::1", "file:///etc/passwd"):
        assert (await failure(session, url)).startswith('Get "')


async def test_a_server_that_keeps_us_waiting_or_speaks_no_http(session, monkeypatch):
    monkeypatch.setattr(fetch_module, "TIMEOUT", 0.2)

    async def slow(request):
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(50):
            await response.write(b"x")
            await asyncio.sleep(0.05)
        return response

    async with url_server() as server:
        server.respond = slow
        assert "no whole answer within 0s" in await failure(session, server.url)

    async def gibberish(_reader, writer):
        writer.write(b"SSH-2.0-x s3cret\r\n\r\n")
        writer.close()

    listening = await asyncio.start_server(gibberish, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    assert (await failure(session, f"http://u:s3cret@127.0.0.1:{port}")).startswith('Get "http://u:xxxxx@')
    listening.close()


async def test_redirects_are_followed_and_only_the_same_host_gets_the_headers(session):
    async with url_server() as far, url_server() as server:
        far.body = b"far"
        elsewhere = far.url.replace("127.0.0.1", "localhost")

        async def redirect(request):
            if request.path == "/here":
                return web.Response(body=b"near")
            to = {"/a": "/here", "/b": elsewhere, "/c": "/c", "/d": ""}[request.path]
            return web.Response(status=302, headers={"Location": to} if to else {})

        server.respond = redirect
        assert (await fetch(session, f"{server.url}/a", SECRET, limit=9)).data == b"near"
        assert server.asked[-1].headers["X-Token"] == "s3cret"
        assert (await fetch(session, f"{server.url}/b", SECRET, limit=9)).data == b"far"
        assert "X-Token" not in far.asked[-1].headers
        far.status, far.headers = 302, {"Location": f"{server.url}/here"}
        assert (await fetch(session, f"{server.url}/b", SECRET, limit=9)).data == b"near"
        assert "X-Token" not in server.asked[-1].headers
        assert (await failure(session, f"{server.url}/c")).endswith("stopped after 10 redirects")
        assert (await failure(session, f"{server.url}/d")).endswith("302 response missing Location header")


async def test_tls_servers_must_be_known(session, tmp_path, monkeypatch):
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with url_server(context) as server:
        server.body = b"content"
        assert "certificate verify failed" in await failure(session, server.url)
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        known = make_session(await asyncio.to_thread(tls_context))
        try:
            assert (await fetch(known, server.url, {}, limit=9)).data == b"content"
            assert "mismatch" in await failure(known, server.url.replace("127.0.0.1", "localhost"))
        finally:
            await known.close()


async def test_the_environments_proxy_is_used(session, monkeypatch):
    async with url_server() as proxy:
        proxy.body = b"by proxy"
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert (await fetch(session, "http://far.example/m", {}, limit=9)).data == b"by proxy"
        assert proxy.asked[0].headers["Host"] == "far.example"
        monkeypatch.setenv("HTTP_PROXY", "socks5://u:s3cret@host")
        assert "not supported" in await failure(session, "http://far.example/m")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host/p", "https://host/p"),
        ("https://host/p?token=x#f", "https://host/p?..."),
        ("https://me:pw@host:1/p", "https://me:xxxxx@host:1/p"),
        ("https://tok@host/", "https://tok:xxxxx@host/"),
        ("http://[::1", "(a URL that cannot be read)"),
    ],
)
def test_what_is_shown_of_a_url(url, shown):
    assert shown_url(url) == shown


@pytest.mark.parametrize(
    ("first", "url", "may"),
    [
        ("https://a.example/x", "https://a.example:444/y", True),
        ("http://a.example", "https://A.example", True),
        ("http://a.example", "http://b.a.example", True),
        ("http://a.example", "http://ba.example", False),
        ("http://a.example", "http://example", False),
        ("https://a.example", "http://a.example", False),
    ],
)
def test_who_gets_the_headers(first, url, may):
    assert may_have_headers(first, url) is may
