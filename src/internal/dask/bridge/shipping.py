"""The bridge to Dask, 2a: how tasks are grouped for it, and what is shipped to it. See bridge.py for the whole."""


def grouped(queue):
    """Tasks by what Dask is told of them, each a graph."""
    groups = {}
    for header, blobs in queue:
        settings = header.get("settings", {})
        if "resources" in settings:
            settings["resources"] = tuple(sorted(settings["resources"].items()))
        if "workers" in settings:
            settings["workers"] = tuple(settings["workers"])
        items, tasks = groups.setdefault((header["call"], *sorted(settings.items())), ([], []))
        for id, name, blob in zip(header["ids"], header["keys"], blobs):
            items.append(blob)
            tasks.append(Task(id, name, header["call"] == "launch"))
    return groups


def after(first, then):
    def both(**message):
        first(**message)
        then(**message)
    return both


def load(name, source):
    """The module that goes to the cluster, for this process as well."""
    made = {"name": name, "source": source}
    exec(BOOT, made)
    return made["module"]


# Its builtins are its own: those of everybody else may be replaced by a function that shares its interpreter.
BOOT = """
import builtins, sys, types
module = sys.modules.get(name)
if module is None:
    module = types.ModuleType(name)
    module.__dict__["__builtins__"] = dict(vars(builtins))
    exec(compile(source, name, "exec"), module.__dict__)
    sys.modules[name] = module
"""
MAKE = BOOT + "made = getattr(module, kind)(*args)"


def shipped(base, hello, kind, *args):
    """A plugin that needs nothing of ours where it is unpickled: its pickle is the source that makes it, which any
    version of Python reads."""
    names = {"name": hello["module"], "source": hello["source"], "kind": kind, "args": args, "boot": MAKE}
    text = "(lambda names: exec(names['boot'], names) or names['made'])(%r)" % names

    class Shipped(base):
        def __reduce__(self):
            return eval, (text,)

    return Shipped()
