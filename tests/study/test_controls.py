"""A control names one source and one property; each mistake is one line that says where."""

from __future__ import annotations

import pytest

from transferlens.errors import SpecError
from transferlens.study import PROPERTIES, StudySpec

HEAD = "sources: [sentiment, topic]\ntargets: [topic]\n"


def spec_of(*controls, **more):
    study = {"sources": ["sentiment", "topic"], "targets": ["topic"], "controls": list(controls)}
    return StudySpec.from_dict({**study, **more})


def refusal(folder, control):
    file = folder / "study.yaml"
    file.write_text(f"{HEAD}controls:\n  - {control}\n", encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        StudySpec.from_yaml(file)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{file}:4: controls.0")
    return message


@pytest.mark.parametrize(
    ("given", "kind", "value"),
    [
        ({"mislabelled": True}, "mislabelled", None),
        ({"balanced": True}, "balanced", None),
        ({"skewed": 0.9}, "skewed", "0.9"),
        ({"skewed": {"share": 0.8, "label": "negative"}}, "skewed", "0.8 negative"),
        ({"truncated_outputs": 3}, "truncated_outputs", "3"),
        ({"length_matched": "topic"}, "length_matched", "topic"),
        ({"shuffled_words": True}, "shuffled_words", None),
        ({"token_matched": "topic"}, "token_matched", "topic"),
        ({"reseeded": True}, "reseeded", "1000"),
        ({"reseeded": 7}, "reseeded", "7"),
        ({"prompt_format": "Text: {{ prompt }}"}, "prompt_format", "Text: {{ prompt }}"),
    ],
)
def test_every_property_is_read_with_its_parameter_and_names_the_twin(given, kind, value):
    spec = spec_of({"source": "sentiment", **given})
    (control,) = spec.controls
    assert (control.kind, control.value) == (kind, value)
    assert control.name == f"sentiment-{kind}"
    assert kind in PROPERTIES
    assert StudySpec.from_dict(spec.to_dict()).controls == spec.controls


def test_a_twin_changes_the_hash_of_the_study():
    twin = {"source": "sentiment", "balanced": True}
    assert spec_of(twin).content_hash != spec_of().content_hash


@pytest.mark.parametrize(
    ("control", "message"),
    [
        ("{source: sentiment, balancd: true}", "unknown field 'balancd'. Did you mean 'balanced'?"),
        ("{source: sentiment}", "exactly one property, and this one has none; give one of"),
        (
            "{source: sentiment, balanced: true, reseeded: true}",
            "exactly one property, and this one has balanced and reseeded",
        ),
        ("{balanced: true}", "the field 'source' is missing"),
        (
            "{source: sentimnt, balanced: true}",
            "source: 'sentimnt' is none of the study's sources. Did you mean 'sentiment'?",
        ),
        (
            "{source: topic, length_matched: sentimental}",
            "length_matched: 'sentimental' is none of the study's sources. Did you mean 'sent",
        ),
        (
            "{source: topic, token_matched: topic}",
            "token_matched: 'topic' is the source itself; name another one",
        ),
        ("{source: topic, name: sentiment, balanced: true}", "'sentiment' is taken"),
        ("{source: topic, name: base, balanced: true}", "name of the untuned base model"),
        ("{source: topic, skewed: 1.5}", "skewed.share: Input should be less than 1, not 1.5"),
        ("{source: topic, skewed: {share: 0.5, lable: a}}", "Did you mean 'label'?"),
        ("{source: topic, truncated_outputs: 0}", "greater than or equal to 1, not 0"),
        ("{source: topic, truncated_outputs: true}", "valid integer, not True"),
        ("{source: topic, balanced: 3}", "balanced: Input should be True, not 3"),
    ],
)
def test_a_mistake_is_one_line_with_file_and_line(tmp_path, control, message):
    assert message in refusal(tmp_path, control)


def test_two_twins_of_one_source_need_two_names():
    twin = {"source": "sentiment", "skewed": 0.9}
    with pytest.raises(SpecError, match=r"controls\.1: the name 'sentiment-skewed' is taken"):
        spec_of(twin, twin)
    names = [c.name for c in spec_of(twin, {**twin, "name": "other"}).controls]
    assert names == ["sentiment-skewed", "other"]


def test_another_seed_must_not_be_one_of_the_studys_own():
    twin = {"source": "sentiment", "reseeded": 2}
    with pytest.raises(SpecError, match=r"controls\.0\.reseeded: .* take more than 2"):
        spec_of(twin, seeds=[0, 1, 2])
    assert spec_of({**twin, "reseeded": 3}, seeds=[0, 1, 2]).controls[0].reseeded == 3
