"""``dataclass``, ``field`` and ``replace`` as the standard library has them, ready in a tenth of the time.

A command that finds everything done would spend half of its time on making the classes of its values: the standard
library compiles six methods for each of them, and there are two hundred. Here what can be one function for all
classes is, and a class's ``__init__`` is compiled when its first value is made. Classes that are not plain (they
inherit from another data class, or have fields that are no parameters) are the standard library's. That both make
the same is a test (``tests/unit/test_values.py``).
"""

# ruff: noqa: ANN401 - what is here is for values of any class

from __future__ import annotations

import dataclasses
import inspect
import operator
from collections.abc import Callable, Sequence
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

__all__ = ["dataclass", "field", "names_of", "replace"]

_FACTORY: Any = object()
"""Stands in a signature for a value that is made anew each time."""
_NAMES = "__value_names__"
"""Where a class made here keeps the names of its fields."""
_OTHER_KINDS = ("ClassVar", "typing.", "InitVar", "dataclasses.", "KW_ONLY")
"""Beginnings of what stands where the type of a field does, and may say that it is none."""
_METHODS = {
    "__init__", "__setattr__", "__delattr__", "__lt__", "__le__", "__gt__", "__ge__", "__getstate__",
    "__setstate__", "__slots__",
}  # fmt: skip
"""Where a class has one of these itself, the standard library says what becomes of it."""
_COMPARISONS = {"__lt__": operator.lt, "__le__": operator.le, "__gt__": operator.gt, "__ge__": operator.ge}


def _dataclass(
    cls: type | None = None, /, *, eq: bool = True, order: bool = False, frozen: bool = False, slots: bool = False
) -> Any:
    params = {"eq": eq, "order": order, "frozen": frozen, "slots": slots}

    def make(cls: type) -> Any:
        fields = _fields(cls) if eq and slots else None
        if fields is None:
            return dataclasses.dataclass(cls, **params)
        return _made(cls, fields, params)

    return make if cls is None else make(cls)


def _replace(value: Any, /, **changes: Any) -> Any:
    names = vars(type(value)).get(_NAMES)
    if names is None:
        return dataclasses.replace(value, **changes)
    return type(value)(**{**{name: getattr(value, name) for name in names}, **changes})


def names_of(cls: type) -> tuple[str, ...] | None:
    """The fields of a data class; None for another class."""
    names = vars(cls).get(_NAMES)
    fields = getattr(cls, "__dataclass_fields__", None) if names is None else None
    return names if fields is None else tuple(fields)


field = dataclasses.field
if TYPE_CHECKING:
    from dataclasses import dataclass, replace
else:
    dataclass, replace = _dataclass, _replace


def _fields(cls: type) -> dict[str, Any] | None:
    """Each field's default, ``field(…)`` or MISSING, by name; None for a class that is not plain."""
    own = vars(cls)
    if not _METHODS.isdisjoint(own) or not all(map(_is_plain_base, cls.__mro__[1:-1])):
        return None
    found: dict[str, Any] = {}
    last = dataclasses.MISSING
    for name, kind in (own.get("__annotations__") or inspect.get_annotations(cls)).items():
        default = own.get(name, dataclasses.MISSING)
        if not isinstance(kind, str) or kind.startswith(_OTHER_KINDS) or not _is_simple(default):
            return None
        if name == "self" or (_is_missing(default) and not _is_missing(last)):
            return None  # the standard library says why the second cannot be
        found[name] = last = default
    return found


def _is_plain_base(base: type) -> bool:
    """Such as Generic: it brings no fields, and nothing that is to be there."""
    own = vars(base)
    return own.get("__slots__") == () and "__abstractmethods__" not in own and "__dataclass_fields__" not in own


def _is_simple(default: Any) -> bool:
    if not isinstance(default, dataclasses.Field):
        return type(default).__hash__ is not None  # else the standard library refuses it
    return (
        default.init and default.repr and default.compare and default.hash is None and default.kw_only is not True
    )


def _is_missing(default: Any) -> bool:
    if isinstance(default, dataclasses.Field):
        return default.default is dataclasses.MISSING and default.default_factory is dataclasses.MISSING
    return default is dataclasses.MISSING


