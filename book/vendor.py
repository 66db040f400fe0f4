"""Fetches the browser files that the book needs, pinned, with npm, into book/_static/vendor. Building the book needs no npm.

python book/vendor.py
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

VENDOR = Path(__file__).parent / "_static" / "vendor"
FILES = {  # package@version: the files to take from it
    "mathjax@3.2.2": ("es5/tex-svg-full.js", "LICENSE"),
    "mermaid@11.17.2": ("dist/mermaid.min.js", "LICENSE"),
}


def fetch(package: str, files: tuple[str, ...]) -> None:
    """Packs one package from the registry that npm is set to, and copies the files into a folder of its name."""
    folder = VENDOR / package.partition("@")[0]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(["npm", "pack", "--silent", package], cwd=place, check=True)
        with tarfile.open(next(Path(place).glob("*.tgz"))) as archive:
            for name in files:
                content = archive.extractfile(f"package/{name}")
                assert content is not None, f"{package} holds no file {name}"
                (folder / Path(name).name).write_bytes(content.read())
    (folder / "VERSION").write_text(f"{package}\n", encoding="utf-8")
    print(f"{package}: {sum(path.stat().st_size for path in folder.iterdir()) / 2**20:.2f} MiB")


if __name__ == "__main__":
    for package, files in FILES.items():
        fetch(package, files)
