from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from routing_service.errors import ConfigError
from routing_service.yaml_sections import Section, read_yaml


@dataclass(frozen=True)
class Inner:
    size: int = 1
    ratio: float = 0.5

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError("size must be at least 1")


@dataclass(frozen=True)
class Outer:
    name: str
    on: bool = False
    ratio: float = 0.0
    path: Path | None = None
    level: Literal["low", "high"] = "low"
    inner: Inner = field(default_factory=Inner)
    many: dict[str, Inner] = field(default_factory=dict)
    any: dict[str, str | int | float | bool] = field(default_factory=dict)
    items: tuple[int, ...] = ()
    later: Section | None = None


def parse(text: str, kind: type[Any] = Outer) -> Any:
    return read_yaml(text, "f.yaml", Path("/base")).parse(kind)


def refusal(text: str, kind: type[Any] = Outer) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse(text, kind)
    return caught.value


def test_every_supported_annotation() -> None:
    value = parse(
        """
name: "x"
on: yes
ratio: 1
path: sub/file
level: high
inner: {size: 3}
many: {a: {size: 4}, b: {ratio: .25}}
any: {a: x, b: 1, c: 2.5, d: no}
items: [1, 2]
later: {anything: [1]}
"""
    )
    later = value.later
    assert value == Outer(
        "x",
        True,
        1.0,
        Path("/base/sub/file"),
        "high",
        Inner(3),
        {"a": Inner(4), "b": Inner(ratio=0.25)},
        {"a": "x", "b": 1, "c": 2.5, "d": False},
        (1, 2),
        later,
    )
    assert type(value.ratio) is float
    assert later.where == "later"


def test_defaults_and_null() -> None:
    value = parse("name: x\npath: null\ninner:\nmany:\nlater: ~\n")
    assert value == Outer("x")


@pytest.mark.parametrize("text", ["1e-3", "1.e-3", "+0.1E-2", "1.0e-3", ".001"])
def test_a_number_may_be_written_as_in_json(text: str) -> None:
    assert parse(f"{{name: x, ratio: {text}}}").ratio == 0.001


@pytest.mark.parametrize("text", ["'1e-3'", "1e", "e-3", "1e-3x", ".e1"])
def test_what_only_looks_like_a_number_is_text(text: str) -> None:
    assert refusal(f"name: x\nratio: {text}\n").problem.endswith("(str)")


def test_an_absolute_path_stays_and_a_home_is_expanded() -> None:
    assert parse("{name: x, path: /abs/file}").path == Path("/abs/file")
    assert parse("{name: x, path: ~/file}").path == Path.home() / "file"


@pytest.mark.parametrize(
    ("text", "line", "where", "problem"),
    [
        ("name: x\nlevle: low\n", 2, "levle", "did you mean 'level'?"),
        ("name: x\nzzzzzz: low\n", 2, "zzzzzz", "known here: any, inner, items, later, level, many, name"),
        ("name: x\ninner:\n  sise: 2\n", 3, "inner.sise", "did you mean 'size'?"),
        ("name: x\nmany:\n  a:\n    size: 1\n  b:\n    ratoi: 1\n", 6, "many.b.ratoi", "did you mean 'ratio'?"),
        ("on: true\n", 1, "", "lacks the key 'name'"),
        ("name: 5\n", 1, "name", "must be text, not '5' (int)"),
        ("name: on\n", 1, "name", "must be text, not 'on' (bool)"),
        ("name: x\non: 1\n", 2, "on", "must be bool, not '1' (int)"),
        ("name: x\nratio: high\n", 2, "ratio", "must be float, not 'high' (str)"),
        ("name: x\nratio: true\n", 2, "ratio", "must be float, not 'true' (bool)"),
        ("name: x\nratio:\n", 2, "ratio", "must be float, not nothing"),
        ("name: x\nratio: [1]\n", 2, "ratio", "must be a single value, not a list"),
        ("name: x\nlevel: hihg\n", 2, "level", "must be one of low, high, not 'hihg'; did you mean 'high'?"),
        ("name: x\npath: 5\n", 2, "path", "must be text, not '5' (int)"),
        ("name: x\ninner: 5\n", 2, "inner", "must be a mapping of keys, not '5' (int)"),
        ("name: x\nmany: [1]\n", 2, "many", "must be a mapping from names, not a list"),
        ("name: x\nany: {a: [1]}\n", 2, "any.a", "must be a single value, not a list"),
        ("name: x\nany: {a: }\n", 2, "any.a", "must be text or int or float or bool, not nothing"),
        ("name: x\nitems: 1\n", 2, "items", "must be a list, not '1' (int)"),
        ("name: x\nitems:\n- 1\n- a\n", 4, "items[1]", "must be int, not 'a' (str)"),
        ("name: x\ninner:\n  ratio: 1\n  size: 0\n", 3, "inner", "size must be at least 1"),
        ("name: x\non: true\nname: y\n", 3, "name", "is given twice; the first is on line 1"),
        ("name: x\nmany:\n  a: {}\n  a: {}\n", 4, "many.a", "is given twice; the first is on line 3"),
        ("- 1\n", 1, "", "must be a mapping of sections"),
        ("name: x\non: [\n", 3, "", "is not valid YAML"),
        ("name: *nobody\n", 1, "", "is not valid YAML: found undefined alias 'nobody'"),
        ("name: x\n---\nname: y\n", 2, "", "is not valid YAML"),
        ("name: !!python/object:os.system x\n", 1, "name", "python/object:os.system"),
        ("name: x\nlater: 2001-99-99\non: !!timestamp 2001-99-99\n", 3, "on", "cannot be read"),
    ],
)
def test_what_is_wrong_is_told_with_line_and_key(text: str, line: int, where: str, problem: str) -> None:
    error = refusal(text)
    assert (error.source, error.line, error.where) == ("f.yaml", line, where)
    assert problem in error.problem
    assert str(error).startswith(f"f.yaml:{line}: ")


