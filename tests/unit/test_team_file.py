"""archzero.toml of a team: what is read, and what is refused by table and field."""

from __future__ import annotations

from pathlib import Path

import pytest

from archzero_lab.errors import SettingsError
from archzero_lab.experiments.claim_files import read_claims
from archzero_lab.settings import load_settings
from archzero_lab.systems.team.project_file import filled, is_project, read_project
from archzero_lab.systems.team.system import TeamSystem

WHOLE = """
servers = "embedded"

[service]
start = "./run.sh"

[database]
url = "postgresql+psycopg://localhost/shop"

[arms.main]
build = "main"

[arms.branch]
build = "."
migration = "m.sql"

[requests.search]
path = "/search?q={word}"

[values]
word = ["a", "b"]

[counters.rows]
sql = "SELECT 1"

[claims.search]
title = "Search"
metric = "p50"
operations = "search"
claimed = { before = 2, after = 1, improvement = 0.5 }
arms = { control = "main", treatment = "branch" }
mechanism = "rows"

[[gate.rules]]
claim = "search"
max_regression = 0.2
"""


def written(tmp_path: Path, text: str = WHOLE) -> Path:
    path = tmp_path / "archzero.toml"
    path.write_text(text)
    return path


def test_a_whole_file_is_a_system_with_claims_and_the_labs_settings_beside(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert is_project(path)
    system = TeamSystem(read_project(path))
    assert (list(system.arms), system.compared, system.operations) == (
        ["main", "branch"], ("main", "branch"), ("search",),
    )  # fmt: skip
    (claim,) = read_claims(path, system, at=system.claims_at)
    assert (claim.id, claim.rule, claim.mechanism) == ("search", "improvement", "rows")
    assert load_settings(path, {}).servers == "embedded"


def test_settings_alone_name_no_service(tmp_path: Path) -> None:
    assert not is_project(written(tmp_path, 'servers = "system"\n'))
    assert not is_project(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('start = "./run.sh"', 'start = "./run.sh"\nuntouched = "health"',
         r"\[service\] untouched names no request that reads: 'health'; known: search"),
        ('start = "./run.sh"', 'strat = "x"', r"\[service\] strat is unknown; known: name, install, start"),
        ('start = "./run.sh"', 'start = 1', r"\[service\]: Expected str, got int.*known: name"),
        ('url = "postgresql+psycopg://localhost/shop"', "", r"\[database\]: missing the field url"),
        ('build = "main"', 'build = "main"\nurl = "http://x"', r"\[arms.main\] needs a build to start or the url"),
        ('build = "main"', 'build = "main"\nredis = "redis://x"', r"\[arms.main\] is a build: its database and Redis"),
        ('start = "./run.sh"', 'ready = "/"', r"\[arms.main\] is a build, and \[service\] start says not how"),
        ("{word}", "{wrod}", r"\[requests.search\] has a place \{wrod\}.*known: word, n"),
        ('path = "/search', 'method = "FETCH"\npath = "/search', r"method = 'FETCH' is unknown; known: GET, HEAD"),
        ('path = "/search', 'same = "size"\npath = "/search', r"same = 'size' is unknown"),
        ('path = "/search', 'path = "search', r"must begin with / and be URL-encoded"),
        ('word = ["a", "b"]', "word = []", r"values.word must be a list of values"),
        ('word = ["a", "b"]', 'word = { sql = "x", file = "y" }', r"values.word must be a list of values"),
        (
            'build = "."\nmigration = "m.sql"', 'url = "http://a"\ndatabase = "postgresql://h/d"\n[arms.c]\n'
            'url = "http://b"\ndatabase = "postgresql://h/d"', "two arms name one database",
        ),
        ("[counters.rows]", "[counters.none]", r'mechanism = "none" means that there is none; name it otherwise'),
        ('sql = "SELECT 1"', "", r"\[counters.rows\] needs one of sql, prometheus and redis"),
        ('start = "./run.sh"', 'start = "x"\nreset = "all"', r'reset = "all" is neither "redis", "none" nor a table'),
        ('start = "./run.sh"', 'start = "x"\nlogin = "enter"', r"login names no request 'enter'; known: search"),
        ('start = "./run.sh"', 'start = "x"\nreset = { post = "/x", command = "y" }', "reset needs one of"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_by_table_and_field(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in WHOLE
    with pytest.raises(SettingsError, match=told):
        read_project(written(tmp_path, WHOLE.replace(old, new, 1)))


def test_a_claim_on_a_counter_that_nobody_named_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, WHOLE.replace('mechanism = "rows"', 'mechanism = "cows"'))
    system = TeamSystem(read_project(path))
    with pytest.raises(SettingsError, match="mechanism cows is not counted there: use hits or blocks or statements or"):
        read_claims(path, system, at=system.claims_at)


def test_variables_come_from_the_environment_and_a_missing_one_is_named() -> None:
    assert filled("a $X and ${Y}, {Y} for 3 $$", "here", {"X": "1", "Y": "2"}) == "a 1 and 2, {Y} for 3 $"
    # no value is read as a name or a place
    assert filled("$X{n}", "here", {"X": "{n}$Y"}, {"n": "$X"}) == "{n}$Y$X"
    with pytest.raises(SettingsError, match=r"here names \$SECRET, which is not set"):
        filled("$SECRET", "here", {})


def test_a_system_whose_variables_are_not_set_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    text = WHOLE.replace('start = "./run.sh"', 'start = "x"\nheaders = { Authorization = "Bearer $NOT_SET" }')
    with pytest.raises(SettingsError, match=r"\$NOT_SET, which is not set"):
        TeamSystem(read_project(written(tmp_path, text))).require_ready()
    with pytest.raises(SettingsError, match=r"names no \[arms\]"):
        TeamSystem(read_project(written(tmp_path, '[service]\nname = "x"\n'))).require_ready()
