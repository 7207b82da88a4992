"""What the work of the conformance suite does, as an asynchronous Python function."""
import asyncio
import re

from distributed import get_worker


class Refused(Exception):
    pass


class Died(BaseException):
    pass


def attempt():
    """Dask's key of a task has the number of its attempt."""
    return int(re.search(r"-(\d+)-\d+-[0-9a-f]{8}-", get_worker().get_current_task()).group(1))


async def behave(how, value):
    if how == "echo":
        return {"value": value}
    if how == "fail":
        raise Refused(3)
    if how == "die":
        raise Died()
    if how == "hold":
        await asyncio.sleep(3600)
    if how == "linger":
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.1)
    if how == "deaf":
        until = asyncio.get_running_loop().time() + 3
        while asyncio.get_running_loop().time() < until:
            try:
                await asyncio.sleep(0.1)
            except asyncio.CancelledError:
                pass
    if how == "flaky":
        if attempt() < value:
            raise Refused(3)
        return {"value": value}
    return {"value": "text"}