@pytest.mark.parametrize("value", ["!!bool maybe", '!!int ""', '!!float ""', "!!timestamp soon", "!!binary é"])
def test_an_explicit_tag_that_its_value_does_not_fit_is_told(value: str) -> None:
    error = refusal(f"name: x\nratio: {value}\n")
    assert (error.line, error.where) == (2, "ratio")


@pytest.mark.parametrize(
    "value",
    ["inner: !!python/dict {size: 2}", "inner: !mine {size: 2}", "many: !!omap {}", "items: !!python/tuple [1]"],
)
def test_a_tag_on_a_section_or_a_list_is_refused(value: str) -> None:
    error = refusal(f"name: x\n{value}\n")
    assert (error.line, error.where) == (2, value.partition(":")[0])
    assert "with the tag" in error.problem


@pytest.mark.parametrize("value", ["1" + "0" * 400, "~nobody-by-that-name/file"])
def test_a_value_that_cannot_be_converted_is_told(value: str) -> None:
    key = "path" if value.startswith("~") else "ratio"
    error = refusal(f"name: x\n{key}: {value}\n")
    assert (error.line, error.where) == (2, key)


def test_a_null_section_that_lacks_a_key_is_told_with_its_line() -> None:
    @dataclass(frozen=True)
    class Holder:
        outer: Outer

    # `get_type_hints` looks names up in the module.
    Holder.__annotations__["outer"] = Outer
    error = refusal("\nouter:\n", Holder)
    assert (error.line, error.where) == (2, "outer")


def test_a_control_character_is_told_with_its_line() -> None:
    error = refusal("name: x\non: \x00\n")
    assert error.line == 2
    assert "\n" not in str(error), "one line a problem"


def test_messages_have_one_line_even_where_the_yaml_library_s_have_more() -> None:
    assert "\n" not in str(refusal("name: !!python/object:os.system x\n"))


def test_a_key_that_is_no_text_is_told_without_internals() -> None:
    error = refusal("name: x\n? [a, b]\n: 1\n")
    assert error.line == 2
    assert "Node(" not in str(error)


def test_nesting_too_deep_is_told() -> None:
    assert refusal("name: " + "[" * 5000 + "]" * 5000).source == "f.yaml"


def test_part_of_a_section_can_be_read_before_the_rest() -> None:
    @dataclass(frozen=True)
    class Common:
        name: str

    section = read_yaml("name: x\nsize: 3\n", "f.yaml", Path())
    assert section.parse_only(Common) == Common("x")
    assert section.parse(Inner, ignore=frozenset({"name"})) == Inner(3)


def test_a_missing_key_that_is_misspelt_among_the_others_is_guessed() -> None:
    @dataclass(frozen=True)
    class Common:
        type: str

    with pytest.raises(ConfigError, match=r"f\.yaml:1: lacks the key 'type'; is 'tpye' meant to be it\?"):
        read_yaml("tpye: static\n", "f.yaml", Path()).parse_only(Common)


