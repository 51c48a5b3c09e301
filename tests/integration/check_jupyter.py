"""A Jupyter kernel on oxloop, driven as a notebook does it."""

import contextlib
import sys

from harness import main, written
from jupyter_client.manager import KernelManager

CODE = """
import asyncio
whose = type(asyncio.get_running_loop()).__module__.split(".")[0]
await asyncio.sleep(0.01)
print(whose, sum(await asyncio.gather(*(asyncio.sleep(0, n) for n in range(100)))))
"""


@contextlib.contextmanager
def kernel(folder):
    manager = KernelManager(connection_file=f"{folder}/kernel.json")
    command = [sys.executable, "-m", "oxloop", "-m", "ipykernel_launcher", "-f"]
    manager.kernel_spec.argv = [*command, "{connection_file}"]
    manager.start_kernel(cwd=folder)
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def run(client, code):
    printed = []

    def note(message):
        if message["msg_type"] == "stream":
            printed.append(message["content"]["text"])

    reply = client.execute_interactive(code, timeout=60, output_hook=note)
    return reply["content"]["status"], "".join(printed)


def check_a_cell_that_awaits():
    with written() as folder, kernel(folder) as (_, client):
        assert run(client, CODE) == ("ok", "oxloop 4950\n")
        assert run(client, "1 / 0")[0] == "error"
        assert run(client, CODE) == ("ok", "oxloop 4950\n")


def check_a_cell_that_is_interrupted():
    with written() as folder, kernel(folder) as (manager, client):
        client.execute("import time\nprint('there', flush=True)\ntime.sleep(60)")
        while client.get_iopub_msg(timeout=60)["content"].get("text") != "there\n":
            pass
        manager.interrupt_kernel()
        while (reply := client.get_shell_msg(timeout=60))["msg_type"] != "execute_reply":
            pass
        assert reply["content"]["ename"] == "KeyboardInterrupt"
        assert run(client, CODE) == ("ok", "oxloop 4950\n")


if __name__ == "__main__":
    main(globals())
