"""The ledger: nothing that was acknowledged is lost, and nothing is changed unseen."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from veridical.errors import FormatError, InputError, SettingError
from veridical.governance.chain import broken, export, imported, verify
from veridical.governance.ledger import START, Ledger

WRITERS = Path(__file__).with_name("writers.py")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Ledger(tmp_path_factory.mktemp("ledger") / "ledger.db")
    for number in range(10):
        made.append("result", {"case": f"{number:016}", "findings": [["consistency", "pass"]]})
    return made.path


@pytest.fixture
def ledger(original: Path, tmp_path: Path) -> Ledger:
    """A ledger of ten lines."""
    return Ledger(shutil.copy(original, tmp_path / "ledger.db"))


def told(text: str) -> dict[int, str]:
    return {int(number): digest for number, digest in (row.split() for row in text.splitlines())}


def test_100_kills_at_random_moments_lose_no_acknowledged_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    Ledger(path)
    words = [sys.executable, str(WRITERS), "killed", str(path), "100", "0"]
    with closing(sqlite3.connect(path)) as reader:  # so that no writer is the last to close it
        reader.execute("SELECT * FROM lines").fetchall()
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    acknowledged = told(done.stdout)
    held = {line.number: line.sha256 for line in Ledger(path).lines()}
    assert len(acknowledged) >= 50
    assert acknowledged.items() <= held.items()
    assert verify(path) == ()


def test_writers_at_the_same_time_make_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    words = [sys.executable, str(WRITERS), "append", str(path)]
    writers = [
        subprocess.Popen([*words, str(number), "8"], stdout=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    acknowledged = [told(writer.communicate(timeout=120)[0]) for writer in writers]
    numbers = [number for one in acknowledged for number in one]
    assert sorted(numbers) == list(range(1, 33)), "a number was given twice or not at all"
    assert verify(path) == ()


def forge(ledger: Ledger, *statements: str) -> tuple[str, ...]:
    """Change the file as someone would who can write to it, and verify it."""
    with sqlite3.connect(ledger.path) as database:
        for statement in ("DROP TRIGGER kept", "DROP TRIGGER unchanged", *statements):
            database.execute(statement)
    database.close()
    return verify(ledger.path)


CHANGES = {
    "edited": ("UPDATE lines SET content = '{}' WHERE number = 4", "line 4 was changed"),
    "later": ("UPDATE lines SET time = '2020' WHERE number = 10", "line 10 was changed"),
    "dropped": ("DELETE FROM lines WHERE number = 4", "line 4 is missing"),
    "several": ("DELETE FROM lines WHERE number IN (4, 5)", "lines 4 to 5 are missing"),
    "first": ("DELETE FROM lines WHERE number = 1", "line 1 is missing"),
    "last": ("DELETE FROM lines WHERE number = 10", "line 10 is missing at the end"),
    "all": ("DELETE FROM lines", "noted as its last"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_changed_or_dropped_is_found_and_named(ledger: Ledger, change: str) -> None:
    statement, named = CHANGES[change]
    assert verify(ledger.path) == ()
    (found,) = forge(ledger, statement)
    assert named in found


def test_lines_that_changed_places_are_named(ledger: Ledger) -> None:
    moves = [
        "UPDATE lines SET number = 99 WHERE number = 3",
        "UPDATE lines SET number = 3 WHERE number = 7",
        "UPDATE lines SET number = 7 WHERE number = 99",
    ]
    assert forge(ledger, *moves) == ("line 3 was line 7", "line 7 was line 3")


def test_a_line_that_was_hashed_anew_breaks_the_chain_behind_it(ledger: Ledger) -> None:
    fourth = list(ledger.lines())[3]
    other = replace(fourth, content="{}")
    changed = f"SET content = '{{}}', sha256 = '{other.hashed()}' WHERE number = 4"
    assert forge(ledger, f"UPDATE lines {changed}") == ("line 5 does not follow line 4",)


def test_a_ledger_that_was_written_anew_is_found_by_a_head_kept_elsewhere(
    ledger: Ledger, tmp_path: Path
) -> None:
    _, head = ledger.head()
    forged = Ledger(tmp_path / "forged.db")
    for line in list(ledger.lines())[:9]:
        forged.append(line.kind, line.says)  # type: ignore[arg-type]
    assert verify(forged.path) == ()
    assert verify(ledger.path, head) == ()
    (found,) = verify(forged.path, head)
    assert "written anew" in found


@pytest.mark.parametrize("seed", range(30))
def test_any_change_of_a_copy_is_found(ledger: Ledger, tmp_path: Path, seed: int) -> None:
    """A line is edited in one character, dropped, doubled or moved, at random."""
    rng, rows = random.Random(seed), export(ledger.lines()).splitlines()
    place = rng.randrange(9)
    how = ("edit", "drop", "double", "move")[seed % 4]
    if how == "edit":
        said = json.loads(rows[place])
        key = rng.choice(["time", "content", "before", "sha256"])
        said[key] = f"{said[key][:5]}#{said[key][6:]}"
        rows[place] = json.dumps(said)
    elif how == "move":
        rows[place], rows[place + 1] = rows[place + 1], rows[place]
    else:
        rows[place : place + 1] = [rows[place]] * (0 if how == "drop" else 2)
    file = tmp_path / "copy.jsonl"
    file.write_text("\n".join(rows), encoding="utf-8")
    assert any(f"line {n}" in one for one in verify(file) for n in (place + 1, place + 2))


def test_a_copy_can_be_checked_like_the_ledger(ledger: Ledger, tmp_path: Path) -> None:
    file = tmp_path / "copy.jsonl"
    file.write_text(export(ledger.lines()), encoding="utf-8")
    assert verify(file, ledger.head()[1]) == ()
    assert imported(file) == list(ledger.lines())


def test_the_database_refuses_to_change_or_delete_lines(ledger: Ledger) -> None:
    with sqlite3.connect(ledger.path) as database:
        for statement in ("DELETE FROM lines", "UPDATE lines SET content = '{}'"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                database.execute(statement)
    database.close()


def test_an_empty_ledger_is_intact_and_has_no_lines(tmp_path: Path) -> None:
    made = Ledger(tmp_path / "new" / "ledger.db")
    assert made.head() == (0, START)
    assert verify(made.path) == ()
    assert broken([]) == ()


def test_names_become_pseudonyms_of_this_ledger(ledger: Ledger, tmp_path: Path) -> None:
    other = Ledger(tmp_path / "other.db")
    assert ledger.pseudonym("sub-01") == ledger.pseudonym("sub-01")
    assert (
        len({ledger.pseudonym("sub-01"), ledger.pseudonym("sub-02"), other.pseudonym("sub-01")})
        == 3
    )


def test_what_is_no_ledger_is_refused_and_left_alone(tmp_path: Path) -> None:
    text, database = tmp_path / "notes.txt", tmp_path / "other.db"
    text.write_text("hello, this is no database at all, just a few words of text " * 20)
    with sqlite3.connect(database) as opened:
        opened.execute("CREATE TABLE mine (a)")
    opened.close()
    before = database.read_bytes()
    for path in (text, database):
        with pytest.raises(FormatError, match="no ledger"):
            Ledger(path)
    assert database.read_bytes() == before
    with pytest.raises(FormatError, match="neither a ledger nor a copy"):
        verify(text)
    with pytest.raises(InputError, match="no ledger at"):
        Ledger(tmp_path / "none.db", create=False)


def test_an_unknown_kind_and_numbers_that_are_none_are_refused(ledger: Ledger) -> None:
    with pytest.raises(SettingError, match="'result'"):
        ledger.append("results", {})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not JSON compliant"):
        ledger.append("result", {"a": float("nan")})
    assert ledger.head()[0] == 10
