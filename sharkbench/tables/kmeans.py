"""k-means of scalars and of vectors: the same points and seed give the same clusters."""

from __future__ import annotations

import torch
from torch import Tensor

SAMPLE_PER_CLUSTER = 256
"""Clusters are fitted on at most so many points each, since more hardly move them; all points are assigned."""
SAMPLE_SCALARS = 1 << 22
CHUNK_DISTANCES = 1 << 22
"""Distances computed at a time, so that memory does not grow with the number of points."""


def kmeans(
    points: Tensor,
    clusters: int,
    generator: torch.Generator,
    *,
    weights: Tensor | None = None,
    iterations: int = 25,
) -> tuple[Tensor, Tensor]:
    """Lloyd's algorithm from a k-means++ start (Arthur and Vassilvitskii, SODA 2007).

    A cluster that loses all its points restarts at a point that is far from its centre. With ``d = 1`` it calls
    :func:`kmeans_scalars`.

    Args:
        points: ``[N, d]`` float32, ``N >= 1``.
        clusters: how many; where there are no more points than that, each is its own centre.
        generator: of the start and of the sample that clusters are fitted on.
        weights: ``[N]`` of the points; one unless given.
        iterations: at most so many.

    Returns:
        Centres ``[clusters, d]`` and the nearest centre of each point, ``[N]`` int64.
    """
    points = points.contiguous()
    if points.shape[1] == 1:
        centres = kmeans_scalars(points[:, 0], clusters, generator, weights=weights)
        return centres[:, None], nearest_scalars(points[:, 0], centres)
    if len(points) <= clusters:
        own = torch.arange(len(points))
        return points[torch.cat([own, own[-1:].expand(clusters - len(points))])], own
    # Centred points: distances from products of vectors then lose the fewest digits.
    middle = points.mean(0)
    points = points - middle
    sample, mass = points, torch.ones(len(points)) if weights is None else weights.float()
    if len(points) > SAMPLE_PER_CLUSTER * clusters:
        chosen = torch.randperm(len(points), generator=generator)[: SAMPLE_PER_CLUSTER * clusters]
        sample, mass = points[chosen], mass[chosen]
    centres = _spread(sample, mass, clusters, generator)
    before = float("inf")
    for _ in range(iterations):
        codes, errors = _assign(sample, centres)
        total = float((errors.double() * mass).sum())
        if total >= before * (1 - 1e-6):
            break
        before = total
        sums = torch.zeros_like(centres).index_add_(0, codes, sample * mass[:, None])
        counts = torch.zeros(clusters).index_add_(0, codes, mass)
        centres = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1e-30)[:, None], centres)
        empty = (counts == 0).nonzero().flatten()
        if len(empty):
            centres[empty] = sample[(errors * mass).argsort(descending=True, stable=True)[: len(empty)]]
    return centres + middle, nearest(points, centres)


def nearest(points: Tensor, centres: Tensor) -> Tensor:
    """``[N]`` int64: the nearest of ``centres`` ``[K, d]`` to each of ``points`` ``[N, d]``, in their precision."""
    return _assign(points, centres)[0]


def _assign(points: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest centres, and the squared distances to them."""
    codes, errors = [], []
    lengths = centres.square().sum(1)
    for chunk in points.split(max(CHUNK_DISTANCES // len(centres), 1)):
        # The squared norm of the point is the same for all centres.
        least, code = torch.addmm(lengths, chunk, centres.T, alpha=-2).min(1)
        codes.append(code)
        errors.append((least + chunk.square().sum(1)).clamp_(min=0))
    return torch.cat(codes), torch.cat(errors)


def _spread(points: Tensor, mass: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """k-means++: each next centre is a point, sampled in proportion to its squared distance from the nearest centre."""
    centres = torch.empty(clusters, points.shape[1])
    chances = mass.double()
    distances = torch.full((len(points),), float("inf"))
    for k in range(clusters):
        ladder = chances.cumsum(0)
        # Where the total distance is zero (all points are centres already), the draw is the last point.
        draw = torch.rand(1, generator=generator, dtype=torch.float64) * ladder[-1]
        chosen = int(torch.searchsorted(ladder, draw, right=True).clamp(max=len(points) - 1))
        centres[k] = points[chosen]
        distances = torch.minimum(distances, (points - centres[k]).square().sum(1))
        chances = distances.double() * mass
    return centres


def kmeans_scalars(
    values: Tensor,
    clusters: int,
    generator: torch.Generator,
    *,
    weights: Tensor | None = None,
    given: Tensor | None = None,
    iterations: int = 100,
) -> Tensor:
    """Lloyd's algorithm on sorted values, where a cluster is an interval and a step costs ``O(clusters log N)``.

    It starts half way between evenly spaced quantiles and evenly spaced values, so that rare large values get centres.

    Args:
        values: ``[N]`` float32, ``N >= 1``.
        clusters: how many centres to find, in addition to the given ones.
        generator: of the sample that centres are fitted on, where there are more than four million values.
        weights: ``[N]`` of the values.
        given: ``[G]`` fixed centres.

    Returns:
        ``[G + clusters]`` centres: the given ones first, then the new ones, ascending.
    """
    if len(values) > SAMPLE_SCALARS:
        chosen = torch.randint(len(values), (SAMPLE_SCALARS,), generator=generator)
        values, weights = values[chosen], None if weights is None else weights[chosen]
    x, order = values.double().sort()
    w = torch.ones_like(x) if weights is None else weights.double()[order]
    mass, first, second = (_running(w * x**power) for power in (0, 1, 2))
    shares = (torch.arange(clusters, dtype=torch.float64) + 0.5) / clusters
    quantiles = x[torch.searchsorted(mass[1:], shares * mass[-1]).clamp(max=len(x) - 1)]
    free = 0.5 * quantiles + 0.5 * (x[0] + shares * (x[-1] - x[0]))
    fixed = torch.empty(0, dtype=torch.float64) if given is None else given.double()
    for _ in range(iterations):
        centres, place = torch.cat([fixed, free]).sort()
        bounds = torch.cat([torch.tensor([0]), torch.searchsorted(x, _between(centres)), torch.tensor([len(x)])])
        count, total, squares = (part[bounds].diff() for part in (mass, first, second))
        means = torch.where(count > 0, total / count.clamp(min=1e-300), centres)
        errors = squares - 2 * means * total + means**2 * count
        empty = ((count == 0) & (place >= len(fixed))).nonzero().flatten()
        if len(empty):
            # Move it to the largest value of a cluster with a large error, which is thereby split.
            worst = errors.argsort(descending=True, stable=True)[: len(empty)]
            means[empty] = x[(bounds[1:][worst] - 1).clamp(min=0)]
        moved = torch.empty_like(means)
        moved[place] = means
        moved = moved[len(fixed) :]
        if torch.equal(moved, free):
            break
        free = moved
    return torch.cat([fixed, free.sort().values]).float()


def nearest_scalars(values: Tensor, centres: Tensor) -> Tensor:
    """The nearest of ``centres`` ``[K]`` for each of ``values``, int64 of their shape."""
    ordered, place = centres.double().sort()
    return place[torch.bucketize(values.double(), _between(ordered))]


def _between(centres: Tensor) -> Tensor:
    return (centres[1:] + centres[:-1]) / 2


def _running(values: Tensor) -> Tensor:
    """Cumulative sums: of the first 0, 1, 2 ... values."""
    return torch.cat([torch.zeros(1, dtype=values.dtype), values.cumsum(0)])
