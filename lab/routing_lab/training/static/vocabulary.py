"""Which word pieces a shipped table has: XLM-RoBERTa's, folded and limited by script, and frequent English words."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from routing_lab.training.static.e5 import E5
from routing_service.routers.static_pieces import UNSPACED, WORD_START, Vocabulary, normalize, runs

# How many pieces of a script are kept, the likeliest first; other scripts have `OTHER_SCRIPTS` each.
SCRIPT_LIMITS = {
    "LATIN": 38_000,
    "CJK": 12_500,
    "CYRILLIC": 11_000,
    "ARABIC": 7_000,
    "HANGUL": 5_400,
    "DEVANAGARI": 5_000,
    "HEBREW": 3_500,
    "GREEK": 3_500,
    "THAI": 4_000,
}
OTHER_SCRIPTS = 2_000
# An English word of that many training prompts gets a row of its own, with this log-probability.
MIN_PROMPTS, EXTRA_WORD_SCORE = 5, -9.0
_UNSPACED = re.compile(f"[{UNSPACED}]")


@dataclass(frozen=True, slots=True)
class SourcedVocabulary:
    """A vocabulary, and for each of its pieces the encoder's ids that its row is made from; none for id 0."""

    vocabulary: Vocabulary
    encoder_ids: Sequence[Sequence[int]]


def choose_pieces(model: E5, prompts: Iterable[str]) -> SourcedVocabulary:
    """The pieces of a table, from the encoder's pieces and the words of `prompts`. Id 0 is what is unknown."""
    pieces, scores = [""], [0.0]
    sources: list[tuple[int, ...]] = [()]
    seen: set[str] = {""}
    kept: Counter[str] = Counter()
    special = {model.begin, model.end, model.unknown}

    def keep(piece: str, score: float, source: tuple[int, ...]) -> None:
        seen.add(piece)
        pieces.append(piece)
        scores.append(score)
        sources.append(source)

    # Stable, so that the order of equal scores is the encoder's.
    for number in sorted(range(len(model.pieces)), key=lambda i: -float(model.scores[i])):
        piece = _folded(model.pieces[number])
        script = _script(piece)
        if number in special or script is None or piece in seen:
            continue
        kept[script] += 1
        if kept[script] <= SCRIPT_LIMITS.get(script, OTHER_SCRIPTS):
            keep(piece, float(model.scores[number]), (number,))

    tokenizer = _encoder_tokenizer(model)
    in_prompts = Counter(run for prompt in prompts for run in set(runs(normalize(prompt))))
    for word in sorted(word for word, count in in_prompts.items() if count >= MIN_PROMPTS):
        if word.isascii() and word.isalpha() and len(word) > 2 and WORD_START + word not in seen:
            keep(WORD_START + word, EXTRA_WORD_SCORE, tuple(tokenizer.encode(word).ids))
    return SourcedVocabulary(Vocabulary(pieces, scores), sources)


def _folded(piece: str) -> str:
    """The piece in the form in which runs are looked up; only scripts with spaces and letters keep the word's mark."""
    folded = unicodedata.normalize("NFKC", piece).lower()
    body = folded.removeprefix(WORD_START)
    return body if not body[:1].isalpha() or _UNSPACED.match(body) else folded


def _script(piece: str) -> str | None:
    """The script of a piece of letters, "symbol" for one symbol or digit; None for what no run can hold."""
    body = piece.removeprefix(WORD_START)
    categories = [unicodedata.category(c)[0] for c in body]
    if not body:
        return None
    if set(categories) <= {"L", "M"}:
        letters = [c for c, category in zip(body, categories, strict=True) if category == "L"]
        # The character that tells: of a Japanese word written with both, the Chinese one.
        names = sorted(unicodedata.name(c, "?").split()[0].partition("-")[0] for c in letters)
        return names[0] if names else "mark"
    if len(body) == 1 and (categories[0] in "PS" or body in "0123456789"):
        return "symbol"
    return None


def _encoder_tokenizer(model: E5) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers

    pieces = list(zip(model.pieces, model.scores.tolist(), strict=True))
    tokenizer = Tokenizer(models.Unigram(pieces, model.unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer
