"""The study of coverage runs and has a row per phase and statistic."""

from experiments.coverage.media import MEDIA, VOLUMES
from experiments.coverage.run import COLUMNS, HERE, STATISTICS, run_smoke
from experiments.tables import read_rows


def test_each_phase_and_statistic_has_a_row_with_all_columns_of_the_table(tmp_path):
    rows = run_smoke(tmp_path)
    expected = [
        (medium, phase, statistic) for medium in ("discs", "berea3d") for phase in "01" for statistic in STATISTICS
    ]
    assert [(row["medium"], row["phase"], row["statistic"]) for row in rows] == expected
    assert all(set(COLUMNS) <= set(row) for row in rows)


def test_the_results_kept_are_within_what_the_study_asks_for():
    rows = read_rows(HERE / "results.csv")
    coverage = {medium: [float(row["coverage"]) for row in rows if row["medium"] == medium] for medium in MEDIA}
    for medium, found in coverage.items():
        assert 80 <= sum(found) / len(found) <= 97
        if medium not in VOLUMES:  # sections of a volume are few and not independent
            assert 80 <= min(found) and max(found) <= 97
