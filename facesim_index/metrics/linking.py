"""Who is one person by pairs that are said to be: the connected parts of a graph."""

import numpy as np

from facesim_index.records import Int64Array


def linked_people(links: Int64Array, n_items: int) -> Int64Array:
    """Return the person of each item: one number for all that links hold together.

    Parameters
    ----------
    links : ndarray of shape (n_links, 2), int64
        Places of items that show one person.
    n_items : int

    Returns
    -------
    ndarray of shape (n_items,), int64
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(n_items, n_items))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)
