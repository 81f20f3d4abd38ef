"""Shapes in which programs send what a person asks: each puts its own text around it. All texts here are made up."""

from __future__ import annotations

from collections.abc import Callable

RULES = "Run the linter before you commit; name new files in lower case.\n" * 30
CODE = "import os\n\n\ndef main(count):\n    for place in range(count):\n        print(place, os.getcwd())\n\n" * 8
LOG = "".join(
    f"2026-11-29 10:{i % 60:02d}:{i % 59:02d}.{i % 1000:03d} INFO worker-{i % 7} handled {i * 37} in {i % 90} ms\n"
    for i in range(200)
)
BASE64 = "iVBORw0KGgoAAAANSUhEUgAAB" * 110
DUMP = "".join(f"{16 * i:08x}: 7f45 4c46 0201 0100 0000 0000 0000 0000  .ELF............\n" for i in range(40))

ASKS = (
    "What is the capital of France?",
    "hi",
    "Prove that there are infinitely many primes congruent to 3 mod 4.",
    "Write a function:\n\n```python\ndef f(): ...\n```\nthat sorts <b>bold</b> words.",
    "写一首关于春天的诗",
    "what is wrong with this file",
    'Fix the "foo" bug in main.py',
    "Why does `a < b > c` fail?",
    "<div>\n  <p>Hello</p>\n</div>\nWhy is this not centred?",
    "continue",
)

