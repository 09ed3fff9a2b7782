"""Host names looked up beside everything else: no slow resolver holds up another name, or any thread pool.

The event loop's own look-ups share a few threads with all file access of the daemon; a name server
that does not answer would stop both.
"""

import asyncio
import contextlib
import ipaddress
import socket
import threading

from aiohttp.abc import AbstractResolver, ResolveResult

#: An address of a name: its family and its text.
Address = tuple[socket.AddressFamily, str]


def address_of(host: str) -> Address | None:
    """*host* as an address if it is one, so that nothing is to be looked up."""
    try:
        version = ipaddress.ip_address(host.partition("%")[0]).version
    except ValueError:
        return None
    return (socket.AF_INET if version == 4 else socket.AF_INET6), host


class Lookups:
    """Looks names up, each in a thread of its own; who asks for a name that is on its way waits for it."""

    def __init__(self) -> None:
        self._under_way: dict[str, asyncio.Future[list[Address] | OSError]] = {}

    async def addresses(self, host: str) -> list[Address]:
        """All addresses of *host*, in the resolver's order.

        :raises OSError: there are none (``socket.gaierror``).
        """
        known = address_of(host)
        if known is not None:
            return [known]
        answer = self._under_way.get(host)
        if answer is None:
            answer = self._under_way[host] = asyncio.get_running_loop().create_future()
            answer.add_done_callback(lambda _: self._under_way.pop(host, None))
            # Ends by itself, when the resolver gives up; nobody waits for it at the daemon's end.
            arguments = (host, asyncio.get_running_loop(), answer)
            thread = threading.Thread(target=_look_up, args=arguments, name=f"lookup {host}", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                # There are too many threads: nobody would ever answer.
                del self._under_way[host]
                raise socket.gaierror(socket.EAI_AGAIN, str(error)) from error
        found = await asyncio.shield(answer)
        if isinstance(found, OSError):
            raise found
        return found


def _look_up(
    host: str, loop: asyncio.AbstractEventLoop, answer: "asyncio.Future[list[Address] | OSError]"
) -> None:
    found: list[Address] | OSError
    try:
        infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        found = [(family, str(where[0])) for family, _, _, _, where in infos]
    except OSError as error:
        found = error
    except ValueError as error:
        # It cannot be a name: too long a label, a NUL byte.
        found = socket.gaierror(socket.EAI_NONAME, str(error))
    # The loop may have ended meanwhile.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(_settle, answer, found)


def _settle(answer: "asyncio.Future[list[Address] | OSError]", found: "list[Address] | OSError") -> None:
    if not answer.done():
        answer.set_result(found)


class HttpResolver(AbstractResolver):
    """The same for HTTP clients."""

    def __init__(self, lookups: Lookups) -> None:
        self._lookups = lookups

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """See aiohttp's ``AbstractResolver``."""
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST
            )
            for kind, address in await self._lookups.addresses(host)
            if family in (socket.AF_UNSPEC, kind)
        ]

    async def close(self) -> None:
        """See aiohttp's ``AbstractResolver``."""
