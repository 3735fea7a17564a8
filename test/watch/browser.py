"""A real browser for tests of pages, by the Chrome DevTools protocol."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import shutil

import aiohttp

LIMIT_S = 60.0
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


class Tab:
    """One page of a browser, by the Chrome DevTools protocol."""

    def __init__(self, socket):
        self._socket = socket
        self._numbers = itertools.count(1)
        self._session = {}

    async def call(self, method, **params):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params, **self._session}
        await self._socket.send_json(message)
        async for answer in self._socket:
            content = json.loads(answer.data)
            if content.get("id") == number:
                assert "error" not in content, content
                return content["result"]
        raise AssertionError(f"the browser ended at {method}")

    async def open(self, address, width=1280):
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        self._session = {"sessionId": attached["sessionId"]}
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        await self.call("Emulation.setDeviceMetricsOverride", **size)
        await self.call("Page.navigate", url=address)
        await self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    async def value(self, script):
        answer = await self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def text(self, name):
        return await self.value(f"document.getElementById({name!r}).innerText")

    async def place(self, element, text):
        """Return the left and right edge of where a text is drawn within an element."""
        script = f"""
            const walker = document.createTreeWalker({element}, NodeFilter.SHOW_TEXT);
            const text = {text!r};
            while (walker.nextNode() && !walker.currentNode.data.includes(text));
            const at = walker.currentNode.data.indexOf(text);
            const range = document.createRange();
            range.setStart(walker.currentNode, at);
            range.setEnd(walker.currentNode, at + text.length);
            const box = range.getBoundingClientRect();
            return [box.left, box.right];
        """
        return await self.value(f"(() => {{{script}}})()")

    async def until(self, script):
        """Wait until a script is true."""
        for _ in range(int(LIMIT_S / 0.05)):
            if await self.value(script):
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"not true within {LIMIT_S} s: {script}")


def visit(steps, folder):
    """Run steps with a browser of their own."""

    async def run():
        browser = await asyncio.create_subprocess_exec(
            *(CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu"),
            *("--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            address = None
            while address is None:
                line = await browser.stderr.readline()
                assert line, "Chromium ended"
                address = re.search(r"ws://\S+", line.decode())
            async with (
                aiohttp.ClientSession() as client,
                client.ws_connect(address[0], max_msg_size=0) as socket,
            ):
                await asyncio.wait_for(steps(Tab(socket)), LIMIT_S)
        finally:
            browser.kill()
            await browser.communicate()

    asyncio.run(run())
