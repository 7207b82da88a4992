"""What runs on the cluster, 1: Python functions of the user's, called with JSON and answering with it.

The files of this directory and frame.py are one module, which the bridge ships to the scheduler and to every worker
that it meets. Nothing else of this library is there.
"""
import asyncio
import importlib
import inspect
import json
import re
import sys
import threading
import traceback

# The end of a traceback, where the reason is.
TRACEBACK = 16 * 1024


# Seconds for which somebody may still be told something that he asked for before he left.
LATE = 30


def ignore(**_):
    """Takes the place of a handler that is gone: a message without a handler ends the connection that it came on, and
    with it the worker."""


def careful(handle):
    """A handler whose failure is told, and ends no connection."""
    def handler(**message):
        try:
            handle(**message)
        except Exception:
            traceback.print_exc()
    return handler


# Whole numbers beyond this are none that JavaScript can tell from their neighbours, and what may be one in JSON.
EXACT = 2 ** 53
LONG = re.compile(r"(?:^|[\[:,])-?\d{16,}(?![\d.eE])")


class Unusable(Exception):
    """A function that cannot be had: there is no such module, or it does not load."""

    def __init__(self, message, cause=None):
        super().__init__(message)
        self.cause = cause


class Refused(Exception):
    """A payload that does not fit, or a result that cannot be told; `reason` as TypeScript calls it."""

    def __init__(self, reason, message, **facts):
        super().__init__(message)
        self.reason, self.facts = reason, facts


_searched = {}  # directories that were put there from here, and how many backends want them


def search(paths):
    """Puts directories where modules are looked for, the first of them first."""
    for path in reversed(paths):
        if path not in sys.path:
            sys.path.insert(0, path)
            _searched[path] = 0
        if path in _searched:
            _searched[path] += 1


def forget(paths):
    """Takes out again what no other backend wants; modules that were loaded stay, as they do in Python."""
    for path in paths:
        if path in _searched:
            _searched[path] -= 1
            if _searched[path] == 0:
                del _searched[path]
                if path in sys.path:
                    sys.path.remove(path)
    _found.clear()


_found = {}


def find(reference, paths):
    """The function behind "package.module:callable", imported once."""
    function = _found.get(reference)
    if function is not None:
        return function
    sys.path[:0] = [path for path in paths if path not in sys.path]
    name, _, attribute = reference.partition(":")
    try:
        importlib.invalidate_caches()  # the module may be younger than the last look at its directory
        found = importlib.import_module(name)
    except BaseException as problem:  # a module may do anything while it loads, and leave by SystemExit
        what = "is not found" if isinstance(problem, ModuleNotFoundError) and problem.name == name else "does not load"
        raise Unusable("module %s %s: %s" % (name, what, describe(problem)), problem) from None
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as problem:
            raise Unusable("module %s has no %s" % (name, attribute), problem) from None
    if not callable(found):
        raise Unusable("%s is a %s, and cannot be called" % (reference, type(found).__name__))
    _found[reference] = found
    return found


def is_async(function):
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))


def arguments(call, payload):
    """How the payload is handed over."""
    if call == "kwargs":
        return (), payload
    if call == "both":
        return payload["args"], payload["kwargs"]
    return (list(payload.values()) if call == "args" else [payload]), {}


def checked(function, args, kwargs):
    """A TypeError of the call itself is the payload's fault, and no failure of the function."""
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError as why:
        raise Refused("InvalidPayload", "it does not fit the function's parameters: %s" % why) from None
    except ValueError:
        pass  # a built-in one that does not tell its parameters


def encoded(value, limit):
    """JSON that any reader takes."""
    try:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as problem:
        why = unfit(value, "result", set()) or describe(problem)
        raise Refused("InvalidResult", "it cannot be told as JSON: %s" % why) from None
    if LONG.search(text):
        why = unfit(value, "result", set())
        if why is not None:
            raise Refused("InvalidResult", "it would arrive as another number: %s; tell it as text" % why)
    if len(text) > limit:
        raise Refused("OutputLimit", "", limit=limit, size=len(text), stream="result")
    return text


def unfit(value, path, above):
    """Where in a value the first thing is that JSON has no word for."""
    if value is None or isinstance(value, (str, bool)):
        return None
    if isinstance(value, int):
        return None if abs(value) <= EXACT else "%s is a number of %d bits" % (path, value.bit_length())
    if isinstance(value, float):
        return None if value - value == 0 else "%s is %r" % (path, value)
    if not isinstance(value, (dict, list, tuple)):
        return "%s is a %s.%s" % (path, type(value).__module__, type(value).__qualname__)
    if id(value) in above:
        return "%s contains itself" % path
    above = above | {id(value)}
    if len(above) > 500:
        return "%s is nested too deeply" % path
    if isinstance(value, dict):
        for key, part in value.items():
            if not isinstance(key, (str, int, float, bool, type(None))):
                return "a key of %s is a %s" % (path, type(key).__qualname__)
            why = unfit(part, "%s.%s" % (path, key), above)
            if why is not None:
                return why
        return None
    for i, part in enumerate(value):
        why = unfit(part, "%s[%d]" % (path, i), above)
        if why is not None:
            return why
    return None


def describe(problem):
    try:
        text = str(problem)
    except BaseException:
        text = "an exception that cannot be printed"
    name = type(problem).__qualname__
    return "%s: %s" % (name, text) if text else name


def told(problem):
    """An exception as data: what a person needs to see why, and what a program may branch on."""
    frames = problem.__traceback__
    try:
        lines = traceback.format_exception(type(problem), problem, frames)
    except BaseException:  # it may be of any class
        lines = traceback.format_tb(frames) + [describe(problem)]
    try:
        text = str(problem)
    except BaseException:
        text = "an exception that cannot be printed"
    facts = {
        "type": type(problem).__qualname__,
        "module": str(type(problem).__module__),  # a class may have any
        "message": text[-TRACEBACK:],
        "traceback": "".join(lines)[-TRACEBACK:],
    }
    try:
        args = json.dumps(list(problem.args), allow_nan=False)
        if len(args) <= TRACEBACK:
            facts["args"] = json.loads(args)
    except BaseException:
        pass  # they are in the text
    return facts


_loops = threading.local()


def loop_of_thread():
    """An event loop for the asynchronous functions of this thread: the worker's own is not held up by them."""
    loop = getattr(_loops, "loop", None)
    if loop is None or loop.is_closed():
        loop = _loops.loop = asyncio.new_event_loop()
    return loop


def run_async(function, args, kwargs, begun):
    """Runs to the end, with what it left behind. `begun` gets what cancels it."""
    loop = loop_of_thread()
    main = loop.create_task(ensure(function, args, kwargs))
    begun(lambda: loop.call_soon_threadsafe(main.cancel))
    try:
        return loop.run_until_complete(main)
    finally:
        rest = [task for task in asyncio.all_tasks(loop) if not task.done()]
        for task in rest:
            task.cancel()
        if rest:
            loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())


async def ensure(function, args, kwargs):
    return await function(*args, **kwargs)
