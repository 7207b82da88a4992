"""The bridge to Dask, 2b: from its first word to its last. See bridge.py for the whole."""
import asyncio
import os
import sys


def serve(made):
    """Speaks with the orchestrator until one of them ends; the exit code. `made` is called with each directory that
    shall go with this process."""
    channel = Channel()
    return asyncio.run(session(channel, made))


async def session(channel, made):
    loop = asyncio.get_running_loop()
    inbox, over = asyncio.Queue(), asyncio.Event()
    state = {"bridge": None}

    def heard(messages):
        loop.call_soon_threadsafe(take, messages)

    def take(messages):
        if state["bridge"] is None:
            inbox.put_nowait(messages)
        else:
            state["bridge"].heard(messages)

    def ended(why):
        if why is not None:
            sys.stderr.write("the orchestrator said something that is no message: %r\n" % why)
        loop.call_soon_threadsafe(over.set)

    channel.listen(heard, ended)
    first = await either(inbox.get(), over.wait())
    if first is None or first is True:
        return 0
    (hello, _), *early = first
    if hello["type"] != "hello" or hello["protocol"] != PROTOCOL:
        raise ProtocolError("protocol %s, and %d is spoken here" % (hello.get("protocol"), PROTOCOL))
    answer = {"type": "hello", "protocol": PROTOCOL, "role": "dask bridge", "pid": os.getpid(),
              "python": "%d.%d.%d" % sys.version_info[:3], "executable": sys.executable}
    rest = inherited(hello["rest"], hello["pid"])
    os.environb.update(rest)  # Dask reads its own when it is imported
    try:
        import dask
        import distributed
        if hello.get("certificates"):
            import cryptography
        answer.update(dask=dask.__version__, distributed=distributed.__version__)
    except Exception as problem:
        answer["missing"] = "%s: %s" % (type(problem).__name__, problem)
    channel.tell(answer)
    if "missing" in answer:
        await over.wait()
        return 0
    bridge = Bridge(channel, dict(hello, rest=rest))
    opening = asyncio.ensure_future(bridge.open(made))
    ending = asyncio.ensure_future(over.wait())
    await asyncio.wait({opening, ending}, return_when=asyncio.FIRST_COMPLETED)
    if not opening.done():
        opening.cancel()
        return 0  # the keeper ends what has begun
    ending.cancel()
    try:
        channel.tell(dict(opening.result(), type="ready"))
    except Wrong as problem:
        channel.tell({"type": "wrong", "key": problem.key, "reason": problem.reason, "message": str(problem)})
        await over.wait()
        return 0
    bridge.heard(early)
    while not inbox.empty():
        bridge.heard(inbox.get_nowait())
    state["bridge"] = bridge
    await either(over.wait(), bridge.over.wait())
    if bridge.lost is not None:
        channel.tell({"type": "lost", "message": bridge.lost})
        channel.drain(1)
    try:
        await bridge.close()
    except Exception as problem:
        sys.stderr.write("it did not close in order: %r\n" % problem)
    return 0


async def either(*waits):
    """The answer of the first; the others are dropped."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return done.pop().result()
