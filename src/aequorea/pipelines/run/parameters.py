"""One definition per parameter: the flag, the TOML key, the help text and the record follow.

A workflow's options are one frozen pydantic model, whose fields are either values or a
nested model per step. :func:`parameter_fields` reads it; everything else derives from that.
"""

from __future__ import annotations

import tomllib
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, Union, get_args, get_origin

import tomli_w
from pydantic import BaseModel, ValidationError

from aequorea.errors import FileFormatError, FileMissingError, InputError, OutputError
from aequorea.model.parameters import Parameters as Parameters
from aequorea.model.parameters import option as option

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

Source = Literal["default", "toml", "flag", "argument"]
_KINDS = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    Path: "path",
}
_SIGNS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


@dataclass(frozen=True, kw_only=True)
class ParameterField:
    """What a front end needs to know about one parameter.

    Attributes
    ----------
    path : tuple of str
        Group and name: ``("significance", "null")``; the TOML key is ``significance.null``.
    annotation : Any
        Type of the value without ``None``.
    optional : bool
        Whether ``None`` (not given) is allowed.
    default : Any
    meaning : str
        First sentence(s) of the docstring.
    unit : str or None
    bounds : str
        Such as ``"> 0, ≤ 1"``; empty when unbounded.
    lengths : tuple of int
        Fewest and most items of a list; no most is ``None``.
    shared : bool
        Whether other groups have a field of this name, so that the flag names the group too.
    """

    path: tuple[str, ...]
    annotation: Any
    optional: bool
    default: Any
    meaning: str
    unit: str | None
    bounds: str
    lengths: tuple[int, int | None] = (0, None)
    shared: bool = False

    @property
    def name(self) -> str:
        """Name of the parameter, unique in its workflow: of the field, or of group and field."""
        return ("__".join(self.path)) if self.shared else self.path[-1]

    @property
    def key(self) -> str:
        """Dotted TOML key."""
        return ".".join(self.path)

    @property
    def flag(self) -> str:
        """Option on the command line."""
        told = self.key if self.shared else self.path[-1]
        return "--" + told.replace("_", "-")

    @property
    def choices(self) -> tuple[Any, ...]:
        """Allowed values, when they are enumerated."""
        item = self._item
        return tuple(get_args(item)) if get_origin(item) is Literal else ()

    @property
    def is_list(self) -> bool:
        """Whether the value is a sequence (comma-separated on the command line)."""
        return get_origin(self.annotation) is tuple

    @property
    def is_switch(self) -> bool:
        """Whether the value is true or false."""
        return self.annotation is bool

    @property
    def is_textual(self) -> bool:
        """Whether values, or items of the list, are written as text."""
        return self._item in {str, Path} or any(isinstance(c, str) for c in self.choices)

    @property
    def expected(self) -> str:
        """The allowed values in words, for help and error messages."""
        return self._worded("values separated by commas, each ")

    @property
    def expected_in_a_file(self) -> str:
        """The allowed values in words, for a configuration file."""
        return self._worded("a list in [ ], each item ")

    def _worded(self, plural: str) -> str:
        if self.choices:
            what = "one of " + ", ".join(str(c) for c in self.choices)
        else:
            what = _KINDS.get(self._item, "a value")
        if self.is_list:
            what = plural + what
        return " ".join(part for part in (what, self.bounds, self._in_unit) if part)

    @property
    def expected_number(self) -> str:
        """How many values a list takes, in words."""
        least, most = self.lengths
        numbers = self._item in {int, float}
        one = self.path[-1].removesuffix("s").replace("_", " ")
        what = "numbers" if numbers else f"{one} names"
        words = {1: "one", 2: "two", 3: "three"}
        low = words.get(least, str(least))
        if most is None:
            return f"{low} or more {what} separated by commas"
        return f"{low} to {words.get(most, str(most))} {what} separated by commas"

    @property
    def help(self) -> str:
        """Meaning, unit, bounds and default, on one line."""
        shown = _shown(self.default)
        facts = [
            f"unit: {self.unit}" if self.unit else "",
            f"choices: {', '.join(map(str, self.choices))}" if self.choices else "",
            f"bounds: {self.bounds}" if self.bounds else "",
            f"default: {shown}",
        ]
        return f"{self.meaning} [{'; '.join(f for f in facts if f)}]"

    @property
    def _item(self) -> Any:
        return get_args(self.annotation)[0] if self.is_list else self.annotation

    @property
    def _in_unit(self) -> str:
        return f"in {self.unit}" if self.unit else ""


