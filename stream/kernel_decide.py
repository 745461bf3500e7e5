"""Rule masks to decisions: one pass over set bits, one over rows.

Layout of the plan's tables (int64, C-contiguous), written by :mod:`fraudstream.stream.decide`::

    rules      [L, 4]  output of the program, kind (below), score, typology (-1: none); id order, a rule
                       with several scores in neighbouring rows of which at most one matches
    typologies [T, 3]  combine (0 sum, 1 max, 2 noisy_or), alert_at, block_at; NEVER where there is none
    bands      [B, 2]  millionths from which it holds, action (2 alert, 3 block); strongest first
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudstream.stream.windows.kernel_bits import ones_of

KIND_NONE, KIND_PASS, KIND_ALERT, KIND_BLOCK, KIND_NEVER_OVERRIDE, KIND_LIMITED = 0, 1, 2, 3, 4, 5
"""A limited block counts as an alert, and its points for alerts only."""

NEVER = 1 << 30
"""A threshold that no total reaches: totals end at 100."""

COMBINES = ("sum", "max", "noisy_or")
"""By the plan's code."""
NOISY_FACTORS = 600
"""0.99 ** 528 is below 0.005: from there on, every further score leaves the total at 100."""

COUNT_TRUE, COUNT_UNKNOWN, COUNT_EVALUATED, COUNT_EXCEPTED, COUNT_POINTS, COUNT_LIMITED = range(6)
COUNT_WORDS = 6
"""Rows of what `count_rules` writes."""

# Position of a word's lowest set bit by multiplication (Leiserson, Prokop, Randall 1998).
_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_SHIFT = np.uint64(58)
_POSITION = np.zeros(64, np.int64)
for _i in range(64):
    _POSITION[((0x03F79D71B4CB0A89 << _i) & 0xFFFFFFFFFFFFFFFF) >> 58] = _i
_ZERO, _ONE = np.uint64(0), np.uint64(1)


@njit(inline="always")
def lowest_bit(word):  # type: ignore[no-untyped-def]
    """Return the position of the lowest set bit of a uint64 that is not 0."""
    return _POSITION[((word & (~word + _ONE)) * _DE_BRUIJN) >> _SHIFT]


@njit(cache=True, nogil=True)
def _rows_in(masks, output, rows):  # type: ignore[no-untyped-def]
    count = np.int64(0)
    for w in range(len(rows)):
        count += ones_of(masks[output, w] & rows[w])
    return count


@njit(cache=True, nogil=True)
def count_rules(  # type: ignore[no-untyped-def]
    true, unknown, active, limited, outputs, gates, scores, excepting, split, at_limit, counts
):
    """Count what became of each rule.

    Args:
        true: uint64 [outputs, W] masks.
        unknown: uint64 [outputs, W].
        active: uint64 [W], rows that count.
        limited: uint64 [M, W], or [0, 0]: no block is limited.
        outputs: int64 [R] output of each rule.
        gates: int64 [R] output of its event type and interval.
        scores: int64 [R] points of a match.
        excepting: int64 [X, 2] rule, its output without exceptions.
        split: int64 [E, 3] rule, output, points.
        at_limit: int64 [M] rules.
        counts: int64 [COUNT_WORDS, R], zeros, written.
    """
    for at in range(len(outputs)):
        matches = _rows_in(true, outputs[at], active)
        counts[COUNT_TRUE, at] = matches
        counts[COUNT_UNKNOWN, at] = _rows_in(unknown, outputs[at], active)
        counts[COUNT_EVALUATED, at] = _rows_in(true, gates[at], active)
        counts[COUNT_POINTS, at] = matches * scores[at]
    for i in range(len(split)):
        counts[COUNT_POINTS, split[i, 0]] += _rows_in(true, split[i, 1], active) * split[i, 2]
    for i in range(len(excepting)):
        at = excepting[i, 0]
        counts[COUNT_EXCEPTED, at] = _rows_in(true, excepting[i, 1], active) - counts[COUNT_TRUE, at]
    for i in range(len(limited)):
        counts[COUNT_LIMITED, at_limit[i]] = _rows_in(limited, i, active)


@njit(cache=True, nogil=True)
def half_even_thousandths(micro):  # type: ignore[no-untyped-def]
    """Return round_half_even(1000 * micro / 10**6) in integers."""
    whole = micro // 1000
    rest = micro - whole * 1000
    if rest > 500 or (rest == 500 and whole % 2 == 1):
        whole += 1
    return whole


@njit(cache=True, nogil=True)
def collect_matches(true, active, rules, n):  # type: ignore[no-untyped-def]
    """Turn rule masks into the matched rules of each row.

    Args:
        true: uint64 [outputs, W] masks.
        active: uint64 [W], rows that are decided.
        rules: int64 [L, 4] plan.
        n: rows.

    Returns:
        begin int64 [n + 1], matched int32: rules of row i are ``matched[begin[i]:begin[i + 1]]``,
        as positions in ``rules``, ascending.
    """
    begin = np.zeros(n + 1, np.int64)
    words = len(active)
    for at in range(len(rules)):
        output = rules[at, 0]
        for w in range(words):
            bits = true[output, w] & active[w]
            while bits != _ZERO:
                begin[64 * w + lowest_bit(bits) + 1] += 1
                bits &= bits - _ONE
    for row in range(n):
        begin[row + 1] += begin[row]
    matched = np.empty(begin[n], np.int32)
    if begin[n] == 0:
        return begin, matched
    fill = begin.copy()
    for at in range(len(rules)):
        output = rules[at, 0]
        for w in range(words):
            bits = true[output, w] & active[w]
            while bits != _ZERO:
                row = 64 * w + lowest_bit(bits)
                matched[fill[row]] = at
                fill[row] += 1
                bits &= bits - _ONE
    return begin, matched


