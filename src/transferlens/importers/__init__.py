"""Other tools' results as a `TransferStudy`: score matrices and evaluation logs."""

from transferlens.importers.harness import import_lm_eval
from transferlens.importers.inspect_log import import_inspect
from transferlens.importers.matrix import import_matrix
from transferlens.importers.mteb import import_mteb
from transferlens.importers.origin import remarks_of
from transferlens.importers.recognise import Kind, recognise

__all__ = [
    "Kind",
    "import_inspect",
    "import_lm_eval",
    "import_matrix",
    "import_mteb",
    "recognise",
    "remarks_of",
]
