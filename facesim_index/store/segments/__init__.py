"""How are embeddings kept in files and searched?  The only part that knows faiss."""
