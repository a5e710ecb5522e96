"""How do faces, pairs and answers leave an index?  CSV tables, matrices and JSON documents."""
