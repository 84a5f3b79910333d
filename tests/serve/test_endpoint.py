"""The endpoint, asked by OpenAI's own client."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest

from serve.running import server_of
from transferlens.engine.adapters import with_merged_adapter, with_saved_adapter
from transferlens.engine.generate import generate
from transferlens.serve.model import open_served

PROMPTS = [
    "Q: 12 + 30? A:",
    "Thing test 3 is the colour",
    "The cat sat on the mat while",
    "Is the review positive or negative?",
]
N = 12


@pytest.fixture(scope="module")
def address(served):
    with server_of(served) as address:
        yield address


@pytest.fixture(scope="module")
def client(address):
    with openai.OpenAI(base_url=address, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def expected(served):
    """What the engine writes with each adapter alone, merged, one process, no server."""
    base = served.pool.base
    tokens = base.codec.prompts(PROMPTS)

    def written():
        found = generate(base, tokens, max_new_tokens=N, stop=(), batch_tokens=4096)
        return dict(zip(PROMPTS, [one.text for one in found], strict=True))

    answers = {"base": written()}
    for name, skill in served.skills.items():
        with with_merged_adapter(base.model, skill.folder):
            answers[name] = written()
    return answers


def ask(client, model, prompt, **more):
    return client.completions.create(model=model, prompt=prompt, max_tokens=N, **more)


def test_concurrent_requests_get_what_their_adapter_writes_alone(client, expected):
    different = {tuple(answers.values()) for answers in expected.values()}
    assert len(different) >= 5  # base and four adapters: else the test proves nothing
    jobs = [(model, prompt) for prompt in PROMPTS for model in expected] * 2
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda job: ask(client, *job), jobs))
    for (model, prompt), answer in zip(jobs, answers, strict=True):
        assert answer.choices[0].text == expected[model][prompt], (model, prompt)


def test_rows_of_several_adapters_compute_what_peft_computes(served):
    import torch

    from transferlens.engine.serving import Rows, Writing

    base, pool = served.pool.base, served.pool
    names = [None, *{skill.name for skill in served.skills.values()}]
    tokens = base.codec.prompts(PROMPTS)
    jobs = [Writing(prompt=t, adapter=n, budget=3) for t in tokens for n in names]
    rows = Rows(base)
    rows.join(jobs[:7], {n: pool.hold(n, busy=()) for n in names if n})
    rows.join(jobs[7:], {n: pool.hold(n, busy=()) for n in names if n})
    for job, logits in zip(rows.active, rows._logits, strict=True):
        row = torch.tensor([job.prompt])
        with torch.inference_mode():
            if job.adapter is None:
                true = base.model(row).logits[0, -1]
            else:
                with with_saved_adapter(base.model, served.skills[job.adapter].folder) as model:
                    true = model(row).logits[0, -1]
        torch.testing.assert_close(logits, true, rtol=1e-4, atol=1e-4)


def longest(expected):
    """Model and prompt with the longest answer."""
    pairs = [(model, prompt) for model, answers in expected.items() for prompt in answers]
    return max(pairs, key=lambda pair: len(expected[pair[0]][pair[1]]))


def test_a_stream_is_the_answer_in_pieces_with_its_counts(client, expected):
    model, prompt = longest(expected)
    options = {"include_usage": True}
    events = list(ask(client, model, prompt, stream=True, stream_options=options))
    texts = [event.choices[0].text for event in events if event.choices]
    assert len(texts) > 2
    assert "".join(texts) == expected[model][prompt]
    whole = ask(client, model, prompt)
    assert events[-1].usage == whole.usage
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens


def test_a_stop_text_ends_the_answer_and_is_not_streamed(client, expected):
    model, prompt = longest(expected)
    text = expected[model][prompt]
    stop = text[3:5]
    answer = ask(client, model, prompt, stop=[stop])
    assert answer.choices[0].text == text[: text.find(stop)]
    assert answer.choices[0].finish_reason == "stop"
    pieces = ask(client, model, prompt, stop=[stop], stream=True)
    assert "".join(piece.choices[0].text for piece in pieces) == answer.choices[0].text


def test_chat_without_a_template_reads_the_last_message_of_the_user(client, expected):
    messages = [
        {"role": "system", "content": "You are kind."},
        {"role": "user", "content": "something else"},
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": [{"type": "text", "text": PROMPTS[1]}]},
    ]
    answer = client.chat.completions.create(model="colours@1", messages=messages, max_tokens=N)
    assert answer.choices[0].message.content == expected["colours@1"][PROMPTS[1]]
    events = client.chat.completions.create(
        model="colours@1", messages=messages, max_completion_tokens=N, stream=True
    )
    texts = [event.choices[0].delta.content or "" for event in events]
    assert "".join(texts) == answer.choices[0].message.content


def test_a_seed_repeats_a_drawn_answer_and_a_tiny_top_p_is_greedy(client, expected):
    def drawn(seed, **more):
        return ask(client, "base", PROMPTS[2], temperature=1.5, seed=seed, **more).choices[0].text

    assert drawn(1) == drawn(1)
    assert len({drawn(seed) for seed in range(5)}) > 1
    assert drawn(3, top_p=1e-6) == expected["base"][PROMPTS[2]]


def test_auto_says_which_adapter_answers_and_why(client, served):
    for prompt in ("Thing test 3 is the colour", "ein ganz anderer Satz"):
        raw = client.completions.with_raw_response.create(model="auto", prompt=prompt, max_tokens=N)
        route = served.router(prompt)
        name = f"{route.adapter}@0" if route.adapter else "base"
        assert raw.headers["x-transferlens-adapter"] == name
        assert raw.headers["x-transferlens-reason"] == route.reason
    assert raw.headers["x-transferlens-adapter"] == "base"
    assert "unlike every task" in raw.headers["x-transferlens-reason"]


def test_models_are_base_auto_and_every_adapter_by_both_names(client):
    names = [model.id for model in client.models.list()]
    assert names == [
        "base", "auto", "colours", "colours@0", "numbers", "numbers@0", "colours@1", "numbers@1"
    ]  # fmt: skip
    assert client.models.retrieve("colours@1").id == "colours@1"


@pytest.mark.parametrize(
    ("change", "kind", "param"),
    [
        ({"model": "nunbers"}, openai.NotFoundError, "model"),
        ({"model": "../../etc/passwd"}, openai.NotFoundError, "model"),
        ({"max_tokens": 0}, openai.BadRequestError, "max_tokens"),
        ({"max_tokens": 300}, openai.BadRequestError, "max_tokens"),
        ({"n": 2}, openai.BadRequestError, "n"),
        ({"logprobs": 1}, openai.BadRequestError, "logprobs"),
        ({"temperature": 9}, openai.BadRequestError, "temperature"),
        ({"prompt": ["a", "b"]}, openai.BadRequestError, "prompt.str"),
        ({"extra_body": {"top_k": 3}}, openai.BadRequestError, "top_k"),
    ],
)
def test_what_cannot_be_answered_is_refused_by_name(client, change, kind, param):
    request = {"model": "base", "prompt": "Q:", "max_tokens": 2} | change
    with pytest.raises(kind) as caught:
        client.completions.create(**request)
    assert caught.value.body["param"] == param


def test_a_wrong_or_missing_key_opens_nothing_and_the_right_one_does(served):
    with server_of(served, api_key="sesame") as address:
        for headers in ({}, {"authorization": "Bearer sesam"}, {"authorization": "sesame"}):
            answer = httpx.get(f"{address}/models", headers=headers)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "invalid_api_key"
        with openai.OpenAI(base_url=address, api_key="sesame") as client:
            assert client.models.list().data


def test_large_bodies_foreign_hosts_and_crowds_are_refused(served):
    with server_of(served, concurrency=1, max_body=5_000) as address:
        large = {"model": "base", "prompt": "x" * 6_000}
        url = f"{address}/completions"
        assert httpx.post(url, json=large).status_code == 413
        chunks = (part for part in [b"{", b" " * 4_000, b" " * 4_000, b"}"])
        assert httpx.post(url, content=chunks).status_code == 413
        answer = httpx.get(f"{address}/models", headers={"host": "evil.example"})
        assert answer.json()["error"]["code"] == "forbidden_host"
        assert httpx.post(url, content=b"{]").json()["error"]["code"] == "invalid_json"
        body = {"model": "base", "prompt": "Q:", "max_tokens": 200, "stream": True}
        with httpx.stream("POST", url, json=body) as first:
            lines = first.iter_lines()
            assert json.loads(next(lines)[6:])["object"] == "text_completion"
            crowd = httpx.post(url, json={**body, "stream": False})
            assert crowd.status_code in {200, 429}
            if crowd.status_code == 429:
                assert crowd.headers["retry-after"] == "1"
        # Whoever leaves makes room.
        with openai.OpenAI(base_url=address, api_key="none", max_retries=5) as client:
            assert ask(client, "base", "Q:").choices


def test_with_room_for_one_adapter_each_takes_its_turn_and_answers_stay_right(
    study_folder, expected
):
    small = open_served(study_folder, max_adapters=1)
    with server_of(small) as address, openai.OpenAI(base_url=address, api_key="none") as client:
        names = ("colours@1", "numbers", "base")
        jobs = [(name, prompt) for prompt in PROMPTS[:2] for name in names]
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda job: ask(client, *job), jobs))
        for (model, prompt), answer in zip(jobs, answers, strict=True):
            assert answer.choices[0].text == expected[model][prompt]
        assert len(small.pool.held) == 1


def test_the_adapter_that_was_not_used_for_longest_is_dropped(study_folder):
    pool = open_served(study_folder, max_adapters=2).pool
    pool.hold("colours@0", busy=())
    pool.hold("numbers@0", busy=())
    pool.hold("colours@0", busy=())
    pool.hold("colours@1", busy=())
    assert pool.held == ("colours@0", "colours@1")
    assert pool.hold("numbers@1", busy={"colours@0", "colours@1"}) is None
    assert pool.held == ("colours@0", "colours@1")
