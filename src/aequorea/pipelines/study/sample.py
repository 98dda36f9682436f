"""One sample of a study, and the folder name it may have."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_RESERVED = {"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(1, 10))}
_LONGEST = 80


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One image of a study and what the sheet says of it.

    Attributes
    ----------
    name : str
        Unique in the study, also if upper and lower case are not told apart.
    file : Path
        Only ever opened for reading.
    animal, condition, replicate : str or None
    control : str or None
        ``"single:<stain>"``, ``"secondary-only"``, ``"negative"``, ``"positive"``.
    code : str or None
        Name under which the sample is shown to whoever must not know its condition.
    regions : Path or None
    overrides : mapping of str to str
        Parameters of this sample only, as written in the sheet, by dotted key.
    base : Path or None
        Folder to which paths among ``overrides`` are relative: that of the sheet. The working
        directory if None.
    metadata : mapping of str to str
        Every other column of the sheet that has a value here.
    where : str
        For messages: ``"samples.csv: row 3"``.
    """

    name: str
    file: Path
    animal: str | None = None
    condition: str | None = None
    replicate: str | None = None
    control: str | None = None
    code: str | None = None
    regions: Path | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)
    base: Path | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    where: str = "the study"

    @property
    def is_control(self) -> bool:
        """Whether the sample is a control, never part of a comparison."""
        return self.control is not None

    @property
    def stain(self) -> str | None:
        """The stain of a single-stain control."""
        kind, _, stain = (self.control or "").partition(":")
        return stain if kind == "single" else None

    @property
    def folder(self) -> str:
        """Name of the sample's run directory."""
        return safe_folder(self.name)

    def blinded(
        self, code: str, *, file: Path, regions: Path | None, overrides: Mapping[str, str]
    ) -> Sample:
        """The same image under a code and other paths, without anything that tells what it is."""
        return replace(
            self,
            name=code,
            code=code,
            file=file,
            regions=regions,
            overrides=dict(overrides),
            base=None,
            animal=None,
            condition=None,
            replicate=None,
            metadata={},
            where=f"sample {code}",
        )

    def facts(self) -> dict[str, Any]:
        """What tables say of the sample, in the order of their leading columns."""
        return {
            "sample": self.name,
            "animal": self.animal,
            "condition": self.condition,
            "replicate": self.replicate,
            "control": self.control,
            "code": self.code,
        }


def safe_folder(name: str) -> str:
    """A folder name that any system takes, and that leads nowhere else.

    Parameters
    ----------
    name : str

    Returns
    -------
    str
        ``name`` itself where it is safe; otherwise a similar one with a short hash of ``name``,
        so that different names stay different.

    Examples
    --------
    >>> safe_folder("mouse 3, slice 1")
    'mouse 3, slice 1'
    >>> safe_folder("../../etc")
    'etc-74ccf3c5'
    """
    cleaned = re.sub(r"[^\w \-.,+()=]", "_", unicodedata.normalize("NFC", name))
    cleaned = cleaned.lstrip("._ ").rstrip(". ")[:_LONGEST].rstrip(". ")
    if cleaned and cleaned == name and cleaned.partition(".")[0].lower() not in _RESERVED:
        return cleaned
    mark = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{cleaned or 'sample'}-{mark}"
