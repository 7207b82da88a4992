"""Functions that change the interpreter that they run in, and so that of what runs there after them."""
import asyncio
import builtins
import collections
import enum
import functools
import json
import locale
import logging
import os
import pathlib
import signal
import sys
import tempfile
import threading
import traceback
import types
import typing


def nothing(*_, **__):
    return None


def broken(*_, **__):
    raise RuntimeError("replaced")


def json_module():
    json.dumps = json.loads = nothing
    json.JSONEncoder.default = lambda *_: "not JSON"
    json.JSONEncoder.encode = json.JSONDecoder.decode = json.JSONEncoder.iterencode = broken
    json.encoder.encode_basestring_ascii = json.encoder.c_make_encoder = json.encoder.JSONEncoder = None
    json.decoder.scanner.make_scanner = json.decoder.JSONDecoder = None
    return {"value": 1}


def not_json():
    """What the one before makes of this must be refused still."""
    return {1, 2}


def removes_module():
    for name in [name for name in sys.modules if name.startswith("effect_rhapsody")]:
        del sys.modules[name]
    return 1


def ruins_module():
    """Replaces what this library has, as none but an attacker would."""
    for name, module in list(sys.modules.items()):
        if name.startswith("effect_rhapsody"):
            module.encode = lambda *_, **__: b"\x00\x00\x00\x10nonsense"
            module.compact = lambda value: "]"
    return 1


def replaced(names):
    """For whom it is about: Dask itself would not survive it."""
    def instead(value):
        def function(*args, **kwargs):
            if sys._getframe(1).f_globals["__name__"].startswith(("effect_rhapsody", "json")):
                raise RuntimeError("replaced")
            return value(*args, **kwargs)
        return function

    for module, name in names:
        setattr(module, name, instead(getattr(module, name)))


def foreign_builtins():
    replaced([(builtins, name) for name in ("len", "map", "sum", "getattr", "repr", "print", "sorted", "any", "open")])
    return (1, {"a": [2]})


def names_of_modules():
    replaced([
        *[(os, name) for name in ("open", "getpid", "fsencode", "makedirs", "dup", "close", "pread", "fstat")],
        *[(traceback, name) for name in ("format_exception", "format_tb", "print_exc")],
        *[(asyncio, name) for name in ("new_event_loop", "all_tasks", "gather", "isfuture")],
        (threading, "Lock"), (tempfile, "mkdtemp"),
    ])
    raise ValueError("after that")


def policy():
    class Policy(asyncio.DefaultEventLoopPolicy):
        def new_event_loop(self):
            raise RuntimeError("no loop")
    asyncio.set_event_loop_policy(Policy())


def no_policy():
    asyncio.set_event_loop_policy(None)


def logs():
    logging.disable(logging.CRITICAL)
    logging.getLogger().handlers.clear()
    logging.Logger.handle = broken
    return 1


def wanders(path):
    """Changes what programs and paths might depend on."""
    os.chdir(path)
    os.umask(0)
    os.environ["WANDERED"] = "1"
    os.environ["TMPDIR"] = tempfile.tempdir = path
    sys.path.insert(0, path)


def where():
    return os.getcwd()


def closes(fds):
    for fd in fds:
        os.close(fd)
    return [1]


def forks():
    """Comes back twice."""
    if os.fork() == 0:
        return "child"
    return "parent"


def leaves_thread():
    threading.Thread(target=sys.exit).start()
    return 1


def deep(depth=0):
    return deep(depth + 1)


