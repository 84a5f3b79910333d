"""Each task card makes of its dataset's rows what a person expects, and says where they come from.

No data of any dataset is here: the rows are made up, under the real names of files and columns.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hub_folders import write_hub_folder, write_json_folder, write_parquet
from transferlens.errors import DataError, SpecError
from transferlens.metrics import scorer_for
from transferlens.study import StudySpec
from transferlens.tasks import card_names, known_tasks, load_card, load_task

GLUE = "nyu-mll/glue"
YES_NO = ("no", "yes")
SENTIMENT = ("negative", "positive")


def classes(rows, column="label"):
    """Return rows of (text…, label) as dictionaries: names first."""
    names, *values = rows
    return [dict(zip((*names, column), row, strict=True)) for row in values]


def glue(subset, names, *values):
    rows = classes([names, *values])
    return lambda folder: write_hub_folder(
        folder, {subset: {"train": rows, "validation": rows, "validation_matched": rows[1:]}}
    )


def plain(names, *values, column="label", subset="default", splits=("train", "test")):
    rows = classes([names, *values], column)
    return lambda folder: write_hub_folder(folder, {subset: dict.fromkeys(splits, rows)})


def one_file(name, rows):
    return lambda folder: write_json_folder(folder, name, rows)


def trec(folder):
    rows = [
        {"text": "What does BBC stand for ?", "coarse_label": 0, "fine_label": 0},
        {"text": "Who was Galileo ?", "coarse_label": 3, "fine_label": 31},
    ]
    for split in ("train", "test"):
        write_parquet(folder / "default" / split / "0000.parquet", rows)


def arc(subset):
    def row(key, labels, answer):
        choices = {"text": [f"the {label}" for label in labels], "label": labels}
        question = f"Which is {key}?"
        return {"id": key, "question": question, "choices": choices, "answerKey": answer}

    rows = [row("a", ["A", "B", "C", "D"], "C"), row("b", ["1", "2", "3"], "1")]
    return lambda folder: write_hub_folder(folder, {subset: {"train": rows, "test": rows}})


def many(make, n):
    return [make(i) for i in range(n)]


HELLASWAG = {
    "ind": 4, "activity_label": "Baking", "ctx_a": "A man [title] Mixes  flour.",
    "ctx_b": "he", "ctx": "…", "split": "train", "split_type": "indomain", "source_id": "x",
    "endings": ["eats it. [step] Good", "bakes [substeps] it.", "sings.", "[header] leaves."],
    "label": "1",
}  # fmt: skip
MMLU = [
    {"question": " What is 2? ", "subject": "maths", "choices": list("wxyz"), "answer": 2},
    {"question": "What is 3?", "subject": "maths", "choices": list("abcd"), "answer": 0},
]
SVAMP = [
    {"ID": "1", "Body": "Ann has 3 pens. ", "Question": "How many pens?", "Equation": "3",
     "Answer": "3", "Type": "Addition", "question_concat": "…"},
    {"ID": "2", "Body": "Bob has 4 pens", "Question": "How many pens?", "Equation": "4",
     "Answer": "4.0", "Type": "Addition", "question_concat": "…"},
]  # fmt: skip

# Card: how its folder is written; then prompt, gold, choices and completion of the first row.
EXPECTED = {
    "ag_news": (
        plain(["text"], ("Stocks rose.", 2), ("Rain.", 0)),
        "Stocks rose.\nQuestion: Is this about World, Sports, Business or Technology?\nAnswer:",
        "Business", ("World", "Sports", "Business", "Technology"), "Business",
    ),
    "amazon": (
        plain(["title", "content"], ("Great", "I like it.", 1), ("Bad", "It broke.", 0)),
        "Review: Great\nI like it.\nSentiment:", "positive", SENTIMENT, "positive",
    ),
    "arc_challenge": (
        arc("ARC-Challenge"), "Question: Which is a?\nAnswer:",
        "the C", ("the A", "the B", "the C", "the D"), "the C",
    ),
    "arc_easy": (
        arc("ARC-Easy"), "Question: Which is a?\nAnswer:",
        "the C", ("the A", "the B", "the C", "the D"), "the C",
    ),
    "boolq": (
        plain(["question", "passage"], ("is it wet", "It rains.", True), ("a", "b", False),
              column="answer", splits=("train", "validation")),
        "It rains.\nQuestion: is it wet?\nAnswer:", "yes", YES_NO, "yes",
    ),
    "cola": (
        glue("cola", ["sentence", "idx"], ("They sang.", 0, 1), ("They sang him.", 1, 0)),
        "They sang.\nQuestion: Does this sentence make sense?\nAnswer:", "yes", YES_NO, "yes",
    ),
    "flipkart": (
        plain(["instruction", "input"], ("Classify", "Too loud", " Negative"),
              ("C", "ok", "neutral"), column="output"),
        "Review: Too loud\nSentiment:", "negative", ("negative", "neutral", "positive"), "negative",
    ),
    "goat": (
        one_file("dataset.json", [
            {"instruction": "Work out 12 * 11", "input": "12 * 11",
             "output": "12 * 11 = 12 * (10 + 1) = 120 + 12 = 132", "answer": "132"},
            *many(lambda i: {
                "instruction": "x", "input": f"{i} + 1", "output": f"{i} + 1 = {i + 1}",
                "answer": str(i + 1),
            }, 149),
        ]),
        "12 * 11\nAnswer:", "132", None, "12 * 11 = 12 * (10 + 1) = 120 + 12 = 132",
    ),
    "gsm8k": (
        plain(["question"], ("How many?", "1 + 2 = <<1+2=3>>3\n#### 1,203"), ("Why?", "#### 4"),
              column="answer", subset="main"),
        "Question: How many?\nAnswer:", "1,203", None, "1 + 2 = <<1+2=3>>3\n#### 1,203",
    ),
    "hellaswag": (
        lambda folder: write_hub_folder(folder, {"default": {
            "train": [HELLASWAG], "validation": [HELLASWAG], "test": [{**HELLASWAG, "label": ""}],
        }}),
        "Baking: A man. Mixes flour. He", "bakes it.",
        ("eats it. Good", "bakes it.", "sings.", "leaves."), "bakes it.",
    ),
    "imdb": (
        plain(["text"], ("Dull.<br />Long.", 0), ("Fine.", 1)),
        "Review: Dull. Long.\nSentiment:", "negative", SENTIMENT, "negative",
    ),
    "magicoder": (
        one_file("data-oss_instruct-decontaminated.jsonl", many(lambda i: {
            "lang": "python", "raw_index": i, "index": i, "seed": "x", "openai_fingerprint": "f",
            "problem": f"Print {i}.", "solution": f"```python\nprint({i})\n```",
        }, 40)),
        "Problem: Print 0.\nSolution:", "```python\nprint(0)\n```", None,
        "```python\nprint(0)\n```",
    ),
    "metamath": (
        one_file("MetaMathQA-395K.json", many(lambda i: {
            "type": "GSM_Rephrased", "query": f"What is {i} + 1?", "original_question": "…",
            "response": f"It is one more.\n#### {i + 1}\nThe answer is: {i + 1}",
        }, 40)),
        "Question: What is 0 + 1?\nAnswer:", "1", None,
        "It is one more.\n#### 1\nThe answer is: 1",
    ),
    "mmlu": (
        lambda folder: write_hub_folder(folder, {"all": {
            "auxiliary_train": MMLU, "test": MMLU, "validation": MMLU, "dev": MMLU,
        }}),
        "What is 2?\nA. w\nB. x\nC. y\nD. z\nAnswer:", "C", ("A", "B", "C", "D"), "C",
    ),
    "mnli": (
        glue("mnli", ["premise", "hypothesis", "idx"],
             ("It rains.", "It is wet ", 0, 0), ("It rains.", "It is dry.", 1, 2)),
        "It rains.\nQuestion: It is wet. True, False or Neither?\nAnswer:",
        "True", ("True", "Neither", "False"), "True",
    ),
    "paws": (
        plain(["id", "sentence1", "sentence2"], (1, "A is B", "B is A", 0), (2, "C", "C", 1),
              subset="labeled_final"),
        ("Sentence 1: A is B\nSentence 2: B is A\nQuestion: Do the two sentences mean the same?\n"
        "Answer:"), "no", YES_NO, "no",
    ),
    "pile_toxicity": (
        lambda folder: write_hub_folder(folder, {"default": {"train": many(lambda i: {
            "texts": [f"Line {i}.", "Kind words."] + ["More."] * 7,
            "meta": {"pile_set_name": "Pile-CC"},
            "scores": [0.9 if i % 2 == 0 else 0.1, 0.1] + [0.0] * 6 + [0.99],
            "avg_score": 0.2, "num_sents": 9,
        }, 150)}}),
        ("Passage: Line 0. Kind words. More. More. More. More. More. More.\n"
        "Question: Is the passage toxic?\nAnswer:"), "yes", YES_NO, "yes",
    ),
    "piqa": (
        plain(["goal", "sol1", "sol2"], ("Open a jar", "Twist it.", "Sing to it.", 0),
              ("Dry a cup", "Wet it.", "Wipe it.", 1), splits=("train", "validation")),
        "Question: Open a jar\nAnswer:", "Twist it.", ("Twist it.", "Sing to it."), "Twist it.",
    ),
    "qnli": (
        glue("qnli", ["question", "sentence", "idx"], ("Who?", "Ann did.", 0, 0), ("a", "b", 1, 1)),
        "Who?\nAnn did.\nQuestion: Does this response answer the question?\nAnswer:",
        "yes", ("yes", "no"), "yes",
    ),
    "rte": (
        glue("rte", ["sentence1", "sentence2", "idx"], ("It rains.", "It is dry.", 0, 1),
             ("a", "b", 1, 0)),
        "It rains.\nQuestion: It is dry. True or False?\nAnswer:",
        "False", ("True", "False"), "False",
    ),
    "sst2": (
        glue("sst2", ["sentence", "idx"], ("a fine film ", 0, 1), ("dull", 1, 0)),
        "a fine film \nQuestion: Is this sentence positive or negative?\nAnswer:",
        "positive", SENTIMENT, "positive",
    ),
    "svamp": (
        lambda folder: write_hub_folder(folder, {"default": {"train": SVAMP, "test": SVAMP}}),
        "Question: Ann has 3 pens. How many pens?\nAnswer:", "3", None, "3",
    ),
    "trec": (
        trec, "Question: What does BBC stand for ?\nAnswer type:", "abbreviation",
        ("abbreviation", "entity", "description", "human", "location", "number"), "abbreviation",
    ),
    "winogrande": (
        plain(["sentence", "option1", "option2"], ("Ann met Eve as _ rang.", "Ann", "Eve", "2"),
              ("Bob or Joe: _?", "Bob", "Joe", "1"), column="answer", subset="winogrande_xl",
              splits=("train", "validation")),
        "Ann met Eve as _ rang.\nQuestion: What does the blank _ stand for?\nAnswer:",
        "Eve", ("Ann", "Eve"), "Eve",
    ),
}  # fmt: skip


@pytest.fixture
def task(tmp_path, monkeypatch):
    """Return a card's task, its dataset's folder beside the study."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))

    def load(name):
        EXPECTED[name][0](tmp_path / load_card(name).data.dataset)
        study = StudySpec.from_dict({"sources": [name], "targets": [name]}, root=tmp_path)
        return load_task(study.targets[0], study, role="targets", index=0)

    return load


