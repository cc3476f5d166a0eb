"""What settings state: the part of them that is not their default. It names runs and prepared data.

A new setting that changes nothing at its default renames nothing, so what was stored before there was such a setting is
still found. What a default *is* stands in the code, which a name covers by other means.
"""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo


def stated(settings: BaseModel) -> dict[str, Any]:
    """Plain JSON values of what differs from the defaults, and of what says which kind of settings these are (a
    ``Literal`` of one value, such as a name)."""
    said: dict[str, Any] = _pruned(settings, settings.model_dump(mode="json"))
    return said


def _pruned(value: Any, said: Any) -> Any:
    """``said`` is ``value`` as JSON."""
    if isinstance(value, BaseModel) and isinstance(said, dict):
        fields = type(value).model_fields
        return {
            name: _pruned(getattr(value, name), dumped)
            for name, dumped in said.items()
            if name not in fields or _is_kind(fields[name]) or getattr(value, name) != _default(fields[name])
        }
    if isinstance(value, dict) and isinstance(said, dict):
        return {key: _pruned(own, dumped) for (key, dumped), own in zip(said.items(), value.values(), strict=True)}
    if isinstance(value, list | tuple) and isinstance(said, list):
        return [_pruned(own, dumped) for own, dumped in zip(value, said, strict=True)]
    return said


def _is_kind(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1


def _default(field: FieldInfo) -> Any:
    return field.get_default(call_default_factory=True, validated_data={})
