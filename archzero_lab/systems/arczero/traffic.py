"""Requests made of a catalog: the operations of a slot, the same for every arm of a block, from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from urllib.parse import quote, urlencode

from archzero_lab.errors import MeasurementError
from archzero_lab.systems.arczero.cards.catalog import Catalog
from archzero_lab.systems.operations import Operation, SlotOperations

_LEAST_CONTROLS = 10
_PAGE = b'"totalRelation"'


def slot_operations(
    kind: str,
    catalog: Catalog,
    *,
    distinct: int,
    requests: int,
    seed: int,
    block: int,
    paths: Sequence[str] = (),
    control: Sequence[Operation] = (),
) -> SlotOperations:
    """Operations of one block for `kind`: list, detail, search, filter, or requests: those for `paths`.

    Every distinct operation comes equally often among the timed ones (within one), in random order, so that a
    quantile means the same in every block. A fifth as many of `control` come after
    them. Raises MeasurementError where the database holds nothing to ask for.
    """
    if not catalog.ids:
        raise MeasurementError("the database holds no active card; load some first (./lab report --cards N)")
    rng = random.Random(f"{kind} {seed} {block}")
    if kind == "requests":
        own = [Operation(path, path, b"") for path in paths]
        timed = [own[number % len(own)] for number in range(requests)]
        rng.shuffle(timed)
        return SlotOperations(own, timed, _controls(rng, control, requests))
    make: Callable[[random.Random, Catalog, int], Operation] = {
        "list": _list,
        "detail": _detail,
        "search": _search,
        "filter": _filter,
    }[kind]
    warm_up = [make(rng, catalog, number) for number in range(distinct)]
    timed = [warm_up[number % distinct] for number in range(requests)]
    rng.shuffle(timed)
    return SlotOperations(warm_up, timed, _controls(rng, control, requests))


def _controls(rng: random.Random, control: Sequence[Operation], requests: int) -> tuple[Operation, ...]:
    return tuple(rng.choice(control) for _ in range(max(_LEAST_CONTROLS, requests // 5))) if control else ()


def _list(rng: random.Random, catalog: Catalog, number: int) -> Operation:
    return Operation(f"/api/v1/cards?page={number + 1}&pageSize=20", "list", _PAGE)


def _detail(rng: random.Random, catalog: Catalog, number: int) -> Operation:
    card = rng.choice(catalog.ids)
    return Operation(f"/api/v1/cards/{card}", "detail", card.encode())


_SEARCHES = ("middling", "common", "rare", "middling", "short")


def _search(rng: random.Random, catalog: Catalog, number: int) -> Operation:
    variant = _SEARCHES[number % len(_SEARCHES)]
    word = rng.choice(getattr(catalog, variant))
    return Operation(f"/api/v1/search?q={quote(word)}", f"search:{variant}", _PAGE)


def _filter(rng: random.Random, catalog: Catalog, number: int) -> Operation:
    kind, phase = rng.choice(catalog.types), rng.choice(catalog.phases)
    choices: list[tuple[str, dict[str, str]]] = [
        ("type", {"type": kind}),
        ("type+phase", {"type": kind, "lifecyclePhase": phase}),
        ("phase+quality", {"lifecyclePhase": phase, "minQuality": "90"}),
    ]
    if catalog.owners:
        choices.append(("owner", {"ownerId": rng.choice(catalog.owners)}))
    if catalog.tags:
        choices.append(("tags", {"tags": rng.choice(catalog.tags)}))
    if catalog.attributes:
        choices.append(("attributes", {"attributes": rng.choice(catalog.attributes)}))
    variant, query = choices[number % len(choices)]
    return Operation(f"/api/v1/cards?{urlencode(query)}", f"filter:{variant}", _PAGE)