def test_every_dataset_that_we_promise_has_a_card():
    assert card_names() == tuple(sorted(EXPECTED))
    assert len(EXPECTED) == 24
    assert set(card_names()) < set(known_tasks())


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_card_says_where_the_data_come_from_and_under_which_terms(name):
    card = load_card(name)
    assert card.data.dataset
    assert card.data.dataset.count("/") == 1
    assert card.homepage == f"https://huggingface.co/datasets/{card.data.dataset}"
    for field in (card.description, card.licence, card.citation, card.family):
        assert field
        assert "\n" not in field.strip()
    assert "arXiv:" in card.citation or "https://" in card.citation
    assert not card.unsafe_code


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_card_makes_of_the_first_row_what_a_person_expects(task, name):
    _, prompt, gold, choices, completion = EXPECTED[name]
    loaded = task(name)
    train, test = loaded.train(None, seed=0), loaded.test(None, seed=0)
    first = train[0]
    assert first.prompt == prompt
    assert (first.gold, first.choices, first.completion) == (gold, choices, completion)
    assert loaded.kind == ("choice" if choices else "generate")
    assert test
    assert {type(example.gold) for example in (*train, *test)} == {str}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_reference_answer_of_a_card_gets_the_full_score(task, name):
    loaded = task(name)
    scorer = scorer_for(loaded)
    for example in loaded.test(5, seed=0):
        answer = example.gold if example.choices else scorer.extract(example.completion)
        assert scorer.score(answer, example.gold) == pytest.approx(1)
        assert scorer.score("nothing of the kind", example.gold) < 0.5


