"""Run generated code against tests, apart from everything else. Off unless a task allows it.

The process has an empty environment, an empty folder of its own, Python's
standard library and nothing else, limits on time, memory and files, and hooks
that refuse further processes, sockets, and files that are not its own. Where
the system can do it (Linux, ``unshare``) it has no network and ends with all
that it started. It is not a virtual machine: a program that is written to
break out of Python can read what the user can read. Where that matters, run
the study in a container.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from transferlens.errors import EngineError
from transferlens.metrics.base import METRICS, Metric
from transferlens.metrics.code import code_block

__all__ = ["code_runs", "run_python"]

_SECONDS = 10
_MEMORY = 1 << 30
_FILE = 1 << 20

# Sets limits on itself, tells that it has started, runs the program, and tells that it got to
# the end; `sys.exit(0)` in the program does not.
_RUNNER = f"""
import os, posix, resource, sys, types
token = sys.stdin.readline().strip()
for limit, value in (
    ("CPU", {_SECONDS}), ("AS", {_MEMORY}), ("FSIZE", {_FILE}), ("CORE", 0), ("NPROC", 0),
    ("NOFILE", 64),
):
    name = getattr(resource, "RLIMIT_" + limit, None)
    if name is not None:
        hard = resource.getrlimit(name)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(name, (value, value))
REFUSED = (
    "subprocess.", "socket.", "ctypes.", "shutil.", "pty.", "sqlite3.", "resource.", "os.fork",
    "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.kill", "os.link", "os.symlink",
    "os.chmod", "os.chown", "os.chflags", "os.lchmod", "os.setxattr", "os.removexattr", "os.utime",
)
# Event -> positions of its paths, and of folders that they are relative to.
CHANGES = dict((
    ("os.mkdir", ((0,), (2,))), ("os.rmdir", ((0,), (1,))), ("os.remove", ((0,), (1,))),
    ("os.rename", ((0, 1), (2, 3))), ("os.truncate", ((0,), ())), ("os.chdir", ((0,), ())),
))
LOOKS = ("os.listdir", "os.scandir", "os.walk")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
real = os.path.realpath
own = (real(os.getcwd()) + os.sep,)
seen = own + tuple(real(path) + os.sep for path in sys.path) + (os.devnull + os.sep,)
def inside(path, places):
    # An open file has passed already; no path at all is the current folder.
    if path is None or isinstance(path, int):
        return True
    return (real(os.fsdecode(path)) + os.sep).startswith(places)
def allowed(event, values):
    if event == "open":
        return inside(values[0], own if (values[2] or 0) & WRITES else seen)
    if event in LOOKS:
        return inside(values[0], seen)
    if event in CHANGES:
        paths, folders = CHANGES[event]
        return all(inside(values[i], own) for i in paths) and all(
            values[i] in (None, -1) for i in folders
        )
    return not event.startswith(REFUSED)
def refuse(event, values):
    if not allowed(event, values):
        raise PermissionError(event + " is refused to generated code")
report, nothing = os.dup(1), os.open(os.devnull, os.O_RDWR)
for stream in (0, 1, 2):
    os.dup2(nothing, stream)
os.write(report, (token + " started\\n").encode())
with open("program.py", encoding="utf-8") as file:
    program = compile(file.read(), "program.py", "exec")
for module in (os, posix):
    # These two make files and raise no event.
    for name in ("mkfifo", "mknod"):
        module.__dict__.pop(name, None)
# A module of its own: classes are looked up there by dataclasses, pickle and typing.
main = sys.modules["__main__"] = types.ModuleType("__main__")
sys.addaudithook(refuse)
exec(program, main.__dict__)
os.write(report, (token + " finished\\n").encode())
"""


def code_runs(prediction: str | None, gold: str) -> float:
    """Return 1 if the answer's code, followed by the tests in ``gold``, ends without an error.

    ``gold`` is Python, as in ``assert add(1, 2) == 3``. Time over the limit
    and leaving before the end of the tests count as errors.

    Raises
    ------
    EngineError
        The isolated process cannot be started here.
    """
    if prediction is None:
        return 0.0
    return float(run_python(f"{code_block(prediction)}\n\n{code_block(gold)}\n"))


def run_python(program: str, *, seconds: float = _SECONDS) -> bool:
    """Run a Python program in an isolated process; return whether it got to its end.

    Raises
    ------
    EngineError
        The process cannot be started.
    """
    if os.name != "posix":
        msg = "running generated code needs Linux or macOS; use the metric code_similarity"
        raise EngineError(msg)
    token = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="transferlens-") as folder:
        text = program.encode("utf-8", errors="replace")
        (Path(folder) / "program.py").write_bytes(text)
        report, errors = _run(folder, token, seconds)
    if f"{token} started" not in report:
        msg = f"the process for generated code does not start: {errors.strip()[-200:] or 'killed'}"
        raise EngineError(msg)
    return f"{token} finished" in report


def _run(folder: str, token: str, seconds: float) -> tuple[str, str]:
    command = [*_apart(), sys.executable, "-I", "-S", "-B", "-c", _RUNNER]
    process = subprocess.Popen(  # noqa: S603 - running this is what the task allowed
        command,
        cwd=folder,
        env={},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
        errors="replace",
    )
    try:
        return process.communicate(f"{token}\n", timeout=seconds)
    except subprocess.TimeoutExpired:
        _kill_group(process.pid)
        report, errors = process.communicate()
        return report.replace(f"{token} finished", ""), errors
    finally:
        _kill_group(process.pid)


def _kill_group(leader: int) -> None:
    """End the process and all that it started, which would outlive it."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


@cache
def _apart() -> tuple[str, ...]:
    """Return the command that takes away network and processes; empty where there is none."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return ()
    command = (unshare, "-U", "-r", "-n", "-p", "-f", "--kill-child", "--")
    test = subprocess.run([*command, "true"], capture_output=True, check=False)  # noqa: S603 - constant
    return command if test.returncode == 0 else ()


METRICS.register("code_runs")(
    Metric(name="code_runs", score=code_runs, needs="generate", runs_code=True)
)
