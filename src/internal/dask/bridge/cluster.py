"""The bridge to Dask, 2d: the cluster that it starts, or the one that it joins. See bridge.py for the whole.

A cluster of its own is closed to all other users of the machine: its messages go over TLS, with a certificate that
exists in memory alone; no process of it serves web pages unless they are asked for; its files are in a directory that
no other user can enter.
"""
import logging
import os
import tempfile


def security_of(cluster):
    """For the scheduler of a cluster that is not its own. None: what Dask's own configuration says."""
    import distributed
    tls = cluster.get("tls")
    if tls is None:
        return None
    files = {"tls_ca_file": tls["ca"], "tls_client_cert": tls["cert"]}
    if "key" in tls:
        files["tls_client_key"] = tls["key"]
    security = distributed.Security(require_encryption=True, **files)
    security.get_connection_args("client")  # reads them
    return security


def own_cluster(hello, made):
    """Not started yet. `made` is called with the directory of its files."""
    import dask
    import distributed
    settings = hello["cluster"]["local"]
    module = load(hello["module"], hello["source"])
    options, resources = dict(settings["options"]), settings["resources"]
    surroundings = settings["surroundings"]
    processes = options.get("processes", True)
    directory = tempfile.mkdtemp(prefix="effect-rhapsody-dask-", dir=dask.config.get("temporary-directory"))
    made(directory)
    dask.config.set({
        "temporary-directory": directory,  # a scheduler has files too, and their directory goes before all that it imports
        "distributed.worker.daemon": False,  # else a function could start no process by multiprocessing
    })
    if not processes:
        options["protocol"] = "inproc://"  # nothing outside of this process can reach it
    elif not settings["insecure"]:
        options["security"] = distributed.Security.temporary()
    cluster = distributed.LocalCluster(asynchronous=True, local_directory=directory, **options)
    if options["dashboard_address"] is None:
        class Scheduler(module.Closed, distributed.Scheduler):
            pass
        cluster.scheduler_spec["cls"] = Scheduler
    if processes:
        for name in hello["rest"]:
            os.environb.pop(name, None)  # with these, the system may start no process
    for worker in [cluster.new_spec, *cluster.worker_spec.values()]:
        if processes:
            worker["options"]["worker_class"] = shipped(Factory, hello, "own_worker", surroundings, hello["rest"])
        else:
            worker["cls"] = module.own_worker(surroundings, None)
        worker["options"]["resources"] = dict(has(worker["options"], len(cluster.worker_spec)), **resources)
    return cluster


def has(options, workers):
    """What a worker has by itself, of what tasks may ask for: its threads or its share of the cores, and its memory."""
    from dask.system import CPU_COUNT
    from distributed.system import MEMORY_LIMIT
    from distributed.worker_memory import parse_memory_limit
    threads = options["nthreads"]
    memory = parse_memory_limit(options["memory_limit"], threads, CPU_COUNT, logger=logging.getLogger("distributed.worker"))
    return {"CPU": max(threads, CPU_COUNT // workers), "MEMORY": memory or MEMORY_LIMIT}


class Factory:
    """What a nanny takes for a class of workers. It becomes one in the worker's process."""

    def __call__(self):
        raise NotImplementedError
