"""Results of statements kept beneath SQLAlchemy: an engine takes the cache's connections, sessions stay as they are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, ForeignKey, create_engine, func, select, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload

from archzero_lab.postgres.result_cache import ResultCache
from tests.integration.result_shop import cache, hits_of, url

__all__ = ["cache", "url"]


class Base(DeclarativeBase):
    """The shop's tables as SQLAlchemy maps them."""


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    open: Mapped[bool]
    lines: Mapped[list[Line]] = relationship(passive_deletes=True, order_by="Line.id")


class Line(Base):
    __tablename__ = "lines"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    what: Mapped[str]


@pytest.fixture(params=["READ COMMITTED", "AUTOCOMMIT"])
def engine(cache: ResultCache, url: str, request: pytest.FixtureRequest) -> Iterator[Engine]:
    made = create_engine(
        "postgresql+psycopg://", creator=lambda: cache.connection.connect(url), isolation_level=request.param
    )
    yield made
    made.dispose()


def _name(engine: Engine, at: int) -> str:
    with Session(engine) as session:
        order = session.get(Order, at)
        assert order is not None
        return order.name


def test_an_object_by_its_key_is_served_until_a_session_commits_another(cache: ResultCache, engine: Engine) -> None:
    assert _name(engine, 1) == _name(engine, 1)
    hits_of(cache)
    before = _name(engine, 1)
    assert hits_of(cache) == 1
    with Session(engine) as session, session.begin():
        changed = session.get_one(Order, 1)
        changed.name = before + "!"
    assert _name(engine, 1) == before + "!"
    assert hits_of(cache) == 1, "the writer's own read; what it changed is asked for anew"


def test_what_a_session_rolled_back_was_never_served(cache: ResultCache, url: str) -> None:
    engine = create_engine("postgresql+psycopg://", creator=lambda: cache.connection.connect(url))
    before = _name(engine, 2)
    with Session(engine) as session:
        session.get_one(Order, 2).name = "never"
        session.flush()
        assert session.scalar(select(Order.name).where(Order.id == 2)) == "never", "it sees its own"
        assert _name(engine, 2) == before
        session.rollback()
    assert _name(engine, 2) == before
    engine.dispose()


def test_a_list_with_its_relationship_is_forgotten_with_either_table(cache: ResultCache, engine: Engine) -> None:
    def lines() -> dict[int, int]:
        with Session(engine) as session:
            orders = session.scalars(select(Order).where(Order.id < 10).options(selectinload(Order.lines)))
            return {order.id: len(order.lines) for order in orders}

    before = lines()
    hits_of(cache)
    assert lines() == before
    assert hits_of(cache) == 2
    at = max(before)
    with Session(engine) as session, session.begin():
        session.add(Line(id=1_000 + at, order_id=at, what="new"))
    assert lines() == before | {at: before[at] + 1}
    with Session(engine) as session, session.begin():
        session.delete(session.get_one(Line, 1_000 + at))
    assert lines() == before
    with engine.begin() as connection:
        count = connection.execute(select(func.count()).select_from(Order).where(Order.open)).scalar_one()
        connection.execute(text("UPDATE orders SET open = NOT open WHERE id = :at"), {"at": at})
        now = connection.execute(select(func.count()).select_from(Order).where(Order.open)).scalar_one()
        assert abs(now - count) == 1


async def test_an_async_engine_takes_the_cache_s_async_connections(cache: ResultCache, url: str) -> None:
    engine = create_async_engine(
        "postgresql+psycopg://", async_creator=lambda: cache.async_connection.connect(url), isolation_level="AUTOCOMMIT"
    )
    seen = []
    for _ in range(2):
        async with engine.connect() as connection:
            seen.append((await connection.execute(select(Order.name).where(Order.id == 3))).scalar_one())
    assert seen[0] == seen[1]
    assert hits_of(cache) == 1
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE orders SET name = 'async' WHERE id = 3"))
    async with engine.connect() as connection:
        assert (await connection.execute(select(Order.name).where(Order.id == 3))).scalar_one() == "async"
    await engine.dispose()
    await cache.aclose()
