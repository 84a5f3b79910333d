"""Generated code runs only where a task allows it, and then apart from everything else."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from transferlens.errors import EngineError, SpecError
from transferlens.metrics import code_runs, get_metric
from transferlens.metrics.running import run_python

ADD = "def add(a, b):\n    return a + b\n"


def test_it_is_refused_unless_the_task_allows_it():
    with pytest.raises(SpecError, match=r"allow it with `unsafe_code: true` in the task, or use"):
        get_metric("code_runs")
    assert get_metric("code_runs", unsafe_code=True).runs_code


@pytest.mark.parametrize(
    ("prediction", "tests", "expected"),
    [
        (ADD, "assert add(1, 2) == 3", 1),
        (f"Sure:\n```python\n{ADD}```\nDone.", "```python\nassert add(1, 2) == 3\n```", 1),
        (ADD, "assert add(1, 2) == 4", 0),
        ("def add(a, b)\n    return a + b", "assert add(1, 2) == 3", 0),
        ("import sys\nsys.exit(0)", "assert False", 0),
        ("import os\nos._exit(0)", "assert False", 0),
        ("print('finished')", "assert False", 0),
        (None, "assert True", 0),
    ],
)
def test_the_score_is_whether_the_tests_are_passed_to_their_end(prediction, tests, expected):
    assert code_runs(prediction, tests) == expected


LEGITIMATE = """
from __future__ import annotations
import collections, dataclasses, os, pathlib, pickle, tempfile, typing

@dataclasses.dataclass
class Node:
    next: Node | None = None

assert typing.get_type_hints(Node)
assert pickle.loads(pickle.dumps(Node(Node()))).next == Node()
pathlib.Path("own").mkdir()
pathlib.Path("own/text").write_text("x")
assert os.listdir("own") == ["text"]
os.rename("own/text", "text")
os.remove("text")
with tempfile.NamedTemporaryFile("w") as file:
    file.write("x")
print("x" * 100_000)
if __name__ == "__main__":
    reached = True
assert reached
"""


def test_an_ordinary_program_may_use_the_standard_library_and_its_own_folder():
    assert run_python(LEGITIMATE)


def guarded(*lines: str) -> str:
    """Return a program that reaches its end unless every line is refused with an error."""
    tries = "".join(f"try:\n    {line}\nexcept Exception:\n    refused += 1\n" for line in lines)
    return f"import io, os, pathlib\nrefused = 0\n{tries}assert refused < {len(lines)}\n"


def test_it_cannot_read_or_write_outside_its_folder(tmp_path):
    secret, made = tmp_path / "secret", tmp_path / "made"
    secret.write_text("x", encoding="utf-8")
    assert not run_python(
        guarded(
            f"open({str(secret)!r}).read()",
            f"os.open({str(secret)!r}, os.O_RDONLY)",
            f"io.FileIO(pathlib.Path({str(secret)!r}))",
            f"os.listdir({str(tmp_path)!r})",
            f"os.chdir({str(tmp_path)!r})",
            f"open({str(made)!r}, 'w')",
            f"os.mkdir({str(made)!r})",
            f"os.remove({str(secret)!r})",
            f"os.rename({str(secret)!r}, 'mine')",
            f"os.symlink({str(secret)!r}, 'link')",
            f"os.mkfifo({str(made)!r})",
            f"__import__('sqlite3').connect({str(made)!r})",
            f"__import__('shutil').copy({str(secret)!r}, 'mine')",
            "open('../up', 'w')",
            "open('/etc/passwd').read()",
        )
    )
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
    assert secret.read_text(encoding="utf-8") == "x"


def test_it_sees_nothing_of_our_environment(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert run_python("import os\nassert 'secret' not in os.environ.values()\n")
    assert run_python("import os\nassert not set(os.environ) - {'LC_CTYPE', 'PWD'}\n")


def test_it_reaches_no_network():
    with socket.create_server(("127.0.0.1", 0)) as server:
        reached = threading.Event()

        def accept() -> None:
            try:
                server.accept()[0].close()
                reached.set()
            except OSError:
                return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        port = server.getsockname()[1]
        assert not run_python(
            guarded(
                f"__import__('socket').create_connection(('127.0.0.1', {port}))",
                f"__import__('_socket').socket().connect(('127.0.0.1', {port}))",
                f"__import__('urllib.request').request.urlopen('http://127.0.0.1:{port}')",
            )
        )
        assert not reached.is_set()


def test_it_starts_no_other_program_and_harms_no_process():
    assert not run_python(
        guarded(
            "os.fork()",
            "os.system('true')",
            "os.execv('/bin/true', ['true'])",
            "__import__('subprocess').run(['true'])",
            "__import__('multiprocessing').Process(target=print).start()",
            "os.kill(os.getppid(), 9)",
            "__import__('ctypes').CDLL(None)",
        )
    )


@pytest.mark.parametrize(
    "program",
    [
        "while True:\n    pass",
        "import time\ntime.sleep(600)",
        "from threading import Timer\nTimer(600, print).start()",
    ],
)
def test_time_over_the_limit_is_an_error(program):
    assert not run_python(program, seconds=3)


@pytest.mark.parametrize(
    "program",
    [
        "held = bytearray(2 << 30)",
        "held = [0] * (1 << 28)",
        "open('large', 'wb').write(bytes(2 << 20))",
        "files = [open(str(i), 'w') for i in range(100)]",
        "def f():\n    return f()\nf()",
    ],
)
def test_memory_and_files_are_limited(program):
    assert not run_python(program)


def test_bytes_in_our_own_pipe_are_no_accident():
    program = (
        "import os\nfor pipe in range(3, 30):\n    try:\n        os.write(pipe, b'\\xff\\xfe')\n"
        "    except OSError:\n        pass\nraise ValueError\n"
    )
    assert not run_python(program)


def test_where_the_process_cannot_start_it_is_an_error_and_no_score(monkeypatch):
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(EngineError, match="the process for generated code does not start"):
        run_python("x = 1")
    monkeypatch.setattr(os, "name", "nt")
    with pytest.raises(EngineError, match="needs Linux or macOS; use the metric code_similarity"):
        run_python("x = 1")
