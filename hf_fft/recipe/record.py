"""What every section of a recipe is: a frozen record with exact types, and the kinds of value that sections share."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Record(BaseModel):
    """A frozen record that refuses unknown keys and inexact types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


# Strict records would refuse a JSON array, or a Python list, where a tuple stands; the items stay strict.
Names: TypeAlias = Annotated[tuple[str, ...], Field(strict=False)]
Fraction: TypeAlias = Annotated[float, Field(ge=0, lt=1)]
Rows: TypeAlias = Annotated[int, Field(ge=1)]
Sha256: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# Where the schema lies is an editor's business: checked, and not kept, so that equal recipes are equal.
EditorSchema: TypeAlias = Annotated[str | None, AfterValidator(lambda _: None)]
SplitName: TypeAlias = Literal["train", "validation", "test"]
