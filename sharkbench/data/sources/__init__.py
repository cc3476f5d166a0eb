"""Readers: each turns its files into chunks of raw columns. ``open_source`` finds the one for a spec."""

from __future__ import annotations

from sharkbench.data import spec as specs
from sharkbench.data.sources.base import Chunk, Source

__all__ = ["Chunk", "Source", "open_source"]


def open_source(spec: specs.Columns) -> Source:
    """The reader of a data set.

    Raises:
        InputError: a file is missing.
        DataError: a feature table is malformed, or the hub cannot be reached.
    """
    from sharkbench.data.sources.csv import CsvSource

    if isinstance(spec, specs.SyntheticSpec):
        from sharkbench.data.synthetic import SyntheticSource

        return SyntheticSource(spec)
    if isinstance(spec, specs.CsvSpec):
        parts = spec.parts()
        name = parts[0][1][0].name.removesuffix(".gz")
        separator = spec.separator or ("\t" if name.endswith(".tsv") else ",")
        quote = {"": None, "none": ""}.get(spec.quote, spec.quote)
        return CsvSource(parts, separator, spec.header, spec.columns, quote)
    if isinstance(spec, specs.CriteoSpec):
        names = ["label", *(f"I{i}" for i in range(1, 14)), *(f"C{i}" for i in range(1, 27))]
        return CsvSource(spec.parts(), "\t", header=False, columns=names, quote="")
    if isinstance(spec, specs.AvazuSpec):
        from sharkbench.data.sources.avazu import AvazuSource

        return AvazuSource(spec.parts())
    if isinstance(spec, specs.ParquetSpec):
        from sharkbench.data.sources.parquet import ParquetSource

        return ParquetSource(spec.parts())
    if isinstance(spec, specs.KuaiRandSpec):
        from sharkbench.data.sources.kuairand import KuaiRandSource
        from sharkbench.data.sources.parquet import ParquetSource

        files = spec.files()
        return KuaiRandSource(files[:-2], files[-2], files[-1]) if len(files) > 1 else ParquetSource([("", files)])
    from sharkbench.data.sources.hub import HubSource, bars_source

    if isinstance(spec, specs.HubSpec):
        return HubSource(spec)
    assert isinstance(spec, specs.BarsSpec)
    return bars_source(spec)