def _made(cls: type, fields: dict[str, Any], params: dict[str, bool]) -> type:
    """``cls`` again, with slots and methods."""
    own, names = vars(cls), tuple(fields)
    space = {name: value for name, value in own.items() if name not in fields}
    space.pop("__dict__", None)
    space.pop("__weakref__", None)
    key = _key(names)
    space |= {"__slots__": names, _NAMES: names, "__match_args__": names, "__replace__": _replace}
    space.setdefault("__repr__", _repr)
    space.setdefault("__eq__", _comparison(operator.eq, key))
    if params["order"]:
        space |= {name: _comparison(compare, key) for name, compare in _COMPARISONS.items()}
    explicit = "__hash__" in own and not (own["__hash__"] is None and "__eq__" in own)
    if not explicit:
        space["__hash__"] = (lambda self: hash(key(self))) if params["frozen"] else None
    if params["frozen"]:
        space |= {"__getstate__": _state, "__setstate__": _set_state}
    made: Any = type(cls)(cls.__name__, cls.__bases__, space)
    made.__qualname__ = cls.__qualname__
    made.__init__ = _late_init(made, fields, frozen=params["frozen"])
    if params["frozen"]:
        made.__setattr__, made.__delattr__ = _refusing(made, names)
    for name in ("__dataclass_fields__", "__dataclass_params__"):
        setattr(made, name, _Late(name, made, fields, params))
    return made  # type: ignore[no-any-return]


def _key(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """All fields of a value: what is compared and hashed."""
    if len(names) > 1:
        return operator.attrgetter(*names)
    return lambda value: tuple(getattr(value, name) for name in names)


def _comparison(compare: Callable[[Any, Any], Any], key: Callable[[Any], tuple[Any, ...]]) -> Any:
    def method(self: Any, other: Any) -> Any:
        if other.__class__ is self.__class__:
            return compare(key(self), key(other))
        return NotImplemented

    return method


@recursive_repr()
def _repr(self: Any) -> str:
    told = ", ".join(f"{name}={getattr(self, name)!r}" for name in getattr(self, _NAMES))
    return f"{type(self).__qualname__}({told})"


def _state(self: Any) -> list[Any]:
    """For pickle and copy."""
    return [getattr(self, name) for name in getattr(self, _NAMES)]


def _set_state(self: Any, state: Sequence[Any]) -> None:
    for name, value in zip(getattr(self, _NAMES), state, strict=True):
        object.__setattr__(self, name, value)


def _refusing(cls: type, names: tuple[str, ...]) -> tuple[Any, Any]:
    """``__setattr__`` and ``__delattr__`` of frozen values."""
    owner: Any = cls

    def set_attribute(self: Any, name: str, value: Any) -> None:
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        super(owner, self).__setattr__(name, value)

    def delete_attribute(self: Any, name: str) -> None:
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
        super(owner, self).__delattr__(name)

    return set_attribute, delete_attribute


def _late_init(cls: Any, fields: dict[str, Any], *, frozen: bool) -> Any:
    """``__init__`` that makes the real one when it is first called, and leaves its place to it."""

    def init(self: Any, /, *args: Any, **kwargs: Any) -> None:
        cls.__init__ = _compiled(cls, fields, frozen=frozen)
        cls.__init__(self, *args, **kwargs)

    return init


def _compiled(cls: type, fields: dict[str, Any], *, frozen: bool) -> Any:
    known: dict[str, Any] = {"_set": object.__setattr__, "_factory": _FACTORY}
    words, lines = ["self"], []
    for number, (name, default) in enumerate(fields.items()):
        value = name
        if isinstance(default, dataclasses.Field):
            if default.default_factory is not dataclasses.MISSING:
                known[f"_make{number}"] = default.default_factory
                value = f"_make{number}() if {name} is _factory else {name}"
                default = _FACTORY  # noqa: PLW2901 - what stands for it in the signature
            else:
                default = default.default  # noqa: PLW2901
        known[f"_default{number}"] = default
        words.append(name if default is dataclasses.MISSING else f"{name}=_default{number}")
        lines.append(f"_set(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    body = "".join(f"  {line}\n" for line in lines or ["pass"])
    exec(f"def __init__({', '.join(words)}):\n{body}", known)  # noqa: S102 - as the standard library does
    made = known["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made


class _Late:
    """What the standard library's ``fields``, ``asdict`` and ``is_dataclass`` look for, made by it when they do."""

    def __init__(self, name: str, cls: type, fields: dict[str, Any], params: dict[str, bool]) -> None:
        self._name, self._cls, self._fields, self._params = name, cls, fields, params

    def __get__(self, value: object, owner: type | None = None) -> Any:
        cls = self._cls
        space = {"__module__": cls.__module__, "__annotations__": inspect.get_annotations(cls)}
        space |= {name: each for name, each in self._fields.items() if each is not dataclasses.MISSING}
        twin: Any = dataclasses.dataclass(type(cls.__name__, (), space), **self._params)
        for name in ("__dataclass_fields__", "__dataclass_params__"):
            setattr(cls, name, getattr(twin, name))
        return getattr(twin, self._name)
