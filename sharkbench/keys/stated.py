"""The stated settings: those that differ from their defaults. They determine the keys of runs and of prepared data.

A new setting whose default changes nothing leaves all keys unchanged, so results stored before it are still found. The
values of defaults are part of the code, which keys cover by other means.
"""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo


def stated(settings: BaseModel) -> dict[str, Any]:
    """Plain JSON values of the settings that differ from their defaults, and of the fields that tag the kind of
    settings (a ``Literal`` of one value, such as a name)."""
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
