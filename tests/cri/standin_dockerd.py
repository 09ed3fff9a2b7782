"""A cri-dockerd for tests: serves at the socket it is told, by handing every byte on to another one.

Called as ``cri-dockerd`` with its flag; the environment variable STANDIN_TARGET names the other socket.
"""

import asyncio
import os
import sys


async def pump(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def handle(reader, writer):
    there, back = await asyncio.open_unix_connection(os.environ["STANDIN_TARGET"])
    await asyncio.gather(pump(reader, back), pump(there, writer))


async def main():
    flag, endpoint = sys.argv[1:]
    assert flag == "--container-runtime-endpoint"
    server = await asyncio.start_unix_server(handle, endpoint.removeprefix("unix://"))
    print("serving", endpoint, flush=True)
    print("x" * 10000, flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
