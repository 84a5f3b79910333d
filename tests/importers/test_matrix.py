"""A matrix means the same in every shape and format, and what looks wrong in it is said."""

from __future__ import annotations

import math

import numpy as np
import openpyxl
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transferlens.errors import DataError, TransferLensError
from transferlens.importers import import_matrix, remarks_of
from transferlens.results import TransferStudy
from transferlens.results.plan import checked_name

TASKS = ("maths", "mood", "topic", "code", "rte", "snli", "squad")
BASE_ROW = (12.0, 55.5, 81.0, 30.0, 52.5, 33.0, 64.0)


def scores():
    """Return source -> scores in percent: the base's profile, its own task better."""
    rng = np.random.default_rng(3)
    rows = {"base": list(BASE_ROW)}
    for i, task in enumerate(TASKS):
        row = np.round(np.array(BASE_ROW) + rng.normal(0, 2, len(TASKS)), 1)
        row[i] += 9
        rows[task] = [float(x) for x in np.round(row, 1)]
    return rows


def wide(rows, *, header="source"):
    lines = [",".join([header, *TASKS])]
    return "\n".join([*lines, *(",".join([name, *map(str, row)]) for name, row in rows.items())])


def read(tmp_path, text, name="scores.csv", **options):
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    return import_matrix(file, **options)


def said(study, word):
    return [line for line in remarks_of(study) if word in line]


def same(one, other):
    for name in ("score", "base_score"):
        a, b = one.scores[name], other.scores[name]
        b = b.sel({dim: a[dim] for dim in a.dims})
        np.testing.assert_allclose(a.values, b.values, rtol=1e-12)


@pytest.fixture
def plain(tmp_path):
    return read(tmp_path, wide(scores()))


def test_a_wide_table_gives_its_numbers_as_fractions(plain):
    assert [info.name for info in plain.sources] == list(TASKS)
    expected = np.array([row for name, row in scores().items() if name != "base"]) / 100
    np.testing.assert_array_equal(plain.scores["score"].values[:, :, 0], expected)
    np.testing.assert_array_equal(plain.scores["base_score"].values[:, 0], np.array(BASE_ROW) / 100)
    assert plain.scores["ceiling"].values.tolist() == [1.0] * len(TASKS)


def test_turned_on_its_side_it_is_the_same_study(plain, tmp_path):
    rows = scores()
    lines = ["target," + ",".join(rows)]
    lines += [f"{t}," + ",".join(str(row[i]) for row in rows.values()) for i, t in enumerate(TASKS)]
    same(plain, read(tmp_path, "\n".join(lines), "turned.csv"))
    # A header that says nothing: the base among the columns tells, or the caller.
    nameless = "\n".join([lines[0].replace("target", ""), *lines[1:]])
    study = read(tmp_path, nameless, "nameless.csv")
    same(plain, study)
    assert said(study, "'base' is a column")
    same(plain, read(tmp_path, nameless, "asked.csv", rows="target"))


def test_long_with_other_names_and_a_metric_column_is_the_same_study(plain, tmp_path):
    lines = ["adapter,evaluated on,Metric,value"]
    lines += [
        f"{s},{t},acc,{x}" for s, row in scores().items() for t, x in zip(TASKS, row, strict=True)
    ]
    study = read(tmp_path, "\n".join(lines))
    same(plain, study)
    assert set(study.scores["metric"].values) == {"acc"}


@pytest.mark.parametrize("suffix", ["parquet", "xlsx", "tsv", "semicolons"])
def test_every_format_gives_the_same_study(plain, tmp_path, suffix):
    rows = [("source", *TASKS), *((name, *row) for name, row in scores().items())]
    if suffix == "xlsx":
        book = openpyxl.Workbook()
        for row in [(), *rows]:
            book.active.append(row)
        book.save(file := tmp_path / "m.xlsx")
    elif suffix == "parquet":
        frame = pl.DataFrame(rows[1:], schema=list(rows[0]), orient="row")
        frame.write_parquet(file := tmp_path / "m.parquet")
    elif suffix == "tsv":
        file = tmp_path / "m.tsv"
        file.write_text("\n".join("\t".join(map(str, row)) for row in rows), encoding="utf-8")
    else:
        file = tmp_path / "m.csv"
        text = "\n".join(";".join(map(str, row)).replace(".", ",") for row in rows)
        file.write_text("\ufeff" + text, encoding="utf-8")
    same(plain, import_matrix(file))


