"""What a `static` router's networks see of a prompt: sums over its word pieces, and counts of its characters.

All sums are of integers, so they are exact in float32 whatever their order. The graph computes the same features
(`graph`); a test holds them together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from routing_service.routers.static_pieces import EXTRA_COUNTS, UNSPACED, WORD_START

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]

# A piece's log-probability says how rare it is; limits of the classes of rarity.
# Is added to the sum of weights that components are divided by: a prompt of one light word has no strong direction.
DAMPING = 32
RARITY_LIMITS = (-8.0, -10.5)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORD_CLASSES = {
    "question": _words("what who when where which why how whose whom"),
    "command": _words(
        "write explain describe create make give list generate summarize translate rewrite design implement develop "
        "build provide suggest tell show help draft compose edit convert analyze compare evaluate discuss"
    ),
    "solve": _words(
        "prove proof show solve calculate compute find determine derive evaluate simplify integrate differentiate "
        "suppose let assume given deduce verify estimate maximize minimize"
    ),
    "mathematics": _words(
        "theorem lemma integer integers polynomial equation equations matrix vector function integral derivative "
        "probability triangle circle prime divisor modulo remainder sum product ratio percent fraction square root "
        "angle radius perimeter area volume cube graph set group ring field finite infinite sequence series limit "
        "convex linear variable coefficient random variance expected algorithm complexity logic"
    ),
    "code": _words(
        "code python java javascript typescript sql html css bash linux api json xml regex def return import class "
        "public static void int string boolean null true false else elif while print array loop script server database "
        "query thread async recursive compile debug bug error exception stack heap pointer django react docker git"
    ),
    "quantity": _words(
        "many much more less fewer twice half double triple total each every per times left remaining cost costs price "
        "dollars cents hours minutes days weeks months years miles pounds percent average"
    ),
    "negation": _words("not no none never neither nor except without cannot isn doesn don incorrect false least"),
    "number word": _words("one two three four five six seven eight nine ten hundred thousand million billion"),
    "first or second person": _words("i you me my your we our us please thanks hi hello hey am"),
    "function": _words("the a an of to in on at for with by from and or is are was were be been that this it as"),
    "connective": _words("if then because therefore however although while since unless but so thus hence both either"),
    "comparative": _words(
        "best most better worst greatest largest smallest highest lowest likely true correct following"
    ),
}
_PIECE_RULES: dict[str, Callable[[str], bool]] = {
    "continuation": lambda piece: piece[0].isalpha() and re.match(f"[{UNSPACED}]", piece) is None,
    # What is left where words were cut to pieces; text without words is made of these.
    "fragment": lambda piece: re.fullmatch(r"[a-z]{1,2}", piece) is not None,
    "letter": lambda piece: re.fullmatch(rf"{WORD_START}?[b-hj-z]", piece) is not None,
    "digits": str.isdecimal,
    "not ascii": lambda piece: not piece.removeprefix(WORD_START).isascii(),
    "long": lambda piece: len(piece) >= 10,
    "abstract": lambda piece: re.search(r"(tion|ity|ism|ness|ment|ology|ical|ance|ence)s?$", piece) is not None,
}
PIECE_CLASS_NAMES = (*_WORD_CLASSES, *_PIECE_RULES, *(f"rarity {i}" for i in range(len(RARITY_LIMITS) + 1)))
# The characters whose counts the networks read: layout, punctuation, capitals that name options or begin questions, and
# letters common enough to measure running text. The case of a letter is lost on word pieces.
CHARACTERS = "\n .,?!;:\"'()$%\\_{}[]+-*/=<>^|#`ABCDEITetaoins"
_GROUPS = {
    "digits": range(48, 58),
    "capitals": range(65, 91),
    "beyond ASCII": range(128, 256),
    "code": b"{}[]<>=_;|\\`#",
    "operators": b"+-*/=^<>",
    "all": range(256),
}


_SUMS = ("weight", "pieces", *PIECE_CLASS_NAMES)
_COUNTS = (
    *("length", "different pieces", "blank lines", "option lists", "fences", "longest number"),
    *map(repr, CHARACTERS),
    *_GROUPS,
)
# The features after the components: means over the pieces, shares of the bytes, and logarithms of both.
FEATURE_NAMES = (
    *(f"mean {name}" for name in _SUMS),
    *(f"share {name}" for name in _COUNTS),
    *(f"log {name}" for name in _SUMS),
    *(f"log count {name}" for name in _COUNTS),
)


def piece_classes(pieces: Sequence[str], scores: Sequence[float]) -> npt.NDArray[np.int8]:
    """0/1 membership of each word piece in each class of `PIECE_CLASS_NAMES`, of shape (pieces, classes)."""
    words = [piece.removeprefix(WORD_START) if piece.startswith(WORD_START) else "" for piece in pieces]
    columns = [[word in members for word in words] for members in _WORD_CLASSES.values()]
    columns += [[bool(piece) and rule(piece) for piece in pieces] for rule in _PIECE_RULES.values()]
    bounds = [np.inf, *RARITY_LIMITS, -np.inf]
    columns += [
        [bool(piece) and low < score <= high for piece, score in zip(pieces, scores, strict=True)]
        for high, low in pairwise(bounds)
    ]
    return np.array(columns, np.int8).T.copy()


def count_groups() -> Float32:
    """Which of an encoded text's counts are added up to each number that the networks read: 0/1, (counts, groups).

    The last group is the number of all bytes.
    """
    rows: list[Sequence[int]] = [[256 + extra] for extra in range(EXTRA_COUNTS)]
    rows += [[ord(character)] for character in CHARACTERS]
    rows += [list(group) for group in _GROUPS.values()]
    groups = np.zeros((256 + EXTRA_COUNTS, len(rows)), np.float32)
    for column, members in enumerate(rows):
        groups[list(members), column] = 1
    return groups


def features(sums: Int64, counts: Int64, components: int) -> Float32:
    """What the networks read, before standardization, float32 (prompts, features).

    Args:
        sums: sums over each prompt's pieces of the rows of the table, (prompts, columns): components, weight, one,
            classes.
        counts: byte and further counts of each prompt, (prompts, 256 + EXTRA_COUNTS).
        components: how many columns are components; they come first in the features too.
    """
    total = sums.astype(np.float32)
    weight, others = total[:, components : components + 1], total[:, components:]
    groups = counts.astype(np.float32) @ count_groups()
    pieces = total[:, components + 1 : components + 2]
    parts = [
        total[:, :components] / (weight + np.float32(DAMPING)),
        others / pieces,
        groups / (groups[:, -1:] + np.float32(1)),
        np.log1p(others),
        np.log1p(groups),
    ]
    return np.concatenate(parts, axis=1).astype(np.float32)
