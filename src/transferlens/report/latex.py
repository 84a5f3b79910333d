"""Tables for papers: LaTeX with booktabs."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["escaped", "latex_table"]

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "%": r"\%",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "°": r"\textdegree{}",
    "→": r"$\to$",
    "\N{MINUS SIGN}": "$-$",
}
_PATTERN = re.compile("[" + re.escape("".join(_SPECIAL)) + "]")


def escaped(text: str) -> str:
    """Return text that LaTeX prints as it is: no command, no end of a table's cell."""
    return _PATTERN.sub(lambda found: _SPECIAL[found[0]], " ".join(text.split()))


def latex_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str, label: str
) -> str:
    r"""Return a table that ``\input`` takes; it needs the packages booktabs and textcomp.

    Parameters
    ----------
    head, rows
        Text from data, which is escaped; the first column is left-aligned.
    caption, label
        LaTeX, as it is.
    """
    lines = [
        "% needs \\usepackage{booktabs} and \\usepackage{textcomp}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{caption.replace('°', chr(92) + 'textdegree{}')}}}",
        rf"\label{{{label}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
        r"\toprule",
        " & ".join(map(_head, head)) + r" \\",
        r"\midrule",
        *(" & ".join(map(_number, row)) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
        "",
    ]
    return "\n".join(lines)


def _head(text: str) -> str:
    return escaped(text)


def _number(text: str) -> str:
    """Return a cell; the sign of a number is a minus, not a hyphen."""
    if re.fullmatch(r"[-+][0-9.]+[*°]?", text):
        return f"${text.rstrip('*°')}${escaped(text[len(text.rstrip('*°')) :])}"
    return escaped(text)
