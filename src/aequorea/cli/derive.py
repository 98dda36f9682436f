"""Command-line options out of parameter models."""

from __future__ import annotations

import inspect
from itertools import count
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from aequorea.pipelines.run.parameters import ParameterField, parameter_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import BaseModel


def with_options(
    *models: type[BaseModel],
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Replace a command's ``**flags`` by one option per parameter of ``models``.

    The command receives those that were given, as text: the model converts and validates, so
    that a flag and a TOML key are judged alike.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        own = [
            p
            for p in inspect.signature(command, eval_str=True).parameters.values()
            if p.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        groups = count(1)
        sections: dict[str, Group] = {}
        derived = []
        for model in models:
            for field in parameter_fields(model):
                title = _title(field, model)
                if title not in sections:
                    sections[title] = Group(title, sort_key=next(groups))
                derived.append(_option(field, sections[title]))

        def derived_command(*args: Any, **kwargs: Any) -> Any:
            return command(*args, **{k: v for k, v in kwargs.items() if v is not None})

        derived_command.__name__ = command.__name__
        derived_command.__doc__ = command.__doc__
        derived_command.__module__ = command.__module__
        derived_command.__signature__ = inspect.Signature([*own, *derived])  # type: ignore[attr-defined]
        derived_command.__annotations__ = {p.name: p.annotation for p in [*own, *derived]}
        return derived_command

    return decorate


class Number(str):
    """Text that the model reads as a number."""

    __slots__ = ()


class Text(str):
    """Text."""

    __slots__ = ()


class List(str):
    """Text that the model reads as a list."""

    __slots__ = ()


def _option(field: ParameterField, group: Group) -> inspect.Parameter:
    kind: Any = bool if field.is_switch else _kind(field)
    described = Parameter(
        name=field.flag,
        help=field.help,
        group=group,
        allow_leading_hyphen=not field.is_switch,
    )
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, described],
    )


def _kind(field: ParameterField) -> type[str]:
    if field.is_list:
        return List
    return Number if field.annotation in {int, float} else Text


def _title(field: ParameterField, model: type[BaseModel]) -> str:
    owner: Any = model
    for name in field.path[:-1]:
        owner = owner.model_fields[name].annotation
    return str(owner.__doc__ or owner.__name__).strip().splitlines()[0].rstrip(".")


def given_for(model: type[BaseModel], flags: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``flags`` that are parameters of ``model``."""
    names = {f.name for f in parameter_fields(model)}
    return {k: v for k, v in flags.items() if k in names}
