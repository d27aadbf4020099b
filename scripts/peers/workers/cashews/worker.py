"""cashews: Redis, with its client-side cache in front or alone; a lock across processes, failures kept as exceptions.

The protocol is told in scripts/peers/README.md.
"""
import asyncio
import collections
import json
import logging
import sys
import time

from cashews import Cache, with_exceptions

PLAIN, REDIS, UPSTREAM = sys.argv[1] == "cashews-plain", int(sys.argv[2]), int(sys.argv[3])
# Errors that it swallows are logged one by one, with their traces.
logging.disable(logging.CRITICAL)


class Refused(Exception):
    pass


async def fetch(key):
    reader, writer = await asyncio.open_connection("127.0.0.1", UPSTREAM)
    try:
        writer.write(f"GET /{key} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    finally:
        writer.close()
    if head.startswith("HTTP/1.1 200"):
        return body
    raise Refused(head.splitlines()[0] if head else "no answer")


cache = Cache()
cache.setup(
    f"redis://127.0.0.1:{REDIS}/0",
    **({} if PLAIN else {"client_side": True, "client_side_prefix": "peers:"}),
    socket_connect_timeout=1,
    socket_timeout=1,
    max_connections=20,
)


def life(key, result=None):
    """A failure is kept for two seconds, a value for a minute; the lock for as long as a value."""
    return 2 if isinstance(result, Refused) else 60


@cache(ttl=life, key="thing:{key}", lock=True, condition=with_exceptions(Refused))
async def load(key):
    return await fetch(key)


async def call(order, turn):
    await asyncio.sleep(turn * order.get("every_ms", 0) / 1000)
    try:
        # wait_for cancels what it waits for, as a handler does whose client has gone.
        return "answers", await asyncio.wait_for(load(order["key"]), order["patience_ms"] / 1000)
    except (TimeoutError, asyncio.TimeoutError):
        return "left", None
    except asyncio.CancelledError:
        return "failed", "CancelledError"
    except Exception as error:
        return "failed", f"{type(error).__name__}: {error}"[:120]


async def obey(order):
    report = {"id": order["id"], "answers": {}, "failed": {}, "left": 0}
    if order["what"] == "delete":
        try:
            await cache.delete(f"thing:{order['key']}")
        except Exception as error:
            report["failed"][repr(error)] = 1
    else:
        await asyncio.sleep(max(0, order.get("at_ms", 0) / 1000 - time.time()))
        counted = collections.Counter(await asyncio.gather(*(call(order, n) for n in range(order["callers"]))))
        for (how, what), count in counted.items():
            if how == "left":
                report["left"] += count
            else:
                report[how][what] = count
    print(json.dumps(report), flush=True)


async def main():
    await cache.init()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print('{"ready": true}', flush=True)
    tasks = set()
    while line := await reader.readline():
        task = asyncio.create_task(obey(json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


asyncio.run(main())
