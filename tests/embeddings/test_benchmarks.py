"""The benchmark of tables, in its short form."""

from tests.benchmarks import tables


def test_a_small_table_is_measured(capsys):
    tables.main(["--rows", "3000", "--dimensions", "64", "--bits", "64", "--keep-vectors", "int8"])
    printed = capsys.readouterr().out
    assert "3,000 x 64 float32, general-64, vectors kept: int8" in printed
    peak, rest, size = [cell.replace(",", "") for cell in printed.split("|")[-4:-1]]
    assert float(peak) >= float(rest) > 0
    assert 64 + 4 + 8 < float(size) < 300
