"""The tools for agents, called by the protocol's own client."""

from __future__ import annotations

import sys

import anyio
import numpy as np
import polars as pl
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

import transferlens as tl
from small_study import finished_folder
from transferlens.cli.predict import problem_for
from transferlens.errors import AnalysisError
from transferlens.predict import Additive, Complete, TargetMean, complete
from transferlens.serve.tools import StudyTools, make_mcp_server
from transferlens.transfer import transfer_matrix


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tools") / "study"
    finished_folder(folder)
    return tl.open_study(folder)


def test_an_agent_reads_over_stdin_what_the_matrix_says(study):
    async def talk():
        command = StdioServerParameters(
            command=sys.executable, args=["-m", "transferlens", "mcp", str(study.path)]
        )
        async with Client(stdio_client(command)) as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            found = await client.call_tool("what_does_adapter_do", {"name": "maths"})
            return names, found

    names, found = anyio.run(talk)
    assert names == [
        "which_adapter", "what_does_adapter_do", "compare_adapters", "predict_for_dataset"
    ]  # fmt: skip
    truth = transfer_matrix(study).data.sel(source="maths", target="maths")
    helps = found.structured_content["helps"]
    assert [effect["task"] for effect in helps] == ["maths"]
    assert helps[0]["gain"] == pytest.approx(100 * float(truth["gain"]))
    assert helps[0]["low"] == pytest.approx(100 * float(truth["gain_low"]))
    assert helps[0]["own_task"]


def test_an_error_reaches_the_agent_in_words_and_answers_have_schemas(study, tmp_path):
    async def talk():
        server = make_mcp_server(StudyTools(study, data=tmp_path), name="small")
        async with Client(server) as client:
            tools = (await client.list_tools()).tools
            return tools, await client.call_tool("what_does_adapter_do", {"name": "math"})

    tools, found = anyio.run(talk)
    assert all(tool.output_schema["properties"] for tool in tools)
    assert found.is_error
    assert "Did you mean 'maths'?" in found.content[0].text


def test_two_adapters_are_compared_on_the_same_examples(study, tmp_path):
    found = StudyTools(study, data=tmp_path).compare_adapters("maths", "mood")
    better = {one.task: one.better for one in found.tasks}
    # 18 against 4 right answers of 20, 9 against 20, 8 against 10.
    assert better == {"maths": "maths", "mood": "mood", "topic": "not certain"}


def test_only_jsonl_files_inside_the_folder_of_data_are_read(study, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    secret = tmp_path / "secret.jsonl"
    secret.write_text("{}")
    (data / "link.jsonl").symlink_to(secret)
    (data / "table.csv").write_text("a,b")
    tools = StudyTools(study, data=data)
    for path in ("../secret.jsonl", str(secret), "link.jsonl", "table.csv", "none.jsonl", "."):
        with pytest.raises(AnalysisError, match="inside the folder of data"):
            tools.predict_for_dataset(path)


def test_a_new_dataset_is_predicted_as_the_command_line_predicts_it(
    study_folder, tmp_path, monkeypatch
):
    rows = [{"prompt": f"Q: {i} + {i}? A:", "completion": str(2 * i)} for i in range(20)]
    pl.DataFrame(rows).write_ndjson(tmp_path / "sums.jsonl")
    # Two sources are too few for a predictor that learns from features.
    monkeypatch.setattr(complete, "predictors_for", lambda _: (TargetMean(), Additive()))
    study = tl.open_study(study_folder)
    found = StudyTools(study, data=tmp_path).predict_for_dataset("sums.jsonl")
    problem = problem_for(study, [str(tmp_path / "sums.jsonl")], None, None)
    true = Complete()(problem, rng=np.random.default_rng(0)).to_frame()
    expected = true.filter(pl.col("source") == "sums")["predicted"].to_list()
    assert [one.gain for one in found.tasks] == pytest.approx(expected)
    assert {one.task for one in found.tasks} == {"colours", "numbers"}


def test_the_tool_and_the_router_agree_on_task_and_prompt(study_folder, served, tmp_path):
    tools = StudyTools(tl.open_study(study_folder), data=tmp_path)
    prompt = "Q: 7 + 5? A:"
    assert tools.which_adapter(prompt=prompt).reason == served.router(prompt).reason
    assert tools.which_adapter(task="numbers").task == "numbers"
    with pytest.raises(AnalysisError, match="either task or prompt"):
        tools.which_adapter()