@pytest.mark.parametrize("how", ["rows", "labels", "columns", "long columns"])
def test_seeds_may_be_rows_or_columns(tmp_path, how):
    a, b = {"base": [0.2, 0.4], "maths": [0.5, 0.3]}, {"base": [0.2, 0.4], "maths": [0.7, 0.1]}
    if how == "rows":
        lines = ["model,seed,maths,mood"]
        lines += [f"{n},{s},{x},{y}" for s, m in ((3, a), (4, b)) for n, (x, y) in m.items()]
    elif how == "labels":
        lines = ["model,maths,mood"]
        lines += [f"{n} (seed {s}),{x},{y}" for s, m in ((3, a), (4, b)) for n, (x, y) in m.items()]
    elif how == "columns":
        lines = ["model,maths_seed3,mood_seed3,maths_seed4,mood_seed4"]
        lines += [f"{n},{','.join(map(str, a[n] + b[n]))}" for n in a]
    else:
        lines = ["source,target,seed_3,seed_4"]
        lines += [
            f"{n},{t},{a[n][i]},{b[n][i]}" for n in a for i, t in enumerate(("maths", "mood"))
        ]
    study = read(tmp_path, "\n".join(lines))
    assert study.seeds == (3, 4)
    own = study.scores.sel(source="maths")
    assert own["score"].values.tolist() == [[0.5, 0.7], [0.3, 0.1]]
    assert own["base_score"].values.tolist() == [[0.2, 0.2], [0.4, 0.4]]


def test_several_metrics_become_targets_of_their_own_or_one_is_chosen(tmp_path):
    text = "source,target,acc,f1\nbase,mood,0.5,0.4\nmaths,mood,0.6,0.3\n"
    both = read(tmp_path, text)
    assert both.scores["target"].values.tolist() == ["mood.acc", "mood.f1"]
    assert both.scores["metric"].values.tolist() == ["acc", "f1"]
    one = read(tmp_path, text, metric="f1")
    assert one.scores["target"].values.tolist() == ["mood"]
    assert one.scores["score"].values.ravel().tolist() == [0.3]
    with pytest.raises(DataError, match=r"no metric 'f2'. Known: acc, f1"):
        read(tmp_path, text, metric="f2")


def test_lower_is_better_by_name_or_when_told(tmp_path):
    text = "model,mood,wiki perplexity\nbase,0.5,31.5\nmaths,0.6,140.25\n"
    study = read(tmp_path, text)
    assert study.scores["higher_is_better"].values.tolist() == [True, False]
    assert study.scores["score"].values.ravel().tolist() == [0.6, 140.25]
    assert study.scores["unit"].values.tolist() == ["fraction", "score"]
    assert math.isnan(study.scores["ceiling"].values[1])
    told = read(tmp_path, text, lower_is_better=["mood"])
    assert told.scores["higher_is_better"].values.tolist() == [False, True]
    with pytest.raises(DataError, match=r"no such target or metric.* Did you mean 'mood'"):
        read(tmp_path, text, lower_is_better=["mod"])


def test_missing_cells_are_missing_and_counted(tmp_path):
    study = read(tmp_path, "model,a,b,c\nbase,1,2,3\nx,50,,n/a\ny,-,60,70\n")
    values = study.scores["score"].values[:, :, 0]
    np.testing.assert_array_equal(np.isnan(values), [[False, True, True], [True, False, False]])
    assert said(study, "3 cells are missing")


def test_percent_signs_and_the_unit_that_was_asked_for_are_obeyed(tmp_path):
    study = read(tmp_path, "model,a,b\nbase,50 %,0.25\nx,60%,0.5\n")
    assert study.scores["score"].values.ravel().tolist() == [0.6, 0.5]
    low = "model,a,b\nbase,0.5,0.25\nx,0.6,0.5\n"
    told = read(tmp_path, low, unit="percent")
    assert told.scores["score"].values.ravel().tolist() == [0.006, 0.005]
    with pytest.raises(DataError, match=r"row 2, column 'a': 50 is more than 1"):
        read(tmp_path, "model,a,b\nbase,50,0.25\n", unit="fraction")


