"""What runs on the cluster, 7: what Dask calls for each task, and with what. See functions.py for the whole."""


class Item:
    """What a task needs. Dask prints the arguments of a task that fails, and these may hold secrets."""
    __slots__ = ("data",)

    def __init__(self, data):
        self.data = data

    def __repr__(self):
        return "<a task of effect-rhapsody>"

    def __reduce__(self):
        return Item, (self.data,)

    def __sizeof__(self):
        return object.__sizeof__(self) + len(self.data)


def call(item):
    task = json.loads(str(item.data, "utf-8"))
    return get_worker().plugins[task["backend"]].call(task)


async def launch(item):
    (header, blobs), = Decoder().feed(item.data)
    return await get_worker().plugins[header.pop("backend")].launch(header, blobs)
