"""Where lm-evaluation-harness defines a task, read without running anything of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from transferlens.errors import SpecError, did_you_mean

__all__ = ["Found", "Leaf", "find_tasks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One task's definition."""

    name: str
    config: Mapping[str, Any]
    """Its YAML with all that it includes; Python functions in it are only named."""
    functions: bool
    """Whether a file that does not come with lm-eval names a Python function for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a study's words lead to."""

    names: tuple[str, ...]
    """Entries of the manager: one task, group or tag, or all tasks of a folder."""
    leaves: tuple[Leaf, ...]
    manager: Any
    """``lm_eval.tasks.TaskManager`` that knows them."""
    folder: Path | None
    """Folder of a local definition; None for one that comes with lm-eval."""
    group: str | None
    """Name of the group or tag, where it is one."""


def find_tasks(wanted: str, root: Path) -> Found:
    """Find a task, group or tag by lm-eval's name, or a local YAML file, or a folder of them.

    Raises
    ------
    SpecError
        There is no such name or file, or it is not a definition of lm-eval.
    """
    path = (root / Path(wanted).expanduser()).absolute()
    if path.is_dir() or path.suffix in {".yaml", ".yml"}:
        return _find_local(path)
    manager = _bundled(wanted)
    if wanted not in manager.task_index or _lacks(manager, wanted):
        manager = _everything()
    if wanted not in manager.task_index:
        msg = f"lm-eval has no task {wanted!r}.{_near(wanted, manager)}"
        raise SpecError(msg)
    return _found(manager, (wanted,), None)


def _near(wanted: str, manager: Any) -> str:
    hint = did_you_mean(wanted, manager.all_tasks)
    # The list of all its names has 14,000 of them.
    return hint if hint.startswith(" Did") else " A YAML file of your own ends in .yaml"


def _find_local(path: Path) -> Found:
    from lm_eval.tasks import TaskManager

    if not path.exists():
        msg = f"there is no file {path} with a task of lm-eval"
        raise SpecError(msg)
    folder = path if path.is_dir() else path.parent
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    index = manager.task_index
    names = tuple(
        name for name in sorted(index) if path.is_dir() or index[name].yaml_path == path.resolve()
        or index[name].yaml_path == path
    )  # fmt: skip
    if path.is_dir():
        names = tuple(name for name in names if name in manager.all_subtasks)
    if not names:
        msg = f"{path} defines no task of lm-eval: it needs the field `task` or `group`"
        raise SpecError(msg)
    if any(_lacks(manager, name) for name in names):
        manager = TaskManager(include_path=str(folder))
    return _found(manager, names, folder)


def _found(manager: Any, names: tuple[str, ...], folder: Path | None) -> Found:
    leaves = tuple(leaf for name in names for leaf in _leaves(manager, name))
    several = len(names) == 1 and names[0] not in manager.all_subtasks
    return Found(
        names=names,
        leaves=leaves,
        manager=manager,
        folder=folder,
        group=names[0] if several else None,
    )


def _bundled(name: str) -> Any:
    """Index only the folders of lm-eval that say the name: its whole index takes 20 seconds."""
    from lm_eval import tasks

    top = Path(str(tasks.__file__)).parent
    said = name.encode()
    folders = {
        file.relative_to(top).parts[0] for file in top.rglob("*.yaml") if said in file.read_bytes()
    }
    paths = [str(top / folder) for folder in sorted(folders)]
    return tasks.TaskManager(include_path=paths, include_defaults=False)


@cache
def _everything() -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager()


def _members(manager: Any, name: str) -> list[Any]:
    """Return the names, or definitions in place, of what a group or tag consists of."""
    entry = manager.task_index[name]
    if name in manager.all_tags:
        return sorted(entry.tags)
    members = _read(entry.yaml_path)[0].get("task")
    return members if isinstance(members, list) else []


def _lacks(manager: Any, name: str) -> bool:
    """Whether a group names a task that is defined elsewhere."""
    if name in manager.all_subtasks:
        return False
    for member in _members(manager, name):
        inner = member if isinstance(member, str) else None
        if isinstance(member, str) and member not in manager.task_index:
            return True
        if inner is not None and _lacks(manager, inner):
            return True
    return False


def _leaves(manager: Any, name: str) -> Iterator[Leaf]:
    if name in manager.all_subtasks:
        config, functions = _read(manager.task_index[name].yaml_path)
        yield Leaf(name=name, config=config, functions=functions)
        return
    file = manager.task_index[name].yaml_path
    functions = file is not None and _read(file)[1]
    for member in _members(manager, name):
        yield from _member_leaves(manager, name, member, functions=functions)


def _member_leaves(manager: Any, group: str, member: Any, *, functions: bool) -> Iterator[Leaf]:
    own = {} if isinstance(member, str) else dict(member)
    name = member if isinstance(member, str) else own.get("task", own.get("group"))
    if isinstance(name, str) and name in manager.task_index:
        for leaf in _leaves(manager, name):
            config = {**leaf.config, **own}
            yield Leaf(name=leaf.name, config=config, functions=leaf.functions or functions)
    elif isinstance(name, list):
        for inner in name:
            yield from _member_leaves(manager, group, inner, functions=functions)
    elif isinstance(own.get("task"), list):
        for inner in own["task"]:
            yield from _member_leaves(manager, group, inner, functions=functions)
    else:
        yield Leaf(name=f"{group}::{name}", config=own, functions=functions)


def _read(file: Path) -> tuple[dict[str, Any], bool]:
    """Return a definition with what it includes, and whether a foreign file names functions."""
    from lm_eval.tasks._yaml_loader import load_yaml

    try:
        config: dict[str, Any] = load_yaml(file, resolve_func=False)
        return config, any(_names_functions(part) for part in _files(file))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        msg = f"{file} cannot be read as a task of lm-eval: {reason}"
        raise SpecError(msg) from None


def _files(file: Path) -> Iterator[Path]:
    from lm_eval.tasks._yaml_loader import load_yaml

    yield file
    included = load_yaml(file, resolve_func=False, recursive=False).get("include") or []
    for name in [included] if isinstance(included, str) else included:
        yield from _files(file.parent / name)


def _names_functions(file: Path) -> bool:
    from lm_eval import tasks

    if Path(str(tasks.__file__)).parent.resolve() in file.resolve().parents:
        return False
    tokens = yaml.scan(file.read_text(encoding="utf-8"))
    return any(isinstance(t, yaml.TagToken) and t.value[1] == "function" for t in tokens)