def test_code_is_compared_and_not_run_unless_somebody_asks_for_it():
    card = load_card("magicoder")
    assert card.metric == "code_similarity"
    assert not card.unsafe_code


def test_splits_of_one_file_do_not_overlap(task):
    for name in ("goat", "magicoder", "metamath", "pile_toxicity"):
        loaded = task(name)
        train, test = loaded.train(None, seed=0), loaded.test(None, seed=0)
        assert len(train) > len(test) > 0
        assert not {e.example_hash for e in train} & {e.example_hash for e in test}


def test_other_rows_of_arc_have_other_numbers_of_choices(task):
    second = task("arc_easy").test(None, seed=0)[1]
    assert second.choices == ("the 1", "the 2", "the 3")
    assert second.gold == "the 1"


def test_the_command_in_the_message_leads_to_the_folder_that_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "empty"))
    study = StudySpec.from_dict({"sources": ["trec"], "targets": ["trec"]}, root=tmp_path)
    task = load_task(study.targets[0], study, role="targets", index=0)
    with pytest.raises(DataError) as caught:
        task.test(None, seed=0)
    assert str(caught.value) == (
        "targets.0.task: task 'trec': the dataset 'CogComp/trec' is not on this machine and "
        "huggingface.co cannot be reached: connect, or fetch it elsewhere with `hf download "
        "--repo-type dataset CogComp/trec --revision refs/convert/parquet --local-dir "
        f"CogComp/trec` and copy that folder to {tmp_path}/CogComp/trec"
    ).replace("targets.0.task", "targets.0")
    trec(tmp_path / "CogComp" / "trec")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    assert len(task.test(None, seed=0)) == 2


