"""The options that all data sources share: labels, splits and column roles. Imports nothing heavy."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


class Options(BaseModel):
    """Base of all data options: frozen, refuses unknown keys; docstrings become descriptions in the JSON Schema."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


def _no_yaml_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("without quotes, true and false are YAML booleans; put quotes around the value")
    return value


LabelValue = Annotated[str | int | float, BeforeValidator(_no_yaml_bool)]


class Label(Options):
    """A column to predict. Its raw values are 0 and 1 unless ``positive``, ``negative`` or ``at_least`` is given."""

    column: str
    """Column that holds the label."""
    name: str = ""
    """Name of the label in tables; by default the column's name."""
    positive: tuple[LabelValue, ...] = ()
    """Raw values that mean 1; every other value means 0."""
    negative: tuple[LabelValue, ...] = ()
    """Raw values that mean 0; every other value means 1."""
    at_least: float | None = None
    """Threshold: raw values of at least this mean 1, smaller values mean 0 (ratings of 4 and above, for example)."""

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
    """Fractions of rows in train, valid and test; they sum to 1."""

    @model_validator(mode="after")
    def _check_fractions(self) -> Self:
        if min(self.fractions) <= 0 or abs(sum(self.fractions) - 1) > 1e-6:
            raise ValueError(f"fractions must be three positive numbers that sum to 1, not {list(self.fractions)}")
        return self


class RandomSplit(_Shares):
    """Rows are assigned to train, valid and test at random."""

    kind: Literal["random"] = "random"
    seed: int = Field(0, ge=0)
    """Seed of the permutation."""


class TemporalSplit(_Shares):
    """The earliest rows are train, the latest are test. Rows with equal times stay together, in the later split."""

    kind: Literal["temporal"] = "temporal"
    column: str = ""
    """Column of numbers or ISO dates to order rows by; by default the data set's ``time`` column."""


class GivenSplit(Options):
    """The data defines the split: by file, by split name (hub) or by the values of a column."""

    kind: Literal["given"] = "given"
    column: str = ""
    """Column whose values name the split; if empty, the splits are files, or named splits of a hub data set."""
    train: str = "train"
    """File, hub split or column value of the training rows."""
    valid: str | None = "valid"
    """The same for the validation rows; ``null`` draws ``valid_fraction`` of the training rows at random."""
    test: str = "test"
    """The same for the test rows."""
    valid_fraction: float = Field(0.1, gt=0, lt=1)
    """Fraction of the training rows used for validation if ``valid`` is ``null``."""
    seed: int = Field(0, ge=0)
    """Seed of that random draw."""


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
    """How a numeric column is encoded."""

    how: Literal["quantiles", "log2", "dense"] = "quantiles"
    """``quantiles``: buckets with equal numbers of training rows. ``log2``: bucket floor(ln(v)^2); each integer up to 2
    is its own bucket. ``dense``: a float input, standardised with the statistics of the training rows; missing is 0."""
    bins: int = Field(20, ge=2, le=65_536)
    """Number of buckets of ``quantiles`` (fewer if values repeat)."""

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, data: Any) -> Any:
        if isinstance(data, str):
            return {"how": data}
        return {} if data is None else data

    @model_validator(mode="after")
    def _bins_only_for_quantiles(self) -> Self:
        # Compare with the default, because a specification that was serialised states all keys.
        if self.bins != type(self).model_fields["bins"].default and self.how != "quantiles":
            raise ValueError(f"bins belongs to how: quantiles, not to how: {self.how}")
        return self


class MultiValued(Options):
    """A column with several values per row (tags, a history); the values share one vocabulary and are pooled."""

    separator: str = Field(",", min_length=1)
    """Separator between values; lists in Parquet and hub data need none."""
    slots: int = Field(8, ge=1, le=1024)
    """Number of values kept per row, from the first on; the rest are dropped."""
    pooling: Literal["mean", "sum"] = "mean"
    """How the vectors of a row's values are pooled into one; empty slots are ignored."""

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
