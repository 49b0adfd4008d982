"""Generated portfolios and replicated inventories: the same seed gives the same rows, wrong lines are named."""

from __future__ import annotations

import gzip
import json
import re
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archzero_lab.errors import InventoryError
from archzero_lab.systems.arczero.cards.generator import GeneratedPortfolio, hex_ids, vocabulary
from archzero_lab.systems.arczero.cards.inventory import read_inventory
from archzero_lab.systems.arczero.cards.model import CardRow, CardType, RelationshipDraft, RelationshipType
from archzero_lab.systems.arczero.cards.readings import read_text
from archzero_lab.systems.arczero.cards.replica import ReplicatedInventory

CARD = {"name": "Billing", "type": "Application", "description": "Bills every customer at the month's end."}


def _write(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def _rows(chunks: object) -> list[list[str]]:
    return [line.split("\t") for line in b"".join(chunks).decode().splitlines()]  # type: ignore[call-overload]


def test_the_same_seed_gives_the_same_rows_and_another_gives_others() -> None:
    first, again, other = (GeneratedPortfolio(seed, 500) for seed in (3, 3, 4))
    assert list(first.card_chunks()) == list(again.card_chunks())
    assert list(first.relationship_chunks()) == list(again.relationship_chunks())
    assert list(first.card_chunks()) != list(other.card_chunks())


def test_generated_rows_keep_the_contract_and_join_existing_cards() -> None:
    portfolio = GeneratedPortfolio(1, 12_000)
    cards = _rows(portfolio.card_chunks())
    relationships = _rows(portfolio.relationship_chunks())
    ids = {card[0] for card in cards}
    assert len(ids) == len(cards) == 12_000
    assert len({(card[2], card[1]) for card in cards}) == 12_000, "type and name are unique"
    assert len(relationships) == 24_000
    assert all(row[1] in ids and row[2] in ids and row[1] != row[2] for row in relationships)
    degrees = sorted((sum(1 for row in relationships if row[2] == card) for card in list(ids)[:300]), reverse=True)
    assert degrees[0] > 3 * (sum(degrees) / len(degrees)), "some cards are hubs"


def test_ids_are_uuids_of_version_4() -> None:
    import numpy as np

    for text in hex_ids(9, np.arange(50, dtype=np.uint64)):
        assert uuid.UUID(text).version == 4


def test_the_vocabulary_is_large_and_without_repeats() -> None:
    words = vocabulary()
    assert len(words) == len(set(words)) == 5_000


def test_an_inventory_is_read_from_json_lines_csv_and_gzip(tmp_path: Path) -> None:
    lines = _write(tmp_path / "a.jsonl", CARD)
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress(lines.read_bytes()))
    table = tmp_path / "a.csv"
    table.write_text('name,type,qualityScore,tags,attributes\nBilling,Application,70,a;b,"{""k"": 1}"\n')
    assert read_inventory(lines, CardRow) == read_inventory(packed, CardRow)
    row = read_inventory(table, CardRow)[0]
    assert (row.name, row.quality_score, row.tags) == ("Billing", 70, ["a", "b"])
    assert row.attributes == {"k": 1}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ({**CARD, "name": ""}, r"line 2: field name: must be a text of 1 to 255 letters"),
        ({**CARD, "type": "Gadget"}, r"line 2: field type: Invalid enum value 'Gadget'"),
        ({"type": "Risk"}, r"line 2: field name: name is missing"),
        ({**CARD, "colour": "red"}, r"line 2: field colour: .*unknown field"),
        ({**CARD, "qualityScore": 101}, r"line 2: field qualityScore: must be a whole number from 0 to 100"),
        ({**CARD, "ownerId": "x"}, r"line 2: field ownerId: must be a UUID"),
        ("{not json", r"line 2: field \(whole line\): not JSON"),
        (
            json.dumps({"name": "x", "type": "Risk", "attributes": {"a": "b" * 2**20}}),
            "line 2.*one has 1,048,576 at most",
        ),
        (CARD, r"line 2: field name: the same as in line 1"),
        ("[" * 100_000, r"line 2: field \(whole line\)"),
    ],
)
def test_a_wrong_line_is_named_with_its_field_and_reason(tmp_path: Path, line: object, told: str) -> None:
    path = _write(tmp_path / "cards.jsonl", CARD, line)
    with pytest.raises(InventoryError, match=told):
        read_inventory(path, CardRow)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\x1f\x8bbroken", b'{"name": "\xff"}'])
def test_a_file_that_is_no_inventory_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cards.jsonl"
    path.write_bytes(content)
    with pytest.raises(InventoryError, match=r"cards\.jsonl"):
        read_inventory(path, CardRow)


