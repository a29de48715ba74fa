"""The crawler on uvloop: aiohttp's pooled client, a semaphore, a task for each page."""

import asyncio
import json
import re
import sys
from urllib.parse import urljoin, urlsplit

import aiohttp
import uvloop

CONCURRENCY = 64
HREF = re.compile(r'href="([^"#]*)')


async def crawl(start):
    seen = {start}
    host = urlsplit(start).netloc
    pages = 0
    slots = asyncio.Semaphore(CONCURRENCY)
    tasks = set()
    idle = asyncio.Event()
    connector = aiohttp.TCPConnector(limit=CONCURRENCY, limit_per_host=CONCURRENCY)
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def visit(url):
            nonlocal pages
            async with slots:
                async with session.get(url) as answer:
                    if answer.status != 200:
                        return
                    text = await answer.text()
                    pages += 1
            for href in HREF.findall(text):
                link = urljoin(url, href)
                if link not in seen and urlsplit(link).netloc == host:
                    seen.add(link)
                    begin(link)

        def begin(url):
            task = asyncio.create_task(visit(url))
            tasks.add(task)
            task.add_done_callback(done)

        def done(task):
            tasks.discard(task)
            if not tasks:
                idle.set()

        begin(start)
        await idle.wait()
    print(json.dumps({"pages": pages}))


uvloop.run(crawl(sys.argv[1]))
