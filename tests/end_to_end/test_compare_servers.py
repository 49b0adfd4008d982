"""./lab compare-servers: what a setting costs is named and ends with 1; a database beside itself turns no plan."""

from __future__ import annotations

import os
from pathlib import Path

from archzero_lab.servers.postgres_server import major_version
from archzero_lab.servers.stack import Stack
from tests.end_to_end.command import lab
from tests.integration.shop import SHOP, somebodys_database


def test_a_setting_is_held_against_none_on_a_database_that_is_only_read(stack: Stack, tmp_path: Path) -> None:
    environment = {**os.environ, "ARCHZERO_STATE": str(tmp_path / "state")}
    (tmp_path / "one.sql").write_text('-- $1 = 70\nSELECT * FROM shop."Order" WHERE id = $1')
    (tmp_path / "gone.sql").write_text("SELECT * FROM nothing_there")
    with somebodys_database(stack, "comparedservers", SHOP) as url:
        asked = ("compare-servers", url, "--queries", str(tmp_path), "--blocks", "6")
        done = lab(environment, *asked, "--set", "enable_indexscan=off", "--set", "enable_bitmapscan=off")
        assert done.returncode == 1, done.stderr
        assert "differs  enable_indexscan: on and off" in done.stdout
        assert "all 2 differences" in done.stdout
        assert "Index Scan using Order_pkey on Order → Seq Scan on Order" in done.stdout
        assert "not asked: statement gone" in done.stdout
        assert "1 lost" in done.stdout
        alike = lab(environment, *asked, url)  # the second URL after the options
        assert alike.returncode in (0, 1), alike.stderr
        assert "0 plans turned" in alike.stdout
        assert "differs" not in alike.stdout
        version = str(major_version(stack.postgres_programs))
        copies = lab(environment, *asked, "--server-version", version, "--server-version", version)
        assert copies.returncode in (0, 1), copies.stderr
        assert "0 plans turned" in copies.stdout
        assert "3 blocks" in copies.stdout
        # another server of one version, by the folder of its programs: what is told is noise
        twice = lab(environment, *asked, "--server-version", version, "--server-version", str(stack.postgres_programs))
        assert twice.returncode in (0, 1), twice.stderr
        assert "nothing differs that decides a plan" in twice.stdout
        assert "0 plans turned" in twice.stdout
        assert "compiled by" not in twice.stdout
        none = lab(environment, *asked, "--server-version", version, "--server-version", str(tmp_path))
        assert none.returncode == 2
        assert "give a major version (15), npm:15, or a server's folder" in none.stderr
        unknown = lab(environment, *asked, "--set", "work_memory=1")
    assert (unknown.returncode, unknown.stderr.splitlines()[-1].split(":")[:2]) == (2, ["lab", " --set work_memory"])
