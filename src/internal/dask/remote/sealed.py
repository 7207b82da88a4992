"""What runs on the cluster, 8: what it depends on is its own. See functions.py for the whole.

The functions of a user share this interpreter, and may replace what is in any module: `json`, `os`, `builtins`. This
module has builtins of its own from the start (BOOT in shipping.py); the others it knows by their names as they are
when it is loaded, and what makes and reads JSON once more, for itself alone.
"""
import asyncio
import importlib
import importlib.util
import inspect
import os
import tempfile
import threading
import traceback
import types


def private(name):
    """A module once more."""
    spec = importlib.util.find_spec(name)
    module = importlib.util.module_from_spec(spec)
    module.__dict__["__builtins__"] = __builtins__
    spec.loader.exec_module(module)
    return module


def frozen(module):
    return types.SimpleNamespace(**vars(module))


def no_constant(name):
    raise ValueError("%s is not JSON" % name)


_encoder, _decoder = private("json.encoder").JSONEncoder, private("json.decoder").JSONDecoder
compact = _encoder(allow_nan=False, separators=(",", ":")).encode
json = types.SimpleNamespace(dumps=_encoder(allow_nan=False).encode, loads=_decoder(parse_constant=no_constant).decode)
asyncio, importlib, inspect, os, tempfile, threading, traceback = map(
    frozen, (asyncio, importlib, inspect, os, tempfile, threading, traceback))
