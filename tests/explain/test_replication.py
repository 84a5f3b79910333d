"""What two studies have in common is found, and what they have not is not claimed."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from paired_study import study_of
from transferlens.errors import AnalysisError
from transferlens.explain.replication import compare_studies, of_seed
from transferlens.explain.replication.cells import _from_pairs, _Scores
from transferlens.explain.replication.common import Common
from transferlens.explain.replication.gains import PairedGains, gain_agreement, group_jackknife
from transferlens.explain.replication.traits import _matches, _Side
from transferlens.importers import import_matrix
from transferlens.results import BASE, SourceInfo, TargetInfo, TransferStudy
from transferlens.traits import congruence, pca_fit

TASKS = ("a", "b", "c", "d", "e")


def two_studies(seed=0, n=150, changed=(), flips=0.15, runs=1):
    """Return two studies on the same base and examples; of ``changed`` the second is better."""
    rng = np.random.default_rng(seed)
    base = {(BASE, t, 0): (rng.random(n) < 0.5).astype(float) for t in TASKS}
    made = []
    for better in ((), changed):
        cells = dict(base)
        for s in TASKS:
            for t in TASKS:
                for run in range(runs):
                    score = np.abs(base[BASE, t, 0] - (rng.random(n) < flips))
                    won = rng.random(n) < (0.5 if (s, t) in better else 0.0)
                    cells[s, t, run] = np.where(won, 1.0, score)
        made.append(study_of(cells))
    return made


def bare(gains, base=50.0, unit="percent", seeds=None, **info):
    """Return a study of scores alone; ``seeds`` adds noise of runs with these draws."""
    shape = np.asarray(gains).shape
    names = [f"t{i}" for i in range(shape[1])]
    draws = np.zeros((1, *shape)) if seeds is None else seeds
    frame = [(BASE, name, 0, base) for name in names]
    frame += [
        (f"t{i}", names[j], k, base + gains[i][j] + draws[k, i, j])
        for k in range(len(draws))
        for i in range(shape[0])
        for j in range(shape[1])
    ]
    return TransferStudy.from_scores(
        pl.DataFrame(frame, schema=["source", "target", "seed", "score"], orient="row"),
        targets=[TargetInfo(name=name, unit=unit, **info) for name in names],
        sources=[SourceInfo(name=f"t{i}") for i in range(shape[0])],
    )


def compare(first, second, **options):
    # The rules for the number of traits take longer than all else.
    return compare_studies(first, second, **{"n_traits": 1, "n_resamples": 99} | options)


def cell(found, source, target):
    return found.cells.row(
        by_predicate=(pl.col.source == source) & (pl.col.target == target), named=True
    )


def test_planted_changes_are_found_and_no_others():
    planted = {("a", "b"), ("c", "d"), ("e", "e")}
    found = compare(*two_studies(changed=planted))
    assert set(found.changed().select("source", "target").iter_rows()) == planted
    assert cell(found, "a", "b")["difference"] > 0.1
    assert found.counts()["changed"] == 3
    assert found.n_tested == 25


def test_a_difference_on_one_base_is_mcnemars_test_of_the_two_adapters():
    first, second = two_studies(changed={("a", "b")})
    found = compare(first, second)
    a, b = (
        study.examples("b")["score"].sel(source="a").values.ravel() for study in (first, second)
    )
    won, lost = int((b > a).sum()), int((b < a).sum())
    exact = mcnemar([[0, won], [lost, 0]], exact=True).pvalue
    mid = exact - stats.binom.pmf(won, won + lost, 0.5)
    row = cell(found, "a", "b")
    assert row["test"] == "McNemar mid-p"
    assert row["p_value"] == pytest.approx(mid)
    assert row["difference"] == pytest.approx((b - a).mean())


def test_nothing_changed_is_said_five_times_in_a_hundred_at_most():
    rng = np.random.default_rng(0)
    p = []
    for _ in range(60):
        base = (rng.random(80) < 0.5).astype(float)
        one, other = (
            _Scores(np.abs(base - (rng.random((5, 1, 80)) < 0.15)), base[None]) for _ in range(2)
        )
        p.append(_from_pairs(one, other, sign=1.0, rng=rng, confidence=0.95).p_value)
    share = np.concatenate(p)
    # 5 % and three standard errors of it.
    assert (share <= 0.05).mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)
    assert (share <= 0.5).mean() > 0.3


def test_training_variance_of_several_runs_is_in_the_test():
    rng = np.random.default_rng(3)
    p = []
    for _ in range(100):
        base = rng.normal(0.0, 1.0, 100)
        # A run moves all examples alike, far more than examples scatter.
        one, other = (
            _Scores(
                base + rng.normal(0.0, 1.0, (5, 2, 1)) + rng.normal(0.0, 0.5, (5, 2, 100)),
                np.stack([base, base]),
            )
            for _ in range(2)
        )
        p.append(_from_pairs(one, other, sign=1.0, rng=rng, confidence=0.95).p_value)
    share = (np.concatenate(p) <= 0.05).mean()
    assert 0.01 < share <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 500)


def test_examples_are_paired_by_their_text_and_not_by_their_place():
    first, second = two_studies(changed={("a", "b")})
    order = pl.DataFrame({"example": range(150), "new": np.random.default_rng(0).permutation(150)})
    frame = second.predictions.collect().join(order, on="example").with_columns(example="new")
    moved = TransferStudy.from_predictions(
        frame.drop("new"), targets=second.targets, sources=second.sources
    )
    left, right = (compare(first, s).cells for s in (second, moved))
    assert left.equals(right)


def test_other_examples_are_compared_by_two_standard_errors():
    first, second = two_studies(changed={("a", "b")}, n=400)
    renamed = second.predictions.collect().with_columns(example_hash="x" + pl.col("example_hash"))
    other = TransferStudy.from_predictions(renamed, targets=second.targets, sources=second.sources)
    found = compare(first, other)
    row = cell(found, "a", "b")
    assert (row["test"], row["paired"]) == ("two standard errors", False)
    paired = cell(compare(first, second), "a", "b")
    # Without the shared base and examples the same difference is less sure.
    assert row["difference"] == pytest.approx(paired["difference"])
    assert row["standard_error"] > paired["standard_error"]
    a, b = (
        np.concatenate(
            [
                s.examples("b")["score"].sel(source="a").values.ravel()
                - s.examples("b")["base_score"].values.ravel()
            ]
        )
        for s in (first, other)
    )
    welch = stats.norm.sf(abs(b.mean() - a.mean()) / np.sqrt(a.var() / 400 + b.var() / 400)) * 2
    assert np.log(row["p_value"]) == pytest.approx(np.log(welch), rel=0.05)


def test_swapping_the_studies_turns_the_differences_round_and_nothing_else():
    first, second = two_studies(changed={("a", "b")}, n=60)
    there, back = (compare(*pair) for pair in ((first, second), (second, first)))
    for name in ("p_value", "p_adjusted", "standard_error"):
        assert np.allclose(there.cells[name], back.cells[name], equal_nan=True)
    assert np.allclose(there.cells["difference"], -back.cells["difference"])
    assert np.allclose(there.cells["low"], -back.cells["high"])
    assert there.cells["verdict"].equals(back.cells["verdict"])
    for one, other in zip(there.gains, back.gains, strict=True):
        assert one.r == pytest.approx(other.r)
        assert (one.low, one.high) == pytest.approx((other.low, other.high), nan_ok=True)
        assert one.same_sign == pytest.approx(other.same_sign, nan_ok=True)
    matches = {(m.first, m.second): m.congruence for m in there.traits}
    assert matches == pytest.approx({(m.second, m.first): m.congruence for m in back.traits})


def test_a_study_replicates_itself():
    rng = np.random.default_rng(1)
    one = bare(rng.normal(0, 5, (8, 7)))
    found = compare(one, one, n_traits=3, n_resamples=199)
    assert [m.verdict for m in found.traits] == ["equal"] * 3
    assert found.gains[0].r == pytest.approx(1.0)
    assert found.gains[0].same_sign == 1.0
    assert found.gains[0].p_value < 0.01


def test_planted_traits_are_matched_whatever_their_order_and_sign():
    rng = np.random.default_rng(4)
    loadings = np.linalg.qr(rng.normal(size=(12, 2)))[0]
    scores = rng.normal(size=(30, 2))
    noise = [0.3 * rng.normal(size=(30, 12)) for _ in range(2)]
    first = bare(scores * [8.0, 4.0] @ loadings.T + noise[0])
    second = bare(scores * [-4.0, 8.0] @ loadings.T + noise[1])
    found = compare_studies(first, second)
    assert {(m.first, m.second) for m in found.traits if all(m.supported)} == {(1, 2), (2, 1)}
    for m in found.traits[:2]:
        assert m.congruence > 0.95
        assert m.p_value < 0.01
        assert m.low <= m.congruence <= m.high
    # An independent route to the number.
    ours = [pca_fit(2)(g[None])[0] for g in (np.array(_gains(first)), np.array(_gains(second)))]
    assert found.traits[0].congruence == pytest.approx(abs(congruence(*ours)[0, 1]), abs=1e-6)


def _gains(study):
    return study.scores["score"].mean("seed").values


def test_unrelated_traits_and_gains_are_called_related_five_times_in_a_hundred():
    names = tuple(f"t{i}" for i in range(9))
    common = Common(sources=names, targets=names[:8], left_out=())
    traits, gains, signs = [], [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        x, y = (np.outer(rng.normal(size=9), rng.normal(size=8)) for _ in range(2))
        found = _matches(_Side(x, 1, 0), _Side(y, 1, 0), 1, common, seed, 0.95, 99)
        traits.append(found[0].p_value)
        unknown = np.full(x.shape, np.nan)
        agreement = gain_agreement(
            PairedGains(x, y, unknown, unknown),
            common.own,
            correlated=np.ones(8, bool),
            independent=True,
            rng=rng,
            n_permutations=99,
        )[0]
        gains.append(agreement.p_value)
        signs.append(agreement.sign_p_value)
    for p in (traits, gains, signs):
        assert np.mean(np.array(p) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 60)
        assert np.mean(np.array(p) <= 0.5) > 0.2


def test_helping_everywhere_is_no_agreement_beyond_chance():
    rng = np.random.default_rng(0)
    pair = [bare(np.where(rng.random((8, 8)) < 0.9, 1.0, -1.0)) for _ in range(2)]
    found = compare(*pair).gains[0]
    assert found.same_sign > 0.7
    assert found.sign_chance == pytest.approx(found.same_sign, abs=0.1)
    assert found.sign_p_value > 0.05


def test_the_interval_of_a_correlation_covers_where_cells_share_sources_and_targets():
    hits = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        parts = [rng.normal(size=shape) for shape in ((8, 1), (1, 8), (8, 8))]
        other = [0.6 * part + 0.8 * rng.normal(size=part.shape) for part in parts]
        x, y = (np.sqrt(0.4) * (p[0] + p[1]) + np.sqrt(0.2) * p[2] for p in (parts, other))
        unknown = np.full((8, 8), np.nan)
        found = gain_agreement(
            PairedGains(x, y, unknown, unknown),
            np.full(8, -1),
            correlated=np.ones(8, bool),
            independent=True,
            rng=rng,
            n_permutations=1,
        )[0]
        hits += found.low <= 0.6 <= found.high
    # A bootstrap of sources alone covers about 70 percent here.
    assert hits >= 0.9 * 60


def test_studies_that_differ_in_one_source_have_a_narrow_interval():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 6))
    y = x.copy()
    y[2] += 0.05 * rng.normal(size=6)
    found = agreement(x, y)
    # Without that source the correlation is exactly 1.
    assert np.corrcoef(np.delete(x, 2, 0).ravel(), np.delete(y, 2, 0).ravel())[0, 1] == 1.0
    assert 0.98 < found.low < found.r < found.high <= 1.0
    same = agreement(x, x)
    assert (same.low, same.r, same.high) == pytest.approx((1.0, 1.0, 1.0))


def agreement(x, y):
    unknown = np.full(x.shape, np.nan)
    return gain_agreement(
        PairedGains(x, y, unknown, unknown),
        np.full(len(x), -1),
        correlated=np.ones(x.shape[1], bool),
        independent=True,
        rng=np.random.default_rng(0),
        n_permutations=1,
    )[0]


def test_the_jackknife_of_a_mean_is_the_formula_for_clusters():
    values = np.random.default_rng(0).normal(size=(6, 5))
    known = np.ones((6, 5), bool)
    half = group_jackknife(lambda w: np.asarray((w * values).sum() / w.sum()), known, 0.95)

    def squared(parts):
        return parts.var(ddof=1) / len(parts)

    square = squared(values.mean(1)) + squared(values.mean(0)) - squared(values.ravel())
    square = max(square, squared(values.mean(1)), squared(values.mean(0)))
    assert half == pytest.approx(stats.t.ppf(0.975, 4) * np.sqrt(square))


def test_noise_bounds_the_correlation_of_studies_that_share_no_examples():
    rng = np.random.default_rng(2)
    true = rng.normal(0, 3, (10, 10))
    pair = [bare(true, seeds=rng.normal(0, 3, (3, 10, 10))) for _ in range(2)]
    found = compare(*pair)
    # Three runs: a third of the variance of one is noise, the rest is the same truth.
    assert found.gains[0].ceiling == pytest.approx(0.75, abs=0.1)
    assert found.gains[0].r == pytest.approx(found.gains[0].ceiling, abs=0.15)
    assert found.cells["test"].unique().to_list() == ["two standard errors"]


def test_what_cannot_be_compared_is_said():
    first, second = two_studies(n=40)
    part = [s for s in TASKS if s != "e"]
    frame = second.predictions.collect().filter(pl.col("source").is_in([BASE, *part]))
    infos = [
        TargetInfo(name=t.name, metric="f1" if t.name == "d" else t.metric, ceiling=1.0)
        for t in second.targets
    ]
    other = TransferStudy.from_predictions(frame, targets=infos)
    found = compare(first, other, labels=("one", "two"))
    assert found.left_out == (
        "source only in one: e",
        "target d: its metric is score in one study and f1 in the other",
    )
    assert found.targets == ("a", "b", "c", "e")


def test_studies_without_a_common_task_are_refused_in_one_line():
    first, _ = two_studies(n=20)
    with pytest.raises(AnalysisError, match=r"no source in common \(sources only in x: a, b"):
        compare(first, bare([[1.0]]), labels=("x", "y"))


def test_scores_of_one_seed_have_no_evidence_per_cell_and_say_so():
    found = compare(bare(np.eye(4)), bare(np.eye(4)))
    assert found.n_tested == 0
    assert found.counts()["not tested"] == 16
    assert any("cannot be tested" in sentence for sentence in found.sentences())
    assert any("has scores only" in note for note in found.notes)


def test_a_seed_of_a_study_is_a_study_with_its_base():
    one = two_studies(runs=2, n=50)[0]
    first, second = of_seed(one, 0), of_seed(one, 1)
    assert (first.seeds, second.seeds) == ((0,), (1,))
    whole = one.scores["score"]
    assert np.array_equal(second.scores["score"].values[..., 0], whole.values[..., 1])
    assert np.array_equal(first.scores["base_score"].values, second.scores["base_score"].values)
    with pytest.raises(AnalysisError, match="has no seed 7; it has 0, 1"):
        of_seed(one, 7)


def test_lora_and_full_fine_tuning_agree_in_sign_but_one_cell_makes_the_trait(shared):
    folder = shared / "matrices" / "fusion_bench"
    lora, full = (
        import_matrix(folder / f"flan_t5_base_glue_{name}.csv", base="Pre-trained")
        for name in ("lora16", "fullft")
    )
    found = compare(lora, full)
    other = found.gains[0]
    # By hand from the printed tables: gains off the diagonal.
    x, y = (_printed(folder / f"flan_t5_base_glue_{name}.csv") for name in ("lora16", "fullft"))
    assert other.r == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-9)
    signed = (np.abs(x) > 1e-9) & (np.abs(y) > 1e-9)
    assert other.same_sign == pytest.approx(np.mean(np.sign(x) == np.sign(y), where=signed))
    assert other.sign_p_value < 0.05
    places = np.argwhere(~np.eye(8, dtype=bool)).tolist()
    at = places.index(list(other.cell))
    assert (found.sources[other.cell[0]], found.targets[other.cell[1]]) == (
        "GLUE-STSB",
        "GLUE-MNLI",
    )
    without = np.corrcoef(np.delete(x, at), np.delete(y, at))[0, 1]
    assert other.r_without == pytest.approx(without, abs=1e-9)
    assert "without the one cell GLUE-STSB → GLUE-MNLI r = 0.81" in found.sentences()[0]
    assert found.traits[0].made_by[0] == "GLUE-STSB → GLUE-MNLI"
    assert found.traits[0].verdict == "cannot tell"


def _printed(file):
    table = pl.read_csv(file)
    scores = table.select(table.columns[1:-1]).cast(pl.Float64).to_numpy()
    gains = scores[1:] - scores[0]
    return gains[~np.eye(len(gains), dtype=bool)]


def test_rows_of_a_study_keep_the_order_of_its_sources():
    found = compare(*two_studies(n=30))
    places = [TASKS.index(name) for name in found.cells["source"]]
    assert all(a <= b for a, b in pairwise(places))
