from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from sharkbench.field_selection.method import FieldSelection

if TYPE_CHECKING:
    from torch import Tensor

    from sharkbench.contract.workbench import Workbench
    from sharkbench.model.model import Model


class FieldFrequency(FieldSelection):
    r"""Fields ranked by how often they differ from their most frequent value: a nearly constant field tells little.

    .. math:: I_f = 1 - \frac{\max_i c_i}{\sum_i c_i}, \qquad c_i \text{ occurrences of row } i \text{ of field } f

    in the training split; a missing value counts as a value. It uses neither labels nor a model. The form is ours, and
    so are pruning and fine-tuning, which are those of every field selection here.
    """

    name: Literal["field_frequency"] = "field_frequency"

    title: ClassVar[str] = "fields pruned by how seldom they vary"
    paper: ClassVar[str] = "-"
    year: ClassVar[int] = 0

    def scores(self, bench: Workbench, model: Model) -> Tensor:
        import torch

        schema = bench.schema
        assert schema.frequencies is not None
        counts = [schema.frequencies[schema.offsets[f] : schema.offsets[f + 1]] for f in model.embedding.fields]
        return torch.tensor([1 - c.max() / max(c.sum(), 1) for c in counts])
