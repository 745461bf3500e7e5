"""From text to syntax nodes: recursive descent over the grammar below.

::

    expr := or ;  or := and ("or" and)* ;  and := not ("and" not)* ;  not := "not" not | cmp
    cmp  := sum [ ("=="|"!="|"<"|"<="|">"|">=") sum | ["not"] "in" (list|name)
                | ["not"] "between" sum "and" sum | "is" ["not"] "missing" ]
    sum  := prod (("+"|"-") prod)* ;  prod := unary (("*"|"/") unary)* ;  unary := "-" unary | atom
    atom := NUMBER ["%"] | DURATION | NUMBER CURRENCY | STRING | "true" | "false" | name | call
          | "(" expr ")" | list
    list := "[" [expr ("," expr)*] "]" ;  call := FUNC "(" [expr ("," expr)*] ")"

Rule files are hostile input: the limits bound time, memory and recursion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import cast

from fraudstream.rules.compiler.nodes import (
    And,
    Arithmetic,
    ArithmeticOp,
    Between,
    Bool,
    Call,
    Compare,
    CompareOp,
    Duration,
    Items,
    Membership,
    Missing,
    Money,
    Name,
    Negate,
    Node,
    Not,
    Number,
    Or,
    Problem,
    Text,
)
from fraudstream.rules.compiler.tokens import UNIT_MS, Token, scan, shorten

MAX_CHARACTERS = 4_096
MAX_DEPTH = 24
MAX_NODES = 400
MAX_ITEMS = 256
MAX_PROBLEMS = 20
"""More would hide the first ones and cost time on hostile input."""
TREES_KEPT = 256
"""A condition is parsed for the names that it needs and again to be checked; values of tests repeat."""

_COMPARES = frozenset({"==", "!=", "<", "<=", ">", ">="})
_UNIT_WORDS = frozenset({*UNIT_MS, "min", "mins", "minutes", "hour", "hours", "day", "days", "sec", "yuan"})
_NULLS = frozenset({"null", "none", "None", "nil", "NULL", "nan", "NaN", "undefined"})


class _StopError(Exception):
    """The rest of the text can not be understood."""


@lru_cache(maxsize=TREES_KEPT)
def parse(text: str) -> tuple[Node | None, tuple[Problem, ...]]:
    """Parse an expression; names are not resolved (``nodes.names`` lists them).

    Returns:
        The tree and no problems, or None and what is wrong, in the order of the text.
    """
    if len(text) > MAX_CHARACTERS:
        message = f"the expression has {len(text)} characters, {MAX_CHARACTERS} are allowed"
        return None, (Problem(0, 1, message, "move parts into `conditions`"),)
    parser = _Parser(text)
    node = parser.run()
    if parser.problems:
        return None, tuple(sorted(set(parser.problems))[:MAX_PROBLEMS])
    return node, ()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens, self.problems = scan(text)
        self.at = 0
        self.depth = 0
        self.nodes = 0

    def run(self) -> Node | None:
        if len(self.tokens) == 1:
            if not self.problems:
                self.problems.append(Problem(0, len(self.text), "the expression is empty"))
            return None
        try:
            node = self._or()
            while self._token.kind != "end":
                if self._is("op", ")") or self._is("op", "]"):
                    raise self._fail(self._token, f"unmatched `{self._token.text}`")
                node = self._rest(node)
        except _StopError:
            return None
        return node

    # Tokens.

    @property
    def _token(self) -> Token:
        return self.tokens[self.at]

    def _is(self, kind: str, text: str) -> bool:
        token = self.tokens[self.at]
        return token.kind == kind and token.text == text

    def _take(self, kind: str, text: str) -> bool:
        if self._is(kind, text):
            self.at += 1
            return True
        return False

    def _report(self, begin: int, end: int, message: str, hint: str = "") -> None:
        self.problems.append(Problem(begin, end, message, hint))
        if len(self.problems) > MAX_PROBLEMS:
            raise _StopError

    def _fail(self, token: Token, message: str, hint: str = "") -> _StopError:
        self._report(token.begin, max(token.end, token.begin + 1), message, hint)
        return _StopError()

    def _count(self, node: Node) -> Node:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            hint = "move parts into `conditions` or a list"
            self._report(0, 1, f"the expression has more than {MAX_NODES} parts", hint)
            raise _StopError
        return node

    def _deeper(self, token: Token) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self._fail(token, f"nested deeper than {MAX_DEPTH} levels")

    def _operand_follows(self) -> bool:
        token = self._token
        if token.kind in ("name", "number", "duration", "text"):
            return True
        return token.kind == "word" and token.text in ("not", "true", "false")

    def _rest(self, node: Node) -> Node:
        """Report what stands where nothing can, and go on as if ``and`` joined it."""
        token = self._token
        shown = shorten(self.text[token.begin : token.end])
        previous = self.tokens[self.at - 1]
        if previous.kind == "number" and token.text in _UNIT_WORDS:
            hint = "amounts are `100 CNY`, durations `10m` without a space"
        elif token.text == "," and previous.kind == "number":
            hint = "write numbers without thousands separators"
        elif token.text == "(" and previous.kind == "name":
            hint = ""
        else:
            hint = "write `and` or `or` between conditions"
        self._report(token.begin, token.end, f"unexpected `{shown}`", hint)
        if not self._operand_follows():
            raise _StopError
        return And(node.begin, token.end, (node, self._or()))

    # The grammar, loosest first.

    def _or(self) -> Node:
        first = self._and()
        if not self._is("word", "or"):
            return first
        terms = [first]
        while self._take("word", "or"):
            terms.append(self._and())
        return self._count(Or(first.begin, terms[-1].end, tuple(terms)))

    def _and(self) -> Node:
        first = self._not()
        if not self._is("word", "and"):
            return first
        terms = [first]
        while self._take("word", "and"):
            terms.append(self._not())
        return self._count(And(first.begin, terms[-1].end, tuple(terms)))

    def _not(self) -> Node:
        token = self._token
        if not self._take("word", "not"):
            return self._comparison()
        self._deeper(token)
        operand = self._not()
        self.depth -= 1
        return self._count(Not(token.begin, operand.end, operand))

    def _comparison(self) -> Node:
        left = self._sum()
        token = self._token
        if token.kind == "op" and token.text in _COMPARES:
            return self._compare(left)
        if token.kind != "word":
            return left
        negated = False
        if token.text == "not" and self.tokens[self.at + 1].text in ("in", "between"):
            negated = True
            self.at += 1
        if self._take("word", "in"):
            items = self._items()
            return self._count(Membership(left.begin, items.end, left, items, negated))
        if self._take("word", "between"):
            return self._between(left, negated)
        if self._take("word", "is"):
            return self._missing(left)
        return left

    def _compare(self, left: Node) -> Node:
        operands, ops = [left], []
        while self._token.kind == "op" and self._token.text in _COMPARES:
            op = self._token
            self.at += 1
            value = self._token
            if value.kind == "name" and value.text in _NULLS:
                hint = f"write `{self._source(left)} is {'not ' if op.text == '!=' else ''}missing`"
                raise self._fail(value, f"there is no `{value.text}`", hint)
            ops.append(op.text)
            operands.append(self._sum())
        if len(ops) > 1:
            self._report_chain(operands, ops)
        right = operands[1]
        return self._count(Compare(left.begin, right.end, cast("CompareOp", ops[0]), left, right))

    def _report_chain(self, operands: list[Node], ops: list[str]) -> None:
        first, middle, last = (self._source(node) for node in operands[:3])
        if {*ops[:2]} <= {"<", "<="}:
            hint = f"write `{middle} between {first} and {last}` (both ends included)"
        else:
            hint = f"write `{first} {ops[0]} {middle} and {middle} {ops[1]} {last}`"
        self._report(operands[0].begin, operands[-1].end, "comparisons can not be chained", hint)

    def _source(self, node: Node) -> str:
        return shorten(self.text[node.begin : node.end])

    def _items(self) -> Node:
        token = self._token
        if self._is("op", "["):
            return self._atom()
        if token.kind == "name":
            self.at += 1
            return self._count(Name(token.begin, token.end, token.text))
        if self._is("op", "("):
            self._report(token.begin, token.end, "a list does not stand in `(` and `)`", "write `[` and `]`")
            self.at += 1
            return self._list(token, ")")
        raise self._fail(token, "`in` needs a list", 'write `in ["a", "b"]` or `in lists.name`')

    def _between(self, value: Node, negated: bool) -> Node:
        low = self._sum()
        if not self._take("word", "and"):
            hint = f"write `{self._source(value)} between {self._source(low)} and ...`"
            raise self._fail(self._token, "`between` needs two ends", hint)
        high = self._sum()
        return self._count(Between(value.begin, high.end, value, low, high, negated))

    def _missing(self, value: Node) -> Node:
        negated = self._take("word", "not")
        token = self._token
        if not self._take("word", "missing"):
            word = "is not" if negated else "is"
            if token.kind == "name" and token.text in _NULLS:
                raise self._fail(token, f"there is no `{token.text}`", f"write `{word} missing`")
            hint = f"only `is missing` exists; compare with `{'!=' if negated else '=='}`"
            raise self._fail(token, f"`missing` must follow `{word}`", hint)
        return self._count(Missing(value.begin, token.end, value, negated))

    def _sum(self) -> Node:
        left = self._product()
        while self._token.kind == "op" and self._token.text in "+-":
            left = self._arithmetic(left, self._product)
        return left

    def _product(self) -> Node:
        left = self._unary()
        while self._token.kind == "op" and self._token.text in "*/":
            left = self._arithmetic(left, self._unary)
        return left

    def _arithmetic(self, left: Node, operand: Callable[[], Node]) -> Node:
        op = self._token
        self.at += 1
        right = operand()
        return self._count(Arithmetic(left.begin, right.end, cast("ArithmeticOp", op.text), left, right))

    def _unary(self) -> Node:
        token = self._token
        if not self._take("op", "-"):
            return self._atom()
        self._deeper(token)
        operand = self._unary()
        self.depth -= 1
        return self._count(Negate(token.begin, operand.end, operand))

    def _atom(self) -> Node:
        token = self._token
        if token.kind == "number":
            return self._number(token)
        if token.kind == "duration":
            self.at += 1
            return self._count(Duration(token.begin, token.end, token.amount))
        if token.kind == "text":
            self.at += 1
            return self._count(Text(token.begin, token.end, token.text))
        if token.kind == "name":
            return self._name(token)
        if token.kind == "word" and token.text in ("true", "false"):
            self.at += 1
            return self._count(Bool(token.begin, token.end, token.text == "true"))
        if self._take("op", "("):
            return self._group(token)
        if self._take("op", "["):
            return self._list(token, "]")
        raise self._unexpected(token)

    def _unexpected(self, token: Token) -> _StopError:
        before = self.tokens[self.at - 1].text if self.at else ""
        if token.kind == "end":
            if before:
                return self._fail(token, f"something is missing after `{before}`")
            return self._fail(token, "the expression ends too early")
        if token.text == "missing":
            return self._fail(token, "`missing` is not a value", "write `x is missing`")
        if token.text == "not":
            return self._fail(token, "`not` can not stand here", "put `( )` around `not ...`")
        if token.text == "+":
            return self._fail(token, "there is no sign `+`", "leave it out")
        return self._fail(token, f"a value is expected before `{shorten(token.text)}`")

    def _number(self, token: Token) -> Node:
        self.at += 1
        following = self._token
        if self._take("op", "%"):
            return self._count(Number(token.begin, following.end, token.text, percent=True))
        code = following.text
        if following.kind == "name" and len(code) == 3 and code.isalpha():
            self.at += 1
            if code != code.upper():
                self._report(
                    token.begin,
                    following.end,
                    f"unknown currency `{code}`",
                    f"write `{token.text} {code.upper()}`",
                )
            return self._count(Money(token.begin, following.end, token.text, code.upper()))
        return self._count(Number(token.begin, token.end, token.text, percent=False))

    def _name(self, token: Token) -> Node:
        self.at += 1
        if not self._is("op", "("):
            return self._count(Name(token.begin, token.end, token.text))
        self.at += 1
        self._deeper(token)
        args = self._sequence(token, ")", 0)
        self.depth -= 1
        return self._count(Call(token.begin, self.tokens[self.at - 1].end, token.text, args))

    def _group(self, token: Token) -> Node:
        self._deeper(token)
        node = self._or()
        while not self._take("op", ")"):
            if self._token.kind == "end":
                raise self._fail(token, "this `(` is never closed")
            node = self._rest(node)
        self.depth -= 1
        return replace(node, begin=token.begin, end=self.tokens[self.at - 1].end)

    def _list(self, token: Token, closing: str) -> Node:
        self._deeper(token)
        items = self._sequence(token, closing, MAX_ITEMS)
        self.depth -= 1
        return self._count(Items(token.begin, self.tokens[self.at - 1].end, items))

    def _sequence(self, opening: Token, closing: str, limit: int) -> tuple[Node, ...]:
        """Parse ``[expr ("," expr)*]`` and the closing sign."""
        found: list[Node] = []
        if self._take("op", closing):
            return ()
        while True:
            found.append(self._or())
            if limit and len(found) > limit:
                hint = "put them into `lists.yaml`"
                raise self._fail(opening, f"a list in an expression has at most {limit} items", hint)
            if self._take("op", closing):
                return tuple(found)
            if not self._take("op", ","):
                if self._token.kind == "end":
                    raise self._fail(
                        opening, f"this `{self.text[opening.begin : opening.end]}` is never closed"
                    )
                shown = shorten(self.text[self._token.begin : self._token.end])
                raise self._fail(
                    self._token, f"unexpected `{shown}`", f"write `,` between values or `{closing}`"
                )
            if self._is("op", closing):
                raise self._fail(
                    self._token, f"a value is expected before `{closing}`", "remove the comma before it"
                )
