"""The real files, each from a few lines of YAML."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
import yaml
from pydantic import TypeAdapter

from sharkbench.data.prepare import prepare
from sharkbench.data.spec import DatasetSpec
from sharkbench.errors import DataError

ADAPTER: TypeAdapter[Any] = TypeAdapter(DatasetSpec)
KUAIRAND = "{source: kuairand, path: DATA/kuairand_pure}"
CRITEO = "{source: criteo, path: DATA/criteo_sample/train.txt.gz, min_count: 2}"
AVAZU = "{source: avazu, path: DATA/avazu_sample/avazu_15k.csv.gz}"
DIABETES = """
name: diabetes
source: csv
path: DATA/diabetes130/diabetic_data.csv.gz
labels: {column: readmitted, negative: ['NO']}
missing: ['?']
ignore: [encounter_id, patient_nbr]
"""
CENSUS = """
name: census
source: csv
path: DATA/census_income/census-income.test.gz
header: false
missing: ['?']
labels: {column: c41, name: income, negative: ['- 50000.']}
ignore: [c24]
"""


@pytest.mark.parametrize(
    ("text", "fields", "rows", "rates"),
    [
        (KUAIRAND, 44, 222_869, {"is_click": 0.449, "long_view": 0.316}),
        (CRITEO, 39, 14_584, {"label": 0.234}),
        (AVAZU, 21, 15_000, {"click": 0.171}),
        (DIABETES, 47, 101_766, {"readmitted": 0.461}),
        (CENSUS, 40, 99_762, {"income": 0.062}),
    ],
    ids=["kuairand", "criteo", "avazu", "diabetes", "census"],
)
def test_prepares_from_a_few_lines(
    real_data: Path, tmp_path: Path, text: str, fields: int, rows: int, rates: dict[str, float]
) -> None:
    data = prepare(ADAPTER.validate_python(yaml.safe_load(text.replace("DATA", str(real_data)))), tmp_path)
    assert data.schema.num_fields == fields
    assert sum(data.summary["rows"].values()) == rows
    labels = torch.cat([split.labels for split in data.splits.values()])
    assert labels.mean(0).tolist() == pytest.approx(list(rates.values()), abs=6e-4)
    for split in data.splits.values():
        used = split.ids[split.ids >= 0]
        assert used.max() < data.schema.num_rows


def test_kuairand_roles(real_data: Path, tmp_path: Path) -> None:
    file = tmp_path / "kuairand.parquet"
    pl.read_parquet(real_data / "kuairand_pure" / "kuairand_pure.parquet").head(5000).write_parquet(file)
    spec = {"source": "kuairand", "path": str(file), "labels": ["is_click"]}
    data = prepare(ADAPTER.validate_python(spec), tmp_path)
    assert not {"is_like", "long_view", "date", "time_ms", "visible_status"} & set(data.columns)
    how = {name: entry["how"] for name, entry in data.columns.items()}
    assert [name for name in how if how[name] == "quantiles"] == [
        *("follow_user_num", "fans_user_num", "friend_user_num", "register_days", "video_duration"),
    ]
    assert how["tag"] == "multivalued"
    assert data.summary["split"] == "temporal"
    assert data.splits["test"].group is not None


def test_the_official_kuairand_folder_gives_the_same_data(real_data: Path, tmp_path: Path) -> None:
    merged = pl.read_parquet(real_data / "kuairand_pure" / "kuairand_pure.parquet").head(3000)
    users = [c for c in merged.columns if c.endswith(("_range", "_num", "register_days")) or c.startswith("onehot")]
    users += ["user_active_degree", "is_lowactive_period", "is_live_streamer", "is_video_author"]
    videos = "author_id video_type upload_dt upload_type visible_status video_duration server_width server_height"
    tables = {
        "user": ["user_id", *(c for c in merged.columns if c in users)],
        "video": ["video_id", *videos.split(), "music_id", "music_type", "tag"],
    }
    # one row per user and video, as published: the merged rows take the first
    first = merged.select(pl.col(*tables["user"]).first().over("user_id"))
    clip = merged.select(pl.col(*tables["video"]).first().over("video_id"))
    other = [c for c in merged.columns if c not in (*tables["user"][1:], *tables["video"][1:])]
    whole = merged.select(other).hstack(first.drop("user_id")).hstack(clip.drop("video_id")).select(merged.columns)
    official, single = tmp_path / "official", tmp_path / "single"
    official.mkdir()
    single.mkdir()
    whole.write_parquet(single / "kuairand_pure.parquet")
    log = whole.select(
        "user_id", "video_id", "date", (pl.col("hour") * 100).alias("hourmin"), "time_ms", "is_click", "is_like",
        "long_view", pl.lit(1000).alias("play_time_ms"), pl.lit(0).alias("is_rand"), "tab",
    )  # fmt: skip
    log.head(1000).write_csv(official / "log_standard_4_08_to_4_21_pure.csv")
    log.tail(2000).write_csv(official / "log_standard_4_22_to_5_08_pure.csv")
    whole.select(tables["user"]).unique("user_id").write_csv(official / "user_features_pure.csv")
    whole.select(tables["video"]).unique("video_id").write_csv(official / "video_features_basic_pure.csv")
    day = datetime.datetime.strptime(str(whole["date"][0]), "%Y%m%d").replace(tzinfo=datetime.UTC)
    assert whole["weekday"][0] == day.weekday()

    one, two = (
        prepare(ADAPTER.validate_python({"source": "kuairand", "path": str(p)}), tmp_path) for p in (official, single)
    )
    assert set(one.columns) == set(two.columns)
    for name in one.columns:
        assert one.vocabulary(name) == two.vocabulary(name), name
    places = [{f.name: i for i, f in enumerate(d.schema.fields)} for d in (one, two)]
    for part in one.splits:
        assert torch.equal(one.splits[part].labels, two.splits[part].labels)
        for name in one.columns:
            local = []
            for data, place in zip((one, two), places, strict=True):
                columns = data.schema.slot_columns([place[name]])
                ids = data.splits[part].ids[:, columns]
                local.append(torch.where(ids < 0, ids, ids - int(data.schema.offsets[place[name]])))
            assert torch.equal(*local), name

    (official / "video_features_basic_pure.csv").unlink()
    with pytest.raises(Exception, match=r"video_features_basic_pure\.csv missing"):
        prepare(ADAPTER.validate_python({"source": "kuairand", "path": str(official)}), tmp_path)


def test_full_avazu_hours_become_hour_and_weekday(tmp_path: Path) -> None:
    rows = [f"{i},{i % 2},141021{i % 24:02d},s{i % 3}" for i in range(100)]
    file = tmp_path / "train.csv"
    file.write_text("\n".join(["id,click,hour,site_id", *rows]))
    spec = {"source": "avazu", "path": str(file), "split": {"kind": "temporal", "column": "time"}}
    data = prepare(ADAPTER.validate_python(spec), tmp_path)
    assert list(data.columns) == ["hour", "site_id", "weekday"]
    assert data.vocabulary("weekday") == [None, "2"]
    assert "00" in data.vocabulary("hour")


def test_a_broken_criteo_row_is_named(real_data: Path, tmp_path: Path) -> None:
    import gzip

    with gzip.open(real_data / "criteo_sample" / "train.txt.gz", "rt") as stream:
        lines = [next(stream) for _ in range(50)]
    lines[20] = "\t".join(lines[20].split("\t")[:-1]) + "\n"
    (tmp_path / "train.txt").write_text("".join(lines))
    with pytest.raises(DataError, match=r"train\.txt, line 21: 39 values instead of 40"):
        prepare(ADAPTER.validate_python({"source": "criteo", "path": str(tmp_path / "train.txt")}), tmp_path)