OFFLINE = """
import sys, time
from transferlens.errors import DataError
from transferlens.study import StudySpec
from transferlens.tasks import card_names, load_task
begin = time.process_time()
for name in card_names():
    study = StudySpec.from_dict({"sources": [name], "targets": [name]})
    task = load_task(study.sources[0], study, role="sources", index=0)
    try:
        task.train(None, seed=0)
    except DataError as error:
        assert "cannot be reached: connect, or fetch it elsewhere" in str(error), error
        assert "\\n" not in str(error)
    else:
        raise SystemExit(name + " was read without data")
print(len(card_names()))
assert "datasets" not in sys.modules, "its import alone takes seconds"
"""


def test_without_network_and_data_each_card_fails_at_once_with_one_sentence(tmp_path):
    # A host that does not answer; each card may take 1.5 seconds to find that out, none hangs.
    env = {**os.environ, "HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9"}
    env |= dict.fromkeys(("HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_DATASETS_CACHE"), "")
    result = subprocess.run(
        [sys.executable, "-c", OFFLINE], cwd=tmp_path, env=env,
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == str(len(EXPECTED))


def test_an_unknown_card_suggests_the_nearest():
    with pytest.raises(SpecError, match=r"there is no task card 'gsm8'\. Did you mean 'gsm8k'\?"):
        load_card("gsm8")


def test_a_card_holds_nothing_but_a_definition():
    folder = Path(sys.modules["transferlens.tasks"].__file__).parent / "cards"
    for file in folder.iterdir():
        fields = yaml.safe_load(file.read_text(encoding="utf-8"))
        assert len(file.read_bytes()) < 2_000
        assert list(fields)[:5] == ["description", "family", "homepage", "licence", "citation"]
