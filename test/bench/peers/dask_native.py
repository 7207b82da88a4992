"""Dask's own client on the same work: python dask_native.py ADDRESS, or "local" for a cluster of its own, with TLS.

It answers each line of standard input, a request as JSON, with a line of JSON. Every result is compared.
"""
import json
import sys
import time

from distributed import Client

import dask_work

WORKS = {
    "functions": (dask_work.identity, lambda i: i, lambda i: i),
    "executables": (dask_work.true, lambda i: "task.%06d" % i, lambda i: (0, b"")),
}


def check(wrong):
    if wrong:
        sys.exit("%d ended otherwise, such as %r" % (len(wrong), wrong[0]))


def rate(client, work, count):
    function, argument, expected = WORKS[work]
    cpu, start = time.process_time(), time.perf_counter()
    values = client.gather([client.submit(function, argument(i), pure=False) for i in range(count)])
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    check([(i, value) for i, value in enumerate(values) if value != expected(i)])
    return {"rate": count / seconds, "cpu": cpu / count * 1e6}


def latency(client, work, count):
    function, argument, expected = WORKS[work]
    micros, wrong = [], []
    for i in range(count):
        start = time.perf_counter()
        value = client.submit(function, argument(i), pure=False).result()
        micros.append((time.perf_counter() - start) * 1e6)
        if value != expected(i):
            wrong.append((i, value))
    check(wrong)
    return micros


MODES = {"rate": rate, "latency": latency}

if __name__ == "__main__":
    where = sys.argv[1]
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "security": True} if where == "local" else {
        "address": where}
    with Client(**options) as client:
        # so that functions go to the workers by name, as those of the other side do
        client.upload_file(dask_work.__file__)
        print(json.dumps("ready"), flush=True)
        for line in sys.stdin:
            request = json.loads(line)
            print(json.dumps(MODES[request["mode"]](client, request["work"], request["count"])), flush=True)
