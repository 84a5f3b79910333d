"""Pictures of traits show the result's numbers and doubts, readable at every size."""

from __future__ import annotations

import dataclasses
import hashlib
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
from scipy.spatial.distance import pdist

from plots.planted import planted_traits
from transferlens.errors import AnalysisError
from transferlens.plots import (
    plot_biplot,
    plot_loadings,
    plot_scree,
    plot_trait_scores,
    write_figure,
)
from transferlens.traits import path_length

MINUS = "\N{MINUS SIGN}"
PICTURES = [plot_loadings, plot_trait_scores, plot_scree, plot_biplot]


@pytest.fixture(scope="module")
def found():
    return planted_traits(14, 10, examples=True, noise=4.0)


def table(figure):
    return figure.axes[0]


def printed(figure):
    """Text of each cell by (row, column)."""
    return {
        (round(text.get_position()[1]), round(text.get_position()[0])): text.get_text()
        for text in table(figure).texts
    }


def note(figure):
    return figure._supxlabel.get_text().replace("\n", " ")


def test_without_a_backend_the_loadings_and_their_intervals_come_back(found):
    data = plot_loadings(found, backend="none").sel(target=list(found.targets))
    whole = found.to_xarray()
    np.testing.assert_array_equal(data["value"], whole["loading"])
    for kind in ("sources", "examples"):
        np.testing.assert_array_equal(data[f"low_over_{kind}"], whole[f"loading_low_over_{kind}"])
        np.testing.assert_array_equal(data[f"high_over_{kind}"], whole[f"loading_high_over_{kind}"])
    np.testing.assert_array_equal(data["family"], whole["family"])


def test_a_mark_counts_the_intervals_that_exclude_0(found):
    data = plot_loadings(found, backend="none")
    count = sum(
        (np.sign(data[f"low_over_{kind}"]) * np.sign(data[f"high_over_{kind}"]) > 0).astype(int)
        for kind in ("sources", "examples")
    )
    np.testing.assert_array_equal(data["mark"], count)
    assert {0, 1, 2} == set(count.values.ravel().tolist())


def test_each_loading_is_printed_with_its_sign_and_its_mark(found):
    data = plot_loadings(found, backend="none")
    cells = printed(plot_loadings(found))
    for (row, column), value in np.ndenumerate(data["value"].to_numpy()):
        mark = {2: " ●", 1: " ○", 0: ""}[int(data["mark"][row, column])]
        assert cells[row, column] == f"{value:+.1f}".replace("-", MINUS) + mark
    assert "● 95% intervals over sources and over examples exclude 0" in note(plot_loadings(found))


def test_with_one_kind_of_interval_a_full_mark_needs_that_one_alone():
    found = planted_traits(14, 10)
    data = plot_loadings(found, backend="none").sel(target=list(found.targets))
    np.testing.assert_array_equal(data["mark"] == 2, found.over_sources.significant)
    assert set(data["mark"].values.ravel().tolist()) == {0, 2}
    assert "● 95% interval over sources excludes 0" in note(plot_loadings(found))


def test_like_rows_are_neighbours_unless_the_order_of_the_study_is_asked_for(found):
    asis = plot_loadings(found, order="study", backend="none")
    assert asis["target"].values.tolist() == list(found.targets)
    like = plot_loadings(found, backend="none")
    assert sorted(like["target"].values) == sorted(found.targets)
    here = np.arange(len(found.targets))
    assert path_length(pdist(like["value"]), here) < path_length(pdist(asis["value"]), here)


def test_no_loading_has_the_colour_in_the_middle_of_a_palette_the_colour_blind_can_read(found):
    for figure in (plot_loadings(found), plot_trait_scores(found)):
        image = table(figure).images[0]
        assert image.cmap.name == "PuOr"
        assert image.norm(0.0) == pytest.approx(0.5)
        assert image.norm(-1.3) == pytest.approx(1 - image.norm(1.3))


