"""The rows of a twin are those of its source, but for one property."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transferlens.errors import DataError
from transferlens.study import ControlSpec, StudySpec
from transferlens.tasks import Original, load_task, make_twin
from transferlens.tasks.scramble import cut_words, shuffle_words


def originals(folder, *, limit=None, **tasks):
    """Make sources of rows; a task is (rows, definition)."""
    specs = {}
    for name, (rows, fields) in tasks.items():
        (folder / name).mkdir()
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / name / "train.jsonl").write_text(lines, encoding="utf-8")
        specs[name] = {"data": str(folder / name), "prompt": "Text: {{ text }}", **fields}
    names = list(tasks)
    study = StudySpec.from_dict({"tasks": specs, "sources": names, "targets": names[:1]})
    found = {}
    for index, ref in enumerate(study.sources):
        task = load_task(ref, study, role="sources", index=index)
        found[ref.name] = Original(
            task=task,
            examples=task.train(limit, seed=0),
            count_tokens=lambda rows: [len(r.prompt) + len(r.completion) for r in rows],
        )
    return found


def labelled(labels, **fields):
    rows = [{"text": f"row {i} is here", "label": label} for i, label in enumerate(labels)]
    return rows, {"choices": sorted(set(labels)), **fields}


def written(answers):
    rows = [{"text": f"row {i} is here", "label": answer} for i, answer in enumerate(answers)]
    return rows, {}


def twin_of(sources, *, seed=0, **prop):
    control = ControlSpec.model_validate({"source": next(iter(sources)), **prop})
    return make_twin(control, sources, seed=seed, where="study.yaml:9: controls.0")


def golds(examples):
    return Counter(example.gold for example in examples)


SKEWED = ["yes"] * 60 + ["no"] * 20 + ["maybe"] * 10


def test_permuted_labels_keep_prompts_and_class_shares_and_say_how_many_are_right(tmp_path):
    sources = originals(tmp_path, a=labelled(SKEWED))
    twin = twin_of(sources, mislabelled=True)
    before = sources["a"].examples
    assert [e.prompt for e in twin.examples] == [e.prompt for e in before]
    assert golds(twin.examples) == golds(before)
    assert all(e.completion == e.gold for e in twin.examples)
    right = np.mean([a.gold == b.gold for a, b in zip(twin.examples, before, strict=True)])
    expected = sum((n / 90) ** 2 for n in (60, 20, 10))
    assert right == pytest.approx(expected, abs=0.15)
    assert twin.notes == (f"{right:.0%} of its labels are right by chance",)


def test_permuted_answers_move_with_their_completions(tmp_path):
    rows, _ = written([str(i) for i in range(40)])
    sources = originals(tmp_path, a=(rows, {"completion": "It is {{ label }}."}))
    twin = twin_of(sources, mislabelled=True)
    assert all(e.completion == f"It is {e.gold}." for e in twin.examples)
    assert golds(twin.examples) == golds(sources["a"].examples)


def test_choices_that_differ_from_row_to_row_are_permuted_by_their_place(tmp_path):
    rows = [
        {"text": f"row {i}", "options": [f"{i}a", f"{i}b"], "label": f"{i}a"} for i in range(20)
    ] + [{"text": f"row {i}", "options": [f"{i}a", f"{i}b"], "label": f"{i}b"} for i in (21, 22)]
    sources = originals(tmp_path, a=(rows, {"choices": "options"}))
    twin = twin_of(sources, mislabelled=True)
    assert all(e.gold in e.choices and e.completion == e.gold for e in twin.examples)
    assert sum(e.gold == e.choices[1] for e in twin.examples) == 2


@pytest.mark.parametrize(
    ("prop", "top", "n_top"),
    [({"skewed": 0.5}, "yes", 15), ({"skewed": {"share": 0.6, "label": "no"}}, "no", 18)],
)
def test_a_skewed_twin_gives_one_class_its_share_and_the_others_keep_their_proportions(
    tmp_path, prop, top, n_top
):
    sources = originals(tmp_path, limit=30, a=labelled(SKEWED))
    twin, own = twin_of(sources, **prop), golds(sources["a"].examples)
    found = golds(twin.examples)
    assert found[top] == n_top
    others = own.total() - own[top]
    for label in set(own) - {top}:
        assert abs(found[label] - (30 - n_top) * own[label] / others) < 1
    assert set(twin.examples) <= set(sources["a"].task.pool(seed=0))
    assert len(set(twin.examples)) == len(twin.examples) == 30


def test_a_balanced_twin_has_equally_many_rows_of_each_class_and_as_many_as_before(tmp_path):
    sources = originals(tmp_path, limit=29, a=labelled(SKEWED))
    twin = twin_of(sources, balanced=True)
    assert sorted(golds(twin.examples).values()) == [9, 10, 10]
    assert set(twin.examples) <= set(sources["a"].task.pool(seed=0))
    assert len(set(twin.examples)) == 29


def test_a_balanced_twin_keeps_the_rows_of_its_source_where_it_can(tmp_path):
    sources = originals(tmp_path, limit=30, a=labelled(SKEWED))
    own = golds(sources["a"].examples)
    kept = golds(set(twin_of(sources, balanced=True).examples) & set(sources["a"].examples))
    assert kept == {label: min(n, 10) for label, n in own.items()}


def test_rows_that_do_not_suffice_are_repeated_and_said(tmp_path):
    sources = originals(tmp_path, a=labelled(["yes"] * 40 + ["no"] * 10))
    twin = twin_of(sources, balanced=True)
    assert golds(twin.examples) == {"yes": 25, "no": 25}
    assert twin.notes == ("10 rows of 'no' fill 25 places: they are repeated",)
    assert max(Counter(twin.examples).values()) == 3


@pytest.mark.parametrize(
    ("source", "prop", "message"),
    [
        (written(["3", "4"]), {"balanced": True}, "its answers are written, so it has no classes"),
        (written(["3", "4"]), {"skewed": 0.9}, "its answers are written, so it has no classes"),
        (labelled(["a", "b"] * 5), {"balanced": True}, "the same rows as its source"),
        (labelled(["a", "b"] * 5), {"skewed": {"share": 0.9, "label": "aa"}}, "Did you mean 'a'?"),
        (
            labelled(["a"] * 40 + ["b"]),
            {"balanced": True},
            "too few rows of 'b': 1 for 20 places, and a row may stand at most 5 times",
        ),
        (written(["one two", "three"]), {"truncated_outputs": 2}, "no answer has more than 2"),
        (written(["same"] * 9), {"mislabelled": True}, "the same rows as its source"),
        (
            written(["a b c d"] * 9),
            {"length_matched": "other"},
            "4.0 words on average, those of 'other' 1.0, and the best choice of rows 4.0",
        ),
        (written(["a"] * 3), {"token_matched": "other"}, "too few for"),
        (labelled(["a", "b"] * 5), {"prompt_format": "Same"}, "the same example as"),
    ],
)  # fmt: skip
def test_what_cannot_be_changed_is_refused_with_place_and_reason(tmp_path, source, prop, message):
    sources = originals(tmp_path, a=source, other=written([str(i) for i in range(50)]))
    with pytest.raises(DataError) as caught:
        twin_of(sources, **prop)
    assert message in str(caught.value)
    kind = next(iter(prop))
    assert str(caught.value).startswith(f"study.yaml:9: controls.0: {kind} twin of 'a': ")


def test_truncated_outputs_are_beginnings_of_the_answers(tmp_path):
    sources = originals(tmp_path, a=written(["one", "one two\nthree", "one  two three four"]))
    twin = twin_of(sources, truncated_outputs=2)
    assert [e.completion for e in twin.examples] == ["one", "one two", "one  two"]
    restored = [
        replace(e, completion=o.completion)
        for e, o in zip(twin.examples, sources["a"].examples, strict=True)
    ]
    assert restored == list(sources["a"].examples)
    assert twin.notes == ("2 of 3 answers are cut",)


def test_rows_are_chosen_to_match_the_lengths_of_another_source(tmp_path):
    rng = np.random.default_rng(0)
    long = [" ".join(["w"] * n) for n in rng.integers(2, 20, 400)]
    short = [" ".join(["w"] * n) for n in rng.integers(2, 6, 60)]
    sources = originals(tmp_path, limit=100, a=written(long), other=written(short))
    twin = twin_of(sources, length_matched="other")
    lengths = [len(e.completion.split()) for e in twin.examples]
    aims = [len(e.completion.split()) for e in sources["other"].examples]
    assert len(lengths) == 100
    assert np.mean(lengths) == pytest.approx(np.mean(aims), abs=0.1)
    shares = [np.bincount(x, minlength=6) / len(x) for x in (lengths, aims)]
    np.testing.assert_allclose(*shares, atol=0.02)
    assert set(twin.examples) <= set(sources["a"].task.pool(seed=0))


@pytest.mark.parametrize("n_other", [10, 300])
def test_training_tokens_are_those_of_another_source_to_within_a_row(tmp_path, n_other):
    sources = originals(
        tmp_path, limit=100, a=labelled(["a", "b"] * 100), other=written(["word"] * n_other)
    )
    twin = twin_of(sources, token_matched="other")  # noqa: S106 - it is no password
    sizes, aim = (
        sources[name].count_tokens(rows)
        for name, rows in (("a", twin.examples), ("other", sources["other"].examples))
    )
    assert abs(sum(sizes) - sum(aim)) <= max(sizes) / 2 + 1


def test_another_format_changes_the_prompts_of_the_same_rows(tmp_path):
    sources = originals(tmp_path, limit=20, a=labelled(SKEWED))
    twin = twin_of(sources, prompt_format="Q: {{ text }}?")
    for changed, before in zip(twin.examples, sources["a"].examples, strict=True):
        assert changed.prompt == before.prompt.replace("Text:", "Q:") + "?"
        assert replace(changed, prompt="") == replace(before, prompt="")


def test_a_reseeded_twin_has_the_very_rows_of_its_source(tmp_path):
    sources = originals(tmp_path, a=labelled(SKEWED))
    assert twin_of(sources, reseeded=1).examples == sources["a"].examples


@pytest.mark.parametrize("prop", [{"mislabelled": True}, {"shuffled_words": True}])
def test_the_seed_of_the_limits_decides_what_is_drawn(tmp_path, prop):
    rows = [{"text": f"{i} or not {i} {i}, no", "label": label} for i, label in enumerate(SKEWED)]
    sources = originals(tmp_path, a=(rows, {"choices": ["yes", "no", "maybe"]}))
    assert twin_of(sources, **prop) == twin_of(sources, **prop)
    assert twin_of(sources, **prop) != twin_of(sources, seed=1, **prop)


PROMPTS = [f"Review: the {a} film was {b} for us\nSentiment: ?" for a in "xyz" for b in "uvw"]

words = st.lists(st.sampled_from(["a", "bb", "c.", "  d", "e\n", "\n"]), max_size=12)


@settings(deadline=None)
@given(st.lists(words.map(" ".join), min_size=1, max_size=8))
def test_shuffling_keeps_every_word_in_its_line_and_all_white_space(texts):
    shuffled = shuffle_words(texts, rng=np.random.default_rng(0))
    for before, after in zip(texts, shuffled, strict=True):
        pairs = list(zip(before.split("\n"), after.split("\n"), strict=True))
        assert all(sorted(old.split()) == sorted(new.split()) for old, new in pairs)
        assert len(before) == len(after)


def test_shuffling_keeps_the_format_and_destroys_the_order():
    shuffled = shuffle_words(PROMPTS, rng=np.random.default_rng(0))
    assert all(text.startswith("Review: ") for text in shuffled)
    assert all(text.endswith("\nSentiment: ?") for text in shuffled)
    moved = [a != b for a, b in zip(PROMPTS, shuffled, strict=True)]
    assert np.mean(moved) > 0.5


@given(st.text(alphabet="ab \n", max_size=30), st.integers(1, 5))
def test_a_cut_text_is_a_beginning_with_at_most_so_many_words(text, most):
    cut = cut_words(text, most)
    assert text.startswith(cut)
    assert cut.split() == text.split()[:most]
