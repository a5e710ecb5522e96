"""People from genuine pairs: the connected components of the graph that the pairs make."""

import numpy as np

from facesim_index.records import Int64Array


def linked_people(links: Int64Array, n_items: int) -> Int64Array:
    """Return the person of each item: the same number for all items that links connect.

    Parameters
    ----------
    links : ndarray of shape (n_links, 2), int64
        Places of two items that show one person, from 0 to ``n_items - 1``.
    n_items : int

    Returns
    -------
    ndarray of shape (n_items,), int64
        From 0.

    Examples
    --------
    >>> linked_people(np.array([[0, 2], [2, 3]]), n_items=4)
    array([0, 1, 0, 0])
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(n_items, n_items))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)
