"""`did you mean`: the known word that somebody most likely meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is nearest to what was written, or None where nothing is near."""
    candidates = sorted(map(str, known))
    by_folded = {candidate.casefold(): candidate for candidate in reversed(candidates)}
    if word.casefold() in by_folded:
        return by_folded[word.casefold()]
    near = difflib.get_close_matches(word.casefold(), list(by_folded), n=1, cutoff=0.6)
    return by_folded[near[0]] if near else None


def hint(word: str, known: Iterable[str]) -> str:
    """What to do about an unknown word: the one that was meant, or all that there are."""
    candidates = sorted(map(str, known))
    near = closest(word, candidates)
    if near is not None:
        return f"did you mean {near!r}?"
    if not candidates:
        return "there are none to choose from"
    return f"known are: {', '.join(candidates)}"
