"""What a `static` router sees of a prompt: classes of word pieces, counts of bytes, and their numpy reference.

Every feature is a count, or one division of two sums of integers below 2**24, so numpy here and ONNX Runtime in serving
get the same float32 bit for bit, in any batch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]

# BERT's vocabulary is ordered by frequency, so a piece's id says how rare it is; limits of the classes of rarity.
RARITY_LIMITS = (2_500, 5_000, 9_000, 15_000, 22_000)


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
    "continuation": lambda piece: piece.startswith("##"),
    "digits": lambda piece: re.fullmatch(r"(##)?[0-9]+", piece) is not None,
    "year": lambda piece: re.fullmatch(r"1[0-9]{3}|20[0-9]{2}", piece) is not None,
    "letter": lambda piece: re.fullmatch(r"[b-hj-z]", piece) is not None,
    "option letter": lambda piece: re.fullmatch(r"[abcd]", piece) is not None,
    "operator": lambda piece: piece in set("+-*/=<>^%√∑∫≤≥≠±\u00d7÷∞∂π"),
    "bracket": lambda piece: piece in set("()[]{}"),
    "stop": lambda piece: piece in set(".?!;:"),
    "comma": lambda piece: piece == ",",
    "not ascii": lambda piece: not piece.isascii(),
    "long": lambda piece: len(piece) >= 9,
    "abstract": lambda piece: re.search(r"(tion|ity|ism|ness|ment|ology|ical|ance|ence)s?$", piece) is not None,
    "unknown": lambda piece: piece == "[UNK]",
}
# The bytes whose counts the trees may read: layout, punctuation, digits, capitals that name options or begin questions,
# and letters common enough to measure running text. The case of a letter is lost on word pieces.
BYTES = b"\n .,?!:;\"'()$%\\_{}+-*/=<>0123456789ABCDEITetaoins"
PIECE_CLASS_NAMES = (*_WORD_CLASSES, *_PIECE_RULES, *(f"rarity {i}" for i in range(len(RARITY_LIMITS))))


def piece_classes(vocabulary: Sequence[str]) -> npt.NDArray[np.int8]:
    """0/1 membership of each word piece in each class of `PIECE_CLASS_NAMES`, of shape (pieces, classes)."""
    columns = [[piece in words for piece in vocabulary] for words in _WORD_CLASSES.values()]
    columns += [[rule(piece) for piece in vocabulary] for rule in _PIECE_RULES.values()]
    bounds = [0, *RARITY_LIMITS]
    columns += [[lo <= i < hi for i in range(len(vocabulary))] for lo, hi in zip(bounds, RARITY_LIMITS, strict=False)]
    return np.array(columns, np.int8).T.copy()


def shares(sums: Float32) -> Float32:
    """Each row of non-negative integers divided by its total; zeros stay zeros. Exact totals, so one rounding each."""
    quotients: Float32 = sums / np.maximum(sums.sum(1, keepdims=True), np.float32(1))
    return quotients


def features(token_sums: Int64, byte_counts: Int64) -> Float32:
    """What the trees read: shares of the token sums, then shares and counts of `BYTES`; float32 (prompts, features).

    Args:
        token_sums: sums over each prompt's tokens of the rows of the token table, (prompts, columns). Rows of the table
            have one total, so that shares of the sums are means over the tokens.
        byte_counts: how often each byte occurs in a prompt, (prompts, 256).
    """
    counts, chosen = byte_counts.astype(np.float32), list(BYTES)
    return np.concatenate([shares(token_sums.astype(np.float32)), shares(counts)[:, chosen], counts[:, chosen]], axis=1)


def graph_columns(token_columns: int) -> list[int]:
    """Where each of `features` stands in the graph, which has shares and counts of all bytes, not of `BYTES` alone."""
    chosen = list(BYTES)
    parts = (range(token_columns), (token_columns + byte for byte in chosen), (token_columns + 256 + b for b in chosen))
    return [column for part in parts for column in part]