def test_the_head_of_a_trait_has_its_share_and_congruence_and_is_grey_if_it_is_unstable(found):
    loose = dataclasses.replace(
        found.over_sources, congruence=found.over_sources.congruence * np.array([1.0, 0.5])
    )
    figure = plot_loadings(dataclasses.replace(found, over_sources=loose))
    first, second = table(figure).get_xticklabels()
    assert second.get_color() == "0.55" != first.get_color()
    assert first.get_text() == "\n".join(
        [
            found.labels[0],
            f"{found.decomposition.explained[0]:.0%}, φ {found.over_sources.median[0]:.2f}",
        ]
    )


def test_a_trait_that_one_cell_makes_says_so_above_it():
    found = planted_traits(4, 3, traits=1)
    made = [one for one in found.dominance if one.kind == "cell"]
    assert [one.component for one in made] == [1]
    heads = [text.get_text() for text in table(plot_loadings(found)).get_xticklabels()]
    assert [head.endswith("made by one cell!") for head in heads] == [False, True]


def test_a_name_that_belongs_to_the_low_end_is_not_shown_as_that_of_the_high_end(found):
    low = dataclasses.replace(found.names[1], pole="low")
    changed = dataclasses.replace(found, names=(found.names[0], low))
    heads = [text.get_text() for text in table(plot_loadings(changed)).get_xticklabels()]
    assert heads[1].startswith("sentiment\n(low\N{NO-BREAK SPACE}end)\n")
    assert heads[0].startswith("arithmetic\n")
    assert "sentiment (low end)" in plot_biplot(changed).axes[0].get_ylabel()


def test_scores_are_those_of_the_sources_and_a_box_is_where_the_trait_hangs_on_one(found):
    shaky = found.left_out.congruence.copy()
    shaky[3, 1] = 0.4
    left_out = dataclasses.replace(found.left_out, congruence=shaky)
    changed = dataclasses.replace(found, left_out=left_out)
    data = plot_trait_scores(changed, order="study", backend="none")
    np.testing.assert_array_equal(data["value"], found.decomposition.scores)
    np.testing.assert_array_equal(data["boxed"], shaky < 0.85)
    boxes = table(plot_trait_scores(changed, order="study")).patches
    places = {(round(b.get_y() + 0.43), round(b.get_x() + 0.47)) for b in boxes}
    assert (3, 1) in places
    assert places == {tuple(place) for place in np.argwhere(shaky < 0.85)}


def test_the_scree_has_the_eigenvalues_of_the_covariance_and_the_band_of_chance(found):
    data = plot_scree(found, backend="none")
    covariance = np.cov(found.completion.values, rowvar=False)
    expected = np.sort(np.linalg.eigvalsh(covariance))[::-1]
    np.testing.assert_allclose(data["eigenvalue"], expected, atol=1e-9)
    np.testing.assert_allclose(data["explained"], expected / expected.sum(), atol=1e-12)
    np.testing.assert_array_equal(data["threshold"], found.number.parallel.threshold)
    np.testing.assert_array_equal(data["rmse"], found.number.cross_validation.rmse)


def test_the_scree_fills_the_dots_above_chance_and_the_least_error(found):
    left, right = plot_scree(found).axes
    data = plot_scree(found, backend="none")
    full = next(line for line in left.lines if line.get_label() == "beyond chance")
    above = (data["eigenvalue"] > data["threshold"]).to_numpy()
    assert full.get_xdata().tolist() == list(range(1, int(np.cumprod(above).sum()) + 1))
    least = next(line for line in right.lines if line.get_label() == "least error")
    assert least.get_xdata().tolist() == [int(np.argmin(data["rmse"].to_numpy()))]


def test_the_doubts_about_the_number_stand_below_the_scree():
    found = planted_traits(4, 3, traits=1)
    assert "too few" in note(plot_scree(found))
    assert plot_scree(found.number, backend="none").attrs["chosen"] == found.number.n_components


def test_points_times_arrows_give_the_matrix_back_as_far_as_two_traits_do():
    found = planted_traits(14, 10)
    data = plot_biplot(found, backend="none")
    centred = found.completion.values - found.completion.values.mean(axis=0)
    fitted = data["score"].to_numpy() @ data["loading"].to_numpy().T
    lost = ((centred - fitted) ** 2).sum() / (centred**2).sum()
    assert lost == pytest.approx(1 - found.decomposition.explained.sum(), abs=1e-9)