def test_a_fraction_among_percents_is_told_with_its_cell(tmp_path):
    rows = scores()
    rows["topic"][2] = 0.83
    study = read(tmp_path, wide(rows))
    warning = said(study, "looks like a fraction")
    assert len(warning) == 1
    assert "row 5, column 'topic': 0.83" in warning[0]
    assert not said(read(tmp_path, wide(scores())), "looks like a fraction")


def test_averages_are_left_out_and_those_that_do_not_match_are_told(tmp_path):
    rows = scores()
    lines = wide(rows).splitlines()
    with_mean = [lines[0] + ",Avg."]
    with_mean += [
        f"{line},{sum(row) / 7:.1f}" for line, row in zip(lines[1:], rows.values(), strict=True)
    ]
    column = [sum(row[i] for row in rows.values()) / len(rows) for i in range(7)]
    with_mean.append("Mean," + ",".join(f"{x:.2f}" for x in column) + ",")
    study = read(tmp_path, "\n".join(with_mean))
    same(read(tmp_path, wide(rows)), study)
    assert len(said(study, "they match their cells")) == 2
    with_mean[3] = with_mean[3].rpartition(",")[0] + ",99.9"
    wrong = said(read(tmp_path, "\n".join(with_mean)), "the average is given as")
    assert len(wrong) == 1
    assert "row 4, column 'Avg.'" in wrong[0]


def test_a_mean_under_another_name_is_told(tmp_path):
    rows = {name: [*row[:-1], sum(row[:-1]) / 6] for name, row in scores().items()}
    assert said(read(tmp_path, wide(rows)), "'squad' is the mean of the other targets")


@pytest.mark.parametrize("row", ["maths", "code", "squad"])
@pytest.mark.parametrize("how", ["shifted", "alphabetical"])
def test_a_row_in_wrong_columns_is_told_and_no_other(tmp_path, row, how):
    rows = scores()
    rows["maths"][0] -= 9  # an own task may stand far out, and need not
    if how == "shifted":
        rows[row] = [*rows[row][1:], rows[row][0]]
    else:
        rows[row] = [rows[row][TASKS.index(name)] for name in sorted(TASKS)]
    warnings = said(read(tmp_path, wide(rows)), "warning")
    assert len(warnings) == 1
    assert f"row {row!r} correlates" in warnings[0]


def test_nothing_is_told_of_a_matrix_in_order(plain):
    assert said(plain, "warning") == []


def test_equal_duplicates_are_told_and_unequal_ones_refused_with_both_rows(tmp_path):
    text = "source,target,score\nbase,a,0.5\nx,a,0.6\nx,a,0.6\n"
    assert said(read(tmp_path, text), "repeated cells of the same value taken once: 1")
    with pytest.raises(
        DataError, match=r"row 5, column 'score': x -> a is 0.7 here, but 0.6 in row 3"
    ):
        read(tmp_path, text + "x,a,0.7\n")


def test_the_base_may_have_any_name_and_random_counts_only_when_told(tmp_path):
    text = "model,a\nrandom,0.5\nx,0.6\n"
    assert np.isnan(read(tmp_path, text).scores["base_score"]).all()
    told = read(tmp_path, text, base="random")
    assert told.scores["base_score"].values.ravel().tolist() == [0.5]
    with pytest.raises(DataError, match=r"called 'rnadom'.* Did you mean 'random'"):
        read(tmp_path, text, base="rnadom")
    with pytest.raises(DataError, match="'base' and 'zero-shot' could both be the untuned model"):
        read(tmp_path, "model,a\nbase,0.5\nzero-shot,0.6\n")