def test_an_unknown_key_of_a_later_part_names_the_keys_of_both() -> None:
    section = read_yaml("type: x\nzzzzzzzz: 3\n", "f.yaml", Path())
    with pytest.raises(ConfigError, match="known here: ratio, size, type"):
        section.parse(Inner, ignore=frozenset({"type"}))


def test_an_error_can_be_raised_at_a_section_or_at_one_of_its_keys() -> None:
    section = parse("name: x\nlater:\n  a: 1\n  b:\n    c: 2\n").later
    assert str(section.error("is odd")) == "f.yaml:3: later: is odd"
    assert str(section.error("is odd", "a")) == "f.yaml:3: later.a: is odd"
    assert section.error("is odd", "b").line in (4, 5)
    assert str(section.error("is odd", "b", "c")) == "f.yaml:5: later.b.c: is odd"
    assert section.error("is odd", "a", "nowhere").line == 3


def test_sections_are_equal_by_content_and_then_hash_alike() -> None:
    one = read_yaml("a: {b: [1, x]}\nc: {}", "one.yaml", Path())
    other = read_yaml("# moved\nc: {}\na:\n  b: [1, x]\n", "other.yaml", Path("/elsewhere"))
    assert one == other
    assert hash(one) == hash(other)
    assert one != read_yaml("a: {b: [1, y]}\nc: {}", "one.yaml", Path())
    assert one != read_yaml("a: {b: ['1', x]}\nc: {}", "one.yaml", Path()), "1 is not '1'"
    assert one != read_yaml("a: {b: [1, x]}\nc: []", "one.yaml", Path()), "a mapping is no list"


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.dates(), st.binary(max_size=4)
)
KEYS = st.one_of(st.sampled_from([f.name for f in fields(Outer)]), SCALARS)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)


def check(text: str) -> None:
    answer: Outer | ConfigError
    try:
        answer = parse(text)
    except ConfigError as error:
        answer = error
    if isinstance(answer, Outer):
        return
    assert answer.source == "f.yaml"
    if answer.line is None:  # only an empty document has none
        assert yaml.safe_load(text) is None


@given(st.dictionaries(KEYS, VALUES, max_size=5).map(lambda value: yaml.safe_dump(value, allow_unicode=True)))
def test_whatever_yaml_says_the_answer_is_a_value_or_an_error_with_its_line(text: str) -> None:
    check(text)


@given(st.text(alphabet=st.sampled_from("name: ratio\n\t -[]{},&*!|>'\"%@`#?~0189._xé\x00\x85\ufeff"), max_size=40))
@example("name: &a [*a]")
@example("later: &a {a: *a}\nname: x")
@example("name: x\nratio: ._")
@example("name: x\nratio: 0b_")
def test_whatever_text_is_read_the_answer_is_a_value_or_an_error_with_its_line(text: str) -> None:
    check(text)


def test_merge_keys_bring_the_keys_of_other_mappings() -> None:
    text = """
name: x
many:
  a: &a {size: 3, ratio: 0.25}
  b: {<<: *a, size: 4}
  c: &c {size: 7}
  d: {<<: [*c, *a]}
  e: {ratio: 0.75, <<: *a}
"""
    inner = parse(text).many
    assert inner["b"] == Inner(4, 0.25)
    assert inner["d"] == Inner(7, 0.25)
    assert inner["e"] == Inner(3, 0.75)
    assert inner["a"] == Inner(3, 0.25)


def test_a_section_that_is_read_later_has_its_merged_keys() -> None:
    value = parse("name: x\ninner: &i {size: 3}\nlater: {<<: *i, ratio: 0.25}\n")
    assert value.later.parse(Inner) == Inner(3, 0.25)
    assert value.later == parse("name: x\nlater: {ratio: 0.25, size: 3}\n").later


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("name: x\ninner: {<<: 5}\n", 2, "must name another mapping"),
        ("name: x\ninner: {<<: [5]}\n", 2, "must name another mapping"),
        ("name: x\ninner: &i {<<: *i}\n", 2, "must name another mapping"),
        ("name: x\nmany:\n  a: &a {sise: 2}\n  b: {<<: *a}\n", 3, "did you mean 'size'?"),
        ("name: x\ninner: {'<<': 5}\n", 2, "is not a known key"),
    ],
)
def test_a_wrong_merge_is_told_with_its_line(text: str, line: int, problem: str) -> None:
    error = refusal(text)
    assert error.line == line
    assert problem in error.problem
