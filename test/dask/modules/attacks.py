"""Functions that do what a careful user's would not."""
import ctypes


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


def selfish(path, millis):
    """Holds the interpreter of its worker, as native code may, so that nothing else happens there."""
    open(path, "w").close()
    ctypes.PyDLL(None).usleep(millis * 1000)
