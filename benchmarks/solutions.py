"""What is known of model files: evidence and answers that lie beside them, in the formats of the UAI competitions.

`X.uai.evid` has evidence, `X.uai.MAR` marginals, and `reference.json` of a folder, by file: exact_lnZ or
exact_ln_P_evidence, exact_MAP_ln or exact_MPE_ln, third_party_log10Z, marginals, variable_ids.
"""

from __future__ import annotations

import json
import math
import pathlib
from typing import Any

PATTERNS = ("*.uai", "*.uai.gz", "*.fg", "testem/*.fg")


def models_in(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(path for pattern in PATTERNS for path in folder.glob(pattern))


def evidence_of(path: pathlib.Path) -> dict[int, int]:
    """A plain reading of `.evid`: `m v s v s ...`, perhaps after a line `1`; a count of 0 means none."""
    file = path.with_name(path.name.removesuffix(".gz") + ".evid")
    numbers = [int(t) for t in file.read_text().split()] if file.exists() else []
    if not numbers or numbers[0] == 0:
        return {}
    if len(numbers) != 1 + 2 * numbers[0]:
        numbers = numbers[1:]
    assert len(numbers) == 1 + 2 * numbers[0]
    return dict(zip(numbers[1::2], numbers[2::2], strict=True))


def reference_of(path: pathlib.Path) -> dict[str, Any]:
    """log_partition, minimum (energies) and marginals, as far as the folder knows them, else None.

    `printed_log_partition` is one of which only six digits of the decimal logarithm are printed; marginals are right to
    `digits`.
    """
    folder = next(parent for parent in path.parents if (parent / "reference.json").exists())
    table = json.loads((folder / "reference.json").read_text())
    plain = path.name.removesuffix(".gz")
    entry = table.get(str(path.relative_to(folder)).removesuffix(".gz")) or table.get(plain.removesuffix(".uai")) or {}
    best = entry.get("exact_MPE_ln", entry.get("exact_MAP_ln"))
    marginals, digits = entry.get("marginals"), 1e-10
    solution = path.with_name(f"{plain}.MAR")
    if marginals is None and solution.exists():
        marginals = read_marginals(solution)
        digits = 1e-6 if "third_party_log10Z" in entry else 1e-10
    printed = entry.get("third_party_log10Z")
    return {
        "log_partition": _as_float(entry.get("exact_ln_P_evidence", entry.get("exact_lnZ"))),
        "printed_log_partition": None if printed is None else math.log(10.0) * float(printed),
        "minimum": -float(best) if best is not None else None,
        "marginals": marginals,
        "digits": digits,
        "ids": entry.get("variable_ids"),
    }


def _as_float(value: Any) -> float | None:
    return None if value is None else float(value)


def read_marginals(path: pathlib.Path) -> list[list[float]]:
    """UAI solution format: `MAR`, then n, then per variable its count and its probabilities."""
    tokens = path.read_text().split()
    assert tokens[0] == "MAR"
    numbers, found, place = [float(t) for t in tokens[1:]], [], 1
    for _ in range(int(numbers[0])):
        count = int(numbers[place])
        found.append(numbers[place + 1 : place + 1 + count])
        place += 1 + count
    assert place == len(numbers)
    return found
