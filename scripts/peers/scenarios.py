"""The scenarios of the peer table. Each says how often upstream was called, and how many callers were let down."""
import asyncio

from harness import together


def outcome(calls, reports, right, may_fail=False, may_leave=False):
    """`wrong` got an answer that was no longer, or never, true; `failed` got an error or nothing, though upstream could answer."""
    wrong = sum(count for report in reports for value, count in report["answers"].items() if value not in right)
    failed = 0 if may_fail else sum(sum(report["failed"].values()) for report in reports)
    failed += 0 if may_leave else sum(report["left"] for report in reports)
    errors = sorted({error for report in reports for error in report["failed"]})
    answered = sum(sum(report["answers"].values()) for report in reports)
    return {"calls": calls, "wrong": wrong, "failed": failed, "answered": answered, "errors": errors}


def both(first, second):
    sums = {name: first[name] + second[name] for name in ("wrong", "failed", "answered")}
    return sums | {"calls": second["calls"], "errors": sorted({*first["errors"], *second["errors"]})}


async def cold_stampede(key, workers, upstream, redis):
    """3 x 200 callers at one moment on a key that nobody has; upstream takes 200 ms."""
    upstream.put(key, delay_ms=200)
    reports = await together(workers, key, callers=200)
    return outcome(upstream.calls(key), reports, {f"{key}:v1"})


async def failing_loader(key, workers, upstream, redis):
    """3 x 100 callers at one moment on a key whose upstream fails after 100 ms; 300 ms after they were told, the same again.
    Then upstream is mended, and 3.5 s later one caller asks, who must get the value (whose call is not counted)."""
    upstream.put(key, delay_ms=100, failing=True)
    first = await together(workers, key, callers=100)
    await asyncio.sleep(0.3)
    second = await together(workers, key, callers=100)
    calls = upstream.calls(key)
    waves = outcome(calls, first + second, set(), may_fail=True)
    upstream.put(key, delay_ms=100)
    await asyncio.sleep(3.5)
    mended = await workers[0].get(key)
    return both(waves, outcome(calls, [mended], {f"{key}:v1"}))


async def caller_timeouts(key, workers, upstream, redis):
    """In each process 20 callers, one every 10 ms, who leave after 50 ms, on an upstream that takes 80 ms.
    Half a second later one patient caller in each must get the value."""
    upstream.put(key, delay_ms=80)
    hasty = await together(workers, key, callers=20, every_ms=10, patience_ms=50)
    await asyncio.sleep(0.5)
    patient = await together(workers, key)
    calls, right = upstream.calls(key), {f"{key}:v1"}
    return both(outcome(calls, hasty, right, may_leave=True), outcome(calls, patient, right))


async def restart_of_redis(key, workers, upstream, redis):
    """A key that all three have; Redis is killed. For 1.5 s each process is asked for it every 20 ms, and 20 callers in each
    ask at one moment for a key that nobody has. Redis starts again, empty; for 3 s each is asked as before. Then the value
    changes and the first process invalidates it; half a second later 20 callers in each must get the new value.
    Callers leave after 2 s. Calls are counted from the kill on."""
    cold = f"{key}-cold"
    upstream.put(key), upstream.put(cold)
    for worker in workers * 2:
        await worker.get(key)
        await asyncio.sleep(0.05)
    before, right = upstream.calls(key), {f"{key}:v1"}
    redis.kill()
    during, asked = await asyncio.gather(
        together(workers, key, callers=75, every_ms=20, patience_ms=2000),
        together(workers, cold, callers=20, patience_ms=2000),
    )
    redis.start()
    after = await together(workers, key, callers=150, every_ms=20, patience_ms=2000)
    upstream.put(key, version=2)
    invalidated = await workers[0].delete(key)
    await asyncio.sleep(0.5)
    changed = await together(workers, key, callers=20, patience_ms=2000)
    calls = upstream.calls(key) - before + upstream.calls(cold)
    same = outcome(calls, during + after + [invalidated | {"answers": {}}], right)
    other = both(outcome(calls, asked, {f"{cold}:v1"}), outcome(calls, changed, {f"{key}:v2"}))
    return both(same, other)


async def invalidated(key, workers, upstream, by):
    upstream.put(key, delay_ms=300)
    loading = asyncio.create_task(workers[0].get(key, callers=5))
    await asyncio.sleep(0.1)
    upstream.put(key, version=2, delay_ms=300)
    told = await by.delete(key)
    await asyncio.sleep(0.02)
    after = await together(workers, key, callers=5)
    began_before = await loading
    await asyncio.sleep(0.5)
    later = await together(workers, key, callers=5)
    calls = upstream.calls(key)
    before = outcome(calls, [began_before, told | {"answers": {}}], {f"{key}:v1", f"{key}:v2"})
    return both(before, outcome(calls, after + later, {f"{key}:v2"}))


async def invalidation_during_load(key, workers, upstream, redis):
    """A process loads for 300 ms what was true when it began. After 100 ms the value changes and the same process
    invalidates the key. 5 callers in each process ask 20 ms later, and again half a second after the load: old is wrong."""
    return await invalidated(key, workers, upstream, workers[0])


async def invalidation_elsewhere(key, workers, upstream, redis):
    """The same, invalidated by another process than the one that loads."""
    return await invalidated(key, workers, upstream, workers[1])


# What is run, how often, and the fewest calls that would do.
SCENARIOS = [
    (cold_stampede, "cold stampede", 5, "1"),
    (failing_loader, "failing loader", 3, "1"),
    (caller_timeouts, "caller timeouts", 5, "1"),
    (restart_of_redis, "restart of Redis", 3, "4"),
    (invalidation_during_load, "invalidation during load", 5, "2"),
    (invalidation_elsewhere, "… by another process", 5, "2"),
]
