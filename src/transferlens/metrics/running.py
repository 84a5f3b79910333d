"""Run generated code against tests, apart from everything else. Off unless a task allows it.

The process has an empty environment, an empty folder of its own, limits on
time, memory and files, and hooks that refuse further processes, sockets, and
writing elsewhere. Where the system can do it (Linux, ``unshare``) it has no
network and ends with all that it started. It is not a virtual machine: a
program that is written to break out of Python can read what the user can
read. Where that matters, run the study in a container.
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
import os, resource, sys
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
    "subprocess.", "socket.", "ctypes.", "shutil.", "pty.", "os.fork", "os.exec", "os.posix_spawn",
    "os.spawn", "os.system", "os.kill", "os.remove", "os.rename", "os.rmdir", "os.link",
    "os.symlink", "os.truncate", "os.chmod", "os.chown", "os.chflags", "os.setxattr",
)
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
here, real = os.getcwd() + os.sep, os.path.realpath
def refuse(event, values):
    outside = event == "open" and (values[2] or 0) & WRITES and isinstance(values[0], (str, bytes))
    if event.startswith(REFUSED) or outside and not real(os.fsdecode(values[0])).startswith(here):
        raise PermissionError(event + " is refused to generated code")
report, nothing = os.dup(1), os.open(os.devnull, os.O_RDWR)
for stream in (0, 1, 2):
    os.dup2(nothing, stream)
os.write(report, (token + " started\\n").encode())
with open("program.py", encoding="utf-8") as file:
    program = compile(file.read(), "program.py", "exec")
sys.addaudithook(refuse)
exec(program, {{"__name__": "__main__"}})
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
