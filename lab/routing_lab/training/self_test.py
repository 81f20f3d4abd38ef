"""Prompts whose scores an artifact records, to be checked at every load: several scripts, code, mathematics, edges."""

SELF_TEST_PROMPTS = (
    " ",
    "hi",
    "?",
    "What is the tallest mountain in South America?",
    "Translate 'where is the railway station' into Italian.",
    "Prove that every finite integral domain is a field.",
    "A shop sells pens at 3 for $2.40 and pencils at $0.15 each. How much do 12 pens and 8 pencils cost?",
    "def merge(a, b):\n    return sorted(a + b)\n\nRewrite this in O(n) and explain each step.",
    "Which gas is most abundant in the atmosphere of Venus?\nA. Oxygen\nB. Carbon dioxide\nC. Argon\nAnswer:",
    "∫₀^∞ x²·e^x dx = ? Show that the series ∑ 1/n² converges.",
    "Explique la différence entre une pile et une file d'attente, avec un exemple.",
    "请用简单的语言解释什么是递归。",
    "اشرح لماذا السماء زرقاء. 🌤️ И почему закат красный?",
)
