"""The card contract: shapes of cards, relationships and questions about them, with the limits each field has."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from archzero_lab.errors import LabError
from archzero_lab.postgres.positions import Position
from archzero_lab.systems.arczero.cards.readings import composed, read_name, read_tags, read_time, require_order


class CardType(StrEnum):
    """What a card stands for."""

    BusinessCapability = "BusinessCapability"
    Objective = "Objective"
    Application = "Application"
    Interface = "Interface"
    ITComponent = "ITComponent"
    Platform = "Platform"
    ArchitecturePrinciple = "ArchitecturePrinciple"
    TechnologyStandard = "TechnologyStandard"
    ArchitecturePolicy = "ArchitecturePolicy"
    Exception = "Exception"
    Initiative = "Initiative"
    Risk = "Risk"
    ComplianceRequirement = "ComplianceRequirement"
    ComplianceAudit = "ComplianceAudit"
    ARBMeeting = "ARBMeeting"
    ARBSubmission = "ARBSubmission"


class LifecyclePhase(StrEnum):
    """Where a card stands in its life."""

    Discovery = "Discovery"
    Strategy = "Strategy"
    Planning = "Planning"
    Development = "Development"
    Testing = "Testing"
    Active = "Active"
    Decommissioned = "Decommissioned"
    Retired = "Retired"


class RelationshipType(StrEnum):
    """How the first card of a relationship bears on the second."""

    reliesOn = "reliesOn"
    dependsOn = "dependsOn"
    guides = "guides"
    standardizes = "standardizes"
    appliesTo = "appliesTo"
    enforces = "enforces"
    impacts = "impacts"
    achieves = "achieves"
    threatens = "threatens"
    mitigatedBy = "mitigatedBy"
    requiresComplianceFrom = "requiresComplianceFrom"
    exemptsFrom = "exemptsFrom"


class CardStatus(StrEnum):
    """Whether a card is in use. Lists show active cards unless they ask for others."""

    ACTIVE = "active"
    DRAFT = "draft"
    INACTIVE = "inactive"
    ARCHIVED = "archived"


LONGEST_NAME = 255
LONGEST_DESCRIPTION = 20_000
# PostgreSQL's text and jsonb cannot hold U+0000, so the contract does not take it.
Name = Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME, pattern=r"^[^\x00]*$")]
Description = Annotated[str, Meta(max_length=LONGEST_DESCRIPTION, pattern=r"^[^\x00]*$")]
# a comma separates tags in a question: with one in it no question would find it
Tag = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00,]*$")]
MAX_CARD_BYTES = 1024 * 1024
"""Of one card (or relationship) as JSON, wherever it comes from: a request's body, a row of an import or a file."""
MAX_TAGS = 50
Tags = Annotated[list[Tag], Meta(max_length=MAX_TAGS)]
Quality = Annotated[int, Meta(ge=0, le=100)]
Confidence = Annotated[float, Meta(ge=0.0, le=1.0)]
Attributes = dict[str, Any]

IfMatch = Collection[str] | None
"""ETags of which one must be the current one; None asks for nothing."""
MAX_PAGE = 1_000_000
MAX_PAGE_SIZE = 100


