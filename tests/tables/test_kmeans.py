"""k-means: centres are the means of their members, everything is assigned to its nearest, and seeds repeat."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sharkbench.tables.kmeans import kmeans, kmeans_scalars, nearest_scalars


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def error_of(points: torch.Tensor, centres: torch.Tensor) -> float:
    return float((points[:, None].double() - centres[None].double()).square().sum(2).min(1).values.sum())


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 200), d=st.integers(1, 4), clusters=st.integers(1, 20))
def test_every_point_is_with_its_nearest_centre(seed: int, n: int, d: int, clusters: int) -> None:
    points = torch.randn(n, d, generator=seeded(seed))
    centres, codes = kmeans(points, clusters, seeded(seed))
    assert centres.shape == (clusters, d)
    assert torch.isfinite(centres).all()
    assert codes.min() >= 0
    assert codes.max() < clusters
    own = (points.double() - centres[codes].double()).square().sum().item()
    assert own <= error_of(points, centres) * (1 + 1e-5) + 1e-9


def test_centres_are_weighted_means_of_their_members() -> None:
    points, weights = torch.randn(300, 2, generator=seeded()), torch.randint(1, 9, (300,), generator=seeded(1))
    centres, codes = kmeans(points, 5, seeded(), weights=weights, iterations=200)
    for k, centre in enumerate(centres):
        mine, mass = points[codes == k], weights[codes == k, None]
        assert torch.allclose((mine * mass).sum(0) / mass.sum(), centre, atol=0.02)


def test_well_separated_clusters_are_found() -> None:
    middles = torch.tensor([[x, y] for x in (0.0, 50.0, 100.0) for y in (0.0, 50.0, 100.0)])
    points = middles.repeat(40, 1) + torch.randn(360, 2, generator=seeded())
    centres, _ = kmeans(points, 9, seeded(3))
    assert torch.cdist(middles, centres).min(1).values.max() < 1


def test_as_many_centres_as_points_lose_nothing_and_equal_points_do_no_harm() -> None:
    points = torch.randn(7, 3, generator=seeded())
    for clusters in (7, 12):
        centres, codes = kmeans(points, clusters, seeded())
        assert torch.equal(centres[codes], points)
    same = torch.ones(50, 2)
    centres, codes = kmeans(same, 4, seeded())
    assert torch.equal(centres[codes], same)


def test_the_same_seed_gives_the_same_clusters() -> None:
    points = torch.randn(9000, 3, generator=seeded())
    one, two = (kmeans(points, 16, seeded(5)) for _ in range(2))
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])


@settings(deadline=None, max_examples=40)
@given(
    values=st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=60),
    clusters=st.integers(1, 8),
    given_=st.lists(st.floats(-100, 100, width=32), max_size=4),
)
def test_scalars_are_with_their_nearest_and_given_centres_stay(
    values: list[float], clusters: int, given_: list[float]
) -> None:
    numbers, fixed = torch.tensor(values), torch.tensor(given_)
    centres = kmeans_scalars(numbers, clusters, seeded(), given=fixed)
    assert len(centres) == clusters + len(given_)
    assert torch.equal(centres[: len(given_)], fixed)
    codes = nearest_scalars(numbers, centres)
    distances = (numbers[:, None].double() - centres[None].double()).abs()
    assert torch.allclose(distances.gather(1, codes[:, None])[:, 0], distances.min(1).values, atol=1e-5)


@pytest.mark.parametrize("clusters", [2, 3])
def test_scalars_come_near_the_best_of_all_divisions(clusters: int) -> None:
    reached = least = 0.0
    for seed in range(20):
        x = torch.randn(14, generator=seeded(seed)).sort().values
        divisions = (torch.tensor_split(x, cuts) for cuts in combinations(range(1, 14), clusters - 1))
        best = min(sum(float((part - part.mean()).square().sum()) for part in parts) for parts in divisions)
        found = error_of(x[:, None], kmeans_scalars(x, clusters, seeded())[:, None])
        assert found >= best * (1 - 1e-5)
        reached, least = reached + found, least + best
    assert reached <= 1.2 * least
