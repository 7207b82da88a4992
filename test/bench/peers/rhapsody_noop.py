"""RHAPSODY's noop backend: tasks per second, of as many as are asked for."""
import asyncio
import logging
import sys
import time

from rhapsody.api import ComputeTask, Session
from rhapsody.backends.execution.noop import NoopExecutionBackend


async def main(count):
    session = Session([await NoopExecutionBackend()])
    make = lambda: ComputeTask(executable="/bin/true")
    await asyncio.gather(*await session.submit_tasks([make() for _ in range(50)]))
    tasks = [make() for _ in range(count)]
    start = time.perf_counter()
    await asyncio.gather(*await session.submit_tasks(tasks))
    print(count / (time.perf_counter() - start))
    await session.close()


logging.disable(logging.CRITICAL)
asyncio.run(main(int(sys.argv[1])))
