"""What a study is: a TOML file, read and checked as a whole before anything runs."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aequorea.errors import FileMissingError, InputError
from aequorea.pipelines.run.parameters import (
    Effective,
    ParameterField,
    ParametersT,
    load_toml,
    merge_parameters,
    parameter_fields,
    with_located_paths,
)
from aequorea.pipelines.study.comparison import ComparisonParameters
from aequorea.pipelines.study.sheet import list_samples, located, near_miss, read_samples

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from pydantic import BaseModel

    from aequorea.pipelines.study.sample import Sample

_KEYS = ("workflow", "sheet", "files", "out", "channels", "params", "compare")


@dataclass(frozen=True, kw_only=True)
class Study:
    """Samples, what they are, and how they are to be analysed.

    Attributes
    ----------
    name : str
    samples : tuple of Sample
    out : Path
        Directory of the results.
    workflow : str or None
    channels : mapping of str to str or int
        Channel name or number by role.
    params : mapping
        Parameters of the workflow for all samples, nested as in its own file.
    comparison : ComparisonParameters or None
        What ``[compare]`` asks for.
    sources : mapping of str to Path
        The files the study was read from: ``study``, ``sheet``.
    """

    name: str
    samples: tuple[Sample, ...]
    out: Path
    workflow: str | None = None
    channels: Mapping[str, str | int] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    comparison: ComparisonParameters | None = None
    sources: Mapping[str, Path] = field(default_factory=dict)

    @property
    def controls(self) -> tuple[Sample, ...]:
        """Samples that are controls."""
        return tuple(s for s in self.samples if s.is_control)

    def shared_parameters(
        self, model: type[ParametersT], *, flags: Mapping[str, Any] | None = None
    ) -> Effective[ParametersT]:
        """Parameters of all samples: defaults, then ``[params]``, then flags.

        Raises
        ------
        InputError
            For unknown names and values that are not allowed.
        """
        return merge_parameters(
            model, toml=self._located_params(model), flags=flags, toml_name=self._params_name
        )

    def sample_parameters(
        self,
        sample: Sample,
        model: type[ParametersT],
        *,
        flags: Mapping[str, Any] | None = None,
    ) -> Effective[ParametersT]:
        """Parameters of one sample: those of all, overridden by its row of the sheet.

        Raises
        ------
        InputError
            One line that names row and column. Also for a file that does not exist; paths are
            relative to the folder of the sheet.
        """
        if not sample.overrides:
            return self.shared_parameters(model, flags=flags)
        fields = {f.key: f for f in parameter_fields(model)}
        merged: Mapping[str, Any] = self._located_params(model)
        for key, text in sample.overrides.items():
            column = f"{sample.where}, column 'params.{key}'"
            if key not in fields:
                raise InputError(f"{column}: unknown parameter{near_miss(key, fields)}")
            path, value = key.split("."), _typed(fields[key], text)
            if fields[key].annotation is Path:
                value = str(_existing(text, sample, column))
            merge_parameters(model, toml=_with({}, path, value), toml_name=column)
            merged = _with(merged, path, value)
        overridden = {fields[key].name for key in sample.overrides}
        others = {k: v for k, v in (flags or {}).items() if k not in overridden}
        return merge_parameters(model, toml=merged, flags=others, toml_name=sample.where)

    def check_parameters(self, model: type[ParametersT]) -> None:
        """Refuse wrong parameters of any sample before the first one runs.

        Raises
        ------
        InputError
            For the first of them.
        """
        self.shared_parameters(model)
        for sample in self.samples:
            self.sample_parameters(sample, model)

    def _located_params(self, model: type[BaseModel]) -> Mapping[str, Any]:
        """Paths of a study file are relative to its folder."""
        source = self.sources.get("study")
        return (
            self.params if source is None else with_located_paths(model, self.params, source.parent)
        )

    @property
    def _params_name(self) -> str:
        return f"{self.sources.get('study', self.name)}: [params]"


def load_study(path: str | os.PathLike[str]) -> Study:
    r"""Read a study file and its sample sheet.

    Parameters
    ----------
    path : path
        TOML. ``sheet`` (CSV or Excel) or ``files`` (list of files and patterns), relative to it;
        optionally ``workflow``, ``out``, and tables ``[channels]``, ``[params]``, ``[compare]``.

    Returns
    -------
    Study

    Raises
    ------
    InputError
        One line that names the file, the row and the column, or the key.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "samples.csv").write_text("file,animal\nsamples.csv,m1\n")
    >>> _ = (folder / "study.toml").write_text('sheet = "samples.csv"')
    >>> [s.animal for s in load_study(folder / "study.toml").samples]
    ['m1']
    """
    where = Path(path)
    content = load_toml(where)
    for key in content:
        if key not in _KEYS:
            raise InputError(f"{where}: unknown key {key!r}{near_miss(key, _KEYS)}")
    if ("sheet" in content) == ("files" in content):
        raise InputError(f"{where}: expected either 'sheet' or 'files', got {_both(content)}")
    folder, sources = where.parent, {"study": where}
    out = Path(f"{where.stem}.aequorea")
    if "out" in content:
        out = folder / _text(content, "out", where)
    if "sheet" in content:
        sheet = folder / _text(content, "sheet", where)
        samples = read_samples(sheet)
        sources["sheet"] = sheet
    else:
        files = _file_list(content, where)
        samples = list_samples(files, folder=folder, where=f"{where}: files", leave_out=out)
    return Study(
        name=where.stem,
        samples=samples,
        out=out,
        workflow=_text(content, "workflow", where) if "workflow" in content else None,
        channels=_channels(_table(content, "channels", where), where),
        params=_table(content, "params", where),
        comparison=_comparison(content, samples, where),
        sources=sources,
    )


def path_keys(model: type[BaseModel]) -> frozenset[str]:
    """Parameters that name files, by dotted key."""
    return frozenset(f.key for f in parameter_fields(model) if f.annotation is Path)


def _existing(text: str, sample: Sample, column: str) -> Path:
    path = located(text, sample.base)
    if not path.exists():
        raise FileMissingError(
            f"{column}: {path} does not exist; paths are relative to the folder of the sheet"
        )
    return path


def _both(content: Mapping[str, Any]) -> str:
    return "both" if "sheet" in content else "neither"


def _text(content: Mapping[str, Any], key: str, where: Path) -> str:
    value = content[key]
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{where}: {key}: expected text, got {value!r}")
    return value


def _table(content: Mapping[str, Any], key: str, where: Path) -> Mapping[str, Any]:
    value = content.get(key, {})
    if not isinstance(value, Mapping):
        raise InputError(f"{where}: {key}: expected a table [{key}], got {value!r}")
    return value


def _file_list(content: Mapping[str, Any], where: Path) -> Sequence[str]:
    files = content["files"]
    if not isinstance(files, list) or not all(isinstance(f, str) and f for f in files):
        raise InputError(
            f"{where}: files: expected a list of names such as ['data/*.czi'], got {files!r}"
        )
    return files


def _channels(roles: Mapping[str, Any], where: Path) -> Mapping[str, str | int]:
    for role, channel in roles.items():
        number = isinstance(channel, int) and not isinstance(channel, bool) and channel >= 0
        if not number and not (isinstance(channel, str) and channel):
            raise InputError(
                f"{where}: channels.{role}: expected a channel name or number, got {channel!r}"
            )
    return roles


def _comparison(
    content: Mapping[str, Any], samples: Sequence[Sample], where: Path
) -> ComparisonParameters | None:
    if "compare" not in content:
        return None
    asked = merge_parameters(
        ComparisonParameters,
        toml=_table(content, "compare", where),
        toml_name=f"{where}: [compare]",
    ).values
    present = sorted({s.condition for s in samples if s.condition and not s.is_control})
    if asked.reference is not None and asked.reference not in present:
        raise InputError(
            f"{where}: [compare]: reference: no condition {asked.reference!r}; the samples have "
            f"{', '.join(present) or 'none'}{near_miss(asked.reference, present)}"
        )
    return asked


def _typed(option: ParameterField, text: str) -> Any:
    """A value of a sheet as a configuration file would give it."""
    if option.is_list:
        parts = [part.strip() for part in text.strip("[]").replace(";", ",").split(",")]
        return [_scalar(option, part) for part in parts if part]
    return _scalar(option, text)


def _scalar(option: ParameterField, text: str) -> Any:
    if option.is_switch:
        return {"true": True, "yes": True, "false": False, "no": False}.get(text.lower(), text)
    if option.is_textual:
        return text
    number = text.replace(",", ".") if text.count(",") == 1 and "." not in text else text
    try:
        value = tomllib.loads(f"value = {number}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return text if isinstance(value, bool) else value


def _with(tree: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """A copy of a nested mapping with one value replaced."""
    first, *rest = path
    inner = tree.get(first)
    if rest:
        value = _with(inner if isinstance(inner, Mapping) else {}, rest, value)
    return {**tree, first: value}