@njit(cache=True, nogil=True)
def noisy_or(scores, count, digits):  # type: ignore[no-untyped-def]
    """Return 100 - 100 * prod(1 - score / 100), half to even, exactly.

    The product of the ``100 - score`` stands in ``digits`` to the base 100, lowest first: with k factors its
    k-th digit is the whole part of what is left of 100, the digits below it are the fraction.

    Args:
        scores: int64 [>= count], 0 to 100.
        count: how many of them count.
        digits: int64 [NOISY_FACTORS], working memory.
    """
    size = 0
    for i in range(count):
        factor = 100 - scores[i]
        if factor == 0:
            return 100
        if factor == 100:
            continue
        if size == 0:
            digits[0] = factor
            size = 1
            continue
        carry = 0
        for j in range(size):
            carry += digits[j] * factor
            digits[j] = carry % 100
            carry //= 100
        digits[size] = carry
        size += 1
        if carry == 0 and digits[size - 2] < 50:
            return 100
    if size == 0:
        return 0
    whole = digits[size - 1]
    half = 0
    if size > 1:
        half = digits[size - 2] - 50
        for j in range(size - 2):
            if half == 0 and digits[j] > 0:
                half = 1
    if half > 0 or (half == 0 and size > 1 and whole % 2 == 1):
        whole += 1
    return 100 - whole


@njit(cache=True, nogil=True)
def members(first, end, matched, rules, typology, unlimited, scores):  # type: ignore[no-untyped-def]
    """Write the scores of a typology's matched rules, limited ones left out if asked; return how many."""
    count = 0
    for j in range(first, end):
        at = matched[j]
        if rules[at, 3] == typology and not (unlimited and rules[at, 1] == KIND_LIMITED):
            scores[count] = rules[at, 2]
            count += 1
    return count


@njit(cache=True, nogil=True)
def combined(combine, scores, count, digits):  # type: ignore[no-untyped-def]
    """Return the total of some scores, -1 of none: without a matched rule no typology is reached."""
    if count == 0:
        return -1
    if combine == 2:
        return noisy_or(scores, count, digits)
    total = 0
    for i in range(count):
        total = total + scores[i] if combine == 0 else max(total, scores[i])
    return min(total, 100)


@njit(cache=True, nogil=True)
def decide_rows(begin, matched, active, champion, rules, typologies, bands, decision, score, allowed):  # type: ignore[no-untyped-def]
    """Decide every active row.

    Args:
        begin: of :func:`collect_matches`.
        matched: of :func:`collect_matches`.
        active: uint64 [W].
        champion: int64 [n] millionths, -1 missing.
        rules: plan.
        typologies: plan.
        bands: plan.
        decision: uint8 [n], written: 0 pass, 1 alert, 2 block.
        score: int32 [n], written.
        allowed: uint8 [n], written: 1 where a pass rule made the decision.

    Returns:
        Whether some row was not simply passed: it is an alert, a block or allowed.
    """
    total = np.empty(len(typologies), np.int64)
    scores = np.empty(len(rules), np.int64)
    digits = np.empty(NOISY_FACTORS, np.int64)
    stands_out = False
    for row in range(len(champion)):
        if (active[row // 64] >> np.uint64(row % 64)) & _ONE == _ZERO:
            decision[row] = score[row] = allowed[row] = 0
            continue
        strength, highest, passing, never, limited = 0, 0, False, False, False
        if begin[row] < begin[row + 1]:
            total[:] = 0
            for i in range(begin[row], begin[row + 1]):
                at = matched[i]
                kind = rules[at, 1]
                if kind == KIND_PASS:
                    passing = True
                elif kind == KIND_NEVER_OVERRIDE:
                    never = True
                    strength = 2
                elif kind == KIND_LIMITED:
                    limited = True
                    strength = max(strength, 1)
                elif kind - 1 > strength:
                    strength = kind - 1
                typology = rules[at, 3]
                if typology < 0:
                    highest = max(highest, min(rules[at, 2], 100))
                elif typologies[typology, 0] == 0:
                    total[typology] = min(total[typology] + rules[at, 2], 100)
                elif typologies[typology, 0] == 1:
                    total[typology] = max(total[typology], rules[at, 2])
                else:
                    total[typology] = -1
            # A typology is reached by its matched rules only: without one, `alert_at: 0` holds for nobody.
            for i in range(begin[row], begin[row + 1]):
                typology = rules[matched[i], 3]
                if typology >= 0:
                    if total[typology] < 0:
                        count = members(i, begin[row + 1], matched, rules, typology, False, scores)
                        total[typology] = noisy_or(scores, count, digits)
                    highest = max(highest, total[typology])
                    for_block = total[typology]
                    if limited and for_block >= typologies[typology, 2]:
                        count = members(begin[row], begin[row + 1], matched, rules, typology, True, scores)
                        for_block = combined(typologies[typology, 0], scores, count, digits)
                    if for_block >= typologies[typology, 2]:
                        strength = 2
                    elif total[typology] >= min(typologies[typology, 1], typologies[typology, 2]):
                        strength = max(strength, 1)
        micro = champion[row]
        points = 10 * highest
        if micro >= 0:
            points = max(points, half_even_thousandths(micro))
            for band in range(len(bands)):
                if micro >= bands[band, 0]:
                    strength = max(strength, bands[band, 1] - 1)
        allowed[row] = passing and not never
        decision[row] = 0 if allowed[row] else strength
        score[row] = points
        stands_out = stands_out or decision[row] != 0 or allowed[row] != 0
    return stands_out
