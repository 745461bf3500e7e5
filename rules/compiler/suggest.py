"""Did you mean: the nearest known name for a misspelt one."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that was probably meant, None if none is near.

    A name without its prefix (``amount`` for ``txn.amount``) or with something after it (there are no
    attributes) counts as near, then edit distance with
    transpositions of at most a third of the name. Ties go to the first in alphabetical order.
    """
    known = sorted(candidates)
    wanted = name.lower()
    if not wanted:
        return None
    tails = [item for item in known if item.lower().endswith("." + wanted)]
    if tails:
        return tails[0]
    heads = [item for item in known if wanted.startswith(item.lower() + ".")]
    if heads:
        return heads[-1]
    limit = min(3, max(1, len(wanted) // 3))
    best, best_distance = None, limit + 1
    for item in known:
        if abs(len(item) - len(wanted)) >= best_distance:
            continue
        distance = _distance(wanted, item.lower(), best_distance)
        if distance < best_distance:
            best, best_distance = item, distance
    return best


def suggest(name: str, candidates: Iterable[str]) -> str:
    """Return ``did you mean `x`?`` for the nearest candidate, or an empty text."""
    found = nearest(name, candidates)
    return f"did you mean `{found}`?" if found else ""


def _distance(a: str, b: str, limit: int) -> int:
    """Return the optimal string alignment distance, or ``limit`` if it is not below."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        current = [i]
        for j, right in enumerate(b, 1):
            cost = min(row[j] + 1, current[j - 1] + 1, row[j - 1] + (left != right))
            if i > 1 and j > 1 and left == b[j - 2] and a[i - 2] == right:
                cost = min(cost, before[j - 2] + 1)
            current.append(cost)
        if min(current) >= limit:
            return limit
        before, row = row, current
    return min(row[-1], limit)
