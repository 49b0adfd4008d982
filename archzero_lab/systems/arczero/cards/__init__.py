"""Cards and relationships: model, search, service, graph."""
