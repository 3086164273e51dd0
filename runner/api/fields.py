"""The fields of requests: what each takes, and how an object is read by them.

A :class:`Shape` lists all members that an object of a request can have, whether they are honoured,
accepted without effect or refused; parsers, the table of fields and ``/openapi.json`` are made from
the same values. Every error names the field, what it takes and what came.

A member that is ``null`` counts as absent. ``true`` is never a number; ``256.0`` is an integer;
``"0.7"`` is a string. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NoReturn, TypeVar, overload

from runner.errors import Kind, RunnerError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
W = TypeVar("W", bound=str)

# A JSON schema, as OpenAPI 3.1 has it; within it a Shape stands for the schema of its objects.
Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Field(Generic[T_co]):
    """A member that is honoured. ``read`` takes the value and the name that errors call it by."""

    name: str
    about: str  # what it does, in a few words
    schema: Schema | Shape
    read: Callable[[Any, str], T_co]


@dataclass(frozen=True, slots=True)
class Required(Field[T_co]):
    """A member that must be there."""

    hint: str | None = None  # for whoever left it out


@dataclass(frozen=True, slots=True)
class Ignored:
    """A member that clients send and that has no effect here; ``X-Ignored-Fields`` tells them."""

    name: str
    about: str  # why it has none


@dataclass(frozen=True, slots=True)
class Refused:
    """A member that is an error: to leave it out silently would answer another request."""

    name: str
    about: str  # why: the words after its name in the error
    hint: str | None = None


class RefusedMember(RunnerError):
    """A request has a member that is refused; its name is as the client sent it."""

    def __init__(self, member: Refused, param: str) -> None:
        super().__init__(
            Kind.INVALID_REQUEST, f"{param} {member.about}", hint=member.hint, param=param
        )


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """All that one kind of object in requests can have."""

    name: str  # as the table of fields calls it: "chat completion"
    members: tuple[Field[Any] | Ignored | Refused, ...]
    honoured: dict[str, Field[Any]] = field(init=False, repr=False)
    refused: dict[str, Refused] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        names = [member.name for member in self.members]
        assert len(names) == len(set(names)), f"{self.name} names a member twice"
        honoured = {one.name: one for one in self.members if isinstance(one, Field)}
        refused = {one.name: one for one in self.members if isinstance(one, Refused)}
        object.__setattr__(self, "honoured", honoured)
        object.__setattr__(self, "refused", refused)

    def within(self) -> list[Shape]:
        """List this shape and all that its members' schemas hold, each once."""
        found: list[Shape] = []
        pending: list[Any] = [self]
        while pending:
            match pending.pop(0):
                case Shape() as shape if shape not in found:
                    found.append(shape)
                    pending += [one.schema for one in shape.honoured.values()]
                case Mapping() as schema:
                    pending += schema.values()
                case list() as schemas:
                    pending += schemas
        return found

    def open(self, value: Any, param: str) -> Fields:
        """Return the members of an object of this shape, which is at ``param`` of the request."""
        return Fields(as_object(value, param), f"{param}.", self)


def boolean(name: str, about: str) -> Field[bool]:
    """Declare a member that is true or false."""
    return Field(name, about, {"type": "boolean"}, as_boolean)


def integer(name: str, about: str, low: int, high: int) -> Field[int]:
    """Declare an integer out of ``low``..``high``, both included."""
    schema = {"type": "integer", "minimum": low, "maximum": high}
    return Field(name, about, schema, lambda value, param: as_integer(value, param, low, high))


def number(name: str, about: str, low: float, high: float) -> Field[float]:
    """Declare a number out of ``low``..``high``, both included."""
    schema: dict[str, Any] = {"type": "number", "minimum": low}
    if high < NO_LIMIT:
        schema["maximum"] = high
    return Field(name, about, schema, lambda value, param: as_number(value, param, low, high))


def text(name: str, about: str, *, max_characters: int | None = None) -> Field[str]:
    """Declare a string."""
    schema: dict[str, Any] = {"type": "string"}
    if max_characters is not None:
        schema["maxLength"] = max_characters
    return Field(name, about, schema, lambda value, param: as_text(value, param, max_characters))


def secret(name: str, about: str, *, max_characters: int) -> Field[str]:
    """Declare a string that no error repeats."""

    def read(value: Any, param: str) -> str:
        if not isinstance(value, str) or len(value) > max_characters:
            raise RunnerError(
                Kind.INVALID_REQUEST,
                f"{param}: expected a string of at most {max_characters} characters",
                param=param,
            )
        return value

    return Field(name, about, {"type": "string", "maxLength": max_characters}, read)


def word(name: str, about: str, words: tuple[W, ...]) -> Field[W]:
    """Declare a string that is one of ``words``."""

    def read(value: Any, param: str) -> W:
        for one in words:
            if value == one:
                return one
        refuse(param, "one of " + ", ".join(words), value)

    return Field(name, about, {"type": "string", "enum": list(words)}, read)


def flag(name: str, about: str) -> Field[bool]:
    """Declare a parameter of a query that is true or false; given without a value it is true."""

    def read(value: Any, param: str) -> bool:
        match as_text(value, param).lower():
            case "" | "true" | "1":
                return True
            case "false" | "0":
                return False
        refuse(param, "true or false", value)

    return Field(name, about, {"type": "boolean"}, read)


def count(name: str, about: str, low: int, high: int) -> Field[int]:
    """Declare a parameter of a query that is an integer out of ``low``..``high``."""

    def read(value: Any, param: str) -> int:
        digits = as_text(value, param)
        is_number = digits.isascii() and digits.isdigit() and len(digits) <= len(str(high))
        return as_integer(int(digits) if is_number else digits, param, low, high)

    return Field(name, about, {"type": "integer", "minimum": low, "maximum": high}, read)


