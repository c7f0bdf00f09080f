"""What ``top`` shows and what keys do to it, without a terminal."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.cli.board import FRAME_LINES, SORTS, Board
from exporter.cli.screen import keys_of
from exporter.cli.table import COLUMNS, HISTORY, Table, columns_for, cores, percent, sparkline
from exporter.report.schema import ContainersDocument
from exporter.report.summary import full_name


@pytest.fixture
def board(document: ContainersDocument) -> Board:
    one = Board()
    one.document = document
    return one


def text(board: Board, width: int = 80, height: int = 24) -> list[str]:
    return [line.plain for line in board.lines(width, height, "every 2s")]


def names(board: Board) -> list[str]:
    return [f"{one['pod'].partition('-')[0]}/{one['container']}" for one in board.shown()]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 50), (40, 10), (20, 5), (10, 3), (1, 1)])
def test_the_lines_fill_the_screen_and_no_more(board: Board, width: int, height: int) -> None:
    lines = board.lines(width, height, "every 2s")

    assert len(lines) == height
    assert max(line.cell_len for line in lines) <= width


def test_at_200_columns(board: Board) -> None:
    lines = text(board, 200)

    head = lines[2].replace("LAST WINDOW", "HISTORY").split()
    assert head == ["CONTAINER", *[column.title for column in COLUMNS[:-2]], "HISTORY", "FINDING"]
    assert lines[3].split() == [
        *["shop/checkout-7d9f8b6c5d-x2k9p/app", "100%", "100%", "2.75", "0.20", "0.20", "0.10", "92%", "3"],
        *["Burstable", "0-2", "shared", "█" * 20, "throttled"],
    ]
    [unknown] = [line for line in lines if "indexer" in line]
    assert unknown.split()[1:3] == ["-", "-"]  # ratio and peak
    assert "None" not in "".join(lines)


def test_s_goes_through_the_orders_a_letter_chooses_one_and_r_reverses_it(board: Board) -> None:
    by, other = {}, Board(sort="name")
    other.document = board.document
    assert "by name  |" in text(other)[-1]
    for sort in SORTS:
        assert f"by {sort}  |" in text(board)[-1]
        by[sort] = names(board)
        board.press("s")
        assert other.press(sort[0])
        assert names(other) == by[sort]
        assert other.press("r")
        assert f"by {sort} reversed  |" in text(other)[-1]
        assert names(other) == by[sort][::-1]

    assert "by impact" in text(board)[-1]
    assert by["impact"][:2] == ["checkout/app", "report/query"]
    assert by["throttled"][:4] == ["checkout/app", "report/query", "report/render", "catalog/api"]  # its pod counts
    assert by["cpu"][0] in {"trainer/worker", "checkout/app"}
    assert by["lost"][:3] == ["checkout/app", "report/query", "report/render"]
    assert by["name"][0] == "indexer/scan"
    # What is not known is never the most.
    assert {"indexer/scan", "trainer/worker", "catalog/cache"} == set(by["throttled"][-3:])


def test_a_filter_is_typed_kept_and_cleared(board: Board) -> None:
    for key in ("/", "q", "backspace", "S", "h", "o", "p", "/", "c"):
        assert board.press(key)
    assert text(board)[-1].startswith("filter: Shop/c_")
    assert {one["namespace"] for one in board.shown()} == {"shop"}
    chosen = Board(namespace="data")
    chosen.document = board.document
    assert {one["namespace"] for one in chosen.shown()} == {"data"}
    board.press("enter")
    assert "filter 'Shop/c'" in text(board)[-1]
    assert not board.press("q")
    board.press("escape")
    assert len(board.shown()) == 11
    for key in "/zz":
        board.press(key)
    assert text(board)[-1].startswith("filter: zz")
    board.press("enter")
    assert text(board)[-1].startswith("none")
    assert len(text(board)) == 24


def selected(board: Board, height: int = 24) -> str:
    """The name in the row that is shown in reverse."""
    [row] = [line for line in board.lines(200, height, "") if any("reverse" in str(span.style) for span in line.spans)]
    return row.plain.split()[0]


def test_the_table_follows_the_selected_row(board: Board) -> None:
    height = FRAME_LINES + 4
    order = [full_name(one) for one in board.shown()]

    def window() -> str:
        return text(board, height=height)[-1].partition("  ")[0]

    assert window() == "1-4 of 11"
    for keys, row, shown in (
        (["down", "j"], 2, "1-4"),
        (["down", "j"], 4, "2-5"),
        (["up"], 3, "2-5"),
        (["pagedown"], 7, "5-8"),
        ([" "], 10, "8-11"),
        (["down"] * 9, 10, "8-11"),
        (["home"], 0, "1-4"),
        (["pageup"], 0, "1-4"),
        (["end"], 10, "8-11"),
        (["k"], 9, "8-11"),
    ):
        for key in keys:
            board.press(key)
        assert window() == f"{shown} of 11", keys
        assert selected(board, height) == order[row], keys


def test_the_selection_stays_on_its_container(board: Board, document: ContainersDocument) -> None:
    board.press("down")
    before = selected(board)
    board.document = newer = copy.deepcopy(document)
    newer["containers"][0] |= {"severity": None, "ledger": None}
    newer["containers"][0]["throttling"] |= {"lost_seconds_per_second": 0.0, "local_lost_seconds_per_second": 0.0}

    assert selected(board) == before
    board.press("n")
    assert selected(board) == before
    board.press("end")
    del newer["containers"][2:]
    assert text(board, height=6)[-1].startswith("1-2 of 2")


def test_enter_explains_the_selected_container(board: Board) -> None:
    board.press("down")
    board.press("enter")
    shown = text(board)
    assert shown[2] == "data/report-28766160-l4x8c/query"
    assert any("Do:" in line for line in shown)
    whole = "".join(text(board, 40, 80))
    for command in board.shown()[1]["findings"][0]["commands"]:
        assert command in whole
    board.press("end")
    assert text(board)[2] != shown[2]
    assert board.press("q")
    assert text(board)[2].startswith("CONTAINER")
    board.press("enter")
    assert text(board)[2] == shown[2]
    board.press("escape")
    assert selected(board) == "data/report-28766160-l4x8c/query"


def test_help_names_every_key_and_column(board: Board) -> None:
    board.press("?")
    shown = "\n".join(text(board, 120, 40))

    for column in COLUMNS:
        assert column.title in shown
    for key in ("Enter", "/", "s, r", "q, Ctrl-C", " ".join(sort[0] for sort in SORTS)):
        assert key in shown
    assert "UTC" in shown
    board.press("?")
    assert text(board)[2].startswith("CONTAINER")


def test_before_the_first_numbers_and_after_the_last(board: Board) -> None:
    young = Board()
    assert text(young)[0] == "waiting for the first numbers"
    young.problem = "nothing answers at http://127.0.0.1:9843"
    assert text(young)[:2] == ["no numbers", "nothing answers at http://127.0.0.1:9843"]

    board.problem = "it died"
    lines = text(board)
    assert lines[1] == "it died"
    assert "checkout" in lines[3]  # the last numbers stay


@given(st.integers(1, 400))
def test_columns_fit_any_width(width: int) -> None:
    columns = columns_for(width)

    assert sum(column.width + 2 for column in columns) <= width
    assert [column for column in COLUMNS if column in columns] == columns


def test_for_pipes_everything_is_there_and_gone_containers_are_dim(document: ContainersDocument) -> None:
    table, gone = Table.whole_names(None, document["containers"]), copy.deepcopy(document["containers"][0])
    gone["live"] = False

    assert {*COLUMNS} - {*table.columns} == {HISTORY}
    for one in document["containers"]:
        assert table.row(one).plain.startswith(full_name(one))
    assert "dim" in {str(span.style) for span in Table.whole_names(None, [gone]).row(gone).spans}


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([], ""),
        ([0.0], "▁"),
        ([0.0, 0.01, 0.5, 1.0], "▁▂▅█"),
        ([2.0, -1.0], "█▁"),
        ([0.0] * 39 + [1.0], "▁" * 19 + "█"),
    ],
)
def test_sparklines(values: list[float], line: str) -> None:
    assert sparkline(values) == line


def test_numbers_keep_their_columns() -> None:
    assert [percent(value) for value in (None, 0.0, 0.004, 1.0, 9.99)] == ["-", "0%", "0%", "100%", "999%"]
    assert [cores(value) for value in (None, 0.0, 0.25, 99.99, 256.0)] == ["-", "0.00", "0.25", "99.99", "256"]


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"q", ["q"]),
        (b"\x1b[A\x1b[B\x1bOA\x1b[5~\x1b[6~\x1b[H\x1b[4~", ["up", "down", "up", "pageup", "pagedown", "home", "end"]),
        (b"\x1b[1;5A", []),
        (b"\r\n\x7f\x08", ["enter", "enter", "backspace", "backspace"]),
        ("ü€".encode(), []),
        (b"a\x00\x01b", ["a", "b"]),
        (b"\x1b[200~x\x1b[201~", ["x"]),
        (b"\x1b", ["escape"]),
        (b"\x1bq", ["escape", "q"]),
    ],
)
def test_keys(data: bytes, keys: list[str]) -> None:
    assert keys_of(data) == keys
