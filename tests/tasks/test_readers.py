"""Rows come out of JSONL, CSV and Parquet as they are, and damage is named with its line."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transferlens.errors import DataError
from transferlens.tasks.readers import find_split, read_file

ROWS = [
    {"text": "eins", "label": 1},
    {"text": 'a "b", c\nd', "label": 0},
    {"text": "ü§", "label": 2},
]


def written(folder, name, content):
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def refusal(call):
    with pytest.raises(DataError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_all_formats_give_the_same_rows_but_for_csv_whose_values_are_text(tmp_path):
    lines = "\n".join(json.dumps(row) for row in ROWS)
    jsonl = read_file(written(tmp_path, "a.jsonl", lines))
    csv = read_file(written(tmp_path, "a.csv", 'text,label\neins,1\n"a ""b"", c\nd",0\nü§,2\n'))
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    parquet = read_file(tmp_path / "a.parquet")
    assert list(jsonl.records) == list(parquet.records) == ROWS
    assert list(csv.records) == [{**row, "label": str(row["label"])} for row in ROWS]


def test_a_row_is_called_by_its_line_or_its_number(tmp_path):
    jsonl = read_file(written(tmp_path, "a.jsonl", '{"a": 1}\n\n{"a": 2}\n'))
    assert [jsonl.name(0), jsonl.name(1)] == [f"{tmp_path}/a.jsonl:1", f"{tmp_path}/a.jsonl:3"]
    csv = read_file(written(tmp_path, "a.csv", "a,b\n1,2\n3,4\n"))
    assert csv.name(1) == f"{tmp_path}/a.csv:3"
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    assert read_file(tmp_path / "a.parquet").name(0) == f"{tmp_path}/a.parquet, row 1"


ROW = st.dictionaries(
    st.text(min_size=1, max_size=5),
    st.text(max_size=9) | st.integers(-(2**40), 2**40) | st.booleans() | st.none(),
    max_size=4,
)


@settings(deadline=None, max_examples=50)
@given(rows=st.lists(ROW, max_size=5), bom=st.booleans(), ends=st.sampled_from(["\n", "\r\n"]))
def test_any_rows_survive_the_way_through_jsonl(tmp_path_factory, rows, bom, ends):
    text = ends.join(json.dumps(row) for row in rows)
    content = text.encode("utf-8-sig" if bom else "utf-8")
    file = written(tmp_path_factory.mktemp("jsonl"), "a.jsonl", content)
    assert list(read_file(file).records) == rows


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("a.jsonl", '{"a": 1}\n{"a": }\n', "2: not valid JSON: Expecting value at column 7"),
        ("a.jsonl", '{"a": 1}\n[1]\n', "a.jsonl:2: a row is a JSON object"),
        ("a.jsonl", '{"a": ' + "1" * 5000 + "}", "a.jsonl:1: not valid JSON: Exceeds the limit"),
        ("a.jsonl", "[" * 100_000, "a.jsonl:1: not valid JSON: "),
        ("a.jsonl", b'{"a": "\xff"}', "a.jsonl: not UTF-8 text"),
        ("a.csv", "a,b\n1,2\n3\n", "a.csv:3: not 2 fields as in the first line"),
        ("a.csv", "a,b\n1,2,3\n", "a.csv:2: not 2 fields as in the first line"),
        ("a.csv", 'a,b\n"1,2\n', "not valid CSV: unexpected end of data"),
        ("a.csv", "a,a\n1,2\n", "a.csv:1: the column 'a' stands twice; rename one"),
        ("a.csv", "a,b\n\xe9,2\n".encode("latin-1"), "a.csv: not UTF-8 text"),
        ("a.parquet", "no parquet", "a.parquet: not a readable Parquet file"),
        ("a.xlsx", "", "a.xlsx: unknown file format '.xlsx'; use one of .jsonl, .csv, .parquet"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_one_line_with_its_place(tmp_path, name, content, part):
    assert part in refusal(lambda: read_file(written(tmp_path, name, content)))


def test_a_parquet_file_with_a_column_twice_is_refused(tmp_path):
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(table, tmp_path / "a.parquet")
    message = refusal(lambda: read_file(tmp_path / "a.parquet"))
    assert "the column 'a' stands twice" in message


def test_a_missing_file_or_a_folder_is_named(tmp_path):
    assert refusal(lambda: read_file(tmp_path / "x.csv")) == f"{tmp_path}/x.csv: no such file"
    (tmp_path / "y.csv").mkdir()
    assert "no such file" in refusal(lambda: read_file(tmp_path / "y.csv"))


def test_a_very_long_field_is_read(tmp_path):
    file = written(tmp_path, "a.csv", f"a\n{'x' * 300_000}\n")
    assert len(read_file(file).records[0]["a"]) == 300_000


def test_the_file_of_a_split_is_found_whatever_its_format(tmp_path):
    file = written(tmp_path, "train.csv", "a\n1\n")
    assert find_split(tmp_path, "train") == file
    message = refusal(lambda: find_split(tmp_path, "test"))
    assert message == (
        f"{tmp_path}: has no test.jsonl or test.csv or test.parquet; it holds train.csv"
    )
    written(tmp_path, "train.jsonl", "")
    assert "both train.jsonl and train.csv are here" in refusal(
        lambda: find_split(tmp_path, "train")
    )
    assert "no such folder" in refusal(lambda: find_split(tmp_path / "x", "train"))
