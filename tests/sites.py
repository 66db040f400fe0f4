"""The built book, made once for all test processes; small books with planted faults; and what a page must not do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"
OUTSIDE = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//|(?:https?|ftp|wss?):", re.IGNORECASE)
NEEDED = "sphinx myst_nb sphinx_book_theme sphinx_design sphinx_copybutton sphinxcontrib.bibtex"


def need_sphinx() -> None:
    """Skips the test where the extra `book` is not installed."""
    for module in NEEDED.split():
        pytest.importorskip(module, reason=f"{module} is missing; it comes with the extra 'book'")


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a Python program in the checkout, without what the caller's shell says about the book."""
    clean = {name: value for name, value in os.environ.items() if name not in ("COURSE_REPOSITORY", "COURSE_BINDER")}
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=ROOT, env=clean | environment, capture_output=True, text=True, check=False)


@cache
def built() -> tuple[Path, str]:
    """Folder of the book's pages, and what the build said if it failed; the first process that asks builds it."""
    need_sphinx()
    folder = Path(os.environ["COURSE_HOME"]) / "book"
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        for _ in range(1200):
            if (folder / "said.txt").exists():
                break
            time.sleep(0.5)
    else:
        done = run(str(BOOK / "build.py"), str(folder))
        said = done.stdout + done.stderr if done.returncode else ""
        (folder / "part.txt").write_text(said, encoding="utf-8")
        (folder / "part.txt").rename(folder / "said.txt")
    return folder / "html", (folder / "said.txt").read_text(encoding="utf-8")


def small_book(folder: Path, pages: dict[str, str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Renders FOLDER/html of a few pages (name.md or name.ipynb: text) with the settings of the book."""
    need_sphinx()
    source = folder / "book"
    shutil.copytree(BOOK / "_ext", source / "_ext", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(BOOK / "_static", source / "_static")
    for name in ("conf.py", "references.bib"):
        shutil.copy(BOOK / name, source)
    (source / "generated.toml").write_text("pages = []\n", encoding="utf-8")
    names = "\n".join(name.rpartition(".")[0] for name in pages)
    (source / "index.md").write_text(f"# A small book\n\n```{{toctree}}\n{names}\n```\n", encoding="utf-8")
    for name, text in pages.items():
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text(text, encoding="utf-8")
    code = "import sys, pathlib; sys.path.insert(0, 'book'); import build; sys.exit(build.render(pathlib.Path(sys.argv[1])))"
    return run("-c", code, str(folder), **environment)


class Page(HTMLParser):
    """What a page loads, where it links, and what may be linked to."""

    LOADS = ("stylesheet", "icon", "preload", "prefetch", "preconnect", "dns-prefetch", "modulepreload", "manifest")

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.images: list[dict[str, str]] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, pairs: list[tuple[str, str | None]]) -> None:
        """Notes one element."""
        found = {name: value or "" for name, value in pairs}
        self.ids.add(found.get("id", ""))
        self.loads += re.findall(r"url\(\s*['\"]?([^'\")]+)", found.get("style", ""))
        if tag == "a":
            self.ids.add(found.get("name", ""))
            self.links += [found["href"]] if "href" in found else []
        elif tag == "link":
            self.loads += [found.get("href", "")] if set(found.get("rel", "").split()) & set(self.LOADS) else []
        else:
            names = ("src", "poster", *(("data",) if tag == "object" else ()), *(("href",) if tag == "image" else ()))
            self.loads += [found[name] for name in names if name in found]
            self.loads += [part.split()[0] for part in found.get("srcset", "").split(",") if part.strip()]
        if tag == "img":
            self.images.append(found)


def faults(folder: Path) -> list[str]:
    """What is wrong with a folder of pages: things loaded from elsewhere or not there, links that lead nowhere."""
    pages = {path.resolve(): Page(path) for path in sorted(folder.rglob("*.html")) if "_static" not in path.parts}
    found = []
    for path, page in pages.items():
        name = path.relative_to(folder.resolve()).as_posix()
        for load in page.loads:
            if OUTSIDE.match(load):
                found.append(f"{name} loads {load} from elsewhere")
            elif not load.startswith("data:") and not _target(path, load)[0].is_file():
                found.append(f"{name} loads {load}, which is not there")
        for link in page.links:
            if OUTSIDE.match(link) or link.startswith(("mailto:", "javascript:")):
                continue
            target, fragment = _target(path, link)
            if not target.is_file():
                found.append(f"{name} links to {link}, which is not there")
            elif fragment and target in pages and fragment not in pages[target].ids:
                found.append(f"{name} links to {link}, where no such place is")
    for path in sorted(folder.rglob("*.css")):
        for load in re.findall(r"(?:url\(|@import)\s*['\"]?([^'\")\s]+)", path.read_text(encoding="utf-8")):
            if OUTSIDE.match(load):
                found.append(f"{path.name} loads {load} from elsewhere")
    return found


def _target(page: Path, link: str) -> tuple[Path, str]:
    """The file and the place in it that a link means."""
    address, fragment = urldefrag(link)
    name = unquote(address.partition("?")[0])
    return (page.parent / name).resolve() if name else page, unquote(fragment)
