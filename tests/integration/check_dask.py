"""A Dask cluster, a scheduler and two workers as processes, each on oxloop."""

import contextlib

from distributed import Client
from harness import free_port, main, program, written

# By the stand-in: Dask knows its loops by name.
BEFORE = ("-m", "oxloop", "--as-uvloop", "--children")
SETTINGS = {"DASK_DISTRIBUTED__ADMIN__EVENT_LOOP": "uvloop"}


def whose(dask_scheduler=None, dask_worker=None):
    node = dask_scheduler or dask_worker
    return type(node.loop.asyncio_loop).__module__.split(".")[0]


def square(number):
    return number * number


@contextlib.contextmanager
def cluster():
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    with written() as folder, contextlib.ExitStack() as stack:
        words = ("-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--no-dashboard")
        scheduler = program(
            *words, "--port", str(port), port=port, folder=folder, before=BEFORE, **SETTINGS
        )
        stack.enter_context(scheduler)
        for _ in range(2):
            words = ("-m", "distributed.cli.dask_worker", address, "--no-dashboard", "--nthreads")
            worker = program(*words, "1", folder=folder, before=BEFORE, **SETTINGS)
            stack.enter_context(worker)
        client = stack.enter_context(Client(address, timeout=60))
        client.wait_for_workers(2, timeout=60)
        yield client


def check_a_scheduler_and_two_workers():
    with cluster() as client:
        assert client.run_on_scheduler(whose) == "oxloop"
        assert list(client.run(whose).values()) == ["oxloop", "oxloop"]
        squares = client.map(square, range(2000))
        total = client.submit(sum, squares)
        assert total.result(timeout=60) == sum(number * number for number in range(2000))
        # Every worker has to fetch what the other one has.
        large = client.map(bytes, [1_000_000] * 20)
        assert client.submit(lambda parts: sum(map(len, parts)), large).result(60) == 20_000_000


if __name__ == "__main__":
    main(globals())
