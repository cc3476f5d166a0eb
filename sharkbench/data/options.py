"""The options that every source of data shares: labels, splits, the roles of columns. Nothing heavy is imported."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


class Options(BaseModel):
    """Base of all data options: frozen, unknown keys refused, docstrings become the JSON Schema's descriptions."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


def _no_yaml_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("YAML reads a bare yes, no, on or off as true or false; put quotes around the value")
    return value


LabelValue = Annotated[str | int | float, BeforeValidator(_no_yaml_bool)]


class Label(Options):
    """What is predicted. Raw values are 0 and 1 unless ``positive``, ``negative`` or ``at_least`` says otherwise."""

    column: str
    """Column that holds the label."""
    name: str = ""
    """Name in tables; the column's name unless given."""
    positive: tuple[LabelValue, ...] = ()
    """Raw values that mean 1; every other value means 0."""
    negative: tuple[LabelValue, ...] = ()
    """Raw values that mean 0; every other value means 1."""
    at_least: float | None = None
    """Raw numbers from here on mean 1, smaller ones 0 (ratings of 4 and more, say)."""

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, data: Any) -> Any:
        data = {"column": data} if isinstance(data, str) else data
        if isinstance(data, dict) and "column" in data:
            data = {"name": data["column"], **data}
        return data

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if sum([bool(self.positive), bool(self.negative), self.at_least is not None]) > 1:
            raise ValueError("give one of positive, negative and at_least, not several")
        return self


class _Shares(Options):
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of train, valid and test; they sum to 1."""

    @model_validator(mode="after")
    def _check_fractions(self) -> Self:
        if min(self.fractions) <= 0 or abs(sum(self.fractions) - 1) > 1e-6:
            raise ValueError(f"fractions must be three positive numbers that sum to 1, not {list(self.fractions)}")
        return self


class RandomSplit(_Shares):
    """Rows go to train, valid and test at random."""

    kind: Literal["random"] = "random"
    seed: int = Field(0, ge=0)
    """Seed of the permutation."""


class TemporalSplit(_Shares):
    """The earliest rows are train, the latest test. Rows of one time never part: they all go to the later split."""

    kind: Literal["temporal"] = "temporal"
    column: str = ""
    """Column of numbers or ISO dates; the data set's ``time`` column unless given."""


class GivenSplit(Options):
    """The data says which row belongs where: by file, by split name (hub) or by a column."""

    kind: Literal["given"] = "given"
    column: str = ""
    """Column whose values name the split; without it the splits are files, or named splits of a hub data set."""
    train: str = "train"
    """File, hub split or column value of the training rows."""
    valid: str | None = "valid"
    """The same for validation; ``null`` takes ``valid_fraction`` of the training rows at random."""
    test: str = "test"
    """The same for the test rows."""
    valid_fraction: float = Field(0.1, gt=0, lt=1)
    """Share of the training rows that validates where ``valid`` is ``null``."""
    seed: int = Field(0, ge=0)
    """Seed of that choice."""


def _kind_by_name(value: Any) -> Any:
    if isinstance(value, str):
        return {"kind": value}
    if isinstance(value, dict) and "kind" not in value:
        return {"kind": "random", **value}
    return value


SplitSpec = Annotated[
    RandomSplit | TemporalSplit | GivenSplit,
    Field(discriminator="kind"),
    BeforeValidator(
        _kind_by_name,
        json_schema_input_type=Literal["random", "temporal", "given"] | RandomSplit | TemporalSplit | GivenSplit,
    ),
]


class Numeric(Options):
    """How a column of numbers is used."""

    how: Literal["quantiles", "log2", "dense"] = "quantiles"
    """``quantiles``: buckets with equally many training rows; ``log2``: floor(ln(v)^2), each whole value up to 2 its
    own bucket; ``dense``: a float input, standardised by the training rows, missing = 0."""
    bins: int = Field(20, ge=2, le=65_536)
    """Number of buckets of ``quantiles`` (fewer where values repeat)."""

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, data: Any) -> Any:
        if isinstance(data, str):
            return {"how": data}
        return {} if data is None else data

    @model_validator(mode="after")
    def _bins_only_for_quantiles(self) -> Self:
        # Compared with the default, because a specification that was written down states all keys.
        if self.bins != type(self).model_fields["bins"].default and self.how != "quantiles":
            raise ValueError(f"bins belongs to how: quantiles, not to how: {self.how}")
        return self


class MultiValued(Options):
    """A column with several values per row (tags, a history): they share one vocabulary and are pooled."""

    separator: str = Field(",", min_length=1)
    """What stands between two values; lists in Parquet and hub data need none."""
    slots: int = Field(8, ge=1, le=1024)
    """The first so many values of a row are kept, the rest is dropped."""
    pooling: Literal["mean", "sum"] = "mean"
    """How a row's vectors become one; empty slots are left out."""

    @model_validator(mode="before")
    @classmethod
    def _from_separator(cls, data: Any) -> Any:
        if isinstance(data, str):
            return {"separator": data}
        return {} if data is None else data


def _numeric_by_column(value: Any) -> Any:
    if isinstance(value, list | tuple):
        if not all(isinstance(column, str) for column in value):
            raise ValueError("must be a list of column names, or a mapping of columns to how each is used")
        return {column: {} for column in value}
    return value


def _tuple_of_one(value: Any) -> Any:
    return (value,) if isinstance(value, str | dict) else value


NumericColumns = Annotated[
    dict[str, Numeric],
    BeforeValidator(_numeric_by_column, json_schema_input_type=dict[str, Numeric | str | None] | list[str]),
]
MultiValuedColumns = Annotated[
    dict[str, MultiValued],
    BeforeValidator(_numeric_by_column, json_schema_input_type=dict[str, MultiValued | str | None] | list[str]),
]
Names = Annotated[tuple[str, ...], BeforeValidator(_tuple_of_one, json_schema_input_type=str | list[str])]
Labels = Annotated[
    tuple[Label, ...],
    BeforeValidator(_tuple_of_one, json_schema_input_type=str | Label | list[str | Label]),
    Field(min_length=1),
]
