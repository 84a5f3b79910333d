"""Rows out of Hugging Face datasets: from the hub, its cache, or a local folder."""

from __future__ import annotations

import importlib.util
import os
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transferlens.errors import DataError, needs
from transferlens.tasks.readers import Rows

__all__ = ["hub_answers", "is_cached", "quiet_hub", "read_dataset"]

_TIMEOUT = 1.5
"""Seconds that the hub has for an answer; without this check its client tries for 24 to 47."""
_TRUE = {"1", "ON", "YES", "TRUE"}


def read_dataset(
    dataset: str, *, root: Path, split: str, subset: str | None = None, revision: str | None = None
) -> Rows:
    """Return the rows of a split of a Hugging Face dataset.

    Parameters
    ----------
    dataset
        A local folder, in the hub's layout or written by ``save_to_disk``, or
        else a name on the hub. What the hub once gave is read from its cache
        when there is no connection.
    root
        Where a relative folder starts.
    split
        A split, or an expression such as ``train[:95%]`` or ``train+test``.
    subset, revision
        Configuration and git revision, if not the default ones.

    Raises
    ------
    DataError
        There is no such dataset, subset or split, or it can neither be
        reached nor is it on this machine.
    """
    origin = f"{dataset} ({f'{subset}, ' if subset else ''}{split})"
    with needs("datasets", extra="hub", purpose=f"{dataset}: reading it"):
        # Its import alone takes seconds, which a name that leads nowhere is not worth.
        if importlib.util.find_spec("datasets") is None:
            raise ImportError
    folder = (root / Path(dataset).expanduser()).absolute()
    local = folder.is_dir()
    offline = not local and not hub_answers()
    if offline and not is_cached(dataset):
        raise DataError(_unreachable(dataset, revision, root))
    with quiet_hub(offline=offline):
        try:
            if local and _was_saved(folder):
                found = _load_saved(folder, split)
            else:
                found = _load(str(folder) if local else dataset, split, subset, revision)
        except Exception as error:  # noqa: BLE001 - every library below this raises its own kinds
            if offline and isinstance(error, ConnectionError):
                raise DataError(_unreachable(dataset, revision, root)) from None
            msg = f"{origin} cannot be read: {' '.join(str(error).split())}"
            raise DataError(msg) from None
    return Rows(origin=origin, records=found, places=range(len(found)), complete=False)


def _load(dataset: str, split: str, subset: str | None, revision: str | None) -> Any:
    import datasets

    return datasets.load_dataset(dataset, subset, split=split, revision=revision)


def _was_saved(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))


def _load_saved(folder: Path, split: str) -> Any:
    import datasets

    saved = datasets.load_from_disk(str(folder))
    splits = saved if isinstance(saved, dict) else {str(saved.split or "train"): saved}
    wanted = datasets.ReadInstruction.from_spec(split)
    parts = wanted.to_absolute({name: len(rows) for name, rows in splits.items()})
    return datasets.concatenate_datasets(
        [splits[part.splitname].select(range(part.from_, part.to)) for part in parts]
    )


@contextmanager
def quiet_hub(*, offline: bool) -> Iterator[None]:
    """Silence the library, and keep it off the network if ``offline``; both only for a while."""
    import datasets
    from datasets.utils import logging
    from huggingface_hub import constants

    bars, verbosity = datasets.are_progress_bars_disabled(), logging.get_verbosity()
    switches = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    datasets.disable_progress_bars()
    logging.set_verbosity_error()
    # The environment variable is read when the libraries are imported, which may be long ago.
    if offline:
        datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = switches
        logging.set_verbosity(verbosity)
        if not bars:
            datasets.enable_progress_bars()


def hub_answers() -> bool:
    """Return whether the hub may and can be reached, in a second and a half at most."""
    if any(os.environ.get(name, "").upper() in _TRUE for name in _OFFLINE_VARIABLES):
        return False
    answered: list[bool] = []

    def ask() -> None:
        answered.append(_answers(_endpoint()))

    # Looking up a name ignores the socket's timeout, hence the thread.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_TIMEOUT)
    return answered == [True]


_OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")


def _answers(url: str) -> bool:
    if urllib.parse.urlsplit(url).scheme not in {"http", "https"}:
        return False
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - the scheme was checked
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT):  # noqa: S310 - as above
            return True
    except urllib.error.HTTPError as error:
        # The hub itself may refuse this request; a proxy that asks for a password is no hub.
        return error.code < 500 and error.code != 407
    except (OSError, ValueError):
        return False


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"


def is_cached(dataset: str) -> bool:
    """Return whether the library's caches know the name, without the seconds its import takes."""
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
    prepared = Path(os.environ.get("HF_DATASETS_CACHE") or home / "datasets")
    downloaded = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    return (prepared / dataset.replace("/", "___")).is_dir() or (
        downloaded / f"datasets--{dataset.replace('/', '--')}"
    ).is_dir()


def _unreachable(dataset: str, revision: str | None, root: Path) -> str:
    host = urllib.parse.urlsplit(_endpoint()).netloc or _endpoint()
    branch = f" --revision {revision}" if revision else ""
    # A folder of the dataset's own name is found before the hub, for a task card too.
    return (
        f"the dataset {dataset!r} is not on this machine and {host} cannot be reached: connect, "
        f"or fetch it elsewhere with `hf download --repo-type dataset {dataset}{branch} "
        f"--local-dir {dataset}` and copy that folder to {root.absolute() / dataset}"
    )
