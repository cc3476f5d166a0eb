from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from sharkbench.field_selection.method import FieldSelection

if TYPE_CHECKING:
    from torch import Tensor

    from sharkbench.contract.workbench import Workbench
    from sharkbench.model.model import Model


class LargestFirst(FieldSelection):
    r"""The largest tables are pruned first: the trivial baseline, which needs neither labels nor a model.

    .. math:: I_f = \frac{1}{n_f}, \qquad n_f \text{ rows of field } f

    Pruning and fine-tuning are those of every field selection here (ours).
    """

    name: Literal["largest_first"] = "largest_first"

    title: ClassVar[str] = "the largest fields pruned first"
    paper: ClassVar[str] = "-"
    year: ClassVar[int] = 0

    def scores(self, bench: Workbench, model: Model) -> Tensor:
        import torch

        return torch.tensor([1 / bench.schema.fields[f].cardinality for f in model.embedding.fields])
