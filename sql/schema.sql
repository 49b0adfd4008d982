-- The card service's tables with primary keys and constraints only: what the control arm has.
CREATE TABLE cards (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    name text NOT NULL,
    type text NOT NULL,
    lifecycle_phase text NOT NULL,
    quality_score integer NOT NULL,
    description text NOT NULL,
    owner_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    attributes jsonb NOT NULL DEFAULT '{}',
    tags jsonb NOT NULL DEFAULT '[]',
    status text NOT NULL DEFAULT 'active',
    version integer NOT NULL DEFAULT 1
);

CREATE TABLE relationships (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    source_card_id uuid NOT NULL,
    target_card_id uuid NOT NULL,
    relationship_type text NOT NULL,
    valid_from date,
    valid_to date,
    attributes jsonb NOT NULL DEFAULT '{}',
    confidence double precision NOT NULL DEFAULT 1.0,
    created_at timestamptz NOT NULL DEFAULT now(),
    version integer NOT NULL DEFAULT 1
);

-- Business impact analysis profiles: phase 5 indexes them, no card endpoint reads them.
CREATE TABLE bia_profiles (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    name text NOT NULL,
    criticality_level text NOT NULL
);
