"""What runs on the cluster, 1: values of the user's as JSON, and exceptions as data. See functions.py for the whole."""
import json
import re
import traceback

# The end of a traceback, where the reason is; no other text about an exception is longer.
TRACEBACK = 16 * 1024
# Containers in one another.
DEEPEST = 500

# JavaScript cannot tell whole numbers beyond this from their neighbours; and what may be one in JSON.
EXACT = 2 ** 53
LONG = re.compile(r"(?:^|[\[:,])-?\d{16,}(?![\d.eE])")


class Refused(Exception):
    """A payload that does not fit, or a result that cannot be sent; `reason` as TypeScript calls it."""

    def __init__(self, reason, message, **facts):
        super().__init__(message[:TRACEBACK])
        self.reason, self.facts = reason, facts


def encoded(value, limit):
    """JSON that any reader understands as the same value."""
    why = unfit(value, "result")
    if why is None:
        try:
            text = compact(value)
        except Exception as problem:
            why = unfit(value, "result", True) or describe(problem)
        else:
            if LONG.search(text):
                why = unfit(value, "result", True)
    if why is not None:
        raise Refused("InvalidResult", "it cannot be sent as JSON: %s" % why)
    if len(text) > limit:
        raise Refused("OutputLimit", "", limit=limit, size=len(text), stream="result")
    return text


_leaves = frozenset((str, bool, int, float, type(None)))
_keys = frozenset((str,))


def unfit(value, path, each=False, above=None):
    """The first place in a value that JSON would lose or change, or None. Without `each`, numbers are not looked at:
    the types of a container's values are compared at once."""
    if not isinstance(value, (dict, list, tuple)):
        return unfit_leaf(value, path)
    above = set() if above is None else above
    if id(value) in above:
        return "%s contains itself" % path
    if len(above) == DEEPEST:
        return "%s is nested too deeply" % path
    above.add(id(value))
    named = isinstance(value, dict)
    if named:
        keys = list(value)
        if not _keys.issuperset(map(type, keys)):
            why = unfit_keys(keys, path)
            if why is not None:
                return why
        values = value.values()
    else:
        keys, values = range(len(value)), value
    if each or not _leaves.issuperset(map(type, values)):
        for key, part in zip(keys, values):
            if each or type(part) not in _leaves:
                why = unfit(part, ("%s.%s" if named else "%s[%d]") % (path, key), each, above)
                if why is not None:
                    return why
    above.discard(id(value))
    return None


def unfit_leaf(value, path):
    if value is None or isinstance(value, (str, bool)):
        return None
    if isinstance(value, int):
        if abs(value) <= EXACT:
            return None
        return "%s is a number of %d bits, which would arrive as another; return it as text" % (path, value.bit_length())
    if isinstance(value, float):
        return None if value - value == 0 else "%s is %r" % (path, value)
    return "%s is a %s.%s" % (path, type(value).__module__, type(value).__qualname__)


def unfit_keys(keys, path):
    """JSON has text as keys, each once."""
    texts = set()
    for key in keys:
        if not isinstance(key, str):
            return "a key of %s is a %s: %.100r; make text of it" % (path, type(key).__qualname__, key)
        text = str.__str__(key)
        if text in texts:
            return "%s has two keys that are the text %.100r" % (path, text)
        texts.add(text)
    return None


# -------------------------------------------------------------------------------------------------------------- exceptions

def name_of(problem):
    try:
        return str(type(problem).__qualname__)[:TRACEBACK]
    except BaseException:  # its class may be of any kind
        return "an exception without a name"


def message_of(problem):
    try:
        return str(problem)[-TRACEBACK:]
    except BaseException:
        return "an exception that cannot be printed"


def describe(problem):
    text = message_of(problem)
    name = name_of(problem)
    return "%s: %s" % (name, text) if text else name


def told(problem, frames=None):
    """An exception as data: what a person needs to see why, and what a program may branch on."""
    try:
        lines = traceback.format_exception(type(problem), problem, frames)
    except BaseException:  # it may be of any class
        lines = ["Traceback (most recent call last):\n"] + traceback.format_tb(frames) + [describe(problem)]
    facts = {"type": name_of(problem), "message": message_of(problem), "traceback": "".join(lines)[-TRACEBACK:]}
    try:
        facts["module"] = str(type(problem).__module__)[:TRACEBACK]  # a class may have any
    except BaseException:
        facts["module"] = ""
    try:
        facts["args"] = json.loads(encoded(list(problem.args), TRACEBACK))
    except BaseException:
        pass  # they are in the text
    return facts
