"""Converts names and texts to the characters and lengths that MLflow accepts.

The limits are those of ``mlflow.utils.validation`` and of the columns of its database, whichever is narrower.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

NAME_LENGTH = 250
"""Largest length of the name of a metric, a parameter or a tag, and of the title of a run, in characters."""
VALUE_LENGTH = 6000
"""Largest length of the values of parameters and tags, in characters."""
DATASET_NAME_LENGTH = 500
SOURCE_LENGTH = 65_535
"""Largest length of the source of a data set, in bytes."""

_REFUSED = r"[^\w\-. :/]"
_TO_ESCAPE = re.compile(
    rf"""{_REFUSED}
    # Names are read as paths too: none that starts with '..', no '.' or '..' or nothing between slashes.
    | ^\.(?=\.) | (?<![^/])\.(?=\.?(?:/|\Z)) | (?<![^/])/ | /(?=\Z)
    # A '_' that would begin an escape by chance.
    | _(?=x[0-9A-F]+(?:_|/|{_REFUSED}))""",
    re.VERBOSE,
)


def name(text: str) -> str:
    """A valid MLflow name of a metric or a parameter, different for every ``text``.

    Letters of any language, digits, ``_``, ``-``, ``.``, ``:``, blanks and single slashes stay; others become ``_xHH_``
    with their Unicode code point: ``loss_click?`` is ``loss_click_x3F_``. A name that is too long ends in a digest.
    """
    legal = _TO_ESCAPE.sub(lambda found: f"_x{ord(found[0]):02X}_", text)
    if len(legal) <= NAME_LENGTH:
        return legal
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{legal[: NAME_LENGTH - 18]}_{digest}"


def value(text: str, length: int = VALUE_LENGTH) -> str:
    """At most ``length`` characters that any database can store; truncated text ends in ``...``."""
    legal = "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text[: 2 * length])
    return legal if len(legal) <= length and len(text) <= 2 * length else f"{legal[: length - 4]} ..."


def source(settings: Mapping[str, Any]) -> str:
    """The settings of a data set as JSON; if that is too long, the longest settings are only named."""
    kept = dict(settings)
    left_out: list[str] = []
    while True:
        told = json.dumps({**kept, "left_out": left_out} if left_out else kept)
        if len(told) <= SOURCE_LENGTH or not kept:
            return told
        longest = max(kept, key=lambda setting: len(json.dumps(kept[setting])))
        left_out.append(longest)
        del kept[longest]
