"""A local Ray cluster: async actors, each in a process of its own, on oxloop."""

import json

from harness import main, output_of, written

PROGRAM = """
import asyncio, json
import ray

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)

@ray.remote
class Counter:
    def __init__(self):
        self.open = asyncio.Event()
        self.waiting = 0

    async def whose(self):
        return type(asyncio.get_running_loop()).__module__.split(".")[0]

    async def meet(self, number):
        self.waiting += 1
        if self.waiting == 50:
            self.open.set()
        await self.open.wait()
        return number * number

actors = [Counter.remote() for _ in range(2)]
whose = ray.get([actor.whose.remote() for actor in actors], timeout=100)
meetings = [actor.meet.remote(n) for actor in actors for n in range(50)]
print(json.dumps({"whose": whose, "sum": sum(ray.get(meetings, timeout=100))}))
ray.shutdown()
"""


def check_async_actors():
    before = ("-m", "oxloop", "--as-uvloop", "--children")
    with written(actors=PROGRAM) as folder:
        printed = output_of("actors.py", before=before, folder=folder, RAY_USE_UVLOOP="1")
    answer = json.loads(printed.splitlines()[-1])
    assert answer["whose"] == ["oxloop", "oxloop"], answer
    assert answer["sum"] == 2 * sum(number * number for number in range(50))


if __name__ == "__main__":
    main(globals())