def floods(bytes):
    piece = b"x" * 65536
    for _ in range(bytes // len(piece)):
        os.write(1, piece)
        os.write(2, piece)
    return 1


def localised():
    for name in ("de_DE.UTF-8", "C.UTF-8", "C"):
        try:
            locale.setlocale(locale.LC_ALL, name)
        except locale.Error:
            pass
    sys.set_int_max_str_digits(640)
    return [1.5, 10 ** 15]


def kills_group():
    os.kill(0, signal.SIGKILL)


class Meta(type):
    def __getattribute__(cls, name):
        if name in ("__qualname__", "__module__", "__name__"):
            raise RuntimeError("no name")
        return super().__getattribute__(name)


class Nameless(Exception, metaclass=Meta):
    @property
    def args(self):
        raise RuntimeError("no args")

    @property
    def __traceback__(self):
        raise RuntimeError("no traceback")

    def __str__(self):
        raise RuntimeError("no text")


def nameless():
    raise Nameless()


def long_name(size):
    raise type("x" * size, (Exception,), {})("y" * size)


def long_key(size):
    return {"k" * size: {1}}


# ------------------------------------------------------------------------------------------------------------------ await

async def later(value):
    await asyncio.sleep(0)
    return value


def plain(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    return wrapper


@plain
async def decorated(value):
    return await later(value)


def bare(function):
    return lambda *args, **kwargs: function(*args, **kwargs)


undeclared = bare(later)
partial = functools.partial(later, value=7)


class Callable:
    async def __call__(self, value):
        return await later(value)

    def method(self, value):
        return later(value)


instance = Callable()
method = instance.method


def gives_coroutine(value):
    return later(value)


class Awaitable:
    def __init__(self, value):
        self.value = value

    def __await__(self):
        return later(self.value).__await__()


def gives_awaitable(value):
    return Awaitable(value)


@types.coroutine
def by_generator(value):
    yield
    return value


def gives_future(value):
    loop = asyncio.new_event_loop()
    future = loop.create_future()
    loop.call_later(0.01, future.set_result, value)
    return future


async def generates():
    yield 1


async def gives_generator():
    return generates()


def gives_long(path):
    async def wait():
        with open(path, "a") as file:
            file.write("started\n")
        try:
            await asyncio.sleep(3600)
        finally:
            with open(path, "a") as file:
                file.write("stopped\n")
    return wait()


def swallows():
    raise asyncio.CancelledError


# ------------------------------------------------------------------------------------------------------------------ values

class Number(enum.IntEnum):
    ONE = 1


class Text(str, enum.Enum):
    A = "a"


class Key(str):
    def __hash__(self):
        return 7


class Pair(typing.NamedTuple):
    x: int
    y: int


class Float(float):
    def __repr__(self):
        return "another"


def keeps():
    ordered = collections.OrderedDict([("b", 1), ("a", Number.ONE)])
    return {"tuple": (1, (2,)), "pair": Pair(1, 2), "ordered": ordered, "text": Text.A, Text.A: collections.Counter("x"),
            "float": Float(0.5), "minus": -0.0, "large": 1e300, "exact": 2 ** 53, "surrogate": "a\ud800", "bool": True}


CHANGED = {
    "twice": lambda: {"deep": [{1: "a", "1": "b"}]},
    "none": lambda: {None: 1},
    "true": lambda: {"a": {True: 1}},
    "float_key": lambda: {1.5: 1},
    "enum_key": lambda: {Number.ONE: 1},
    "same_text": lambda: {Key("a"): 1, "a": 2},
    "bytes": lambda: {"a": b"x"},
    "bytes_key": lambda: {b"x": 1},
    "set": lambda: [1, {2}],
    "frozenset": lambda: frozenset(),
    "complex": lambda: [1j],
    "infinite": lambda: (1.0, float("-inf")),
    "beyond": lambda: {"ids": [1, 2 ** 53 + 1]},
    "object": lambda: [object()],
    "deep": lambda: functools.reduce(lambda inner, _: [inner], range(1000), 1),
    "view": lambda: {}.keys(),
    "function": lambda: keeps,
    "path": lambda: pathlib.PurePosixPath("/x"),
}


def changed(which):
    return CHANGED[which]()


class Odd(Exception):
    pass


def raises_odd():
    raise Odd({1: "a"}, 2 ** 60)


# ---------------------------------------------------------------------------------------------------------------- programs

def prints_bytes(count):
    """As a program: each byte by itself."""
    for _ in range(count):
        os.write(1, b"x")


if __name__ == "__main__":
    prints_bytes(int(sys.argv[1]))


def garbles_next_start(message):
    """Has the launch agent of this worker say something else where it says that the next program has started."""
    module = next(module for name, module in sys.modules.items() if name.startswith("effect_rhapsody"))
    hear = module.Agent.hear

    def forged(agent, header, blobs):
        if header.get("type") == "started":
            module.Agent.hear = hear
            hear(agent, dict(message, id=header["id"]), [])
        else:
            hear(agent, header, blobs)

    module.Agent.hear = forged
    return "ready"
