"""A template sees one row and nothing else, and always ends soon: in text or in one clear error."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transferlens.errors import DataError, SpecError
from transferlens.tasks.sandbox import MAX_LENGTH
from transferlens.tasks.templates import Expression, MissingColumnError, Template

ROW = {"text": "ab", "n": 5, "items": ["x", "y"], "nested": {"a": [1, 2]}, "gap": None}


def refusal(source, row=ROW, make=Template):
    with pytest.raises((DataError, SpecError)) as caught:
        make(source, "prompt")(row)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("the prompt ")
    return message


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ text }}", "ab"),
        ("{{ text | upper }}-{{ n + 1 }}", "AB-6"),
        ("{% for i in items %}{{ loop.index }}. {{ i }}\n{% endfor %}", "1. x\n2. y\n"),
        ("{{ items | join(', ') }}", "x, y"),
        ("{{ nested.a[0] }}{{ nested['a'][1] }}", "12"),
        ("{% if n > 3 and 'a' in text %}yes{% else %}no{% endif %}", "yes"),
        ("{{ 'x' if gap is none else gap }}", "x"),
        ("{{ text[1:] ~ text[:1] }}", "ba"),
        ("{{ text.replace('a', 'c').strip() }}", "cb"),
        ("{{ nested | tojson }}", '{"a": [1, 2]}'),
        ("{% set y = n * 2 %}{{ y }}", "10"),
        ("{{ '%' }} {{ '{{' }}", "% {{"),
        ("{{ '<b>' }}&", "<b>&"),
    ],
)
def test_what_prompts_need_works(source, text):
    assert Template(source, "prompt")(ROW) == text


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=60))
def test_the_text_of_a_column_is_never_read_as_a_template(text):
    assert Template("{{ text }}", "prompt")({"text": text}) == text


@pytest.mark.parametrize(
    ("source", "value"),
    [("n", 5), ("items", ["x", "y"]), ("n | string", "5"), ("items.index('y')", 1), ("gap", None)],
)
def test_an_expression_gives_a_value_and_not_its_text(source, value):
    assert Expression(source, "label")(ROW) == value


ESCAPES = [
    "{{ text.__class__ }}",
    "{{ ''['__class__']['__mro__'] }}",
    "{{ text | attr('__class__') }}",
    "{{ items | map(attribute='__class__') | list }}",
    "{{ [text] | map(attribute='__class__.__mro__') | list }}",
    "{{ range.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ self }}",
    "{{ text.format.__globals__ }}",
    "{{ '{0.__class__}'.format(text) }}",
    "{{ '%s' % text }}",
    "{{ text.format_map(nested) }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% from 'os' import system %}",
    "{% extends '/etc/passwd' %}",
    "{% macro f() %}{% endmacro %}",
    "{% call f() %}{% endcall %}",
    "{{ open('/etc/passwd').read() }}",
    "{{ lipsum() }}",
    "{{ cycler.__init__ }}",
    "{{ namespace(a=1) }}",
    "{{ dict(a=1) }}",
    "{{ items.append('z') }}",
    "{{ nested.update(items) }}",
    "{{ nested.pop('a') }}",
    "{% set nested.a = 1 %}",
    "{{ text.encode() }}",
]


@pytest.mark.parametrize("source", ESCAPES)
def test_it_cannot_run_code_read_files_or_change_the_row(source):
    row = {"text": "ab", "items": ["x"], "nested": {"a": [1]}}
    assert refusal(source, row)
    assert row == {"text": "ab", "items": ["x"], "nested": {"a": [1]}}


BOMBS = [
    "{% for i in range(10**9) %}{% endfor %}",
    "{% for i in range(40000) %}{% for j in range(40000) %}{% endfor %}{% endfor %}",
    "{% for i in range(90000) %}{% set x = range(90000) | sum %}{% endfor %}",
    "{{ ([range(90000)] * 90000) | map('sum') | sum }}",
    "{{ ([range(90000)] * 90000) | map('list') | list | length }}",
    "{{ range(10**30) }}",
    "{{ 'a' * 10**9 }}",
    "{{ ('a' * 900000) ~ ('a' * 900000) }}",
    "{{ ('a' * 900000).replace('a', 'aa') }}",
    "{{ ('a' * 900000) | replace('a', 'aa') }}",
    "{{ (['a' * 1000] * 900000) | join }}",
    "{{ (['a' * 1000] * 900000) | map('replace', 'a', 'bb') | list }}",
    "{% for i in range(90000) %}{{ 'a' * 1000 }}{% endfor %}",
    "{% set t = 'a' * 900000 %}{% for i in range(90000) %}{% set x = t[1:] %}{% endfor %}",
    "{% set t = 'a' * 900000 %}{% for i in range(90000) %}{% set x = 'b' in t %}{% endfor %}",
    "{% set t = 'a' * 900000 %}{% for i in range(90000) %}{% set x = t.count('b') %}{% endfor %}",
    "{% set a = [[1] * 900] * 900 %}{% set b = [a] * 900 %}{% set c = [b] * 900 %}{{ c == [] }}",
    "{% set a = [[1] * 900] * 900 %}{% set b = [a] * 900 %}{{ [b] * 900 | tojson }}",
    "{% set a = [1] * 900 %}{% set b = [a] * 900 %}{{ [b, b] | sort | length }}",
    "{{ 10 ** (10 ** 10) }}",
    "{{ 2 ** 4000 * 2 ** 4000 }}",
    "{{ '%999999999d' % n }}",
    "{{ text.center(10**9) }}",
    "{{ text.ljust(10**9) }}",
    "{{ text | center(10**9) }}",
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{{ " + "1" * 5000 + " }}",
    "{% for i in items %}" * 30 + "{% endfor %}" * 30,
    "{% for i in items recursive %}{{ loop(items) }}{% endfor %}",
]


@pytest.mark.timeout(120)  # each would take hours or all of the memory
@pytest.mark.parametrize("source", BOMBS, ids=lambda source: source[:60])
def test_what_would_take_for_ever_or_all_memory_is_refused(source):
    assert refusal(source)


def test_a_long_document_is_no_bomb():
    text = "word " * (MAX_LENGTH // 6)
    assert Template("{{ text | trim }}\n{{ text | length }}", "prompt")({"text": text})


def test_the_budget_is_for_each_row_anew():
    template = Template("{% for i in range(50000) %}{% endfor %}{{ n }}", "prompt")
    assert [template(ROW) for _ in range(5)] == ["5"] * 5


@pytest.mark.parametrize(
    "source",
    [
        "{{ n | replace('a', 'b') }}", "{{ n | dictsort }}", "{{ text | truncate(2) }}",
        "{{ n | join }}", "{{ text + n }}", "{{ n / 0 }}", "{{ items[7] }}", "{{ nested.b }}",
        "{{ text | round }}", "{{ n() }}", "{{ text.index('z') }}", "{{ items }}", "{{ gap }}",
        "{{ items | first | first(1, 2) }}", "{{ nested | tojson(indent=2) }}",
    ],
)  # fmt: skip
def test_a_mistake_in_a_template_is_one_line(source):
    assert "cannot be rendered" in refusal(source)


@pytest.mark.parametrize("source", ["{{ text", "{% if %}", "{{ text | uper }}", "{% endfor %}"])
def test_a_template_that_is_none_is_refused_before_any_row_is_read(source):
    with pytest.raises(SpecError, match="the prompt is not a valid template"):
        Template(source, "prompt")


def test_a_missing_column_names_those_that_are_there_and_the_nearest():
    with pytest.raises(MissingColumnError) as caught:
        Template("{{ txt }}", "prompt")(ROW)
    assert str(caught.value) == (
        "the prompt uses the column 'txt'; the data has: text, n, items, nested, gap. "
        "Did you mean 'text'?"
    )
    with pytest.raises(MissingColumnError, match="the label uses the column 'lable'"):
        Expression("lable", "label")(ROW)
