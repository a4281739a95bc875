"""Chromium without a window, told what to do over a pipe (the Chrome DevTools Protocol)."""

import base64
import json
import os
import select
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.programs import need


class Browser:
    """One page in a browser of its own; `complaints` are what it has to say of the page."""

    def __init__(self, folder: Path) -> None:
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        script = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        command = [
            need("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
            f"--user-data-dir={folder}", "--remote-debugging-pipe", "about:blank",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            ["bash", "-c", script, "chromium", *command],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._in, self._out = ours_in, ours_out
        self._unread, self._number, self._session = b"", 0, ""
        self.complaints: list[str] = []
        pages = self._ask("Target.getTargets")["targetInfos"]
        target = next(page["targetId"] for page in pages if page["type"] == "page")
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._ask(f"{domain}.enable")

    def look(self, *, dark: bool = False, width: int = 1280, scripts: bool = True) -> None:
        """Be a reader of this kind."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])
        self._ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 700
        )
        self._ask("Emulation.setScriptExecutionDisabled", value=not scripts)

    def visit(self, url: str) -> None:
        """Load a page and wait for the end of that."""
        self._ask("Page.navigate", url=url)
        self.until("document.readyState == 'complete' && location.href != 'about:blank'")

    def value(self, expression: str) -> Any:
        """Return the value of an expression, which is ours: it also works where the page may run no script."""
        result = self._ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until(self, expression: str, within: float = 30.0) -> Any:
        """Return the value of an expression as soon as it is a true one."""
        deadline = time.monotonic() + within
        while not (value := self.value(expression)):
            assert time.monotonic() < deadline, f"{expression} in vain: {self.value('document.body.innerText')}"
            time.sleep(0.05)
        return value

    def picture(self) -> bytes:
        """Return the whole page as a PNG."""
        shot = self._ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    def close(self) -> None:
        self._process.kill()
        self._process.wait(20)
        os.close(self._in)
        os.close(self._out)

    def _ask(self, method: str, **params: Any) -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        answer = self._read(lambda said: said.get("id") == self._number)
        assert "error" not in answer, answer
        return answer["result"]

    def _read(self, is_it: Callable[[dict[str, Any]], bool], within: float = 60.0) -> dict[str, Any]:
        deadline = time.monotonic() + within
        while True:
            while b"\0" in self._unread:
                one, _, self._unread = self._unread.partition(b"\0")
                said = json.loads(one)
                self._note(said)
                if is_it(said):
                    return said
            assert select.select([self._in], [], [], max(0, deadline - time.monotonic()))[0], "the browser says nothing"
            more = os.read(self._in, 1 << 20)
            assert more, "the browser has ended"
            self._unread += more

    def _note(self, said: dict[str, Any]) -> None:
        if said.get("method") in {"Runtime.exceptionThrown", "Log.entryAdded", "Page.javascriptDialogOpening"}:
            self.complaints.append(json.dumps(said["params"]))