def members(name: str, about: str, schema: Schema | None = None) -> Field[dict[str, Any]]:
    """Declare an object with members of any name; ``schema`` says more of it than its type."""
    return Field(name, about, {"type": "object", **(schema or {})}, as_object)


def nested(name: str, about: str, shape: Shape) -> Field[Fields]:
    """Declare an object whose members have a shape of their own."""
    return Field(name, about, shape, shape.open)


def array(name: str, about: str, schema: Schema | None = None) -> Field[list[Any]]:
    """Declare an array; ``schema`` says more of it than its type."""
    return Field(name, about, {"type": "array", **(schema or {})}, as_array)


def anything(name: str, about: str, schema: Schema) -> Field[Any]:
    """Declare a member of several types, whose reader looks at the value itself."""
    return Field(name, about, schema, lambda value, _: value)


def required(field: Field[T], hint: str | None = None) -> Required[T]:
    """Declare that a member must be there; ``hint`` is for whoever left it out."""
    return Required(field.name, field.about, field.schema, field.read, hint)


class Fields:
    """The members of one object, taken out one by one; what is left was not understood.

    ``path`` leads every name in errors: ``messages[2].`` for a message, empty for the request.
    """

    def __init__(self, members: dict[str, Any], path: str = "", shape: Shape | None = None) -> None:
        """Raise INVALID_REQUEST for a member that ``shape`` refuses."""
        self._members = {name: value for name, value in members.items() if value is not None}
        self._path = path
        self._shape = shape
        self._opened: list[Fields] = []
        if shape is not None and not shape.refused.keys().isdisjoint(self._members):
            self._refuse_first(shape)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names not taken yet, in the order they were sent."""
        return iter(self._members)

    def param(self, name: str) -> str:
        """Return the full name of a member, as errors write it."""
        return self._path + name

    @overload
    def take(self, field: Required[T]) -> T: ...

    @overload
    def take(self, field: Field[T]) -> T | None: ...

    def take(self, field: Field[Any]) -> Any:
        """Take a member, or None when it is absent; raise INVALID_REQUEST naming what is wrong."""
        assert self._shape is None or self._shape.honoured.get(field.name) is field, (
            f"{self._shape.name} does not declare {field.name}"
        )
        value, param = self._members.pop(field.name, None), self.param(field.name)
        if value is not None:
            read = field.read(value, param)
            if isinstance(read, Fields):
                self._opened.append(read)
            return read
        if isinstance(field, Required):
            raise RunnerError(
                Kind.INVALID_REQUEST, f"{param} is required", hint=field.hint, param=param
            )
        return None

    def untaken(self) -> tuple[str, ...]:
        """Return the full names of what was not taken, here or out of nested objects."""
        inner = (name for opened in self._opened for name in opened.untaken())
        return (*map(self.param, self), *inner)

    def _refuse_first(self, shape: Shape) -> NoReturn:
        name = next(name for name in self._members if name in shape.refused)
        raise RefusedMember(shape.refused[name], self.param(name))


def as_boolean(value: Any, param: str) -> bool:
    """Return ``value`` if it is true or false."""
    if not isinstance(value, bool):
        refuse(param, "true or false", value)
    return value


def as_integer(value: Any, param: str, low: int, high: int) -> int:
    """Return ``value`` as an integer out of ``low``..``high``; ``256.0`` is one."""
    expected = f"an integer {span(low, high)}"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        refuse(param, expected, value)
    return value


def as_number(value: Any, param: str, low: float, high: float) -> float:
    """Return ``value`` as a float out of ``low``..``high``."""
    # NaN fails the comparison, so it needs no case of its own.
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        refuse(param, f"a number {span(low, high)}", value)
    return float(value)


def as_text(value: Any, param: str, max_characters: int | None = None) -> str:
    """Return ``value`` if it is a string of at most ``max_characters``."""
    if not isinstance(value, str):
        refuse(param, "a string", value)
    if max_characters is not None and len(value) > max_characters:
        refuse(param, f"a string of at most {max_characters} characters", value)
    return value


def as_object(value: Any, param: str) -> dict[str, Any]:
    """Return ``value`` if it is a JSON object."""
    if not isinstance(value, dict):
        refuse(param, "an object", value)
    return value


def as_array(value: Any, param: str) -> list[Any]:
    """Return ``value`` if it is a JSON array."""
    if not isinstance(value, list):
        refuse(param, "an array", value)
    return value


def refuse(param: str, expected: str, got: Any) -> NoReturn:
    """Raise INVALID_REQUEST: ``temperature: expected a number from 0 to 2, got "x"``."""
    raise RunnerError(
        Kind.INVALID_REQUEST, f"{param}: expected {expected}, got {describe(got)}", param=param
    )


def span(low: float, high: float) -> str:
    """Write a range in words; a float's bound that only guards against nonsense is left out."""
    if isinstance(high, float) and high >= NO_LIMIT:
        return f"of {low:g} or more"
    return f"from {low} to {high}" if isinstance(high, int) else f"from {low:g} to {high:g}"


# A float32 holds it and no sampler means anything by more.
NO_LIMIT = 1e9


def describe(value: Any) -> str:
    """Describe a JSON value in a few characters, safe in a log line."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"an array of {len(value)}" if value else "an empty array"
    if isinstance(value, str) and len(value) > 60:
        return f"a string of {len(value)} characters"
    return json.dumps(value)
