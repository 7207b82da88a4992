"""Functions for the tests, as a user's module has them: nothing in it knows of the library."""
import asyncio
import os
import sys
import time


class Refused(Exception):
    def __init__(self, code, why):
        super().__init__(code, why)


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no")


class Scale:
    @staticmethod
    def twice(value):
        return 2 * value


def f(a, b=1):
    return [a, b]


def positional(*args):
    return list(args)


def whole(payload):
    return payload


def both(*args, **kwargs):
    return [list(args), kwargs]


def nothing():
    pass


async def asynchronous(value, delay=0):
    await asyncio.sleep(delay)
    return value


def fails(why):
    raise ValueError(why)


def refuses():
    raise Refused(7, "why")


def leaves(code):
    sys.exit(code)


def interrupts():
    raise KeyboardInterrupt


def unprintable():
    raise Unprintable


def nan():
    return {"ok": [1.0, float("nan")]}


def unencodable():
    return {"ok": 1, "bad": [1, {2, 3}]}


def bad_key():
    return {(1, 2): 3}


def endless():
    value = []
    value.append(value)
    return value


def long(size):
    return "x" * size


def prints():
    print("loud")
    os.write(1, b"\x00\x00\x00\x08")
    os.write(2, b"\xff\xff")
    sys.__stdout__.flush()
    return os.getpid()


def pid():
    return os.getpid()


def touch(path, text="x"):
    with open(path, "a") as file:
        file.write(text)


def sleeps(path, seconds=3600):
    """Leaves its trace when it starts, and when it ends."""
    touch(path, "started %d\n" % os.getpid())
    time.sleep(seconds)
    touch(path, "ended\n")
    return "slept"


async def waits(path):
    touch(path, "started\n")
    try:
        await asyncio.sleep(3600)
    finally:
        touch(path, "stopped\n")


def dies(path, times):
    """Kills its process, as a crash in native code does, until it was tried so often."""
    touch(path)
    if os.stat(path).st_size <= times:
        os._exit(1)
    return os.stat(path).st_size


def hungry(size):
    data = bytearray(size)
    for i in range(0, size, 4096):
        data[i] = 1
    time.sleep(30)


def argument_error():
    return f()


def own_key():
    from distributed import get_worker
    return get_worker().get_current_task()


def scratch():
    """The directory of this worker's files, of those above it the one that the backend made, and its mode."""
    from distributed import get_worker
    own = directory = get_worker().local_directory
    while not os.path.basename(directory).startswith("effect-rhapsody-dask-"):
        directory = os.path.dirname(directory)
    return {"own": own, "made": directory, "mode": os.stat(directory).st_mode & 0o777}


def says(text):
    """Prints to the standard error of its worker, at once."""
    os.write(2, text.encode() + b"\n")


def origins():
    """What was loaded from elsewhere than installed packages, the interpreter and the directories of the task."""
    here = os.path.dirname(__file__)
    files = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
    roots = [sys.prefix, sys.base_prefix, here]
    return [file for file in files if file and not any(file.startswith(root + os.sep) for root in roots)]


def squares(numbers):
    """In processes of its own."""
    import multiprocessing
    with multiprocessing.Pool(2) as pool:
        return pool.map(square, numbers)


def square(number):
    return number * number


def leaves_processes():
    """A process that it leaves, by its pid, and how one ended that it stopped."""
    import multiprocessing
    left, stopped = [multiprocessing.Process(target=time.sleep, args=(3600,)) for _ in range(2)]
    left.start()
    stopped.start()
    stopped.terminate()
    stopped.join()
    return [left.pid, stopped.exitcode]


async def there(path):
    """Ends when the file is there."""
    while not os.path.exists(path):
        await asyncio.sleep(0.01)


def held(path):
    """Runs as long as there is a file."""
    while os.path.exists(path):
        time.sleep(0.02)
    return "free"


def copies():
    """A copy of the worker that goes on: it has all that the worker has open."""
    pid = os.fork()
    if pid == 0:
        time.sleep(3600)
    return pid


def variables(names):
    """How long each is, and what Dask has read of them."""
    import dask
    return [len(os.environ.get(name, "")) for name in names] + [len(dask.config.get("rhapsody-test.long", ""))]
