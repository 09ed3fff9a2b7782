"""``/logs/``: the node's log files as Go's file server shows them, and queries of its journal.

Where upstream's file server follows links anywhere, this one stays below its directory.
"""

import asyncio
import contextlib
import zlib
from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime
from html import escape
from typing import Final
from urllib.parse import quote

from aiohttp import web

from .doors import ApiError, LogFile, NodeLogs
from .listener import plain_error
from .log_query import LogQuery, log_query
from .requests import query_of

_BLOCK: Final = 64 << 10
#: Seconds that a file may take to be sent, and a query to be answered.
_LONGEST: Final = 4 * 3600.0
_QUERY: Final = 30.0
#: Files and queries served at once.
_MAX_READERS: Final = 32
_TYPES: Final = {
    ".gz": "application/gzip",
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".xml": "text/xml; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
#: What never stands in a text.
_BINARY: Final = frozenset(range(32)) - set(b"\t\n\f\r\x1b")


class SystemLogs:
    """Handler of ``/logs/``; with *queries* (``enableSystemLogQuery``) the journal is asked, too."""

    def __init__(self, logs: NodeLogs, *, queries: bool) -> None:
        self._logs = logs
        self._queries = queries
        self._readers = 0

    async def handle(self, request: web.BaseRequest, _: Mapping[str, str]) -> web.StreamResponse:
        """Answer one request."""
        if self._readers >= _MAX_READERS:
            raise ApiError(429, "too many logs are being read", retry_after=10)
        self._readers += 1
        try:
            return await self._answer(request)
        finally:
            self._readers -= 1

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path.removeprefix("/logs").lstrip("/")
        if self._queries:
            query = log_query(query_of(request))
            if query.services or path in ("journal", "journal/"):
                return await self._query(request, query)
            if query.files:
                path = query.files[0].replace("\\", "/").lstrip("/")
                if not await self._exists(path):
                    raise ApiError(406, f'query: Invalid value: "{path}": no such file or directory\n')
        return await self._file(request, path)

    # --- files ----------------------------------------------------------------

    async def _exists(self, path: str) -> bool:
        try:
            file = await self._logs.open(path)
        except (OSError, ValueError):
            return False
        await file.close()
        return True

    async def _file(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        try:
            file = await self._logs.open(path)
        except PermissionError:
            return plain_error(403, "403 Forbidden")
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return plain_error(404, "404 page not found")
        except OSError:
            return plain_error(500, "500 Internal Server Error")
        try:
            name = path.rstrip("/").rpartition("/")[2]
            is_query = bool(request.rel_url.query.get("query"))
            if not is_query and path and (file.names is not None) is not path.endswith("/"):
                return _moved(f"{name}/" if file.names is not None else f"../{name}")
            if _unchanged(request, file):
                return web.Response(status=304, headers={"Last-Modified": _date(file)})
            if file.names is not None:
                return _listing(file)
            return await self._content(request, file, name)
        finally:
            await file.close()

    async def _content(self, request: web.BaseRequest, file: LogFile, name: str) -> web.StreamResponse:
        headers = {"Accept-Ranges": "bytes", "Last-Modified": _date(file)}
        try:
            start, end, partial = _range(request, file)
        except ValueError:
            refusal = plain_error(416, "invalid range: failed to overlap")
            refusal.headers["Content-Range"] = f"bytes */{file.size}"
            return refusal
        if partial:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
        headers["Content-Length"] = str(end - start)
        suffix = name[name.rfind(".") :] if "." in name else ""
        headers["Content-Type"] = _TYPES.get(suffix) or _sniff(await file.read(0, 512))
        response = web.StreamResponse(status=206 if partial else 200, headers=headers)
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(_LONGEST):
                await response.prepare(request)
                while start < end and (block := await file.read(start, min(_BLOCK, end - start))):
                    await response.write(block)
                    start += len(block)
        if start < end:
            # Cut short: the length is promised already, so only an end of the connection tells it.
            response.force_close()
            if request.transport is not None:
                request.transport.close()
        else:
            await response.write_eof()
        return response

    # --- queries --------------------------------------------------------------

    async def _query(self, request: web.BaseRequest, query: LogQuery) -> web.StreamResponse:
        headers = {"Content-Type": "text/plain;charset=UTF-8"}
        packing = zlib.compressobj(1, wbits=31) if request.headers.get("Accept-Encoding") == "gzip" else None
        if packing is not None:
            headers["Content-Encoding"] = "gzip"
        response = web.StreamResponse(headers=headers)
        with contextlib.suppress(ConnectionError):
            await response.prepare(request)
            async with contextlib.aclosing(self._told(query)) as blocks:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_QUERY):
                        async for block in blocks:
                            await response.write(packing.compress(block) if packing else block)
            if packing is not None:
                await response.write(packing.flush())
            await response.write_eof()
        return response

    async def _told(self, query: LogQuery) -> AsyncGenerator[bytes, None]:
        in_files = [service for service in query.services if not await self._logs.has_unit(service)]
        if in_files and query.has_options:
            named = f"[{' '.join(in_files)}]"
            yield (
                f"\noptions present and query resolved to log files for {named}\n"
                "try without specifying options\n"
            ).encode()
            return
        for service in in_files:
            async with contextlib.aclosing(self._service_file(service)) as blocks:
                async for block in blocks:
                    yield block
        if in_files:
            return
        try:
            async with contextlib.aclosing(self._logs.journal(query.arguments())) as blocks:
                async for block in blocks:
                    yield block
        except OSError:
            if not query.boot:
                yield b"\nerror: journal output not available\n"

    async def _service_file(self, service: str) -> AsyncGenerator[bytes, None]:
        """The first of the files in which services keep their logs."""
        for path in (service, f"{service}.log", f"{service}/{service}.log"):
            try:
                file = await self._logs.open(path)
            except (FileNotFoundError, NotADirectoryError, ValueError):
                continue
            except OSError as error:
                yield f"\nerror getting log for {service}: {error.strerror}\n".encode()
                return
            try:
                if file.names is not None:
                    continue
                offset = 0
                while block := await file.read(offset, _BLOCK):
                    yield block
                    offset += len(block)
                return
            finally:
                await file.close()
        yield f"\nlog not found for {service}\n".encode()


def _date(file: LogFile) -> str:
    return formatdate(int(file.modified), usegmt=True)


def _moved(to: str) -> web.Response:
    return web.Response(status=301, headers={"Location": quote(to)})


def _unchanged(request: web.BaseRequest, file: LogFile) -> bool:
    since = _http_date(request.headers.get("If-Modified-Since", ""))
    return since is not None and int(file.modified) <= since.timestamp()


def _http_date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _range(request: web.BaseRequest, file: LogFile) -> tuple[int, int, bool]:
    """Start, end and whether that is a part; several ranges at once get the whole, as RFC 9110 allows.

    :raises ValueError: no byte of the range exists.
    """
    text = request.headers.get("Range", "")
    condition = request.headers.get("If-Range")
    unit, _, ranges = text.partition("=")
    first, dash, last = ranges.strip().partition("-")
    digits = (first + last).isascii() and (first + last).isdigit()
    if (condition is not None and condition != _date(file)) or "," in ranges:
        text = ""
    if not text or unit != "bytes" or not dash or not digits:
        return 0, file.size, False
    if not first:
        start, end = max(0, file.size - int(last)), file.size
    else:
        start, end = int(first), min(int(last) + 1, file.size) if last else file.size
    if start >= end:
        raise ValueError(text)
    return start, end, True


def _listing(file: LogFile) -> web.Response:
    lines = ['<!doctype html>\n<meta name="viewport" content="width=device-width">\n<pre>\n']
    for name in file.names or ():
        # A colon before the first slash would make it another scheme's address.
        link = ("./" if ":" in name.partition("/")[0] else "") + quote(name)
        lines.append(f'<a href="{link}">{escape(name)}</a>\n')
    lines.append("</pre>\n")
    body = "".join(lines).encode("utf-8", "surrogateescape")
    return web.Response(
        body=body, headers={"Content-Type": "text/html; charset=utf-8", "Last-Modified": _date(file)}
    )


def _sniff(head: bytes) -> str:
    if any(byte in _BINARY for byte in head):
        return "application/octet-stream"
    return "text/plain; charset=utf-8"
