"""Every row once per epoch, in an order that seed and epoch decide."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sharkbench.data import loader as loading
from sharkbench.data.loader import batches, loader, shuffled
from sharkbench.data.samples import Split


def split_of(rows: int) -> Split:
    numbers = torch.arange(rows, dtype=torch.int32)
    return Split(numbers[:, None].repeat(1, 2), numbers[:, None].float() / 2, numbers[:, None].float() % 2)


def order_of(split: Split, batch_size: int, **settings: object) -> list[int]:
    return torch.cat([b.ids[:, 0] for b in batches(split, batch_size, **settings)]).tolist()  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 300),
    st.integers(1, 70),
    st.booleans(),
    st.sampled_from([None, 0, 5]),
    st.sampled_from([64, 1 << 18]),
)
def test_every_row_once(rows: int, size: int, drop_last: bool, seed: int | None, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "BLOCK", block)
        patch.setattr(loading, "PAGE", 8)
        found = list(batches(split_of(rows), size, seed=seed, drop_last=drop_last))
    sizes = [len(batch.ids) for batch in found]
    assert sizes == [size] * (rows // size) + ([] if drop_last or rows % size == 0 else [rows % size])
    seen = torch.cat([batch.ids[:, 0] for batch in found]) if found else torch.empty(0)
    assert len(seen.unique()) == len(seen)
    for batch in found:
        assert torch.equal(batch.ids[:, 0].float() / 2, batch.dense[:, 0])
        assert torch.equal(batch.ids[:, 0].float() % 2, batch.labels[:, 0])


def test_order_follows_seed_and_epoch() -> None:
    split = split_of(1000)
    orders = [order_of(split, 32, seed=s, epoch=e) for s, e in ((0, 0), (0, 0), (0, 1), (1, 0))]
    assert orders[0] == orders[1]
    assert len({tuple(order) for order in orders}) == 3
    assert order_of(split, 32) == list(range(1000))


def test_a_small_split_is_divided_truly_at_random() -> None:
    together = torch.zeros(20, 20)
    for epoch in range(2000):
        for order in shuffled(20, 5, seed=1, epoch=epoch):
            together[order[:, None], order] += 1
    apart = together[~torch.eye(20, dtype=torch.bool)]
    assert (together.diagonal() == 2000).all()
    # two rows share a batch with probability 4/19; five standard deviations
    assert (apart / 2000 - 4 / 19).abs().max() < 5 * (4 / 19 * 15 / 19 / 2000) ** 0.5


def test_blocks_mix_pages_from_the_whole_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "BLOCK", 1024)
    monkeypatch.setattr(loading, "PAGE", 16)
    first = next(iter(shuffled(100_000, 512, seed=0, epoch=0)))
    assert len(first) == 512
    assert first.min() < 10_000
    assert first.max() > 90_000
    assert len((first // 16).unique()) > 60


def test_unshuffled_batches_are_views() -> None:
    split = split_of(100)
    assert next(iter(batches(split, 10))).ids.data_ptr() == split.ids.data_ptr()


def test_the_data_loader_hands_on_whole_batches_and_advances_its_epoch() -> None:
    split = split_of(100)
    data = loader(split, 32, seed=7)
    assert len(data) == 4
    passes = [torch.cat([b.ids[:, 0] for b in data]).tolist() for _ in range(2)]
    assert passes == [order_of(split, 32, seed=7, epoch=e) for e in (0, 1)]
    data.dataset.set_epoch(0)  # type: ignore[attr-defined]
    assert torch.cat([b.ids[:, 0] for b in data]).tolist() == passes[0]


def test_batch_size_must_be_positive() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        next(batches(split_of(3), 0))
