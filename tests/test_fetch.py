"""Downloads from a small server in this process: each mishap has one clear message, and no half file is in place."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import os
import pickle
import shutil
import socket
import struct
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchvision import datasets

from course_utils.commands import fetch as command
from course_utils.common import ROOT, CourseError
from course_utils.worlds import classics
from course_utils.worlds import fetch as fetching
from course_utils.worlds.captioned import world
from course_utils.worlds.classics import mnist
from course_utils.worlds.fetch import fetch

BODY = np.random.default_rng(0).bytes(2_000_000)
MD5, SHA256 = hashlib.md5(BODY).hexdigest(), hashlib.sha256(BODY).hexdigest()
WAYS = ("whole", "ignores range", "breaks off", "stalls", "wrong piece", "tells no length", "too much")


class Server:
    """Files at addresses, how they are served (`way`), and what was asked for: (path, Range or None, bytes sent)."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"/data": BODY}
        self.way = "whole"
        self.asked: list[tuple[str, str | None, int]] = []
        self.goes_on = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *words: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def answer(self, to: BaseHTTPRequestHandler) -> None:
        assert self.way in WAYS
        wish = to.headers.get("Range")
        body = self.files.get(to.path)
        if body is None:
            self.asked.append((to.path, wish, 0))
            return to.send_error(404)
        start = 0
        if wish and self.way != "ignores range":
            start = int(wish.removeprefix("bytes=").rstrip("-"))
            if start >= len(body):
                self.asked.append((to.path, wish, 0))
                return to.send_error(416)
            start = 7 if self.way == "wrong piece" else start
            to.send_response(206)
            to.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            to.send_response(200)
        rest = body[start:]
        if self.way != "tells no length":
            to.send_header("Content-Length", str(len(rest)))
        sent = rest[: len(rest) // 2] if self.way in ("breaks off", "stalls") else rest
        self.asked.append((to.path, wish, len(sent)))  # before the client can see an answer, and ask again
        to.end_headers()
        to.wfile.write(sent)
        if self.way == "stalls":
            to.wfile.flush()
            self.goes_on.wait(60)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    one = Server()
    yield one
    one.goes_on.set()
    one.http.shutdown()
    one.http.server_close()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "new" / "data"


def part_of(target: Path) -> Path:
    part = target.with_name("data.part")
    part.parent.mkdir(exist_ok=True)
    return part


def dead_address() -> str:
    """An address at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


# ------------------------------------------------------------------------------------------------------ what goes well


@pytest.mark.parametrize("way", ["whole", "tells no length"])
@pytest.mark.parametrize("checksum", [MD5, SHA256.upper()])
def test_a_file_comes_whole_and_is_not_asked_for_again(server: Server, target: Path, checksum: str, way: str) -> None:
    server.way = way
    for _ in range(2):
        assert fetch("data", target, mirrors=[server.url + "/"], checksum=checksum) == target
    assert target.read_bytes() == BODY and [path.name for path in target.parent.iterdir()] == ["data"]
    assert server.asked == [("/data", None, len(BODY))]


def test_a_file_that_is_damaged_is_fetched_again(server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(BODY[:-1])
    fetch("data", target, mirrors=[server.url], checksum=MD5)
    assert target.read_bytes() == BODY


def test_killed_half_way_and_resumed(server: Server, target: Path) -> None:
    server.way = "stalls"
    code = (
        "import sys; from course_utils.worlds.fetch import fetch; fetch('data', sys.argv[1], mirrors=[sys.argv[2]], "
        f"checksum='{MD5}')"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(target), server.url], cwd=ROOT, env=dict(os.environ))
    part, until = target.with_name("data.part"), time.monotonic() + 60
    while not (part.is_file() and part.stat().st_size >= fetching.CHUNK) and time.monotonic() < until:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    have = part.stat().st_size
    assert 0 < have < len(BODY) and not target.exists()
    server.way = "whole"
    fetch("data", target, mirrors=[server.url], checksum=MD5)
    assert target.read_bytes() == BODY and not part.exists()
    assert server.asked[1:] == [("/data", f"bytes={have}-", len(BODY) - have)]


def test_killed_before_the_renaming(server: Server, target: Path) -> None:
    part_of(target).write_bytes(BODY)
    fetch("data", target, mirrors=[server.url], checksum=MD5)
    assert target.read_bytes() == BODY and server.asked == []


@pytest.mark.parametrize("way", ["ignores range", "wrong piece"])
def test_a_server_that_cannot_resume_begins_anew(server: Server, target: Path, way: str) -> None:
    part_of(target).write_bytes(BODY[:1000])
    server.way = way
    fetch("data", target, mirrors=[server.url], checksum=MD5)
    assert target.read_bytes() == BODY and server.asked[-1][2] == len(BODY)


@pytest.mark.parametrize("part", [BODY + b"more", b"x" * 5000, b"x" * len(BODY)], ids=["longer", "another", "as long"])
def test_a_part_of_another_file_is_thrown_away_once(server: Server, target: Path, part: bytes) -> None:
    part_of(target).write_bytes(part)
    fetch("data", target, mirrors=[server.url], checksum=MD5)
    assert target.read_bytes() == BODY and not part_of(target).exists()
    assert [wish for _, wish, _ in server.asked] == [f"bytes={len(part)}-", None]


def test_the_next_mirror_goes_on_where_the_first_broke_off(server: Server, target: Path) -> None:
    other = Server()
    server.way = "breaks off"
    fetch("data", target, mirrors=[dead_address(), server.url + "/nothing", server.url, other.url], checksum=MD5)
    assert target.read_bytes() == BODY
    assert other.asked == [("/data", f"bytes={len(BODY) // 2}-", len(BODY) - len(BODY) // 2)]
    other.http.shutdown()
    other.http.server_close()


# ----------------------------------------------------------------------------------------------------- what goes wrong


def fails(target: Path, mirrors: list[str], match: str, checksum: str = MD5, size: int | None = None) -> None:
    with pytest.raises(CourseError, match=match) as caught:
        fetch("data", target, mirrors=mirrors, checksum=checksum, size=size)
    assert not target.exists() and "\n" not in str(caught.value)


def test_a_dead_address(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    fails(
        target, [dead_address()], r"cannot be reached \(.+\)\. Check the connection and run it again, or name another"
    )
    fails(target, ["http://no such host"], "cannot be reached")
    fails(target, ["file:///etc"], "must begin with http")


def test_a_page_that_is_not_there(server: Server, target: Path) -> None:
    fails(
        target,
        [server.url + "/nothing", server.url + "/none"],
        "/nothing/data answers 404 .*; .*/none/data answers 404",
    )
    assert not part_of(target).exists()


def test_a_truncated_body_is_kept_for_the_next_time(server: Server, target: Path) -> None:
    server.way = "breaks off"
    fails(target, [server.url], "(stops after 1000000 of 2000000 bytes|breaks off).*go on after")
    server.way = "whole"
    have = part_of(target).stat().st_size
    fetch("data", target, mirrors=[server.url], checksum=MD5)
    assert target.read_bytes() == BODY and server.asked[-1] == ("/data", f"bytes={have}-", len(BODY) - have)


def test_a_wrong_checksum_leaves_nothing(server: Server, target: Path) -> None:
    server.files["/data"] = BODY[:-1] + b"x"
    fails(target, [server.url], "gives a file with another checksum")
    part_of(target).write_bytes(BODY[:10])
    fails(target, [server.url], "gives a file with another checksum")
    assert not part_of(target).exists()
    assert [wish for _, wish, _ in server.asked] == [None, "bytes=10-", None]


def test_another_size_than_expected_is_not_downloaded(server: Server, target: Path) -> None:
    fails(target, [server.url], "offers 2000000 bytes instead of 5", size=5)
    server.way = "tells no length"
    fails(target, [server.url], "sends more than the 5 bytes", size=5)


def test_a_silent_server(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "TIMEOUT", 0.2)
    server.way = "stalls"
    fails(target, [server.url], r"breaks off \(timed out\)")


def test_a_full_disk(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = [fetching.RESERVE + 1000]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free.pop(0) if free else 0))
    fails(target, [server.url], r"has 64\.0 MiB left, and data needs 1\.9 MiB more besides a reserve")
    assert not part_of(target).exists()
    free += [10**12] * 4  # enough at first; then somebody else fills the disk
    fails(target, [server.url], "has 0.0 MiB left.*what has come is kept")
    assert part_of(target).stat().st_size == 3 * fetching.CHUNK


def test_a_folder_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CourseError, match="Cannot write"):
        fetch("data", tmp_path / "file" / "data", mirrors=[server.url], checksum=MD5)


# --------------------------------------------------------------------------------------------------------- the command


def idx(array: np.ndarray) -> bytes:
    """An array of bytes as MNIST's files hold it, packed."""
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return gzip.compress(head + array.astype(np.uint8).tobytes())


def serve_idx(server: Server, monkeypatch: pytest.MonkeyPatch, kind: type[datasets.MNIST]) -> None:
    """Small files of MNIST's format at the root of the server, whose checksums torchvision and we now expect."""
    resources, originals = [], {}
    for file, _ in kind.resources:
        n = 6 if file.startswith("train") else 4
        array = np.arange(n)[:, None, None] * 20 + np.zeros((n, 28, 28)) if "images" in file else np.arange(n)
        server.files[f"/{file}"] = idx(array)
        resources.append((file, hashlib.md5(server.files[f"/{file}"]).hexdigest()))
        originals[file[:-3]] = hashlib.md5(gzip.decompress(server.files[f"/{file}"])).hexdigest()
    monkeypatch.setattr(kind, "resources", resources)
    monkeypatch.setitem(classics.ORIGINALS, {v: k for k, v in classics.IDX.items()}[kind], originals)
    monkeypatch.setattr(kind, "mirrors", [server.url])


def serve_cifar(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small archive like CIFAR-10's, whose checksums torchvision now expects."""
    kind, packed = datasets.CIFAR10, io.BytesIO()
    sums = {}
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for k, (name, _) in enumerate(kind.train_list + kind.test_list):
            content = {"data": np.full((2, 3072), 10 * k, np.uint8), "labels": [k, 9 - k]}
            content["data"][:, :1024] = 255  # the first 1024 numbers are red
            sums[name] = pickle.dumps(content, protocol=2)
        sums["batches.meta"] = pickle.dumps({"label_names": list("abcdefghij")}, protocol=2)
        sums["../escaped"] = b"what nobody asked for"
        for name, body in sums.items():
            info = tarfile.TarInfo(f"{kind.base_folder}/{name}")
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    server.files[f"/{kind.filename}"] = packed.getvalue()
    md5 = {name: hashlib.md5(body).hexdigest() for name, body in sums.items()}
    monkeypatch.setattr(kind, "train_list", [[name, md5[name]] for name, _ in kind.train_list])
    monkeypatch.setattr(kind, "test_list", [[name, md5[name]] for name, _ in kind.test_list])
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": md5["batches.meta"]})
    monkeypatch.setattr(kind, "tgz_md5", hashlib.md5(packed.getvalue()).hexdigest())
    monkeypatch.setattr(kind, "url", f"{server.url}/{kind.filename}")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs the command in this process; downloads go below tmp_path/home/data."""
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("COURSE_DATA", raising=False)

    def main(*words: str) -> None:
        import argparse

        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        command.main(parser.parse_args(words))

    return main


def test_fetch_mnist_fills_torchvisions_layout(server, run, tmp_path, monkeypatch, capsys) -> None:
    serve_idx(server, monkeypatch, datasets.MNIST)
    run("mnist", "--json")
    raw = tmp_path / "home" / "data" / "MNIST" / "raw"
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"mnist": str(raw)}
    assert len(datasets.MNIST(str(tmp_path / "home" / "data"), train=False)) == 4
    assert mnist("test").labels.tolist() == [0, 1, 2, 3] and len(world("mnist", "all")) == 10
    asked = len(server.asked)
    run("mnist")
    assert len(server.asked) == asked == 4, "what is there is not asked for"
    (raw / "t10k-images-idx3-ubyte").write_bytes(b"damaged")
    with pytest.raises(CourseError, match="is not the original file .* run `python -m course_utils fetch mnist`"):
        mnist("test")
    run("mnist")
    assert len(mnist("test").images) == 4 and len(server.asked) == asked, "it is unpacked again"


def test_files_that_are_there_are_unpacked_whoever_packed_them(server, run, tmp_path, monkeypatch) -> None:
    serve_idx(server, monkeypatch, datasets.MNIST)
    raw = tmp_path / "home" / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, body in server.files.items():
        if name.endswith(".gz"):
            (raw / name[1:]).write_bytes(gzip.compress(gzip.decompress(body), compresslevel=1, mtime=1))
    run("mnist")
    assert server.asked == [] and len(datasets.MNIST(str(raw.parents[1]), train=True)) == 6


def test_other_files_under_the_same_names_are_not_taken(server, run, tmp_path, monkeypatch) -> None:
    """EMNIST, a part of MNIST, or pictures and labels whose numbers differ: with "all", labels would slip."""
    serve_idx(server, monkeypatch, datasets.MNIST)
    raw = tmp_path / "home" / "data" / "MNIST" / "raw"
    run("mnist")
    labels = raw / "train-labels-idx1-ubyte"
    right = labels.read_bytes()
    for other in (np.arange(6) + 20, np.arange(5), np.arange(5, -1, -1)):
        labels.write_bytes(gzip.decompress(idx(other)))
        for split in ("train", "test", "all"):
            with pytest.raises(CourseError, match=r"train-labels-idx1-ubyte in .* is not the original file of mnist"):
                world("mnist", split)
    labels.unlink()
    packed = raw / "train-labels-idx1-ubyte.gz"
    for _ in range(2):  # nor packed ones, also when they were unpacked before
        packed.write_bytes(idx(np.arange(6) + 20))
        with pytest.raises(CourseError, match=r"is not the original file of mnist"):
            world("mnist")
    packed.write_bytes(gzip.compress(right))
    assert world("mnist", "all").labels.tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3]
    (raw.parent / "processed").mkdir()  # what old versions of torchvision wrote, and new ones prefer
    for name in ("training.pt", "test.pt"):
        torch.save((torch.zeros(2, 28, 28, dtype=torch.uint8), torch.zeros(2)), raw.parent / "processed" / name)
    assert len(world("mnist", "all")) == 10


def test_what_may_not_be_read_is_no_damaged_file(server, run, tmp_path, monkeypatch) -> None:
    serve_idx(server, monkeypatch, datasets.MNIST)
    run("mnist")
    monkeypatch.setattr(classics, "has_checksum", forbidden)
    with pytest.raises(CourseError, match="cannot be read .*Permission denied"):
        world("mnist")
    monkeypatch.setattr(Path, "is_dir", forbidden)
    for name in ("mnist", "celeba"):
        with pytest.raises(CourseError, match=r"cannot be read \(Permission denied\); make it readable"):
            world(name, path=tmp_path)


def forbidden(path: Path, *more: object) -> bool:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def test_fetch_cifar10_reads_only_what_torchvision_lists(server, run, tmp_path, monkeypatch) -> None:
    serve_cifar(server, monkeypatch)
    run("cifar10")
    root = tmp_path / "home" / "data"
    assert sorted(path.name for path in root.iterdir()) == ["cifar-10-batches-py", "cifar-10-python.tar.gz"]
    assert len(list((root / "cifar-10-batches-py").iterdir())) == 7
    train, test = world("cifar10", "train"), world("cifar10", "test")
    assert (len(train), len(test)) == (10, 2) and train.labels.tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5]
    assert train.images([2]).dtype == torch.float32 and train.images([2]).shape == (1, 3, 32, 32)
    assert train.images(2).mean((1, 2)).tolist() == pytest.approx([1, 10 / 255, 10 / 255])
    assert train.caption(2) == "a car" and train.caption(2, language="zh") == "一辆汽车"


def test_a_pickle_with_another_checksum_is_not_opened(server, run, tmp_path, monkeypatch) -> None:
    serve_cifar(server, monkeypatch)
    run("cifar10")
    batch = tmp_path / "home" / "data" / "cifar-10-batches-py" / "data_batch_3"
    batch.write_bytes(b"cos\nmkdir\n(S'" + str(tmp_path / "opened").encode() + b"'\ntR.")
    for split in ("train", "test"):
        with pytest.raises(CourseError, match="The files of cifar10 .* cannot be read"):
            world("cifar10", split)
    assert not (tmp_path / "opened").exists()
    run("cifar10")
    assert len(world("cifar10")) == 10


def test_fetch_to_another_folder_from_another_server(server, run, tmp_path, monkeypatch) -> None:
    serve_idx(server, monkeypatch, datasets.FashionMNIST)
    monkeypatch.setattr(datasets.FashionMNIST, "mirrors", [dead_address()])
    with pytest.raises(CourseError, match="--mirror"):
        run("fashion_mnist")
    run("fashion_mnist", "--mirror", server.url, "--to", str(tmp_path / "mine"))
    assert world("fashion_mnist", "test", path=tmp_path / "mine").caption(1) == "trousers"
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "mine"))
    assert len(world("fashion_mnist", "train")) == 6


def test_fetch_celeba_explains_the_download_by_hand(run, tmp_path, capsys) -> None:
    run("celeba", "--json")
    told, last = capsys.readouterr().out.splitlines()
    assert json.loads(last) == {"celeba": None}
    for words in (
        "mmlab.ie.cuhk.edu.hk",
        "list_attr_celeba.txt",
        "img_align_celeba.zip",
        "non-commercial",
        str(tmp_path),
    ):
        assert words in told


def test_what_is_missing_has_two_remedies(run) -> None:
    for name in ("mnist", "fashion_mnist", "cifar10"):
        with pytest.raises(
            CourseError, match=f"course_utils fetch {name}`, or set the environment variable COURSE_DATA"
        ):
            world(name)
