"""Trivial asks in hard topics, made from templates: what a topic alone would send to the strong model."""

from __future__ import annotations

import numpy as np

SUMS = (
    "What is {a} {op} {b}?",
    "what's {a}{op}{b}",
    "{a} {op} {b} = ?",
    "calculate {a} {op} {b}",
    "How much is {a} {op} {b}?",
    "Compute {a}{op}{b}.",
    "¿Cuánto es {a} {op} {b}?",
    "Сколько будет {a} {op} {b}?",
    "Quanto fa {a} {op} {b}?",
    "{a} {op} {b} bằng mấy?",
    "Ile to jest {a} {op} {b}?",
    "حاصل {a} {op} {b} چند است؟",
    "{a}{op}{b}等于几\uff1f",
    "{a} {op} {b} 는 얼마야?",
    "Vad är {a} {op} {b}?",
)
SHORT_FORMS = (
    "What does {x} stand for?",
    "what is {x} short for",
    "What is {x}?",
    "Define {x}.",
    "¿Qué significa {x}?",
    "Что означает {x}?",
    "Cosa significa {x}?",
    "{x} là viết tắt của từ gì?",
    "Co oznacza skrót {x}?",
    "{x} مخفف چیست؟",
    "{x}是什么的缩写\uff1f",
    "{x}는 무엇의 약자야?",
    "Vad står {x} för?",
)
ACRONYMS = (
    *("HTML", "CSS", "CPU", "RAM", "SQL", "JSON", "HTTP", "DNS", "URL", "USB", "GPU"),
    *("API", "PDF", "XML", "IDE", "LAN", "IP", "DNA", "ATP", "GDP", "NASA", "pH", "LED"),
)
PRINTS = (
    "Print hello world in {x}.",
    "Write hello world in {x}",
    "How do I print a string in {x}?",
    "Write a comment in {x}.",
    "Print the numbers from 1 to 10 in {x}.",
    "How do I declare a variable in {x}?",
    "Write a function in {x} that adds two numbers.",
    "Imprime hola mundo en {x}.",
    "Выведи hello world на {x}.",
    "Stampa ciao mondo in {x}.",
    "In ra hello world bằng {x}.",
    "Wypisz hello world w {x}.",
    "سلام دنیا را در {x} چاپ کن.",
    "用{x}打印hello world",
    "{x}로 hello world 출력해줘",
    "Skriv ut hello world i {x}.",
)
LANGUAGES = (
    *("Python", "Java", "C", "C++", "JavaScript", "Rust"),
    *("Go", "Ruby", "PHP", "Kotlin", "Swift", "Bash"),
)
NUMBER_FACTS = (
    "Is {a} a prime number?",
    "Is {a} even or odd?",
    "What is the square root of {square}?",
    "What is {a} squared?",
    "What is half of {a}?",
    "What is double {a}?",
    "What is 10% of {a}?",
    "What is {a}% of 100?",
    "Convert {a} meters to centimeters.",
    "How many minutes are in {a} hours?",
    "Round {a}.6 to the nearest whole number.",
    "Which is bigger, {a} or {b}?",
    "Count from 1 to {a}.",
    "Write {a} in words.",
    "¿Es {a} un número primo?",
    "Чему равен квадратный корень из {square}?",
    "Qual è la metà di {a}?",
    "{a}的平方是多少\uff1f",
    "{a}의 두 배는?",
)
FACTS = (
    "What is the chemical symbol for gold?",
    "What is the chemical formula of water?",
    "How many planets are in the solar system?",
    "At what temperature does water boil?",
    "How many sides does a hexagon have?",
    "What is pi?",
    "Who developed the theory of relativity?",
    "What is a variable?",
    "What is a prime number?",
    "How many bits are in a byte?",
    "What gas do plants breathe in?",
    "How many legs does a spider have?",
    "How many days are in a year?",
    "What is the speed of light?",
    "What language is Django written in?",
    "Which key copies text?",
    "How do I open a terminal?",
    "What file extension do Python files have?",
    "Sort these numbers: 3, 1, 2",
    "What comes after Tuesday?",
    "Reverse the word cat.",
    "What is the plural of mouse?",
    "Is water wet?",
    "What color do you get from blue and yellow?",
    "Name a prime number.",
    "How many months are in a year?",
    "How many hours are in a day?",
    "How many seconds are in a minute?",
    "How many weeks are in a year?",
    "Convert 5 kilometers to meters.",
    "Convert 30 minutes to hours.",
    "Define friction in one sentence.",
    "Define inflation in simple words.",
    "What does a semicolon do in C?",
    "How do I exit Vim?",
)


def trivial_asks(seed: int) -> list[str]:
    """The asks, without duplicates; numbers are drawn with `seed`."""
    rng = np.random.default_rng(seed)
    asks = list(FACTS)
    for template in SUMS:
        for op, symbols in (("+", "+"), ("-", "-\u2212"), ("*", "*\u00d7x"), ("/", "/\u00f7")):
            a, b = sorted(map(int, rng.integers(1, 13, 2)), reverse=True)
            asks.append(template.format(a=a, b=b, op=symbols[int(rng.integers(len(symbols)))]))
            a, b = map(int, rng.integers(10, 100, 2))
            asks.append(template.format(a=a, b=b, op=op))
    for templates, names, count in ((SHORT_FORMS, ACRONYMS, 8), (PRINTS, LANGUAGES, 4)):
        asks += [t.format(x=str(x)) for t in templates for x in rng.choice(names, count, replace=False)]
    for template in NUMBER_FACTS * 4:
        a, b = map(int, rng.integers(2, 60, 2))
        asks.append(template.format(a=a, b=b, square=a * a))
    return list(dict.fromkeys(asks))