def test_a_source_that_is_called_base_but_is_not_gets_another_name(tmp_path):
    study = read(tmp_path, "model,a\nbase,0.5\nplain,0.6\n", base="plain")
    assert [info.name for info in study.sources] == ["base-2"]
    assert said(study, "'base' is base-2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows below a header"),
        ("model,a\n", "no rows below a header"),
        ("model\nx\n", "only one column"),
        ("model,a,a\nx,1,2\n", "column 'a' occurs twice"),
        ("model,a,\nx,1,2\n", "column 3 has numbers but no name"),
        ("model,a\nx,1,2\n", "row 2: 3 cells, but row 1 has 2"),
        ("model,a\nx,0.5\ny,often\n", "row 3, column 'a': 'often' is no number"),
        ("model,a\nx,0.5\n,0.6\n", "row 3, column 'model': the name is missing"),
        ("model,a\nx,inf\ny,1\n", "row 2, column 'a': 'inf' is no number"),
        ("model,seed,a\nx,-1,0.5\n", "'-1' is no seed"),
        ("model,seed,a\nx,,0.5\n", "'' is no seed"),
        ("source,target,value\nx,y,{}\n", "no column holds numbers only"),
        ("model,seed,a_seed2\nx,1,0.5\n", "two seeds, 1 and 2"),
        ('model,a\n"x,0.5\n', "not valid CSV"),
    ],
)
def test_what_cannot_be_read_is_one_line_with_file_and_row(tmp_path, text, message):
    with pytest.raises(DataError) as error:
        read(tmp_path, text)
    assert str(error.value).startswith(str(tmp_path / "scores.csv"))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", ["parquet", "xlsx", "csv", "xls", "pkl"])
def test_bytes_of_another_kind_are_refused(tmp_path, suffix):
    file = tmp_path / f"scores.{suffix}"
    file.write_bytes(b"\x80\x04\x95 no table")
    with pytest.raises(DataError, match=f"scores.{suffix}"):
        import_matrix(file)


def test_unknown_columns_and_sheets_are_corrected(tmp_path):
    text = "who,where,points\nbase,a,0.5\nx,a,0.6\n"
    columns = {"source": "who", "target": "where", "score": "points"}
    study = read(tmp_path, text, columns=columns)
    assert study.scores["score"].values.ravel().tolist() == [0.6]
    with pytest.raises(DataError, match=r"no column 'whoo'.* Did you mean 'who'"):
        read(tmp_path, text, columns={**columns, "source": "whoo"})
    with pytest.raises(DataError, match=r"unknown role 'scource'.* Did you mean 'source'"):
        read(tmp_path, text, columns={"scource": "who"})
    book = openpyxl.Workbook()
    book.active.title = "Scores"
    book.save(tmp_path / "m.xlsx")
    with pytest.raises(DataError, match=r"no sheet 'Score'.* Did you mean 'Scores'"):
        import_matrix(tmp_path / "m.xlsx", sheet="Score")


names = st.text(min_size=1, max_size=12).filter(lambda s: s.strip() and "\x00" not in s)


@settings(max_examples=60, deadline=None)
@given(labels=st.lists(names, min_size=1, max_size=5, unique_by=lambda s: s.strip()))
def test_any_names_become_distinct_names_of_files(tmp_path_factory, labels):
    file = tmp_path_factory.mktemp("names") / "m.parquet"
    frame = pl.DataFrame({"source": labels, "target": "t", "score": [0.5] * len(labels)})
    frame.write_parquet(file)
    try:
        study = import_matrix(file)
    except DataError as error:
        assert "\n" not in str(error).replace(repr(labels), "")  # noqa: PT017 - an average, a seed
        return
    found = [info.name for info in study.sources]
    assert len({name.lower() for name in found}) == len(found)
    assert [checked_name(name) for name in found] == found


def test_sources_targets_and_columns_can_be_left_out(tmp_path):
    study = read(tmp_path, wide(scores()), drop=["mood", "squad"])
    assert [info.name for info in study.sources] == ["maths", "topic", "code", "rte", "snli"]
    assert "squad" not in study.scores["target"]
    with pytest.raises(DataError, match="nothing to drop is called 'sqad'"):
        read(tmp_path, wide(scores()), drop=["sqad"])


def test_remarks_are_those_of_an_import_only():
    frame = pl.DataFrame({"source": ["x"], "target": ["y"], "score": [0.5]})
    with pytest.raises(TransferLensError, match="not imported"):
        remarks_of(TransferStudy.from_scores(frame))
