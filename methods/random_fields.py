from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from sharkbench.field_selection.method import FieldSelection

if TYPE_CHECKING:
    from torch import Tensor

    from sharkbench.contract.workbench import Workbench
    from sharkbench.model.model import Model


class RandomFields(FieldSelection):
    r"""Fields ranked at random: the baseline that any ranking has to beat.

    .. math:: I_f \sim U(0, 1)

    redrawn in every round. Pruning and fine-tuning are those of every field selection here (ours).
    """

    name: Literal["random_fields"] = "random_fields"

    title: ClassVar[str] = "fields pruned at random"
    paper: ClassVar[str] = "-"
    year: ClassVar[int] = 0

    def scores(self, bench: Workbench, model: Model) -> Tensor:
        import torch

        fields = model.embedding.fields
        # Seeded by the number of remaining fields, so that each round has a draw of its own.
        return torch.rand(len(fields), generator=bench.generator(f"random fields, {len(fields)} left"))