def _inventory(count: int = 4) -> tuple[list[CardRow], list[RelationshipDraft]]:
    cards = [
        CardRow(
            name=f"Card\t{i}\\",
            type=CardType.Application,
            id=uuid.uuid5(uuid.NAMESPACE_DNS, str(i)),
            description="a b c d",
        )
        for i in range(count)
    ]
    assert cards[0].id
    assert cards[1].id
    joined = RelationshipDraft(
        from_card_id=cards[0].id, to_card_id=cards[1].id, relationship_type=RelationshipType.reliesOn
    )
    return cards, [joined]


def test_an_inventory_is_repeated_with_fresh_ids_and_names_up_to_the_number_of_cards() -> None:
    cards, joined = _inventory()
    replica = ReplicatedInventory(cards, joined, 1, 10, "x")
    rows = _rows(replica.card_chunks())
    relationships = _rows(replica.relationship_chunks())
    ids = {row[0] for row in rows}
    assert len(rows) == len(ids) == len({(row[2], row[1]) for row in rows}) == 10
    assert len(relationships) == len({row[0] for row in relationships}) == 3, "the third copy has both ends too"
    assert all(row[1] in ids and row[2] in ids for row in relationships)
    assert list(replica.card_chunks()) == list(ReplicatedInventory(cards, joined, 1, 10, "x").card_chunks())
    assert rows[0][1] == "Card\\t0\\\\", "escaped for COPY"


def test_fewer_cards_than_the_inventory_cut_it_and_what_joined_the_rest() -> None:
    cards, joined = _inventory()
    replica = ReplicatedInventory(cards, joined, 1, 1, "x")
    assert len(_rows(replica.card_chunks())) == 1
    assert _rows(replica.relationship_chunks()) == []


def test_a_relationship_to_no_card_is_named() -> None:
    cards, joined = _inventory()
    stray = RelationshipDraft(
        from_card_id=uuid.uuid4(), to_card_id=joined[0].to_card_id, relationship_type=RelationshipType.guides
    )
    with pytest.raises(InventoryError, match="row 2: field fromCardId"):
        ReplicatedInventory(cards, [*joined, stray], 1, 4, "x")


def test_the_label_changes_with_the_content() -> None:
    cards, joined = _inventory()
    other, _ = _inventory(3)
    assert ReplicatedInventory(cards, joined, 1, 9, "x").label != ReplicatedInventory(other, joined, 1, 9, "x").label


def test_an_inventory_without_a_number_is_what_it_is() -> None:
    cards, joined = _inventory()
    assert ReplicatedInventory(cards, joined, 1, 4, "x").in_words == "4 cards"
    assert "the inventory's 4, repeated" in ReplicatedInventory(cards, joined, 1, 9, "x").in_words
    assert "the first of the inventory's 4" in ReplicatedInventory(cards, joined, 1, 3, "x").in_words


_ESCAPED = {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}


@given(
    st.lists(
        st.tuples(
            st.text(st.sampled_from('a\\ #1\t\n\r"é'), min_size=1, max_size=255)
            | st.just("x" * 255)
            | st.just("\\" * 126),
            st.text(st.sampled_from("a \\\n"), max_size=30) | st.just("aaa " * 5_000),
        ),
        min_size=1,
        max_size=4,
    )
    .map(lambda pairs: {read_text(name): text for name, text in pairs if read_text(name)})
    .filter(bool)
)
def test_copies_of_any_card_hold_the_limits_differ_and_are_read_back_as_they_were(
    given_cards: dict[str, str],
) -> None:
    rows = [CardRow(name=name, type=CardType.Risk, description=text) for name, text in given_cards.items()]
    # as somebody has it who exported a repeated inventory
    rows.append(CardRow(name=f"{rows[0].name[:200]} #1 {rows[0].name.split(' ')[0]}"[:255], type=CardType.Risk))
    rows = list({row.name: row for row in rows}.values())
    lines = b"".join(ReplicatedInventory(rows, [], 1, 5 * len(rows), "x").card_chunks()).decode()
    fields = [line.split("\t") for line in lines.removesuffix("\n").split("\n")]
    plain = [[re.sub(r"\\(.)", lambda m: _ESCAPED[m[1]], field) for field in (line[1], line[5])] for line in fields]
    names = [name for name, _ in plain]
    assert names[: len(rows)] == [row.name for row in rows]
    assert len(set(names)) == len(names) == 5 * len(rows)
    assert max(map(len, names)) <= 255
    assert max(len(description) for _, description in plain) <= 20_000