def parameter_fields(model: type[BaseModel]) -> tuple[ParameterField, ...]:
    """All parameters of a workflow, nested groups included, in the order of definition.

    A name that several groups use is told with its group: ``--cell.method``; so is every name of
    a group whose model says ``told_with_group``.

    Examples
    --------
    >>> class Blur(Parameters):
    ...     sigma_um: float = option(0.5, unit="µm", gt=0)
    >>> [f.flag for f in parameter_fields(Blur)]
    ['--sigma-um']
    >>> parameter_fields(Blur)[0].expected
    'a number > 0 in µm'
    """
    fields = tuple(_walk(model, ()))
    names = [f.path[-1] for f in fields]
    return tuple(
        replace(f, shared=True) if names.count(f.path[-1]) > 1 and len(f.path) > 1 else f
        for f in fields
    )


def _walk(model: type[BaseModel], path: tuple[str, ...]) -> Iterable[ParameterField]:
    for name, info in model.model_fields.items():
        annotation = info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            told = getattr(annotation, "told_with_group", False)
            for field in _walk(annotation, (*path, name)):
                yield replace(field, shared=True) if told else field
        else:
            yield _parameter_field((*path, name), info)


def _parameter_field(path: tuple[str, ...], info: FieldInfo) -> ParameterField:
    bare, optional = _without_none(info.annotation)
    extra = info.json_schema_extra
    unit = extra.get("unit") if isinstance(extra, dict) else None
    return ParameterField(
        path=path,
        annotation=bare,
        optional=optional,
        default=info.get_default(call_default_factory=False),
        meaning=" ".join((info.description or "").split()),
        unit=None if unit is None else str(unit),
        bounds=", ".join(_bounds(info.metadata)),
        lengths=(
            next((m.min_length for m in info.metadata if hasattr(m, "min_length")), 0),
            next((m.max_length for m in info.metadata if hasattr(m, "max_length")), None),
        ),
    )


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation, False
    kinds = [a for a in get_args(annotation) if a is not type(None)]
    optional = len(kinds) < len(get_args(annotation))
    return (kinds[0] if len(kinds) == 1 else Union[tuple(kinds)]), optional  # noqa: UP007


def _bounds(metadata: Iterable[Any]) -> Iterable[str]:
    for item in metadata:
        for name, sign in _SIGNS.items():
            if (value := getattr(item, name, None)) is not None:
                yield f"{sign} {value}"


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