def test_the_arrows_reach_as_far_as_the_points(found):
    data = plot_biplot(found, backend="none")
    tips = data["loading"].to_numpy() * float(data["scale"])
    assert np.hypot(*tips.T).max() == pytest.approx(np.abs(data["score"].to_numpy()).max())


def test_an_arrow_is_dashed_where_no_interval_excludes_0(found):
    never = {
        kind: dataclasses.replace(
            getattr(found, kind), low=-np.ones((10, 2)), high=np.ones((10, 2))
        )
        for kind in ("over_sources", "over_examples")
    }
    low = -np.ones((10, 2))
    low[4, 1] = 0.5
    never["over_sources"] = dataclasses.replace(never["over_sources"], low=low)
    figure = plot_biplot(dataclasses.replace(found, **never))
    arrows = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 2]
    shafts = [line for line in arrows if line.get_color() == "#542788"]
    assert [line.get_linestyle() for line in shafts] == ["--"] * 4 + ["-"] + ["--"] * 5


def test_a_biplot_needs_two_different_traits(found):
    with pytest.raises(AnalysisError, match="no pair; choose two different ones from 1 to 2"):
        plot_biplot(found, pair=(1, 3))
    with pytest.raises(AnalysisError, match="no pair"):
        plot_biplot(found, pair=(2, 2))
    with pytest.raises(AnalysisError, match="needs two traits and there is one"):
        plot_biplot(planted_traits(4, 3, traits=1, n_components=1))


@pytest.mark.parametrize(("rows", "columns"), [(4, 3), (14, 10), (100, 100)])
def test_labels_of_a_biplot_never_overlap_and_the_missing_ones_are_counted(rows, columns):
    figure = plot_biplot(planted_traits(rows, columns))
    labels = [text for text in figure.axes[0].texts if text.get_text()]
    # Letters have other widths at other resolutions; files are written at 150 by default.
    for dpi in (150, 300):
        figure.set_dpi(dpi)
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in labels]
        for at, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[at + 1 :])
    assert f"lack of room: {rows + columns - len(labels)}" in note(figure)
    assert len(labels) > (rows + columns) / 3


@pytest.mark.parametrize(("rows", "columns"), [(4, 3), (30, 30), (100, 100)])
@pytest.mark.parametrize("picture", [plot_loadings, plot_trait_scores])
def test_rows_do_not_overlap_and_numbers_fit_their_cells_at_every_size(picture, rows, columns):
    figure = picture(planted_traits(rows, columns))
    figure.draw_without_rendering()
    axes = table(figure)
    labels = [text.get_window_extent() for text in axes.get_yticklabels()]
    assert len(labels) == (columns if picture is plot_loadings else rows)
    for above, below in pairwise(labels):
        assert below.y1 <= above.y0 + 1
    frame = figure.bbox
    assert all(box.x0 >= frame.x0 for box in labels)
    width = axes.get_window_extent().width / 2
    height = axes.get_window_extent().height / len(labels)
    for text in axes.texts:
        box = text.get_window_extent()
        assert box.width < width
        assert box.height < height * 1.1


def test_many_traits_get_their_numbers_as_heads_and_no_more():
    found = planted_traits(30, 30, n_components=24)
    figure = plot_loadings(found)
    heads = [text.get_text() for text in table(figure).get_xticklabels()]
    assert heads == [str(at) for at in range(1, 25)]
    assert {text.get_text() for text in table(figure).texts} == {"●"}


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize(
    ("kind", "head"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_the_same_traits_give_the_same_bytes_in_every_format(tmp_path, found, picture, kind, head):
    digests = set()
    for number in range(2):
        content = write_figure(picture(found), tmp_path / f"{number}.{kind}").read_bytes()
        assert content.startswith(head)
        digests.add(hashlib.sha256(content).hexdigest())
    assert len(digests) == 1


@pytest.mark.parametrize("picture", PICTURES)
def test_drawing_leaves_no_global_state_and_takes_a_title(found, picture):
    before = dict(mpl.rcParams)
    figure = picture(found, title="What they share")
    assert figure._suptitle.get_text() == "What they share"
    assert dict(mpl.rcParams) == before
