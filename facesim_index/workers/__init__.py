"""How is untrusted work done beside us?  A pool of processes with limits, restarts and order."""