SHAPES: dict[str, Callable[[str], str]] = {
    "instructions and environment before": lambda ask: (
        f"# AGENTS.md instructions for /home/u/project\n\n<INSTRUCTIONS>\n{RULES}</INSTRUCTIONS>\n"
        f"<environment_context>\n  <cwd>/home/u</cwd>\n  <shell>bash</shell>\n</environment_context>\n{ask}"
    ),
    "an image's tags before": lambda ask: f'<image name=[Image #1] path="/tmp/x.png">\n</image>\n{ask}',
    "an image's opening tag before": lambda ask: f'<image name=[Image #1] path="/tmp/x.png">\n{ask}',
    "quotes and a reminder after": lambda ask: f'"{ask}"\n<system-reminder>\n{RULES}</system-reminder>',
    "a file that was read before": lambda ask: (
        'Called the Read tool with the following input: {"filePath":"/a/b.py"}\n'
        f"<path>/a/b.py</path>\n<type>file</type>\n<content>\n{CODE}\n</content>\n{ask}"
    ),
    "a reminder before": lambda ask: f"<system-reminder>\n{RULES}</system-reminder>\n{ask}",
    "reminders on both sides": lambda ask: (
        f"<system-reminder>one</system-reminder>\n{ask}\n<system-reminder>two</system-reminder>"
    ),
    "referenced files after": lambda ask: (
        f"{ask}\n--- Content from referenced files ---\n\nContent from @a.py:\n{CODE}\n--- End of content ---"
    ),
    "a directive": lambda ask: f"<fork-boilerplate>\n{RULES}</fork-boilerplate>\n\nDirective: {ask}",
    "editing rules after": lambda ask: f"{ask}\n\n# *SEARCH/REPLACE block* Rules:\n\nEvery block is so:\n{RULES}",
    "other editing rules after": lambda ask: (
        f"{ask}\n\nTo suggest changes to a file you MUST send the whole file.\n{RULES}"
    ),
    "a file before": lambda ask: f'<file name="/a/b.py">\n{CODE}\n</file>\n{ask}',
    "a task and its environment": lambda ask: (
        f"<task>\n{ask}\n</task>\n\n<environment_details>\n# Tabs\n{RULES}</environment_details>"
    ),
    "a task and progress rules": lambda ask: (
        f"<task>\n{ask}\n</task>\n\n# task_progress RECOMMENDED\n\n{RULES}\n"
        f"<environment_details>\n{RULES}</environment_details>"
    ),
    "a query after data": lambda ask: (
        "<additional_data>\n<current_file>\nPath: a.py\n</current_file>\n</additional_data>\n"
        f"<user_query>\n{ask}\n</user_query>"
    ),
    "attachments and a request": lambda ask: (
        f'<attachments>\n<attachment id="a">\n{CODE}</attachment>\n</attachments>\n<context>\nToday.\n</context>\n'
        f"<reminderInstructions>\n{RULES}</reminderInstructions>\n<userRequest>\n{ask}\n</userRequest>"
    ),
    "an editor's headings": lambda ask: (
        f"# Context from my IDE setup:\n\n## Active file: a.py\n\n## Open tabs:\n- a.py\n\n## My request for it:\n{ask}"
    ),
    "a block that nobody listed before": lambda ask: f'<canvas-state root="/x">\n{RULES}</canvas-state>\n\n{ask}',
    "a block that nobody listed after": lambda ask: f"{ask}\n\n<ambient_state>\n{RULES}</ambient_state>",
    "blocks on both sides": lambda ask: f"<a1>\nx\n</a1>\n{ask}\n<b1>\nfoo\n</b1>\n<c1>y</c1>",
    "blocks within blocks": lambda ask: f"<outer><outer>x</outer>\n</outer>\n<request>{ask}</request>",
    "mail below": lambda ask: (
        f"{ask}\n\nOn Mon, 3 Nov 2025 at 10:00, Ann <ann@example.org> wrote:\n> Hello,\n> here it is\n>\n> Ann\n"
    ),
    "mail above": lambda ask: (
        f"On Mon, 3 Nov 2025 at 10:00, Ann <ann@example.org> wrote:\n> Hello,\n> here it is\n>\n> Ann\n\n{ask}"
    ),
    "an original message": lambda ask: (
        f"{ask}\n\n-----Original Message-----\nFrom: Ann\nSent: Monday\nSubject: it\n\nHello there\n"
    ),
    "passages and a question": lambda ask: (
        f"Use the following pieces of context to answer the question at the end.\n\n{RULES}\nQuestion: {ask}\nAnswer:"
    ),
    "ruled passages and a query": lambda ask: (
        f"Context information is below.\n---------------------\n{RULES}\n---------------------\n"
        f"Given the context information and not prior knowledge, answer the query.\nQuery: {ask}\nAnswer: "
    ),
    "a question and passages": lambda ask: f"Question: {ask}\n\nContext:\n{RULES}",
    "a retrieval template": lambda ask: (
        "### Task:\nAnswer the query from the context.\n\n### Guidelines:\n- Be brief.\n\n"
        f'<context>\n<source id="1">foo</source>\n</context>\n\n<user_query>\n{ask}\n</user_query>'
    ),
    "headings of passages and a question": lambda ask: f"## Context\n{RULES}\n\n## Question\n{ask}",
    "bold labels": lambda ask: f"**Documents:**\n{RULES}\n\n**Question:** {ask}\n\n**Answer:**",
    "a line that introduces files": lambda ask: (
        f"The user has attached files:\n<file>\n<filename>a.txt</filename>\n{RULES}</file>\n\n{ask}"
    ),
    "a line that introduces a fence": lambda ask: f"Codebase context from a.py:\n```python\n{CODE}```\n\n{ask}",
    "brackets": lambda ask: f"[CONTEXT]\n{RULES}\n[/CONTEXT]\n\n{ask}",
    "turns of a completion": lambda ask: f"Be brief.\n\nUser: hello\nAssistant: Hello!\nUser: {ask}\nAssistant:",
    "a file in a fence before": lambda ask: f"```src/app.py (1-20)\n{CODE}```\n\n{ask}",
    "a file in a fence after": lambda ask: f"{ask}\n\n```python src/app.py\n{CODE}```",
    "a block and the ask on its last line": lambda ask: f'<context id="1">\n{RULES}</context> {ask}',
    "tools and a question": lambda ask: (
        "Answer the following questions. You have access to the following tools:\n\nsearch: looks up\n\n"
        f"Use the following format:\n\nThought: think\n\nBegin!\n\nQuestion: {ask}\nThought:"
    ),
    "a log before": lambda ask: f"{LOG}\n{ask}",
    "a log after": lambda ask: f"{ask}\n\n{LOG}",
    "a picture's data after": lambda ask: f"{ask}\ndata:image/png;base64,{BASE64}",
    "a picture's data before": lambda ask: f"data:image/png;base64,{BASE64}\n{ask}",
    "rulers": lambda ask: f"{'=' * 80}\n{ask}\n{'=' * 80}",
    "a dump after": lambda ask: f"{ask}\n\n{DUMP}",
}
