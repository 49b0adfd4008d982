"""What the API needs of a card service, whoever serves it: the plain one or the cached one."""

from __future__ import annotations

import uuid
from typing import Protocol

from archzero_lab.systems.arczero.cards.model import (
    CardDraft,
    CardFilter,
    CardPatch,
    CardRow,
    Document,
    GraphQuery,
    IfMatch,
    RelationshipDraft,
    RelationshipFilter,
    RelationshipPatch,
)


class Cards(Protocol):
    """Reads give the JSON document as bytes; writes raise the errors of cards.model."""

    async def card(self, card_id: uuid.UUID) -> Document:
        """One card. Raises NotFound."""

    async def cards(self, question: CardFilter) -> Document:
        """A page of cards, newest first, with the total."""

    async def create_card(self, draft: CardDraft) -> tuple[uuid.UUID, Document]:
        """Create a card. Raises Conflict where one of its type and name exists."""

    async def update_card(self, card_id: uuid.UUID, patch: CardPatch, if_match: IfMatch = None) -> Document:
        """Change the fields that the patch names. Raises NotFound, Conflict, VersionMismatch."""

    async def delete_card(self, card_id: uuid.UUID, if_match: IfMatch = None) -> None:
        """Delete a card and its relationships. Raises NotFound, VersionMismatch."""

    async def import_cards(self, rows: list[CardRow]) -> int:
        """Create all the cards or none, and return how many. Raises Conflict, InvalidValue."""

    async def relationship(self, relationship_id: uuid.UUID) -> Document:
        """One relationship. Raises NotFound."""

    async def relationships(self, question: RelationshipFilter) -> Document:
        """A page of relationships, newest first, with the total."""

    async def create_relationship(self, draft: RelationshipDraft) -> tuple[uuid.UUID, Document]:
        """Create a relationship. Raises InvalidReference where an end does not exist."""

    async def update_relationship(
        self, relationship_id: uuid.UUID, patch: RelationshipPatch, if_match: IfMatch = None
    ) -> Document:
        """Change the fields that the patch names. Raises NotFound, VersionMismatch."""

    async def delete_relationship(self, relationship_id: uuid.UUID, if_match: IfMatch = None) -> None:
        """Delete a relationship. Raises NotFound, VersionMismatch."""

    async def import_relationships(self, rows: list[RelationshipDraft]) -> int:
        """Create all the relationships or none, and return how many. Raises InvalidReference."""

    async def graph(self, query: GraphQuery) -> Document:
        """The neighbourhood of a card. Raises NotFound where the centre does not exist."""

    async def graph_stats(self) -> Document:
        """Counts of cards and relationships by type."""
