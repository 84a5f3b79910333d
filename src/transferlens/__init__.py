"""See what fine-tuning on a dataset does to every other task, why, and what you should do.

::

    import transferlens as tl

    spec = tl.StudySpec.from_yaml("study.yaml")
    study = tl.run(spec, "my-study")
    print(tl.transfer_matrix(study).to_frame())

Importing this module loads nothing else: each name below is fetched from its
home on first use, so that ``transferlens --help`` does not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transferlens.engine import run, run_grid
    from transferlens.results import TransferStudy, open_study
    from transferlens.study import GridSpec, StudySpec
    from transferlens.transfer import Evidence, transfer_effects, transfer_matrix

__all__ = [
    "Evidence",
    "GridSpec",
    "StudySpec",
    "TransferStudy",
    "__version__",
    "open_study",
    "run",
    "run_grid",
    "transfer_effects",
    "transfer_matrix",
]

__version__ = "0.1.0"

_HOMES = {
    "Evidence": "transferlens.transfer",
    "GridSpec": "transferlens.study",
    "StudySpec": "transferlens.study",
    "TransferStudy": "transferlens.results",
    "open_study": "transferlens.results",
    "run": "transferlens.engine",
    "run_grid": "transferlens.engine",
    "transfer_effects": "transferlens.transfer",
    "transfer_matrix": "transferlens.transfer",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
