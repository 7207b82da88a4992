"""RHAPSODY's concurrent backend: executables per second, of as many as are asked for, every result compared."""
import asyncio
import logging
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from rhapsody.api import ComputeTask, Session
from rhapsody.backends.execution.concurrent import ConcurrentExecutionBackend

# It starts all that it is given at once, whatever the number of its workers, and each holds descriptors.
WAVE = 400


def make(program, number):
    text = "task.%06d" % number
    printed = text + "\n" if program.endswith("echo") else ""
    return ComputeTask(executable=program, arguments=[text]), printed


async def run(session, tasks):
    for at in range(0, len(tasks), WAVE):
        await asyncio.gather(*await session.submit_tasks([task for task, _ in tasks[at:at + WAVE]]))


async def main(program, count):
    session = Session([await ConcurrentExecutionBackend(ThreadPoolExecutor(4))])
    await run(session, [make(program, number) for number in range(50)])
    tasks = [make(program, number) for number in range(count)]
    start = time.perf_counter()
    await run(session, tasks)
    seconds = time.perf_counter() - start
    wrong = [task for task, printed in tasks if task["stdout"] != printed or task["exit_code"] != 0]
    if wrong:
        sys.exit("%d of %d ended otherwise, such as %r" % (len(wrong), count, wrong[0]))
    print(count / seconds)
    await session.close()


logging.disable(logging.CRITICAL)
asyncio.run(main(sys.argv[1], int(sys.argv[2])))
