"""A headless Chromium for tests, and what it notices on a page."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update"
LOCAL = re.compile(r"(?:file|data|blob|about):|(?:https?|wss?)://(?:127\.0\.0\.1|localhost)[:/]")
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@contextmanager
def chromium() -> Iterator[Any]:
    """A running browser (Playwright); the test is skipped where there is none. CHROMIUM names another program."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is missing; it comes with the extra 'test'"
    )
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=program, headless=True, args=FLAGS.split())
        yield browser
        browser.close()


class Visit:
    """A page in a window of its own, and every complaint of the browser about it. Nothing leaves this machine."""

    def __init__(self, browser: Any, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        self.context.set_default_timeout(120_000)  # milliseconds: the machine may be busy with other tests
        self.context.route(lambda address: not LOCAL.match(address), lambda route: route.abort())
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"script error: {error}"))
        self.page.on("request", self._request)
        self.page.on("requestfailed", self._failed)
        self.page.on("response", self._response)

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self.complaints.append(f"console: {message.text}")

    def _request(self, request: Any) -> None:
        if not LOCAL.match(request.url):
            self.complaints.append(f"outside request: {request.url}")

    def _failed(self, request: Any) -> None:
        if request.failure != "net::ERR_ABORTED":  # the browser itself gave it up, as it left the page
            self.complaints.append(f"request failed: {request.url} ({request.failure})")

    def _response(self, response: Any) -> None:
        if response.status >= 400:
            self.complaints.append(f"answer {response.status}: {response.url}")
