"""The closed set of functions, in one table: checks, docs and suggestions read it."""

from __future__ import annotations

from dataclasses import dataclass

from fraudstream.rules.bundle import Type

PLAIN = (Type.NUMBER, Type.INTEGER)
AMOUNTS = (*PLAIN, Type.MONEY, Type.DURATION)
ORDERED = (*AMOUNTS, Type.TIME, Type.DATE)
MOMENTS = (Type.TIME, Type.DATE)
TEXTS = (Type.CATEGORY, Type.ID)
ANYTHING = tuple(Type)


@dataclass(frozen=True, slots=True)
class Param:
    """One argument of a function."""

    name: str
    types: tuple[Type, ...]
    constant: bool = False
    """Must be known when rules are loaded."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the expression language."""

    name: str
    params: tuple[Param, ...]
    result: str
    """Result type in words of the reference."""
    meaning: str
    repeats: bool = False
    """The last argument may be given again and again."""

    @property
    def signature(self) -> str:
        """Return the function as operators write it."""
        names = ", ".join(param.name for param in self.params)
        return f"{self.name}({names}{', ...' if self.repeats else ''})"


def _same(name: str, meaning: str, types: tuple[Type, ...] = ORDERED) -> Function:
    params = (Param("x", types), Param("y", types))
    return Function(name, params, "as x and y", meaning, repeats=True)


def _elapsed(unit: str) -> Function:
    params = (Param("a", MOMENTS), Param("b", MOMENTS))
    meaning = (
        f"{unit} from a to b, with fraction; negative if b is earlier; a date begins at 00:00 of the zone"
    )
    return Function(f"{unit}_between", params, "number", meaning)


def _text(name: str, meaning: str) -> Function:
    params = (Param("x", TEXTS), Param("part", (Type.CATEGORY,), constant=True))
    return Function(name, params, "condition", meaning)


_GEO = (Type.GEO,)
_TIME = (Type.TIME,)
_HOUR = (Type.INTEGER,)

FUNCTIONS: dict[str, Function] = {
    function.name: function
    for function in (
        Function("abs", (Param("x", AMOUNTS),), "as x", "x without its sign"),
        _same("min", "the least; missing if one is missing"),
        _same("max", "the greatest; missing if one is missing"),
        Function(
            "round",
            (Param("x", (*PLAIN, Type.MONEY)),),
            "as x",
            "x to whole numbers (money: to whole major units), half away from zero",
        ),
        Function(
            "is_round",
            (Param("x", AMOUNTS), Param("step", AMOUNTS)),
            "condition",
            "x is not 0 and a multiple of step; missing if step is not above 0",
        ),
        Function(
            "ratio",
            (Param("a", AMOUNTS), Param("b", AMOUNTS)),
            "number",
            "a / b of two values of one unit; missing if b is 0",
        ),
        _same("coalesce", "x, or where x is missing y", ANYTHING),
        Function("hour", (Param("t", _TIME),), "integer", "hour of the day in the rule set's zone, 0 to 23"),
        Function(
            "hour_in",
            (Param("t", _TIME), Param("from", _HOUR, constant=True), Param("to", _HOUR, constant=True)),
            "condition",
            "from:00 <= local time < to:00; hour_in(t, 23, 5) is the night from 23:00 to 05:00",
        ),
        Function("weekday", (Param("t", MOMENTS),), "integer", "day of the week, Monday 1 to Sunday 7"),
        Function("is_weekend", (Param("t", MOMENTS),), "condition", "weekday(t) is 6 or 7"),
        Function("local_date", (Param("t", _TIME),), "date", "calendar date in the rule set's zone"),
        _elapsed("seconds"),
        _elapsed("minutes"),
        _elapsed("hours"),
        _elapsed("days"),
        Function(
            "distance_km",
            (Param("a", _GEO), Param("b", _GEO)),
            "number",
            "great-circle distance in km on a sphere of radius 6,371,008.8 m, to the metre",
        ),
        Function(
            "speed_kmh",
            (Param("a", _GEO), Param("ta", _TIME), Param("b", _GEO), Param("tb", _TIME)),
            "number",
            "distance_km(a, b) by the hours between ta and tb, at least one second",
        ),
        _text("starts_with", "the text of field x begins with part; exact code points"),
        _text("ends_with", "the text of field x ends with part; exact code points"),
        _text("contains", "part occurs in the text of field x; exact code points"),
        Function(
            "lower", (Param("x", TEXTS),), "as x", "the text of field x with A-Z made a-z, no other letters"
        ),
        Function("length", (Param("x", TEXTS),), "integer", "number of code points in the text of field x"),
    )
}
