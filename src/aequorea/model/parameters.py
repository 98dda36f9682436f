"""What a parameter is: a documented, bounded field of a frozen model beside its algorithm."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Parameters(BaseModel):
    """Base of all parameter models: frozen, without unknown fields, documented by docstrings."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        ser_json_inf_nan="strings",
        allow_inf_nan=False,
    )


def option(default: Any, *, unit: str | None = None, **constraints: Any) -> Any:
    """A field with a unit. The docstring below the field says what it means.

    Parameters
    ----------
    default : Any
    unit : str, optional
        Physical unit, shown in help and configuration files.
    **constraints
        Bounds as pydantic names them: ``gt``, ``ge``, ``lt``, ``le``, ``min_length``, …
    """
    return Field(default, json_schema_extra={"unit": unit} if unit else None, **constraints)
