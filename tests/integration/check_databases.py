"""asyncpg and psycopg with PostgreSQL, redis-py with Redis, nats-py with NATS: real servers."""

import asyncio
import shutil
import subprocess

import asyncpg
import nats
import psycopg
import psycopg_pool
import redis.asyncio
import servers
from harness import assert_oxloop, free_port, main, oxloop

ROWS = 20_000


def on_postgres(check):
    def run():
        with servers.postgres() as port:
            oxloop.run(asyncio.wait_for(check(port), 120))

    return run


@on_postgres
async def check_asyncpg(port):
    assert_oxloop()
    address = {"host": "127.0.0.1", "port": port, "user": "postgres", "database": "postgres"}
    async with asyncpg.create_pool(**address, min_size=2, max_size=8) as pool:
        await pool.execute("create table numbers (n bigint, t text)")
        rows = [(number, f"row {number}") for number in range(ROWS)]
        async with pool.acquire() as connection:
            await connection.copy_records_to_table("numbers", records=rows)
        sums = await asyncio.gather(
            *(pool.fetchval("select sum(n + $1::int) from numbers", add) for add in range(40))
        )
        whole = ROWS * (ROWS - 1) // 2
        assert sums == [whole + ROWS * add for add in range(40)]
        async with pool.acquire() as connection, connection.transaction():
            count = 0
            async for row in connection.cursor("select * from numbers order by n"):
                assert tuple(row) == rows[count]
                count += 1
            assert count == ROWS
        heard = asyncio.Queue()
        async with pool.acquire() as listening:

            def hear(*event):
                heard.put_nowait(event[-1])

            await listening.add_listener("news", hear)
            await pool.execute("notify news, 'good'")
            assert await heard.get() == "good"
            await listening.remove_listener("news", hear)
        try:
            await pool.fetch("select pg_sleep(60)", timeout=0.1)
        except TimeoutError:
            assert await pool.fetchval("select 1") == 1


@on_postgres
async def check_psycopg(port):
    address = f"host=127.0.0.1 port={port} user=postgres dbname=postgres"
    async with psycopg_pool.AsyncConnectionPool(address, min_size=2, max_size=8) as pool:
        async with pool.connection() as connection, connection.cursor() as cursor:
            await cursor.execute("create table numbers (n bigint, t text)")
            async with cursor.copy("copy numbers from stdin") as copy:
                for number in range(ROWS):
                    await copy.write_row((number, f"row {number}"))

        async def add(value):
            async with pool.connection() as connection:
                cursor = await connection.execute("select sum(n + %s) from numbers", (value,))
                return int((await cursor.fetchone())[0])

        whole = ROWS * (ROWS - 1) // 2
        sums = await asyncio.gather(*(add(value) for value in range(40)))
        assert sums == [whole + ROWS * value for value in range(40)]
    async with await psycopg.AsyncConnection.connect(address, autocommit=True) as connection:
        await connection.execute("listen news")
        async with await psycopg.AsyncConnection.connect(address, autocommit=True) as other:
            await other.execute("notify news, 'good'")
        async for event in connection.notifies(timeout=20, stop_after=1):
            assert event.payload == "good"


async def redis_talk(port):
    pool = redis.asyncio.BlockingConnectionPool(
        port=port, decode_responses=True, max_connections=50
    )
    client = redis.asyncio.Redis.from_pool(pool)
    async with client:
        async with client.pipeline() as pipe:
            for number in range(1000):
                pipe.set(f"key {number}", number)
            assert all(await pipe.execute())
        values = await asyncio.gather(*(client.get(f"key {number}") for number in range(1000)))
        assert values == [str(number) for number in range(1000)]
        large = "x" * 3_000_000
        await client.set("large", large)
        assert await client.get("large") == large
        async with client.pubsub() as channel:
            await channel.subscribe("news")
            await client.publish("news", "good")
            async for message in channel.listen():
                if message["type"] == "message":
                    assert message["data"] == "good"
                    break
        popped = asyncio.create_task(client.blpop(["queue"], timeout=20))
        await asyncio.sleep(0.05)
        await client.rpush("queue", "item")
        assert (await popped)[1] == "item"


def check_redis():
    with servers.redis() as port:
        oxloop.run(asyncio.wait_for(redis_talk(port), 60))


async def nats_talk(port):
    client = await nats.connect(f"nats://127.0.0.1:{port}")

    async def answer(message):
        await message.respond(message.data.upper())

    await client.subscribe("shout", cb=answer)
    replies = await asyncio.gather(
        *(client.request("shout", b"message %d" % number, timeout=20) for number in range(500))
    )
    assert [reply.data for reply in replies] == [b"MESSAGE %d" % number for number in range(500)]
    await client.drain()


def check_nats():
    program = shutil.which("nats-server")
    if program is None:
        raise servers.Missing("NATS is not installed (Debian: apt-get install nats-server)")
    port = free_port()
    command = (program, "-a", "127.0.0.1", "-p", str(port))
    with servers.running(*command, port=port, stderr=subprocess.DEVNULL):
        oxloop.run(asyncio.wait_for(nats_talk(port), 60))


if __name__ == "__main__":
    main(globals())
