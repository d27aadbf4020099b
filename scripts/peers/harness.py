"""What the peer table runs on: a counting upstream, a redis-server and worker processes, all on loopback."""
import asyncio
import itertools
import json
import socket
import subprocess
import tempfile
import time


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Upstream:
    """Answers `GET /KEY` with `KEY:vN`, N being the version when the call arrived, after `delay_ms`; counts every call.

    So a slow call brings what was true when it began, as a database does that is read before it is changed.
    """

    def __init__(self):
        self.keys = {}

    def put(self, key, version=1, delay_ms=100, failing=False):
        calls = self.keys.get(key, {}).get("calls", 0)
        self.keys[key] = {"version": version, "delay_ms": delay_ms, "failing": failing, "calls": calls}

    def calls(self, key):
        return self.keys[key]["calls"]

    async def start(self):
        self.server = await asyncio.start_server(self.answer, "127.0.0.1", 0, backlog=4096)
        self.port = self.server.sockets[0].getsockname()[1]

    async def answer(self, reader, writer):
        try:
            # A client of Node keeps its connections; the others close theirs.
            while head := await reader.readuntil(b"\r\n\r\n"):
                key = head.split(b" ", 2)[1].decode().lstrip("/")
                now = self.keys[key]
                now["calls"] += 1
                value, failing = f"{key}:v{now['version']}", now["failing"]
                await asyncio.sleep(now["delay_ms"] / 1000)
                status, body = ("503 Service Unavailable", "") if failing else ("200 OK", value)
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
                await writer.drain()
                if b"Connection: close" in head:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


class Redis:
    """A redis-server without persistence: after a restart it is empty."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="lently-peers-redis-")
        self.port = free_port()

    def start(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
            cwd=self.folder.name,
            stdout=subprocess.DEVNULL,
        )
        for _ in range(2000):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.005)
        raise RuntimeError("redis-server did not start")

    def kill(self):
        self.process.kill()
        self.process.wait()


class Worker:
    """A process of its own with the cache under test, which takes orders as lines of JSON."""

    def __init__(self, command):
        self.command = command
        self.ids = itertools.count()
        self.waiting = {}

    async def start(self, verbose):
        pipe, quiet = asyncio.subprocess.PIPE, None if verbose else asyncio.subprocess.DEVNULL
        self.process = await asyncio.create_subprocess_exec(*self.command, stdin=pipe, stdout=pipe, stderr=quiet)
        ready = await asyncio.wait_for(self.process.stdout.readline(), 30)
        if json.loads(ready or "{}") != {"ready": True}:
            raise RuntimeError(f"{self.command[0]} did not start")
        self.listening = asyncio.create_task(self.listen())

    async def listen(self):
        while line := await self.process.stdout.readline():
            report = json.loads(line)
            self.waiting.pop(report["id"]).set_result(report)
        for waiting in self.waiting.values():
            waiting.set_exception(RuntimeError(f"{self.command[0]} ended"))

    async def order(self, **order):
        order["id"] = next(self.ids)
        self.waiting[order["id"]] = asyncio.get_running_loop().create_future()
        self.process.stdin.write((json.dumps(order) + "\n").encode())
        return await asyncio.wait_for(self.waiting[order["id"]], 60)

    async def get(self, key, callers=1, every_ms=0, patience_ms=5000, at_ms=0):
        return await self.order(
            what="get", key=key, callers=callers, every_ms=every_ms, patience_ms=patience_ms, at_ms=at_ms
        )

    async def delete(self, key):
        return await self.order(what="delete", key=key)

    async def stop(self):
        self.process.stdin.close()
        try:
            await asyncio.wait_for(self.process.wait(), 3)
        except (TimeoutError, asyncio.TimeoutError):
            self.process.kill()
            await self.process.wait()
        await self.listening


async def together(workers, key, **how):
    """Every worker's callers ask at one moment; the reports of all."""
    at_ms = int(time.time() * 1000) + 50
    return await asyncio.gather(*(worker.get(key, at_ms=at_ms, **how) for worker in workers))