ParametersT = TypeVar("ParametersT", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class Effective(Generic[ParametersT]):
    """Parameters in force, and where each came from.

    Attributes
    ----------
    values : Parameters
    sources : mapping of str to {"default", "toml", "flag", "argument"}
        By dotted key; "argument" is one from Python.
    """

    values: ParametersT
    sources: Mapping[str, Source]


def merge_parameters(
    model: type[ParametersT],
    *,
    toml: Mapping[str, Any] | None = None,
    flags: Mapping[str, Any] | None = None,
    toml_name: str = "the configuration file",
    source: Source = "toml",
) -> Effective[ParametersT]:
    """Defaults, overridden by a configuration file, overridden by flags.

    Parameters
    ----------
    model : type of Parameters
    toml : mapping, optional
        Nested as the model is.
    flags : mapping of str to Any, optional
        By field name; text is converted, lists are split at commas.
    toml_name : str
        How error messages call the configuration file.
    source : {"toml", "argument"}
        What the record says of values from ``toml``.

    Raises
    ------
    InputError
        For unknown names (with the nearest known one) and values that are not allowed.

    Examples
    --------
    >>> class Blur(Parameters):
    ...     sigma_um: float = option(0.5, unit="µm", gt=0)
    >>> merge_parameters(Blur, flags={"sigma_um": "-1"})
    Traceback (most recent call last):
    aequorea.errors.InputError: --sigma-um: expected a number > 0 in µm, got '-1'
    """
    fields = parameter_fields(model)
    by_name = {f.name: f for f in fields}
    given = _flatten(toml or {}, fields, toml_name)
    sources: dict[str, Source] = dict.fromkeys((f.key for f in fields), "default")
    sources |= dict.fromkeys(given, source)
    for name, value in (flags or {}).items():
        if name not in by_name:
            raise InputError(f"no parameter {name!r}{_suggestion(name, by_name)}")
        field = by_name[name]
        given[field.key] = _split(field, value)
        sources[field.key] = "flag"
    try:
        values = model.model_validate(_nest(given))
    except ValidationError as error:
        raise InputError(_explain(error, fields, sources, toml_name)) from None
    return Effective(values=values, sources=sources)


_NO_FILE = {"", "none"}


def with_located_paths(
    model: type[BaseModel], tree: Mapping[str, Any], folder: Path
) -> dict[str, Any]:
    """A configuration whose paths are relative to the folder of its file.

    Parameters
    ----------
    model : type of Parameters
    tree : mapping
        Nested as the model is.
    folder : Path
        Absolute paths, and ``none``, stay as they are.

    Examples
    --------
    >>> class Own(Parameters):
    ...     labels: Path | None = None
    >>> with_located_paths(Own, {"labels": "cells.tif"}, Path("/data"))
    {'labels': '/data/cells.tif'}
    """
    found = dict(tree)
    for field in parameter_fields(model):
        if field.annotation is Path:
            found = _located(found, field.path, folder.absolute())
    return found


def _located(tree: Mapping[str, Any], path: tuple[str, ...], folder: Path) -> dict[str, Any]:
    first, *rest = path
    inner, found = tree.get(first), dict(tree)
    if rest and isinstance(inner, Mapping):
        found[first] = _located(inner, tuple(rest), folder)
    elif not rest and isinstance(inner, str | Path) and str(inner).strip().lower() not in _NO_FILE:
        found[first] = str(folder / Path(inner).expanduser())
    return found


def as_given(parameters: ParametersT) -> Effective[ParametersT]:
    """Parameters made in Python; those that differ from their default were given."""
    values = flat_values(parameters)
    defaults = flat_values(type(parameters)())
    sources: dict[str, Source] = {
        key: "default" if value == defaults[key] else "argument" for key, value in values.items()
    }
    return Effective(values=parameters, sources=sources)


def load_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file.

    Raises
    ------
    FileMissingError, FileFormatError
        One line, naming the file.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileMissingError(f"{path}: no such configuration file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise FileFormatError(f"{path}: cannot be read as TOML ({error})") from None


def render_toml(parameters: BaseModel) -> str:
    """A configuration file with every parameter, its meaning, unit, bounds and default.

    Parameters without a value are written as comments.
    """
    values = flat_values(parameters)
    lines: list[str] = []
    group: tuple[str, ...] = ()
    for field in sorted(parameter_fields(type(parameters)), key=lambda f: len(f.path) > 1):
        if field.path[:-1] != group:
            group = field.path[:-1]
            lines += ["", f"[{'.'.join(group)}]"]
        value = values[field.key]
        lines.append(f"# {field.help}")
        lines.append(
            f"# {field.path[-1]} ="
            if value is None
            else tomli_w.dumps({field.path[-1]: value}).strip()
        )
    return "\n".join(lines).lstrip("\n") + "\n"


def write_config(parameters: BaseModel, path: Path) -> None:
    """Write :func:`render_toml` to ``path``, with absolute paths: others are relative to the file.

    Raises
    ------
    OutputError
        If the file exists or cannot be written.
    """
    model = type(parameters)
    tree = with_located_paths(model, parameters.model_dump(), Path())
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(render_toml(model.model_validate(tree)))
    except FileExistsError:
        raise OutputError(f"{path}: exists already; give another name") from None
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from None


def flat_values(parameters: BaseModel) -> dict[str, Any]:
    """Every effective value by dotted key, as JSON knows it."""
    dumped = parameters.model_dump(mode="json")
    return {f.key: _dig(dumped, f.path) for f in parameter_fields(type(parameters))}


def _dig(tree: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        tree = tree[name]
    return tree


def _flatten(
    toml: Mapping[str, Any], fields: tuple[ParameterField, ...], toml_name: str
) -> dict[str, Any]:
    by_key = {f.key: f for f in fields}
    keys = set(by_key)
    groups = {".".join(f.path[:n]) for f in fields for n in range(1, len(f.path))}
    flat: dict[str, Any] = {}

    def visit(tree: Mapping[str, Any], prefix: str) -> None:
        for name, value in tree.items():
            key = prefix + name
            if key in groups and isinstance(value, Mapping):
                visit(value, key + ".")
            elif key in groups:
                inner = f"{key}.{name}"
                near = f"; did you mean {inner!r}?" if inner in keys else ""
                raise InputError(
                    f"{toml_name}: {key}: expected a table [{key}], got {value!r}{near}"
                )
            elif key in by_key:
                _refuse_wrong_type(by_key[key], value, toml_name)
                flat[key] = value
            else:
                known = (keys | groups) if "." not in key else {k for k in keys if "." in k}
                raise InputError(f"{toml_name}: unknown key {key!r}{_suggestion(key, known, keys)}")

    visit(toml, "")
    return flat


def _refuse_wrong_type(field: ParameterField, value: Any, toml_name: str) -> None:
    """A file says 3 and true; text that looks like them, and true for 1, are slips."""
    items = value if isinstance(value, list | tuple) else [value]
    truths = [isinstance(item, bool) for item in items]
    texts = [isinstance(item, str) for item in items]
    wrong = (any(truths) and not field.is_switch) or (any(texts) and not field.is_textual)
    if wrong or (field.is_list and isinstance(value, str)):
        raise InputError(
            f"{toml_name}: {field.key}: expected {field.expected_in_a_file}, got {value!r}"
        )


def _suggestion(name: str, known: Iterable[str], more: Iterable[str] = ()) -> str:
    last = {k.rsplit(".", 1)[-1]: k for k in [*more, *known]}
    near = get_close_matches(name, list(known), n=1, cutoff=0.6)
    near = near or [last[k] for k in get_close_matches(name.rsplit(".", 1)[-1], list(last), n=1)]
    return f"; did you mean {near[0]!r}?" if near else ""


def _split(field: ParameterField, value: Any) -> Any:
    if field.is_list and isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return value


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *groups, name = key.split(".")
        node = tree
        for group in groups:
            node = node.setdefault(group, {})
        node[name] = value
    return tree


def _explain(
    error: ValidationError,
    fields: tuple[ParameterField, ...],
    sources: Mapping[str, Source],
    toml_name: str,
) -> str:
    by_key = {f.key: f for f in fields}
    messages: dict[str, str] = {}
    for fault in error.errors():
        path = tuple(str(part) for part in fault["loc"])
        key = next((k for n in range(len(path), 0, -1) if (k := ".".join(path[:n])) in by_key), "")
        if not key:
            messages[fault["msg"]] = fault["msg"].removeprefix("Value error, ")
            continue
        field = by_key[key]
        where = field.flag if sources[key] == "flag" else f"{toml_name}: {key}"
        if fault["type"] == "value_error":
            messages[key] = f"{where}: {fault['msg'].removeprefix('Value error, ')}"
            continue
        if fault["type"] in {"too_short", "too_long"}:
            found = ",".join(str(item) for item in fault["input"])
            messages[key] = f"{where}: expected {field.expected_number}, got {found!r}"
            continue
        near = _suggestion(str(fault["input"]), [str(c) for c in field.choices])
        expected = field.expected if sources[key] == "flag" else field.expected_in_a_file
        messages[key] = f"{where}: expected {expected}, got {fault['input']!r}{near}"
    return "; ".join(messages.values())
