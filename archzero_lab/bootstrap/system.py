"""The system that this lab measures: a team's own where its archzero.toml names one, else phase 5's."""

from __future__ import annotations

from archzero_lab.settings import PROJECT_FILE, ROOT
from archzero_lab.systems.arczero.system import ArcZero
from archzero_lab.systems.system import System
from archzero_lab.systems.team.copies import source_of
from archzero_lab.systems.team.project_file import is_project, read_project
from archzero_lab.systems.team.system import TeamSystem


def system_here() -> System:
    """The system of the folder in which the lab is called. Raises SettingsError for an archzero.toml that is wrong."""
    return team_here() or ArcZero()


def card_service() -> ArcZero:
    """Phase 5's card service, for what is about it or about the lab itself, wherever the lab is called."""
    return ArcZero()


def team_here() -> TeamSystem | None:
    """The team's system of the archzero.toml found upwards; None where there is none, or settings alone in it."""
    path = ROOT / PROJECT_FILE
    return TeamSystem(read_project(path)) if is_project(path) else None


def team_database() -> str:
    """The database of the team's archzero.toml found upwards; "" where none is named. Raises SettingsError."""
    team = team_here()
    return source_of(team.project)[0] if team is not None else ""
