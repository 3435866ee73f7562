"""A headless Chromium for tests, driven by its DevTools protocol over a pipe; the standard library only.

ESPNET_SLD_BROWSER: `install` (the default: install Debian's package if this may), `installed`, `skip`.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # tools/
from debian import apt_install

PACKAGE = "chromium"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
INSTALL_SECONDS = 240
SECONDS = 90.0  # for one answer, on a busy machine
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-default-apps", "--disable-extensions", "--mute-audio", "--hide-scrollbars",
    "--remote-debugging-pipe",
)  # fmt: skip


def program() -> str | None:
    """The browser's path, if there is one."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


def unavailable() -> str:
    """Why no browser can be had here; '' if one can."""
    wish = os.environ.get("ESPNET_SLD_BROWSER", "install")
    if wish == "skip":
        return "ESPNET_SLD_BROWSER=skip"
    if program():
        return ""
    if wish != "install":
        return f"not installed: {PACKAGE} (Debian: apt-get install {PACKAGE})"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return f"not installed: {PACKAGE}, and only root may install it, by apt-get"
    return _install()


def _install() -> str:
    failure = apt_install([PACKAGE], INSTALL_SECONDS)
    if failure or program():
        return failure
    return f"apt-get installed {PACKAGE}, but there is no such program"


class Chromium:
    """One page in a browser of its own.

    Attributes:
        requests: addresses that the page asked for since `open`, its own included.
        problems: errors and warnings of its console, exceptions, failed loads.
    """

    def __init__(self, folder: str | os.PathLike):
        """Start it; `folder` becomes its profile."""
        folder = Path(folder)
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        # The browser reads from descriptor 3 and writes to 4; high numbers so that neither is in the way.
        high = [fcntl.fcntl(number, fcntl.F_DUPFD, 20) for number in (to_browser, from_browser)]
        command = [str(program()), *FLAGS, f"--user-data-dir={folder}", "about:blank"]
        redirect = f'exec "$@" 3<&{high[0]} 4>&{high[1]}'
        with (folder.parent / "chromium.log").open("wb") as log:
            self.process = subprocess.Popen(
                ["bash", "-c", redirect, "bash", *command],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=high,
            )  # fmt: skip
        for number in (to_browser, from_browser, *high):
            os.close(number)
        self._rest, self._number, self._events = b"", 0, []
        self.requests: list[str] = []
        self.problems: list[str] = []
        self._session = None
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        attached = self.command("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.command(f"{domain}.enable")

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; events that come before it are kept."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + SECONDS
        while True:
            answer = self._receive(deadline, method)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def _receive(self, deadline: float, what: str) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError(f"the browser did not answer within {SECONDS:.0f} s: {what}")
            part = os.read(self._read, 1 << 20)
            if not part:
                raise RuntimeError(f"the browser ended (exit {self.process.poll()}): {what}")
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(line)
        if "method" in message:
            self._note(message["method"], message["params"])
        return message

    def _note(self, event: str, values: dict[str, Any]) -> None:
        self._events.append(event)
        if event == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])
        elif event == "Network.loadingFailed" and not values.get("canceled"):
            self.problems.append(f"not loaded: {values.get('errorText')}")
        elif event == "Runtime.exceptionThrown":
            details = values["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description") or details["text"])
        elif event == "Runtime.consoleAPICalled" and values["type"] in ("error", "warning", "assert"):
            self.problems.append(str([item.get("value") for item in values["args"]]))
        elif event == "Log.entryAdded" and values["entry"]["level"] in ("error", "warning"):
            self.problems.append(values["entry"]["text"])

    def open(self, path: str | os.PathLike) -> None:
        """Load a file and wait until it is there."""
        self._events.clear()
        self.requests.clear()
        self.problems.clear()
        self.command("Page.navigate", url=Path(path).resolve().as_uri())
        deadline = time.monotonic() + SECONDS
        while "Page.loadEventFired" not in self._events:
            self._receive(deadline, f"load {path}")

    def evaluate(self, expression: str) -> Any:
        """The JSON value of a JavaScript expression; a promise is waited for."""
        done = self.command("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in done:
            details = done["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description") or details["text"])
        return done["result"].get("value")

    def look(self, *, width: int = 1280, height: int = 900, dark: bool = False, phone: bool = False) -> None:
        """Size of the window, and whether the page is light or dark."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=2 if phone else 1, mobile=phone,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path: str | os.PathLike) -> None:
        """What the window shows, as PNG."""
        image = self.command("Page.captureScreenshot", format="png")["data"]
        Path(path).write_bytes(base64.b64decode(image))

    def pdf(self, path: str | os.PathLike) -> None:
        """What the printer would get."""
        page = self.command("Page.printToPDF", printBackground=True)["data"]
        Path(path).write_bytes(base64.b64decode(page))

    def close(self) -> None:
        """End the browser."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for number in (self._read, self._write):
            os.close(number)

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
