"""Functions that do what a careful user's would not."""
import ctypes
import os


class Odd(Exception):
    __module__ = None


def odd():
    raise Odd("why")


def exact(bits):
    return {"a": [1.5, "1234567890123456789"], "b": [2 ** bits, -(2 ** bits)]}


def beyond(bits):
    return {"a": [1, 2 ** bits + 1]}


def text(size):
    return "x" * size


def size(a):
    return len(a)


def selfish(path):
    """Holds the interpreter of its worker, as native code may, so that nothing else happens there: from when there is
    a FIFO until somebody writes to it."""
    system = ctypes.PyDLL(None)
    system.mkfifo(path.encode(), 0o600)
    system.read(system.open(path.encode(), os.O_RDWR), ctypes.create_string_buffer(1), 1)
