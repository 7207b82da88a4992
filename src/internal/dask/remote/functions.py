"""What runs on the cluster, 2: Python functions of the user's, called with JSON and answering with it.

The files of this directory and frame.py are one module, which the bridge ships to the scheduler and to every worker
that it meets. Nothing else of this library is there.
"""
import asyncio
import importlib
import importlib.machinery
import inspect
import sys
import threading
import traceback


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


class Unusable(Exception):
    """A function that cannot be had: there is no such module, or it does not load."""

    def __init__(self, message, cause=None):
        super().__init__(message)
        self.cause = cause


# ----------------------------------------------------------------------------------------------------------------- modules

class Again:
    """Finds this module again where a function has removed it from sys.modules: what Dask sends to be run is named by
    it, and a worker that does not have it runs nothing any more."""

    def __init__(self, module):
        self.module = module

    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self) if name == self.module.__name__ else None

    def create_module(self, spec):
        return self.module

    def exec_module(self, module):
        pass

    def stay(self):
        name = self.module.__name__
        if sys.modules.get(name) is not self.module:
            sys.modules[name] = self.module
        if self not in sys.meta_path:
            sys.meta_path.append(self)


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


# ------------------------------------------------------------------------------------------------------------------- calls

def is_async(function):
    """Whether it says of itself that its result is to be awaited; others may have such a result, too."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))


def arguments(call, payload):
    """How the payload is handed over."""
    if call == "kwargs":
        return (), payload
    if call == "both":
        return payload["args"], payload["kwargs"]
    return (payload if call == "args" else [payload]), {}


def checked(function, args, kwargs):
    """A TypeError of the call itself is the payload's fault, and no failure of the function."""
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError as why:
        raise Refused("InvalidPayload", "it does not fit the function's parameters: %s" % why) from None
    except Exception:
        pass  # it does not say what its parameters are


_loops = threading.local()


def loop_of_thread():
    """An event loop for what is awaited in this thread: the worker's own is not held up by it."""
    loop = getattr(_loops, "loop", None)
    if loop is None or loop.is_closed():
        loop = _loops.loop = asyncio.new_event_loop()
    return loop


def run_async(value, begun):
    """Awaits a value to its end, and ends what it left behind. `begun` gets what cancels it."""
    loop = loop_of_thread()
    if asyncio.isfuture(value) and value.get_loop() is not loop:
        if value.get_loop().is_running():
            raise RuntimeError("the function returned a Future of an event loop that runs in another thread")
        main = value
        return cancelable(main, begun).run_until_complete(main)
    main = loop.create_task(ensure(value))
    try:
        return cancelable(main, begun).run_until_complete(main)
    finally:
        rest = [task for task in asyncio.all_tasks(loop) if not task.done()]
        for task in rest:
            task.cancel()
        if rest:
            loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())


def cancelable(main, begun):
    loop = main.get_loop()
    begun(lambda: loop.call_soon_threadsafe(main.cancel))
    return loop


async def ensure(value):
    return await value
