-- what this build adds to the table
CREATE INDEX products_category ON products (category);
