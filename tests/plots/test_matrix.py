"""The heat map shows the study's numbers, readable at every size, in files that do not drift."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr

from small_study import random_scores
from transferlens.errors import AnalysisError
from transferlens.plots import plot_matrix, write_figure
from transferlens.results import matrix_values


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def heat_map(figure):
    return next(axes for axes in figure.axes if axes.get_ylabel() == "trained on")


def test_without_a_backend_the_numbers_themselves_come_back():
    scores = random_scores(4, 3)
    data = plot_matrix(scores, backend="none")
    xr.testing.assert_identical(data, matrix_values(scores))
    expected = 100 * (scores["score"] - scores["base_score"]).isel(seed=0)
    np.testing.assert_allclose(data["value"], expected)


def test_each_cell_of_a_small_matrix_is_printed_with_its_sign():
    scores = random_scores(4, 3)
    data = plot_matrix(scores, backend="none")
    printed = texts(plot_matrix(scores))
    for value in data["value"].to_numpy().ravel():
        assert f"{value:+.1f}".replace("-", "\N{MINUS SIGN}") in printed
    for value in data["base"].to_numpy():
        assert f"{value:.1f}" in printed


def test_the_own_tasks_are_outlined_and_no_others():
    axes = heat_map(plot_matrix(random_scores(4, 3)))
    places = {(patch.get_x() + 0.5, patch.get_y() + 0.5) for patch in axes.patches}
    assert places == {(0, 0), (1, 1), (2, 2)}


def test_no_gain_has_the_colour_in_the_middle_and_equal_losses_and_gains_are_equally_far():
    image = heat_map(plot_matrix(random_scores(5, 5))).images[0]
    assert image.norm(0.0) == pytest.approx(0.5)
    assert image.norm(-3.0) == pytest.approx(1 - image.norm(3.0))


def test_a_large_gain_on_the_own_task_does_not_hide_the_others():
    scores = random_scores(5, 5)
    data = plot_matrix(scores, backend="none")
    others = data["value"].where(~data["own"])
    image = heat_map(plot_matrix(scores)).images[0]
    assert image.norm.vmax == pytest.approx(float(np.abs(others).max()))
    assert image.norm.vmax < float(data["value"].max())


def test_a_missing_cell_is_grey_and_has_no_number():
    scores = random_scores(4, 4)
    scores["score"][1, 2] = np.nan
    figure = plot_matrix(scores)
    image = heat_map(figure).images[0]
    assert np.ma.getmaskarray(image.get_array()).sum() == 1
    assert len(texts(figure)) == 4 * 4 - 1 + 4
    assert "grey: no result" in figure._supxlabel.get_text()


def test_a_target_in_another_unit_is_printed_but_not_coloured():
    scores = random_scores(3, 3, unit=("target", ["fraction", "nats", "fraction"]))
    figure = plot_matrix(scores)
    image = heat_map(figure).images[0]
    assert np.ma.getmaskarray(image.get_array()).all(axis=0).tolist() == [False, True, False]
    assert len(texts(figure)) == 3 * 3 + 3


def test_where_lower_is_better_a_lower_score_is_a_gain():
    scores = random_scores(3, 3)
    turned = scores.assign_coords(higher_is_better=("target", [False, True, True]))
    np.testing.assert_allclose(
        plot_matrix(turned, backend="none")["value"].isel(target=0),
        -plot_matrix(scores, backend="none")["value"].isel(target=0),
    )
    names = [t.get_text() for t in heat_map(plot_matrix(turned)).get_xticklabels()]
    assert names[0] == "task_0 (lower is better)"


def test_seeds_are_averaged_and_one_can_be_chosen():
    scores = random_scores(3, 3, seeds=3)
    every = np.stack([matrix_values(scores, seed=s)["value"] for s in range(3)])
    data = matrix_values(scores)
    np.testing.assert_allclose(data["value"], every.mean(axis=0))
    np.testing.assert_allclose(data["sd"], every.std(axis=0, ddof=1))
    assert "mean of 3 seeds" in plot_matrix(scores)._supxlabel.get_text()
    assert "one seed" in plot_matrix(scores, seed=1)._supxlabel.get_text()


def test_a_cell_that_lacks_a_seed_is_the_mean_of_the_others():
    scores = random_scores(3, 3, seeds=2)
    scores["score"][0, 1, 0] = np.nan
    data = matrix_values(scores)
    assert data["n_seeds"][0, 1] == 1
    assert data["value"][0, 1] == matrix_values(scores, seed=1)["value"][0, 1]
    assert np.isnan(data["sd"][0, 1])


def test_an_unknown_seed_is_refused_with_those_there_are():
    with pytest.raises(AnalysisError, match="no seed 5; it has 0, 1"):
        plot_matrix(random_scores(3, 3, seeds=2), seed=5)


def test_an_empty_study_is_refused():
    with pytest.raises(AnalysisError, match="no score yet"):
        plot_matrix(random_scores(3, 3).isel(source=[]))


@pytest.mark.parametrize("size", [3, 10, 30, 100])
def test_labels_do_not_overlap_and_numbers_fit_their_cells_at_every_size(size):
    figure = plot_matrix(random_scores(size, size))
    figure.draw_without_rendering()
    axes = heat_map(figure)
    boxes = [t.get_window_extent() for t in axes.get_yticklabels()]
    assert len(boxes) > size / 3
    for above, below in pairwise(boxes):
        assert below.y1 <= above.y0 + 1
    cell = axes.get_window_extent().width / size
    assert all(text.get_window_extent().width < cell for text in axes.texts)
    assert bool(axes.texts) == (size <= 30)


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_same_study_gives_the_same_bytes(tmp_path, kind):
    digests = set()
    for number in range(2):
        file = write_figure(plot_matrix(random_scores(3, 3)), tmp_path / f"{number}.{kind}")
        digests.add(hashlib.sha256(file.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_a_pdf_embeds_truetype_fonts_that_can_be_edited(tmp_path):
    file = write_figure(plot_matrix(random_scores(3, 3)), tmp_path / "m.pdf")
    assert b"/FontFile2" in file.read_bytes()
    assert b"/Type3" not in file.read_bytes()


def test_an_svg_names_no_date(tmp_path):
    file = write_figure(plot_matrix(random_scores(3, 3)), tmp_path / "m.svg")
    assert "<dc:date>" not in file.read_text(encoding="utf-8")


def test_writing_makes_the_folder_and_refuses_another_format(tmp_path):
    figure = plot_matrix(random_scores(3, 3), values="score")
    assert write_figure(figure, tmp_path / "new" / "m.png").read_bytes()[1:4] == b"PNG"
    with pytest.raises(AnalysisError, match=r"written as \.png, \.svg, \.pdf"):
        write_figure(figure, tmp_path / "m.bmp")


def test_a_folder_that_is_a_file_is_one_clear_line(tmp_path):
    (tmp_path / "taken").write_text("", encoding="utf-8")
    with pytest.raises(AnalysisError, match="cannot write the picture"):
        write_figure(plot_matrix(random_scores(3, 3)), tmp_path / "taken" / "m.png")


def test_drawing_leaves_no_global_state():
    before = dict(mpl.rcParams)
    plot_matrix(random_scores(3, 3))
    assert dict(mpl.rcParams) == before
