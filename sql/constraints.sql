-- Keys and checks, added after a load: building an index over rows that are there is faster than row by row.
ALTER TABLE cards ADD CONSTRAINT cards_pkey PRIMARY KEY (id);
ALTER TABLE cards ADD CONSTRAINT cards_type_name_key UNIQUE (type, name);
ALTER TABLE cards ADD CONSTRAINT cards_quality_score_check CHECK (quality_score BETWEEN 0 AND 100);
ALTER TABLE relationships ADD CONSTRAINT relationships_pkey PRIMARY KEY (id);
ALTER TABLE relationships ADD CONSTRAINT relationships_source_card_id_fkey
    FOREIGN KEY (source_card_id) REFERENCES cards (id) ON DELETE CASCADE;
ALTER TABLE relationships ADD CONSTRAINT relationships_target_card_id_fkey
    FOREIGN KEY (target_card_id) REFERENCES cards (id) ON DELETE CASCADE;
ALTER TABLE relationships ADD CONSTRAINT relationships_confidence_check CHECK (confidence BETWEEN 0 AND 1);
ALTER TABLE relationships ADD CONSTRAINT relationships_valid_check CHECK (valid_to >= valid_from);
ALTER TABLE bia_profiles ADD CONSTRAINT bia_profiles_pkey PRIMARY KEY (id);