class CardDraft(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A card to be created. Ids and times are given by the service unless an import brings them."""

    name: Name
    type: CardType
    lifecycle_phase: LifecyclePhase = LifecyclePhase.Discovery
    quality_score: Quality = 0
    description: Description = ""
    owner_id: uuid.UUID | None = None
    tags: Tags = []
    attributes: Attributes = {}
    status: CardStatus = CardStatus.ACTIVE

    def __post_init__(self) -> None:
        self.name, self.tags = read_name(self.name), read_tags(self.tags)
        self.description = composed(self.description)


class CardRow(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A card of an inventory file: a draft that may bring its id and times (and a version, which is ignored)."""

    name: Name
    type: CardType
    id: uuid.UUID | None = None
    lifecycle_phase: LifecyclePhase = LifecyclePhase.Discovery
    quality_score: Quality = 0
    description: Description = ""
    owner_id: uuid.UUID | None = None
    tags: Tags = []
    attributes: Attributes = {}
    status: CardStatus = CardStatus.ACTIVE
    created_at: dt.datetime | None = None
    updated_at: dt.datetime | None = None
    version: int | None = None

    def __post_init__(self) -> None:
        self.name, self.tags = read_name(self.name), read_tags(self.tags)
        self.description = composed(self.description)
        self.created_at, self.updated_at = read_time(self.created_at), read_time(self.updated_at)


class CardPatch(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The fields that a PUT names; those that it does not name stay as they are."""

    name: Name | UnsetType = UNSET
    type: CardType | UnsetType = UNSET
    lifecycle_phase: LifecyclePhase | UnsetType = UNSET
    quality_score: Quality | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    owner_id: uuid.UUID | UnsetType | None = UNSET
    tags: Tags | UnsetType = UNSET
    attributes: Attributes | UnsetType = UNSET
    status: CardStatus | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.name is not UNSET:
            self.name = read_name(self.name)
        if self.tags is not UNSET:
            self.tags = read_tags(self.tags)
        if self.description is not UNSET:
            self.description = composed(self.description)


class RelationshipDraft(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A relationship to be created, or a line of an inventory's relationships."""

    from_card_id: uuid.UUID
    to_card_id: uuid.UUID
    relationship_type: RelationshipType
    id: uuid.UUID | None = None
    valid_from: dt.date | None = None
    valid_to: dt.date | None = None
    attributes: Attributes = {}
    confidence: Confidence = 1.0
    created_at: dt.datetime | None = None

    def __post_init__(self) -> None:
        self.created_at = read_time(self.created_at)
        if self.from_card_id == self.to_card_id:
            raise ValueError("toCardId: is the card itself")
        require_order(self.valid_from, self.valid_to)


class RelationshipPatch(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The fields of a relationship that a PUT names; its two ends cannot change."""

    relationship_type: RelationshipType | UnsetType = UNSET
    valid_from: dt.date | UnsetType | None = UNSET
    valid_to: dt.date | UnsetType | None = UNSET
    attributes: Attributes | UnsetType = UNSET
    confidence: Confidence | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.valid_from is not UNSET and self.valid_to is not UNSET:
            require_order(self.valid_from, self.valid_to)


class Document(msgspec.Struct, frozen=True):
    """What a read gives: the JSON bytes that go to the socket as they are, and their ETag (without quotes).

    A card's `version` is its row's, its ETag that and the transaction that wrote it: one that no other row of that id
    ever had, deleted and made anew or not. A list's or graph's version is 0 and its ETag a digest of the body.
    """

    body: bytes
    etag: str
    version: int = 0
    position: Position | None = None
    """With replicas: as of where at most it was read, where it was read for this very answer."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a keyset page begins: just after the card with this creation time and id.

    Its text, `<time>Z_<id>`, needs no escaping in a URL; search.NEXT_CURSOR writes it in SQL.
    """

    created_at: dt.datetime
    id: uuid.UUID

    @classmethod
    def decode(cls, text: str) -> Cursor:
        """Read the text of a nextCursor. Raises ValueError for anything else."""
        created_at, _, card_id = text.partition("Z_")
        try:
            return cls(dt.datetime.fromisoformat(created_at).replace(tzinfo=dt.UTC), uuid.UUID(card_id))
        except ValueError:
            raise ValueError("not a cursor of this service; use an answer's nextCursor as it is") from None


@dataclass(frozen=True, slots=True)
class CardFilter:
    """A question for a list of cards, made of validated values only. `status` None means any.

    `attributes` is canonical JSON text (sorted keys), so that equal questions are equal objects.
    """

    q: str | None = None
    type: CardType | None = None
    lifecycle_phase: LifecyclePhase | None = None
    status: CardStatus | None = CardStatus.ACTIVE
    owner_id: uuid.UUID | None = None
    min_quality: int | None = None
    tags: tuple[str, ...] = ()
    attributes: str | None = None
    page: int = 1
    page_size: int = 20
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class RelationshipFilter:
    """A question for a list of relationships; `card_id` is either end."""

    card_id: uuid.UUID | None = None
    relationship_type: RelationshipType | None = None
    page: int = 1
    page_size: int = 20


@dataclass(frozen=True, slots=True)
class GraphQuery:
    """The neighbourhood of a card: every card within `depth` relationships of it, in either direction."""

    center_card_id: uuid.UUID
    depth: int = 1
    relationship_types: tuple[RelationshipType, ...] = ()
    card_types: tuple[CardType, ...] = ()
    min_confidence: float = 0.0


class CardsError(LabError):
    """Base of what a well-formed request can still run into."""


class NotFound(CardsError):
    """No card or relationship with this id."""


class Conflict(CardsError):
    """A card of the same type and name exists."""


class VersionMismatch(CardsError):
    """If-Match named a version that is no longer the current one."""


class InvalidReference(CardsError):
    """A relationship names a card that does not exist."""


class InvalidValue(CardsError):
    """A value that the contract's shapes let through but the database does not take."""


class Unavailable(CardsError):
    """The database cannot be reached or its pool is exhausted; try again after a moment."""
