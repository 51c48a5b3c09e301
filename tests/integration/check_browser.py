"""Playwright: a driver and a browser as child processes, and long talks with them over pipes."""

import asyncio
import contextlib
import shutil

import servers
from harness import assert_oxloop, main
from playwright.async_api import async_playwright

PAGE = b"""<!doctype html>
<title>counter</title>
<button onclick="count.textContent = Number(count.textContent) + 1">more</button>
<output id="count">0</output>
"""
# The system's browser, as it runs on machines without a screen, and as root.
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")


def browser_program():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    raise servers.Missing("no Chromium is installed (Debian: apt-get install chromium)")


async def answer(reader, writer):
    with contextlib.closing(writer):
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(PAGE)}\r\n"
        writer.write(f"{head}Connection: close\r\n\r\n".encode() + PAGE)
        await writer.drain()


@contextlib.asynccontextmanager
async def browser():
    async with async_playwright() as playwright:
        chromium = playwright.chromium
        opened = await chromium.launch(executable_path=browser_program(), args=list(QUIET))
        try:
            yield opened
        finally:
            await opened.close()


async def count_up(window, url, times):
    page = await window.new_page()
    await page.goto(url)
    for _ in range(times):
        await page.click("button")
    assert await page.title() == "counter"
    picture = await page.screenshot()
    assert picture.startswith(b"\x89PNG")
    return int(await page.text_content("#count"))


async def check_pages_of_a_browser():
    assert_oxloop()
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server, browser() as window:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        counts = await asyncio.gather(*(count_up(window, url, times) for times in range(5, 9)))
        assert counts == [5, 6, 7, 8]


async def check_messages_of_megabytes():
    async with browser() as window:
        page = await window.new_page()
        text = "x" * 3_000_000
        assert await page.evaluate("text => text.toUpperCase()", text) == text.upper()
        answers = (
            page.evaluate("n => new Promise(done => setTimeout(done, n % 7, n))", n)
            for n in range(300)
        )
        assert await asyncio.gather(*answers) == list(range(300))


if __name__ == "__main__":
    main(globals())
