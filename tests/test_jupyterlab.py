"""A lesson in JupyterLab, as `make lab` opens it: it is trusted, no news pop up, what can be moved changes the picture."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Visit, chromium

from course_utils.classroom.tidy import dump, read, text

ROOT = Path(__file__).resolve().parent.parent
LESSON = "00_start_here.ipynb"
WHOLE = '{"windowingMode": "none"}'  # every cell is on the page, whether it is in sight or not
SECONDS = 1000  # milliseconds


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a JupyterLab that works on the lesson up to its box for prompts, with the Makefile's settings and none of a user's."""
    pytest.importorskip("jupyterlab", reason="jupyterlab is missing; it comes with the extra 'lab'")
    folder = tmp_path_factory.mktemp("lab")
    (folder / "notebooks").mkdir()
    lesson = read(ROOT / "notebooks" / LESSON)
    last = next(n for n, cell in enumerate(lesson["cells"]) if "prompt_box(" in text(cell["source"]))
    lesson["cells"] = lesson["cells"][: last + 1]  # what comes after it runs elsewhere
    (folder / "notebooks" / LESSON).write_text(dump(lesson), encoding="utf-8")
    file = folder / "settings" / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
    file.parent.mkdir(parents=True)
    file.write_text(WHOLE, encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "COURSE_PROFILE": "ci",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
    }
    environment.pop("MPLBACKEND", None)  # the kernel sets the one that shows figures
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nlab:")[2].partition("\n\n")[0]
    settings = re.findall(r'JUPYTER_CONFIG_PATH="\$\(CURDIR\)/([.\w]+)', recipe)
    environment["JUPYTER_CONFIG_PATH"] = os.pathsep.join(str(ROOT / name) for name in settings)
    trust = [sys.executable, "-m", *re.findall(r"-m (nbformat\.sign) ", recipe), str(folder / "notebooks" / LESSON)]
    subprocess.run(trust, env=environment, check=True)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}"]
    command += [
        "--ServerApp.port_retries=0",
        "--IdentityProvider.token=",
        f"--ServerApp.root_dir={folder / 'notebooks'}",
    ]
    command += ["--LabApp.expose_app_in_browser=True", *(["--allow-root"] if os.geteuid() == 0 else [])]
    with open(folder / "log.txt", "w+", encoding="utf-8") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        address = f"http://127.0.0.1:{port}"
        try:
            for _ in range(240):
                if server.poll() is not None:
                    pytest.fail((folder / "log.txt").read_text(encoding="utf-8")[-2000:])
                try:
                    urllib.request.urlopen(f"{address}/api/status", timeout=2)
                    break
                except OSError:
                    time.sleep(0.5)
            yield address
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)


def test_a_reader_opens_runs_and_plays(lab: str) -> None:
    with chromium() as browser, Visit(browser, width=1300, height=1000) as visit:
        page = visit.page
        page.goto(f"{lab}/lab/tree/{LESSON}?reset")
        page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=120 * SECONDS)
        idle = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
        page.wait_for_function(idle, timeout=120 * SECONDS)
        turn(page)  # as stored, before anything has run: scripts of untrusted pages are taken out

        page.evaluate(
            "window.jupyterapp.commands.execute('notebook:run-all-cells').then(() => 0)"
        )  # until all have run
        errors = page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.error']")
        assert errors.count() == 0, errors.first.inner_text()

        box = ".jp-OutputArea .widget-vbox"  # in which a prompt is typed
        before = page.locator(f"{box} img").first.get_attribute("src")
        handle = page.locator(f"{box} .noUi-handle").first  # the slider of the seed; its move draws
        handle.focus()
        handle.press("ArrowRight")
        changed = "([place, before]) => (document.querySelector(place)?.src ?? before) !== before"
        page.wait_for_function(changed, arg=[f"{box} img", before], timeout=120 * SECONDS)

        turn(page)
        assert page.locator(".Toastify__toast").all_inner_texts() == []  # no news, no updates
        assert not [complaint for complaint in visit.complaints if complaint.startswith("outside")]


def turn(page: Any) -> None:
    """Moves the first flipbook's slider and looks for another picture."""
    flipbook = page.locator("div.flipbook").first
    shown = flipbook.locator("img.flipbook-page:visible")
    before = shown.get_attribute("src")
    flipbook.locator("input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    assert shown.count() == 1 and shown.get_attribute("src") != before
